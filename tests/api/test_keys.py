"""Who may call what: every route by every key, sessions, rates, the audit line, when a key was last used."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from relay import config, store
from tests.api.serving import GRANTS, KEYS, Api, serving
from tests.until import until
from tracking_http import access, api
from tracking_http.api import rates
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route

ROUTES = api.routes()


async def reached(call: Call) -> Any:
    return {"grant": call.grant_id, "key": call.who.name}


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """Every route that there is, as it is declared; but what it does is to say that it was reached, and for whom."""
    declared = tuple(replace(route, handler=reached, body=None, query=None, status=200) for route in ROUTES)
    monkeypatch.setattr(api, "routes", lambda: declared)
    async with serving(tmp_path) as found:
        yield found


def path_of(route: Route, grant: str) -> str:
    return re.sub(r"\{\w+\}", "x", route.path.replace("{grant_id}", grant))


@pytest.mark.parametrize("route", ROUTES, ids=[f"{route.method} {route.path}" for route in ROUTES])
async def test_each_route_by_each_key(server: Api, route: Route) -> None:
    """Each scope and each grant, on each grant's path and on its own."""
    targets = ["sales", "hr"] if "{grant_id}" in route.path else [""]
    for key in KEYS.values():
        for target in targets:
            said = await server.ask(route.method, path_of(route, target), key.name)
            allowed = not route.scope or bool({route.scope, "admin"} & set(key.scopes))
            mine = not target or key.grant in ("", target)
            assert said.status == (403 if not allowed else 404 if not mine else 200), (key.name, target)
            if said.status == 200:
                assert said.data == {"grant": target or key.grant, "key": key.name}
            elif not allowed:
                assert said.body["error"]["type"] == "insufficient_scopes"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2VuZA=="}):
        assert (await server.ask(route.method, path_of(route, "sales"), "", headers=headers)).status == 401


async def test_a_session_has_the_rights_of_its_key(server: Api) -> None:
    for name in ("manage", "sales-send", "none"):  # may not see the page
        answer = await server.ask("POST", "/login", "", data={"key": name})
        assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)
    for name in ("sales-read", "read", "all"):
        answer = await server.ask("POST", "/login", "", data={"key": name})
        cookie = SimpleCookie(answer.headers["Set-Cookie"])
        sent = {"Cookie": "; ".join(f"{item.key}={item.value}" for item in cookie.values())}
        half = {access.HALF_HEADER: answer.headers["Location"].partition("half=")[2]}
        for route in ROUTES:
            path = path_of(route, "sales")
            own = await server.ask(route.method, path, name)
            assert (await server.ask(route.method, path, "", headers={**sent, **half})).status == own.status
            assert (await server.ask(route.method, path, "", headers=sent)).status == 401
            if route.method != "GET":
                other = {**sent, **half, "Origin": "https://evil.example"}
                assert (await server.ask(route.method, path, "", headers=other)).status == 403


async def test_a_key_that_calls_too_often(tmp_path: Path) -> None:
    settings = config.Settings(grants=GRANTS, admin=config.Admin(calls_per_minute=3))
    async with serving(tmp_path, settings=settings) as server:
        assert [(await server.get("/v3/grants", "read")).status for _ in range(4)] == [200, 200, 200, 429]
        said = await server.get("/v1/nothing", "read")
        assert (said.status, said.body["error"]["type"]) == (429, "rate_limit_error")
        assert 1 <= int(said.headers["Retry-After"]) <= 20
        assert (await server.get("/v3/grants", "all")).status == 200
        assert (await server.get("/live/messages", "read")).status == 200


def test_a_bucket_fills_evenly() -> None:
    found = rates.Rates(60)
    assert [found.take("a", 0.0) for _ in range(61)] == [0] * 60 + [1]
    assert (found.take("a", 0.5), found.take("a", 1.0), found.take("a", 1.0), found.take("b", 1.0)) == (1, 0, 1, 0)
    assert [found.take("a", 1000.0) for _ in range(61)].count(0) == 60
    slow = rates.Rates(1)
    assert (slow.take("a", 0.0), slow.take("a", 0.0), slow.take("a", 59.0), slow.take("a", 60.0)) == (0, 60, 1, 0)
    assert not any(rates.Rates(0).take("a", 0.0) for _ in range(10))


def test_so_many_keys_are_remembered() -> None:
    found = rates.Rates(1, keys=2)
    assert [found.take(key, 0.0) for key in "abc"] == [0, 0, 0]
    assert (found.take("c", 0.0), found.take("a", 0.0)) == (60, 0)


async def test_each_change_is_one_line(server: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="trackrelay.api")
    for route in ROUTES:
        for key in ("all", "none"):
            caplog.clear()
            said = await server.ask(route.method, path_of(route, "sales"), key)
            lines = [record.__dict__["fields"] for record in caplog.records if record.message == "audit"]
            if route.method == "GET":
                assert lines == []
                continue
            (line,) = lines
            assert (line["key"], line["status"], line["request"]) == (key, said.status, said.headers["x-request-id"])
            assert line["route"] == f"{route.method} {route.path}"
            assert line["path"] == path_of(route, "sales")


async def test_when_a_key_was_used_is_written_once_a_minute(tmp_path: Path) -> None:
    written: list[str] = []

    class Known:
        async def find_api_key(self, digest: str) -> store.ApiKey | None:
            return None

        async def use_api_key(self, digest: str, at: float) -> None:
            written.append(digest)
            raise store.Unavailable("locked")

    times = iter((0.0, 0.0, 59.0, 59.0, 60.0, 60.0, 61.0, 61.0))
    control = access.Access(Known(), open_=False, clock=lambda: next(times))
    for _ in range(4):
        control.note_use(KEYS["read"])
        control.note_use(access.ANYBODY)
    await control.close()
    assert written == [KEYS["read"].digest] * 2
    async with serving(tmp_path) as server:
        await server.get("/v3/grants", "sales-read")

        async def used() -> bool:
            return {key.name for key in await server.known.api_keys() if key.last_used_at} == {"sales-read"}

        await until(used)


def test_the_keys_of_this_suite_have_every_scope_and_grant() -> None:
    assert {key.grant for key in KEYS.values()} == {"", "sales", "hr"}
    assert {scope for key in KEYS.values() for scope in key.scopes} == {"send", "read", "manage", "admin"}
