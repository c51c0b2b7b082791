"""The admin server over real HTTP on loopback: health, who may ask, the live page's data and stream; and the page
itself in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relay import config, nodes, samples, store
from relay.core import nodes as core
from relay.core.floods import Folded
from relay.core.model import Endpoint, Event, EventType, Sent, SentCopy, Verdict
from relay.core.nodes import Node, Roll
from relay.store.contract import Store
from tests.peers import browser
from tests.until import until
from tracking_http import access, admin
from tracking_http.api import problems
from tracking_http.dashboard import feed, pages

KEYS = {"all": "tr_all", "sales": "tr_sales", "hooks": "tr_hooks"}


@dataclass
class State:
    """What the supervisor tells."""

    ready: bool = True
    addresses: Any = None
    known: tuple[Sequence[str], Sequence[str]] = ((), ())
    roll: list[dict[str, Any]] = field(
        default_factory=lambda: nodes.described(Roll(1000.0, (Node("relay-1", ("smtp",), "p", at=995.0),)))
    )
    trouble: list[str] = field(default_factory=list)
    pages: list[tuple[samples.Page, bool]] = field(default_factory=list)

    async def troubles(self) -> tuple[list[str], list[str]]:
        return list(self.known[0]), list(self.known[1])

    async def figures(self) -> Sequence[tuple[samples.Page, bool]]:
        return self.pages

    def nodes(self) -> list[dict[str, Any]]:
        return self.roll

    def node_troubles(self) -> list[str]:
        return self.trouble

    def workers(self) -> list[dict[str, Any]]:
        return []


@dataclass
class Server:
    """An admin server on a free port. `known` is its store; `ask` sends a request by that name to it."""

    known: Store
    app: web.Application
    port: int
    session: aiohttp.ClientSession
    state: State

    def ask(self, path: str, *, method: str = "GET", key: str = "", **how: Any) -> Any:
        headers = dict(how.pop("headers", {}))
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return self.session.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, allow_redirects=False, **how
        )

    async def sent(self, number: int, **more: Any) -> Sent:
        to = more.pop("to", ("jonas@example.org",))
        sent = Sent(
            message_id=f"{number:020d}",
            grant_id=more.pop("grant_id", "default"),
            internet_message_id=f"{number}@example.org",
            submitted_at=1_700_000_000.0 + number,
            to=to,
            copies=tuple(SentCopy(a, i, True, state="done", reply="250 2.0.0 Ok") for i, a in enumerate(to)),
            **{"sender": "mara@example.com", "subject": f"Message {number}", "opens": True, **more},
        )
        await self.known.record_sent(sent)
        return sent

    async def happened(self, number: int, type_: EventType, verdict: Verdict = "human", **more: Any) -> Event | Folded:
        more.setdefault("recipient", "jonas@example.org")
        event = Event(str(uuid.uuid4()), type_, f"{number:020d}", 1_700_001_000.0 + number, verdict=verdict, **more)
        found = await self.known.append(event)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path, *, open_: bool = False, news: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[Server]:
    """`news` are options of the feed."""
    known = store.open("memory:", tmp_path)
    await known.start()
    for name, (scopes, grant) in {
        "all": (("admin",), ""),
        "sales": (("messages:read", "events:read"), "sales"),
        "hooks": (("webhooks",), ""),
    }.items():
        await known.add_api_key(store.ApiKey(name, access.digest_of(KEYS[name]), scopes, grant))
    state = State(addresses={"admin": [("127.0.0.1", 1)]})
    settings = config.Settings(state_dir=tmp_path, admin=config.Admin(open=open_))
    app = admin.application(settings, known, state=state, news=feed.Feed(known, **(news or {})), **how)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        try:
            yield Server(known, app, runner.addresses[0][1], session, state)
        finally:
            await runner.cleanup()
            await known.stop()


# -- health ----------------------------------------------------------------------------------------------------------


async def test_health_is_open_to_all(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.ask("/healthz") as answer:
            assert (answer.status, (await answer.json())["alive"]) == (200, True)
        async with server.ask("/metrics") as answer:
            assert answer.status == 200
            assert "trackrelay_accepted_total" in await answer.text()
        async with server.ask("/readyz") as answer:
            assert answer.status == 200
            assert await answer.json() == {
                "ready": True, "reasons": [], "warnings": [], "listeners": {"admin": ["127.0.0.1:1"]},
                "nodes": server.state.roll,
            }  # fmt: skip


async def test_not_ready_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        server.state.ready = False
        async with server.ask("/readyz") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["service: starting or stopping"])
        server.state.ready = True
        server.state.known = (["spool: No space left on device"], ["upstream: away"])
        async with server.ask("/readyz") as answer:
            found = await answer.json()
            assert (answer.status, found["reasons"]) == (503, ["spool: No space left on device"])
            assert found["warnings"] == ["upstream: away"]
        server.state.known = ([], ["upstream: away"])
        async with server.ask("/readyz") as answer:
            assert (answer.status, (await answer.json())["warnings"]) == (200, ["upstream: away"])

        async def full() -> None:
            raise store.Unavailable("the disk is full")

        monkeypatch.setattr(server.known, "check", full)
        async with server.ask("/readyz") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["store: the disk is full"])


# -- who may ask -------------------------------------------------------------------------------------------------------

GUARDED = [
    "/",
    "/live",
    "/live/rates",
    "/live/rates/data",
    "/live/webhooks",
    "/live/webhooks/data",
    "/live/nodes",
    "/live/nodes/data",
    "/live/messages",
    "/live/messages/00000000000000000001",
    "/live/events",
    "/extra",
]


async def extra(request: web.Request) -> web.Response:
    return web.Response(text="extra")


async def test_nothing_tells_of_mail_without_a_key(tmp_path: Path) -> None:
    """Every route that there is, but for those that are open by name. (Those of the APIs: tests/api.)"""
    async with serving(tmp_path, extra=[web.get("/extra", extra)]) as server:
        await server.sent(1)
        paths = {r.resource.canonical for r in server.app.router.routes() if r.resource}
        paths = {path for path in paths if problems.api_of(path) is None}
        paths = {p.replace("{id}", "00000000000000000001").replace("{name}", "style.css") for p in paths}
        assert paths - admin.OPEN - {"/login", "/logout", "/static/style.css"} == set(GUARDED)
        for path in sorted(GUARDED):
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": "Basic dHJfYWxs"},
                {"Cookie": f"{access.COOKIE}_{server.port}=x", access.HALF_HEADER: "x"},
            ):
                server.app[pages.ACCESS].wrong.clear()
                async with server.ask(path, headers=headers) as answer:
                    assert answer.status == 401, (path, headers)
                    assert "Message 1" not in await answer.text()
        async with server.ask("/logout", method="POST") as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("open_", "headers", "status"),
    [
        (True, {}, 200),
        (True, {"Host": "localhost:8081"}, 200),
        (True, {"Host": "[::1]:8081"}, 200),
        (True, {"Host": "evil.example:8081"}, 403),
        (True, {"Host": "127.0.0.1.evil.example"}, 403),
        (True, {"Host": "localhost.evil.example"}, 403),
        (True, {"Host": "evil.example", "Authorization": "Bearer tr_all"}, 200),
        (True, {"Authorization": "Bearer any"}, 200),
        (True, {"Authorization": "Bearer tr_hooks"}, 403),
        (True, {"Host": "evil.example", "Authorization": "Bearer any"}, 403),
        (True, {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer any"}, 401),
        (True, {"X-Forwarded-For": "203.0.113.9"}, 401),
        (True, {"Forwarded": "for=203.0.113.9"}, 401),
        (False, {}, 401),
        (False, {"Authorization": "Bearer tr_all"}, 200),
        (False, {"Authorization": "bearer tr_sales"}, 200),
        (False, {"Authorization": "Bearer tr_hooks"}, 403),
        (False, {"Authorization": "Bearer "}, 401),
        (False, {"Authorization": "Bearer " + "x" * 7000}, 401),
    ],
)
async def test_doors(tmp_path: Path, open_: bool, headers: dict[str, str], status: int) -> None:
    async with serving(tmp_path, open_=open_) as server, server.ask("/live/messages", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8:80", True), ("LOCALHOST:1", True), ("::1", False), ("[::1]", True), ("[::ffff:127.0.0.1]:80", True),
     ("0.0.0.0", False), ("10.0.0.1", False), ("", False), ("localhost.", True), ("localhost.:8081", True), ("[::1", False), ("127.0.0.1@x", False), ("2130706433", True),
     ("localhost.localdomain", False), ("a.localhost", False), ("localhost.evil.example", False)],
)  # fmt: skip
def test_loopback_names(host: str, expected: bool) -> None:
    assert access.only_here(host) is expected


async def test_the_form_makes_a_session_that_a_revoked_key_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.ask("/", headers={"Accept": "text/html"}) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/login")
        async with server.ask("/login") as answer:
            assert answer.status == 200
        async with server.ask("/login", method="POST", data={"key": "<wrong>"}) as answer:
            assert answer.status == 401
            assert "Set-Cookie" not in answer.headers
        async with server.ask("/login", method="POST", data={"key": KEYS["all"]}) as answer:
            assert answer.status == 303
            half = answer.headers["Location"].removeprefix("/#half=")
            cookie = answer.headers["Set-Cookie"]
            assert half not in cookie
            assert cookie.startswith(f"{access.COOKIE}_{server.port}=")
            assert KEYS["all"] not in cookie
            assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="))
        async with server.ask("/live/messages", headers={access.HALF_HEADER: half}) as answer:
            assert answer.status == 200
        async with server.ask("/logout", method="POST", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        await server.known.revoke_api_key("all")
        async with server.ask("/live/messages", headers={access.HALF_HEADER: half}) as answer:
            assert answer.status == 401


async def test_the_form_says_that_a_key_has_another_scope(tmp_path: Path) -> None:
    """It is no wrong key, and no page that shows nothing."""
    async with serving(tmp_path) as server:
        async with server.ask("/login", method="POST", data={"key": KEYS["hooks"]}) as answer:
            text = await answer.text()
            assert answer.status == 403
            assert "Set-Cookie" not in answer.headers
        assert "The key hooks may not see this page: its scope is" in text
        assert "trackrelay api-key create NAME --scope read" in text
        async with server.ask("/login", method="POST", data={"key": "wrong"}) as answer:
            assert "That is not one of this installation" in await answer.text()


async def test_a_cookie_alone_shows_nothing(tmp_path: Path) -> None:
    """Every other port of the host gets it from the browser."""
    async with serving(tmp_path, extra=[web.get("/extra", extra)]) as server:
        await server.sent(1)
        async with server.ask("/login", method="POST", data={"key": KEYS["all"]}) as answer:
            half = answer.headers["Location"].removeprefix("/#half=")
            assert len(half) > 40
        for path in GUARDED:
            framed = path in access.FRAMES
            for given in ("", "x" * 43, half[:-1]):
                async with server.ask(path, headers={access.HALF_HEADER: given}) as answer:
                    assert answer.status == (200 if framed else 401), path
                    text = await answer.text()
                    assert "Message 1" not in text
                    assert half not in text
            if path != "/live/events":
                async with server.ask(path, headers={access.HALF_HEADER: half}) as answer:
                    assert answer.status == 200
        async with server.ask(f"/live/events?half={half}") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "proto", "name"),
    [
        ("127.0.0.1:8081", "", "trackrelay_session_8081"),
        ("[::1]:9000", "", "trackrelay_session_9000"),
        ("mail.example", "", "trackrelay_session"),
        ("mail.example:8443", "https", "__Host-trackrelay_session_8443"),
        ("mail.example", "HTTPS", "__Host-trackrelay_session"),
        ("[", "https", "__Host-trackrelay_session"),
    ],
)
async def test_the_cookie_by_scheme_and_port(tmp_path: Path, host: str, proto: str, name: str) -> None:
    async with serving(tmp_path) as server:
        headers = {"Host": host} | ({"X-Forwarded-Proto": proto} if proto else {})
        async with server.ask("/login", method="POST", data={"key": KEYS["all"]}, headers=headers) as answer:
            (cookie,) = answer.headers.getall("Set-Cookie")
            half = answer.headers["Location"].removeprefix("/#half=")
        assert cookie.startswith(f"{name}=")
        assert ("Secure" in cookie) is bool(proto)
        assert "Domain" not in cookie
        headers |= {"Cookie": cookie.split(";")[0], access.HALF_HEADER: half}
        async with server.ask("/live/messages", headers=headers) as answer:
            assert answer.status == 200
        async with server.ask("/live/messages", headers={**headers, "Host": "mail.example:1"}) as answer:
            assert answer.status == 401


async def test_log_out_ends_the_session_itself(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.ask("/login", method="POST", data={"key": KEYS["all"]}) as answer:
            cookie = answer.headers["Set-Cookie"].split(";")[0]
            half = answer.headers["Location"].removeprefix("/#half=")
        async with server.ask("/logout", method="POST") as answer:
            assert answer.status == 303
            assert "Max-Age=0" in answer.headers["Set-Cookie"]
        async with server.ask("/live/messages", headers={"Cookie": cookie, access.HALF_HEADER: half}) as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Origin": "http://127.0.0.1:{port}"}, 401),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 401),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_other_sites_change_nothing(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    async with serving(tmp_path) as server:
        headers = {name: value.format(port=server.port) for name, value in headers.items()}
        async with server.ask("/login", method="POST", data={"key": "wrong"}, headers=headers) as answer:
            assert answer.status == status


async def test_wrong_keys_are_slowed_down_and_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as server:
        now = 1000.0
        server.app[pages.ACCESS].clock = lambda: now
        for attempt in range(50):
            async with server.ask("/live/messages", key=f"guess{attempt}") as answer:
                assert answer.status == (401 if attempt < access.WRONG_KEYS else 429)
        assert answer.headers["Retry-After"] == "61"
        assert [r.message for r in caplog.records].count("wrong_key") == access.WRONG_KEYS
        async with server.ask("/login", method="POST", data={"key": "guess"}) as answer:
            assert answer.status == 429
        async with server.ask("/live/messages", key=KEYS["all"]) as answer:  # from the same address
            assert answer.status == 200
        async with server.ask("/login", method="POST", data={"key": KEYS["sales"]}) as answer:
            assert answer.status == 303
        now += access.WRONG_SECONDS + 1
        async with server.ask("/live/messages", key="guess") as answer:
            assert answer.status == 401


async def test_a_grants_key_sees_its_mail_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.sent(1)
        await server.sent(2, grant_id="sales")
        await server.happened(1, "message.opened")
        await server.happened(2, "message.opened")
        async with server.ask("/live/messages", key=KEYS["sales"]) as answer:
            found = await answer.json()
        assert [m["subject"] for m in found["messages"]] == ["Message 2"]
        assert [e["id"] for e in found["events"]] == [f"{2:020d}"]
        for number, status in ((1, 404), (2, 200), (3, 404)):
            async with server.ask(f"/live/messages/{number:020d}", key=KEYS["sales"]) as answer:
                assert answer.status == status
        async with server.ask("/live/events?after=0", key=KEYS["sales"]) as answer:
            reset, *_ = await frames(answer, 1)  # it can't know a position
            assert reset["kind"] == "reset"
            await server.happened(1, "message.link_clicked")
            await server.happened(2, "message.link_clicked")
            assert {frame["id"] for frame in await frames(answer, 2)} == {f"{2:020d}"}


async def known_to(server: Server, key: str) -> list[Any]:
    """All that a key can find out by asking: every route of the live page, every way to ask it."""
    found: list[Any] = []
    paths = ["/", "/live", "/healthz", "/readyz", "/extra", "/nowhere", "/login"]
    paths += [f"/live/messages/{n:020d}" for n in (1, 2, 3)]
    paths += [f"/live/messages?limit={n}" for n in (1, 2, 3, 100)]
    paths += [f"/live/messages?before={1_700_000_000.0 + n}" for n in (0.5, 2.5, 99)]
    for path in paths:
        async with server.ask(path, key=key) as answer:
            text = await answer.text()
            if answer.content_type == "application/json":
                text = {**json.loads(text), "position": ""}
            headers = {name: value for name, value in answer.headers.items() if name not in ("Date", "Content-Length")}
            found.append((path, answer.status, headers, text))
    for after in ("", "0", "1", "3", "999", "x", "0" * 32):
        async with server.ask(f"/live/events?after={after}", key=key) as answer:
            heard = [(await answer.content.readuntil(b"\n\n")).decode() for _ in range(3 if after else 2)]
            found.append((after, [word for word in heard if "retry" not in word]))
    return found


async def test_a_grants_key_learns_nothing_of_the_others(tmp_path: Path) -> None:
    """Whatever it asks: with a busy neighbour the answers are those that come without one."""
    answers = []
    for neighbour in (False, True):
        async with serving(tmp_path, extra=[web.get("/extra", extra)], news={"beat": 0.05}) as server:
            if neighbour:
                await server.sent(1, grant_id="hr")
                await server.happened(1, "message.opened")
            await server.sent(2, grant_id="sales")
            if neighbour:
                await server.sent(3, grant_id="hr")
                for _ in range(3):
                    await server.happened(3, "message.link_clicked")
                await server.happened(9, "message.opened")  # of a message that nobody knows
            answers.append(await known_to(server, KEYS["sales"]))
    assert answers[0] == answers[1]


async def test_what_a_stream_says_to_a_grant_is_about_itself_only(tmp_path: Path) -> None:
    """Neither events of others nor of nobody, no number that counts them, no reset when they are many; and its marks lead
    on from where they were given, to nobody else and not after a restart."""
    async with serving(tmp_path, news={"beat": 60.0, "look": 0.01}) as server:
        await server.sent(1, grant_id="hr")
        await server.sent(2, grant_id="sales")
        async with server.ask("/live/events", key=KEYS["sales"]) as answer:
            await answer.content.readuntil(b"here\n\n")
            for _ in range(2 * feed.AT_ONCE):
                await server.happened(1, "message.auto_replied")
            await server.happened(9, "message.opened")
            await server.happened(2, "message.opened")
            first, message = await frames(answer, 2)
            await server.happened(1, "message.opened")
            await server.happened(2, "message.link_clicked")
            second, _ = await frames(answer, 2)
        assert [f["kind"] for f in (first, message, second)] == ["event", "message", "event"]
        assert {f["id"] for f in (first, message, second)} == {f"{2:020d}"}
        assert all(re.fullmatch("[0-9a-f]{32}", f["last"]) and "position" not in f for f in (first, second))
        async with server.ask(f"/live/events?after={first['last']}", key=KEYS["sales"]) as answer:
            assert (await frames(answer, 1))[0]["event"] == second["event"]
        async with server.ask("/live/messages", key=KEYS["sales"]) as answer:
            assert (await answer.json())["position"] == second["last"]
        for key in ("tr_hr", KEYS["all"]):
            if key == "tr_hr":
                await server.known.add_api_key(
                    store.ApiKey("hr", access.digest_of(key), ("messages:read", "events:read"), "hr")
                )
            async with server.ask(f"/live/events?after={first['last']}", key=key) as answer:
                assert (await frames(answer, 1))[0]["kind"] == "reset"


@pytest.mark.parametrize(
    "path", ["/", "/login", "/healthz", "/nowhere", "/live/events", "/static/style.css", "/static/..%2fpages.py"]
)
async def test_every_answer_is_dressed(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, open_=True) as server, server.ask(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "trackrelay"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_failure_is_a_500_without_its_text(tmp_path: Path) -> None:
    async def fails(request: web.Request) -> web.Response:
        raise RuntimeError("secret <b>")

    async def away(request: web.Request) -> web.Response:
        raise store.Unavailable("locked")

    async with serving(tmp_path, open_=True, extra=[web.get("/fails", fails), web.get("/away", away)]) as server:
        async with server.ask("/fails") as answer:
            assert answer.status == 500
            assert "secret" not in await answer.text()
            assert "Content-Security-Policy" in answer.headers
        async with server.ask("/away") as answer:
            assert answer.status == 503


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "before=yesterday", "limit=" + "9" * 40])
async def test_bad_questions(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path, open_=True) as server, server.ask(f"/live/messages?{query}") as answer:
        assert answer.status == 400


async def test_earlier_messages_come_by_pages(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server:
        for number in range(7):
            await server.sent(number)
        seen: list[str] = []
        before = ""
        while True:
            async with server.ask(f"/live/messages?limit=3{before}") as answer:
                found = await answer.json()
            seen += [m["subject"] for m in found["messages"]]
            if found["before"] is None:
                break
            before = f"&before={found['before']}"
        assert seen == [f"Message {n}" for n in reversed(range(7))]


# -- the stream --------------------------------------------------------------------------------------------------------


async def frames(answer: aiohttp.ClientResponse, number: int) -> list[dict[str, Any]]:
    """The next frames of a stream, with their kind as "kind" and their id as "last"; comments are passed over."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while len(found) < number:
            block = (await answer.content.readuntil(b"\n\n")).decode()
            fields = dict(line.split(": ", 1) for line in block.strip().splitlines() if not line.startswith(":"))
            if "event" in fields:
                found.append({"kind": fields["event"], "last": fields.get("id"), **json.loads(fields["data"])})
    return found


