"""What every call of the APIs goes through: envelope, errors, ids, scopes, grants, bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import Meta

from relay import store
from tests.api.serving import Api, Said, serving
from tracking_http import access, api
from tracking_http.api import calls, cursors, envelopes, problems, routing
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route


class Person(msgspec.Struct, frozen=True):
    email: str
    name: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    to: list[Person]
    label: Annotated[str, Meta(max_length=5)] = ""
    count: calls.Count = 0


class Asked(calls.Listing, frozen=True, kw_only=True):
    kind: list[str] = []  # noqa: RUF012
    exact: bool = False


async def echo(call: Call) -> Any:
    return call.body


async def asked(call: Call) -> Any:
    return call.query


async def whose(call: Call) -> Any:
    return {"grant": call.grant_id, "id": call.path("id")}


async def size(call: Call) -> Any:
    return len(await call.read())


async def breaks(call: Call) -> Any:
    raise RuntimeError("secret")


async def away(call: Call) -> Any:
    raise store.Unavailable("locked")


async def paged(call: Call) -> Any:
    return envelopes.Page(["é"], cursors.write([1.5, "m"]))


async def beside(call: Call) -> Any:
    return envelopes.Answer({"id": "m"}, status=202, beside={"grant_id": "sales"})


MADE = (
    Route("POST", "/v3/test/drafts", "send", echo, "", body=Draft),
    Route("POST", "/v1/test/drafts", "send", echo, "", body=Draft),
    Route("GET", "/api/test/asked", "read", asked, "", query=Asked),
    Route("GET", "/v3/grants/{grant_id}/test/{id}", "read", whose, ""),
    Route("GET", "/api/test/things/{id}", "read", whose, ""),
    Route("POST", "/v3/test/size", "send", size, "", max_body=5_000_000),
    *(Route("GET", f"/{p}/test/breaks", "read", breaks, "") for p in ("v3", "v1", "api")),
    *(Route("GET", f"/{p}/test/away", "read", away, "") for p in ("v3", "v1", "api")),
    Route("GET", "/v3/test/paged", "read", paged, ""),
    Route("GET", "/v3/test/beside", "read", beside, ""),
)


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    served = (*api.routes(), *MADE)
    monkeypatch.setattr(api, "routes", lambda: served)
    async with serving(tmp_path) as found:
        yield found


def problem(said: Said, status: int, kind: str = "") -> dict[str, Any]:
    """The error of an answer, which is whole in its API's envelope."""
    assert said.status == status, said.raw
    assert said.headers["Content-Type"].startswith("application/json")
    found: dict[str, Any] = said.body
    assert found["request_id"] == said.headers["x-request-id"]
    assert set(found["error"]) <= {"type", "message", "code", "provider_error"}
    assert found["error"]["message"]
    assert not kind or found["error"]["type"] == kind
    return found["error"]


async def test_data_is_wrapped_as_each_api_has_it(server: Api) -> None:
    body = {"to": [{"email": "a@example.com", "name": "Ä"}], "unknown": {"x": 1}}
    said = await server.post("/v3/test/drafts", body)
    wanted = {"to": [{"email": "a@example.com", "name": "Ä"}], "label": "", "count": 0}
    assert said.body == {"request_id": said.headers["x-request-id"], "data": wanted}
    assert "Ä".encode() in said.raw
    said = await server.post("/v1/test/drafts", body)
    assert said.body == {"success": True, "data": wanted}
    assert said.headers["x-request-id"]
    assert (await server.post("/api/v1/test/drafts", body)).body == {"success": True, "data": wanted}
    said = await server.get("/v3/test/paged")
    assert said.body["data"] == ["é"]
    assert cursors.read(said.body["next_cursor"], tuple[float, str]) == (1.5, "m")
    said = await server.get("/v3/test/beside")
    assert said.status == 202
    assert said.body == {"request_id": said.headers["x-request-id"], "grant_id": "sales", "data": {"id": "m"}}


@pytest.mark.parametrize("top", ["v3", "v1", "api", "api/v1"])
async def test_what_is_not_there_is_json(server: Api, top: str) -> None:
    for path in (f"/{top}", f"/{top}/", f"/{top}/nothing", f"/{top}/%00", f"/{top}/%2e%2e/x", f"/{top}/{'x' * 4000}"):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            error = problem(await server.ask(method, path), 404, "not_found_error")
            assert ("code" in error) == top.endswith("v1")
        assert (await server.ask("HEAD", path)).status == 404
    path = f"/{top}/test/{'asked' if top == 'api' else 'drafts'}"
    said = await server.ask("DELETE", path)
    problem(said, 405, "method_not_allowed")
    assert said.headers["Allow"]


@pytest.mark.parametrize("top", ["v3", "v1", "api"])
async def test_failures_are_json_and_say_nothing_of_the_inside(server: Api, top: str) -> None:
    said = await server.get(f"/{top}/test/breaks")
    assert "secret" not in problem(said, 500, "internal_error")["message"]
    said = await server.get(f"/{top}/test/away")
    problem(said, 503, "service_unavailable")
    assert said.headers["Retry-After"]
    said = await server.get(f"/{top}/test/away", key="")
    problem(said, 401, "unauthorized")
    assert said.headers["WWW-Authenticate"] == "Bearer"
    said = await server.get(f"/{top}/test/away", key="", headers={"Accept": "text/html"})
    problem(said, 401, "unauthorized")
    problem(await server.post(f"/{top}/test/drafts", {}, headers={"Content-Encoding": "gzip"}), 415)
    problem(await server.post(f"/{top}/test/drafts", {}, key="", headers={"Origin": "https://evil.example"}), 403)


async def test_a_slash_at_the_end_leads_to_the_same(server: Api) -> None:
    for path in ("/v3/grants", "/v3/grants/sales"):
        assert (await server.get(path)).data == (await server.get(f"{path}/")).data


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"to": [{"email": 7}]}', "to[0].email: expected `str`, got `int`"),
        (b'{"to": [{}]}', "to[0].email: is required"),
        (b"{}", "to: is required"),
        (b"[]", "The body: expected `object`, got `array`"),
        (b'{"to": [], "label": "123456"}', "label: expected `str` of length <= 5"),
        (b'{"to": [], "count": NaN}', "JSON is malformed"),
        (b'{"to": [], "count": ' + b"9" * 30 + b"}", "count: "),
        (b'{"to": [], "count": ' + b"9" * 5000 + b"}", "count: "),
        (b'{"to": [], "x": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"to": [], "label": "\\ud800"}', "truncated"),
        (b'{"to": [], "label": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"to": [], "label": "\xff"}', "not UTF-8"),
        (b"", "is empty"),
        (b'{"to": []', "truncated"),
        (b'{"to": []} x', "malformed"),
    ],
)
async def test_a_wrong_body_is_named(server: Api, body: bytes, said: str) -> None:
    for path in ("/v3/test/drafts", "/v1/test/drafts"):
        answer = await server.ask("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert said in problem(answer, 400, "invalid_request_error")["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_another_content_type_is_refused(server: Api, kind: str) -> None:
    problem(await server.ask("POST", "/v3/test/drafts", data=b'{"to":[]}', headers={"Content-Type": kind}), 415)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])
async def test_json_by_its_other_names(server: Api, kind: str) -> None:
    said = await server.ask("POST", "/v3/test/drafts", data=b'{"to":[]}', headers={"Content-Type": kind})
    assert said.status == 200


async def test_each_route_has_its_own_limit(server: Api) -> None:
    long = b'{"to": [], "x": "' + b"x" * routing.MAX_BODY + b'"}'
    json_ = {"Content-Type": "application/json"}
    problem(await server.ask("POST", "/v3/test/drafts", data=long, headers=json_), 413, "payload_too_large")

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 100_000

    problem(await server.ask("POST", "/v3/test/drafts", data=chunks(20), headers=json_), 413, "payload_too_large")
    assert (await server.ask("POST", "/v3/test/size", data=chunks(49))).data == 4_900_000
    problem(await server.ask("POST", "/v3/test/size", data=chunks(60)), 413, "payload_too_large")