async def test_the_stream_tells_what_happens_and_resumes(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server:
        await server.sent(1)
        async with server.ask("/live/events") as answer:
            assert answer.content_type == "text/event-stream"
            await server.happened(1, "message.opened")
            opened, message = await frames(answer, 2)
            assert (opened["kind"], opened["title"], message["kind"]) == ("event", "Opened at least once", "message")
            assert [s["name"] for s in message["states"]] == ["delivered", "opened"]
            await server.sent(2)  # no event at all, and shown all the same
            assert [f["subject"] for f in await frames(answer, 1)] == ["Message 2"]
        missed = await server.happened(1, "message.link_clicked", url="https://x.example/")
        async with server.ask("/live/events", headers={"Last-Event-ID": str(opened["last"])}) as answer:
            again, _ = await frames(answer, 2)
            assert (again["last"], again["title"]) == (str(missed.position), "Link clicked")


async def test_a_page_that_missed_too_much_reads_the_list_again(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True, news={"replay": 3}) as server:
        await server.sent(1)
        for _ in range(5):
            await server.happened(1, "message.link_clicked")
        async with server.ask("/live/events?after=0") as answer:
            assert (await frames(answer, 1))[0]["kind"] == "reset"


async def test_a_page_of_an_earlier_store_starts_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server:
        await server.sent(1)
        async with server.ask("/live/events", headers={"Last-Event-ID": "999"}) as answer:
            assert (await frames(answer, 1))[0]["kind"] == "reset"
            await server.happened(1, "message.opened")
            assert (await frames(answer, 1))[0]["title"] == "Opened at least once"


async def test_pages_are_bounded_and_leave(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True, news={"beat": 0.05, "pages": 2}) as server:
        kept = server.app[pages.FEED]
        async with server.ask("/live/events"), server.ask("/live/events") as second:
            async with server.ask("/live/events") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
            assert b"still here" in await second.content.readuntil(b"here\n\n")
        await until(lambda: not kept.pages)
        await until(lambda: kept.task and kept.task.done())  # nobody looks: nobody asks the store


def test_a_slow_page_costs_a_bounded_queue() -> None:
    page = feed.Page("", lambda: False)
    for position in range(1, 5 * feed.WAITING):
        page.put(feed.Frame("event", {}, position=position))
    assert page.frames.qsize() <= feed.WAITING
    assert page.frames.get_nowait() is feed.RESET


async def test_a_page_moves_at_once_where_the_store_hears_of_others(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True, news={"beat": 60.0, "look": 3600.0}) as server:
        await server.sent(1)
        async with server.ask("/live/events") as answer:
            await answer.content.readuntil(b"here\n\n")
            await server.happened(1, "message.opened")
            server.app[pages.FEED].wake()
            event, message = await frames(answer, 2)
    assert (event["kind"], message["kind"]) == ("event", "message")


async def test_a_revoked_key_ends_its_stream(tmp_path: Path) -> None:
    async with serving(tmp_path, news={"beat": 0.05}) as server, server.ask("/live/events", key=KEYS["all"]) as answer:
        await server.known.revoke_api_key("all")
        async with asyncio.timeout(5):
            await answer.content.read()


async def test_a_stop_ends_the_streams(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server, server.ask("/live/events") as answer:
        await server.app[pages.FEED].close()
        async with asyncio.timeout(5):
            await answer.content.read()


async def test_the_feed_outlives_a_store_that_is_away(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server:
        kept = server.app[pages.FEED]
        kept.look = 0.01
        async with server.ask("/live/events") as answer:
            plain = server.known.recent_sent
            failed = asyncio.Event()

            async def away(*words: Any, **more: Any) -> Any:
                failed.set()
                raise store.Unavailable("locked")

            server.known.recent_sent = away  # type: ignore[method-assign]
            await asyncio.wait_for(failed.wait(), 5)
            server.known.recent_sent = plain  # type: ignore[method-assign]
            await server.sent(1)
            assert (await frames(answer, 1))[0]["subject"] == "Message 1"


# -- the page in a browser ---------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "'-alert(5)-'",
    "</title><script>alert(6)</script>",
    "{{ 7*7 }}<b>{% raw %}",
    "\u202egnp.exe\x00\x1b[31m<iframe srcdoc='<script>parent.alert(7)</script>'>",
]


async def test_the_page_moves_without_a_reload(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server, browser.running_async() as chromium:
        page = await chromium.new_page()
        seen = browser.watch(page)
        await page.goto(f"http://127.0.0.1:{server.port}/")
        await page.get_by_text("No mail yet").wait_for()
        await page.get_by_text("Live", exact=True).wait_for()
        await page.evaluate("window.notReloaded = true")
        await server.sent(1, links=("https://x.example/menu",))
        await page.get_by_role("link", name="Message 1").wait_for()
        for type_, chip, more in (
            ("message.opened", "Opened at least once", {}),
            ("message.link_clicked", "Clicked x.example/menu", {"url": "https://x.example/menu"}),
            ("thread.replied", "Replied", {"verdict": "unknown"}),
        ):
            await server.happened(1, type_, **more)  # type: ignore[arg-type]
            await page.locator("#messages .chip", has_text=chip).wait_for()
        await server.happened(1, "message.opened")
        for _ in range(6):  # by the keyboard alone
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.matches('a.message')"):
                break
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="What happened").wait_for()
        shown = await page.locator("#detail").inner_text()
        assert "https://x.example/menu" in shown
        assert "1 click" in shown
        assert not re.search(r"opened (twice|\d+)|\d+ (opens|reads)", shown, re.I)
        assert await page.evaluate("window.notReloaded")
        assert seen.clean, seen


async def test_what_is_counted_and_old_messages_in_a_browser(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server, browser.running_async() as chromium:
        people = ("ada@example.org", "bo@example.org", "cleo@example.org")
        await server.sent(1, subject="An old one")
        for number in range(2, 40):
            await server.sent(number)
        new = await server.sent(40, subject="To three", to=people, label="spring")
        await server.known.record_sent(new.with_(submitted_at=time.time()))
        for index in (0, 0, 2):
            found = await server.happened(40, "message.opened", recipient_index=index, recipient=people[index])
        assert isinstance(found, Event)
        await server.happened(40, "message.link_clicked", recipient=people[0], url="https://x.example/")
        await server.happened(1, "message.opened")
        page = await chromium.new_page()
        seen = browser.watch(page)
        await page.goto(f"http://127.0.0.1:{server.port}/")
        row = page.locator("#messages li[data-id]", has_text="To three")
        await row.locator(".chip", has_text="2 of 3 opened").wait_for()
        await row.locator(".chip", has_text="1 of 3 clicked").wait_for()
        assert await page.locator("#messages").get_by_text("An old one").count() == 0
        await page.locator("#activity").get_by_text("An old one").wait_for()
        await page.get_by_text("Live", exact=True).wait_for()
        await server.happened(1, "message.link_clicked", url="https://old.example/")
        await page.locator("#activity li", has_text="old.example").get_by_text("An old one").wait_for()
        await server.happened(40, "message.opened", recipient_index=1, recipient=people[1])
        await page.locator("#activity").get_by_text("First open by bo@example.org").wait_for()
        await row.locator(".chip", has_text="3 of 3 opened").wait_for()
        await page.get_by_role("link", name="To three").first.click()
        await page.get_by_role("heading", name="What happened").wait_for()
        for person in people:
            await page.locator("#detail").get_by_text(f"First open by {person}").wait_for()
        await page.get_by_role("link", name="Rates").click()
        table = page.get_by_role("table")
        await table.get_by_role("row", name=re.compile("spring 3 3")).wait_for()
        assert seen.clean, seen


async def test_the_data_of_rates(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        now = time.time()
        for number, (grant, label) in enumerate([("sales", "a"), ("hr", "b")], 1):
            sent = await server.sent(number, grant_id=grant, label=label)
            await server.known.record_sent(sent.with_(submitted_at=now))
        for key, labels in (("all", ["a", "b"]), ("sales", ["a"])):
            async with server.ask("/live/rates/data?offset=2", key=KEYS[key]) as answer:
                found = await answer.json()
                assert [row["label"] for row in found["rows"]] == labels
                assert (found["sum"]["sent"], found["counting"], found["cut"]) == (len(labels), False, False)
        for wrong in ("days=x", "offset=99", "offset=x"):
            async with server.ask(f"/live/rates/data?{wrong}", key=KEYS["all"]) as answer:
                assert answer.status == 400
        async with server.ask("/live/rates/data", key=KEYS["hooks"]) as answer:
            assert answer.status == 403


ENDPOINTS = (
    Endpoint("c", "https://me:pw@one.example/hook?key=1", ("message.opened",)),
    Endpoint("n", "https://two.example/", (), source="api", registry="nylas", grant_id="sales", description="CRM"),
    Endpoint("u", "https://three.example/", (), source="api", registry="unosend", format="unosend"),
    Endpoint("o", "https://four.example/", (), source="api", format="nylas-v2", status="pause", description="<b>x</b>"),
)


async def test_the_data_of_webhooks_says_whose_each_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        gone = Endpoint("g", "https://gone.example/", ())
        await server.known.sync_endpoints([gone])
        await server.known.sync_endpoints([ENDPOINTS[0]])
        for one in ENDPOINTS[1:]:
            await server.known.add_endpoint(one)
        await server.known.set_endpoint_status("n", "failing", 7.0)
        await server.sent(1, grant_id="sales")
        await server.happened(1, "message.opened")
        async with server.ask("/live/webhooks/data", key=KEYS["all"]) as answer:
            found = {one["id"]: one for one in (await answer.json())["endpoints"]}
        assert [found[name]["made_by"] for name in "cnuo"] == [
            "relay.toml", "API, as Nylas'", "API, as Unosend's", "API, our own",
        ]  # fmt: skip
        assert "g" not in found
        assert found["c"]["url"] == "https://…@one.example/hook?key=…"
        mine = found["n"]
        assert (mine["grant"], mine["status"], mine["since"], mine["description"]) == ("sales", "failing", 7.0, "CRM")
        assert (mine["pending"], mine["delivered"], mine["dead"]) == (1, 0, 0)
        async with server.ask("/live/webhooks/data", key=KEYS["sales"]) as answer:
            assert [one["id"] for one in (await answer.json())["endpoints"]] == ["n"]
        async with server.ask("/live/webhooks/data", key=KEYS["hooks"]) as answer:
            assert answer.status == 403


async def test_webhooks_in_a_browser(tmp_path: Path) -> None:
    async with serving(tmp_path, open_=True) as server, browser.running_async() as chromium:
        page = await chromium.new_page()
        seen = browser.watch(page)
        await page.goto(f"http://127.0.0.1:{server.port}/")
        await page.get_by_role("link", name="Webhooks").click()
        await page.get_by_text("There are no webhooks.").wait_for()
        for one in ENDPOINTS[1:]:
            await server.known.add_endpoint(one)
        await page.reload()
        table = page.get_by_role("table")
        for words in (
            ("two.example", "CRM", "API, as Nylas'", "sales", "active"),
            ("four.example", "<b>x</b>", "our own", "all", "pause"),
        ):
            row = table.get_by_role("row").filter(has_text=words[0])
            for word in words[1:]:
                await row.get_by_text(word).wait_for()
        assert seen.clean, seen


async def test_nothing_that_a_message_says_is_html(tmp_path: Path) -> None:
    """Payloads in every field: shown as text, no dialog, no element of theirs, no request to anywhere else."""
    async with serving(tmp_path, open_=True) as server, browser.running_async() as chromium:
        for number, text in enumerate(HOSTILE, 1):
            await server.sent(
                number, subject=text, sender=text, label=text, to=(text,), links=(text,), metadata={text: text}
            )
            more: dict[str, Any] = {"recipient": text, "user_agent": text, "ip": text, "reason": text, "url": text}
            await server.happened(number, "message.opened", **more)
            await server.happened(number, "message.link_clicked", **more)
            await server.happened(number, "thread.replied", data={"subject": text}, **more)
            await server.happened(number, "message.bounce_detected", data={"status": text}, **more)
        page = await chromium.new_page()
        seen = browser.watch(page)
        await page.goto(f"http://127.0.0.1:{server.port}/")
        for number, text in enumerate(HOSTILE, 1):
            await page.locator(f"#messages li[data-id='{number:020d}'] a").click()
            await page.get_by_role("heading", name="What happened").wait_for()
            shown = await page.locator("#detail .headline").text_content()
            assert shown == text
            await page.get_by_role("button", name="All activity").click()
        live = await server.happened(1, "message.link_clicked", url=HOSTILE[1])
        await page.locator("#activity").get_by_text(HOSTILE[1]).first.wait_for()
        assert live.position
        found = await page.evaluate(
            "[...document.querySelectorAll('script:not([src]), img:not([src=\"/static/logo.svg\"]), iframe, [onerror], [onload]')].length"
        )
        assert found == 0
        hrefs = await page.evaluate("[...document.querySelectorAll('a')].map((a) => a.protocol)")
        assert set(hrefs) == {"http:"}
        assert seen.clean, seen


async def test_the_login_form_in_a_browser(tmp_path: Path) -> None:
    """By another name than localhost, too: there a browser says less of where a form comes from."""
    rule = "--host-resolver-rules=MAP admin.test 127.0.0.1"
    async with serving(tmp_path) as server, browser.running_async(rule) as chromium:
        page = await chromium.new_page()
        await page.goto(f"http://admin.test:{server.port}/")
        await page.get_by_label("API key").fill("<script>alert(1)</script>")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("alert").wait_for()
        await page.get_by_label("API key").fill(KEYS["all"])
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_text("Live", exact=True).wait_for()
        assert page.url == f"http://admin.test:{server.port}/"  # the other half is not left there
        await server.sent(1)
        await page.get_by_role("link", name="Message 1").click()
        await page.get_by_role("heading", name="Recipient").wait_for()
        await page.reload()
        await page.get_by_text("Live", exact=True).wait_for()
        await page.get_by_role("button", name="Log out").click()
        await page.get_by_label("API key").wait_for()


ROLL = Roll(1000.0, (
    Node("mail-1", ("smtp", "queue"), "p", "0.1.0", 1.0, 995.0, 0, 0.0, {"0": "a", "1": "b"}, 1),
    Node("mail-2", ("smtp", "queue"), "q", "0.1.0", 1.0, 100.0, 3, 50.0, {"0": "a"}, 0),
    Node("<b>hooks</b>", ("webhooks",), "r", "0.1.0", 1.0, 990.0),
))  # fmt: skip


async def test_nodes_in_a_browser(tmp_path: Path) -> None:
    """On a desk and on a phone; a node that is gone with mail in its spool stands above all, on the live page too."""
    async with serving(tmp_path, open_=True) as server, browser.running_async() as chromium:
        server.state.roll, server.state.trouble = nodes.described(ROLL), [one.sentence for one in core.troubles(ROLL)]
        page = await chromium.new_page(viewport={"width": 390, "height": 844})
        seen = browser.watch(page)
        await page.goto(f"http://127.0.0.1:{server.port}/")
        said = page.get_by_role("alert").filter(has_text="mail-2 (smtp, queue) is gone: it was heard last 15 min ago")
        await said.get_by_role("link").click()
        await said.wait_for()
        assert (await page.title()).startswith("Nodes")
        for name, words in {
            "mail-1": ("smtp, queue", "running", "5 s ago", "0, 1 · signs with 1"),
            "mail-2": ("gone", "15 min ago", "3", "0 · signs with 0"),
            "<b>hooks</b>": ("webhooks", "running"),
        }.items():
            row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))
            for word in words:
                await row.get_by_text(word, exact=True).wait_for()
        # What is too wide goes sideways within the table, which the keyboard can reach.
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.get_by_role("group", name="The table").get_attribute("tabindex") == "0"
        server.state.trouble = []
        await page.reload()
        await page.get_by_text("Each says every 10 seconds how it is.").wait_for()
        assert await page.get_by_role("alert").inner_text() == ""
        assert seen.clean, seen