async def test_a_query_is_read_by_type(server: Api) -> None:
    said = await server.get("/api/test/asked?limit=7&kind=a&kind=b&exact=true&unknown=1&page_token=x%2By")
    assert said.data == {"limit": 7, "kind": ["a", "b"], "exact": True, "page_token": "x+y"}
    for query in ("limit=0", "limit=201", "limit=x", "limit=", "exact=maybe", "limit=" + "9" * 400, "kind=%00"):
        name = query.partition("=")[0]
        error = problem(await server.get(f"/api/test/asked?{query}"), 400, "invalid_request_error")
        assert error["message"].startswith(f"{name}: ")
    many = "&".join(f"k{i}=1" for i in range(1000))
    assert (await server.get(f"/api/test/asked?{many}")).status == 200


@pytest.mark.parametrize(
    ("spelled", "found"),
    [
        ("sales", "sales"),
        ("grant:sales", "sales"),
        ("sales@example.com", "sales"),
        ("SALES%40Example.com", "sales"),
        ("email:sales@example.com", "sales"),
        ("anna@sales.example.com", "sales"),
        ("hr%2Bjobs%40example.com", "hr"),
        ("hr+jobs@example.com", "hr"),
        ("default", "default"),
        ("nobody", ""),
        ("nobody@example.org", ""),
        ("me", ""),
        ("%00", ""),
        ("%ff", ""),
        ("x" * 5000, ""),
        ("%2e%2e", ""),
    ],
)
async def test_a_grant_by_its_names(server: Api, spelled: str, found: str) -> None:
    said = await server.get(f"/v3/grants/{spelled}/test/a%2Fb%2Bc")
    if found:
        assert said.data == {"grant": found, "id": "a/b+c"}
    else:
        problem(said, 404, "not_found_error")


async def test_a_key_sees_its_grant_only(server: Api) -> None:
    assert (await server.get("/v3/grants/me/test/x", "sales-read")).data["grant"] == "sales"
    assert (await server.get("/api/test/things/x", "sales-read")).data["grant"] == "sales"
    assert (await server.get("/api/test/things/x", "read")).data["grant"] == ""
    foreign = problem(await server.get("/v3/grants/hr/test/x", "sales-read"), 404)
    assert foreign == problem(await server.get("/v3/grants/nobody/test/x", "sales-read"), 404)
    problem(await server.get("/v3/grants/hr%2Bjobs%40example.com/test/x", "sales-read"), 404)


async def test_grants(server: Api) -> None:
    said = await server.get("/v3/grants")
    assert [grant["id"] for grant in said.data] == ["sales", "hr", "default"]
    assert (await server.get("/v3/grants?limit=1&offset=1")).data[0]["id"] == "hr"
    assert [grant["id"] for grant in (await server.get("/v3/grants", "hr-read")).data] == ["hr"]
    assert (await server.get("/v3/grants?email=HR%2Bjobs@example.com")).data[0]["id"] == "hr"
    assert (await server.get("/v3/grants/sales@example.com")).data["email"] == "sales@example.com"


def test_a_cursor_that_is_none_of_ours() -> None:
    for text in ("x", "é", "AAAA", "====", "x" * 2000, cursors.write(["a", "b"]), cursors.write([1.0])):
        with pytest.raises(problems.Problem) as raised:
            cursors.read(text, tuple[float, str])
        assert raised.value.status == 400


def test_keys_of_before_have_the_scopes_that_they_had() -> None:
    def key(*scopes: str) -> store.ApiKey:
        return store.ApiKey("k", "d", scopes)

    assert access.permits(key("messages:send"), "send")
    assert access.permits(key("messages:read", "events:read"), "read")
    assert not access.permits(key("messages:read"), "read")
    assert not access.permits(key("webhooks"), "manage")
    assert not access.permits(key(), "read")
    assert access.permits(key("admin"), "manage")
