"""Requests that no client makes: each gets an answer in its API's form, none is a 5xx, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay import metrics
from tests.api.serving import Api, serving

Said = tuple[int, dict[str, str], bytes]
ASK = b"Host: x\r\nAuthorization: Bearer all\r\nConnection: close\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as found:
        yield found


def errors() -> float:
    """How often something failed unexpectedly."""
    return sum(
        sample.value
        for family in metrics.ERRORS.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )


async def raw(server: Api, data: bytes, *, end: bool = False) -> Said:
    """The first answer to these bytes; (0, {}, b"") for none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").rstrip().split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return int(line.split()[1]), found, await reader.readexactly(int(found.get("content-length", 0)))
    except asyncio.IncompleteReadError:
        return 0, {}, b""
    finally:
        writer.close()


def in_form(said: Said) -> None:
    status, fields, body = said
    assert 200 <= status < 500, said
    assert fields["content-type"].startswith("application/json"), said
    found = json.loads(body)
    if "success" not in found:
        assert found["request_id"] == fields["x-request-id"]
    assert status < 400 or {"type", "message"} <= set(found["error"])


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/v3/grants?" + b"a&" * 10_000, 200),
        (b"/v3/grants?" + b"a%5B%5D=1&" * 5_000, 200),
        (b"/v3/grants?limit=%FF%FE", 400),
        (b"/v3/grants?email=%ed%a0%80", 200),
        (b"/v3/grants?limit=" + b"9" * 30_000, 400),
        (b"/v3/grants?limit=1e999", 400),
        (b"/v3/grants?limit=%D9%A1", 400),
        (b"/v3/grants/%00", 404),
        (b"/v3/grants/%ED%A0%80", 404),
        (b"/v3/grants/" + b"%2F" * 10_000, 404),
        (b"/v3/grants/" + b"x" * 50_000, 404),
        (b"/v3/grants/%zz", 404),
        (b"/v3/grants/..%2f..%2fetc", 404),
        (b"/v3/grants/../../etc", 404),
        (b"/v3//grants", 404),
        (b"//v3/grants", 404),
        (b"/v3/grants;x=1", 404),
        (b"/v3/" + b"a/" * 20_000, 404),
        (b"/api/queue/" + b"f" * 900, 404),
        (b"/api/queue?cursor=" + b"A" * 40_000, 400),
        (b"/api/queue?cursor=%00", 400),
        (b"/api/v1", 404),
        (b"http://evil.example/v3/grants", 200),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
async def test_an_odd_target(server: Api, target: bytes, status: int) -> None:
    before = errors()
    said = await raw(server, b"GET " + target + b" HTTP/1.1\r\n" + ASK + b"\r\n")
    assert said[0] == status, said
    in_form(said)
    assert errors() == before


@pytest.mark.parametrize("target", [b"/v3/grants?email=\xff\xfe", b"/v3/grants/\xff", b"/v3/grants/a b"])
async def test_what_is_no_http_is_a_400_of_the_parser(server: Api, target: bytes) -> None:
    assert (await raw(server, b"GET " + target + b" HTTP/1.1\r\n" + ASK + b"\r\n"))[0] == 400


@pytest.mark.parametrize("method", [b"OPTIONS", b"TRACE", b"PATCH", b"DELETE", b"PROPFIND", b"BREW"])
async def test_another_method(server: Api, method: bytes) -> None:
    status, fields, body = await raw(server, method + b" /v3/grants HTTP/1.1\r\n" + ASK + b"\r\n")
    if method == b"BREW":  # which aiohttp's parser does not know
        assert status == 400
        return
    in_form((status, fields, body))
    assert (status, fields["allow"]) == (405, "GET,HEAD")


async def test_no_method_is_put_in_place_of_another(server: Api) -> None:
    await server.post("/api/links", {"what": "evil.example"})
    over = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
    said = await server.get("/api/links?what=evil.example&_method=DELETE", headers=over)
    assert [block["value"] for block in said.data] == ["evil.example"]
    assert len((await server.get("/api/links")).data) == 1


async def test_a_head_has_no_body(server: Api) -> None:
    said = await server.ask("HEAD", "/v3/grants")
    assert (said.status, said.raw) == (200, b"")
    assert said.headers["x-request-id"]


async def test_the_id_of_a_call_is_ours(server: Api) -> None:
    said = await server.get("/v3/grants", headers={"X-Request-Id": "evil\tid"})
    assert said.headers["x-request-id"] == said.body["request_id"] != "evil\tid"


DEEP = b'{"a":' * 100_000
WIDE = b"{" + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}"
MANY = b"{" + b'"what":"a.example",' * 30_000 + b'"what":"evil.example"}'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (DEEP, 400),
        (b"[" * 500_000, 400),
        (b'{"what":' + b"[" * 500_000, 400),
        (b'{"x":' + b"[" * 500_000, 400),
        (WIDE, 400),
        (MANY, 200),
        (b'{"what":1e999}', 400),
        (b'{"what":' + b"1" * 100_000 + b"}", 400),
        (b'{"what":-Infinity}', 400),
        (b'{"what":"\\ud83d"}', 400),
        (b'{"what":"' + b"\\u0000" * 1000 + b'"}', 400),
        (b'{"what":"' + "\u202e".encode() * 1000 + b'"}', 400),
        (b'\xef\xbb\xbf{"what":"a.example"}', 400),
        (b"\xff\xfe{\x00", 400),
        (b"null", 400),
        (b'"what"', 400),
        (b'{"what":null}', 400),
        (b'{"what":{"$gt":""}}', 400),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
async def test_an_odd_body(server: Api, body: bytes, status: int) -> None:
    before = errors()
    head = b"POST /api/links HTTP/1.1\r\n" + ASK + JSON + b"Content-Length: %d\r\n\r\n" % len(body)
    said = await raw(server, head + body)
    assert said[0] == status, said[2][:300]
    in_form(said)
    assert len(said[2]) < 20_000
    assert errors() == before


@pytest.mark.parametrize(
    ("fields", "body", "statuses"),
    [
        (b"Content-Length: 999999999999999999\r\n", b"", {413}),
        (b"Content-Length: 9999999999999999999\r\n", b"", {400}),
        (b"Content-Length: 5000001\r\nExpect: 100-continue\r\n", b"", {100}),  # and the refusal after it
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n", {400}),
        (b"Content-Length: 100\r\n", b"{", {0, 400}),
        (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n", b"{}", {415}),
        (b"Content-Type: text/xml\r\nContent-Length: 2\r\n", b"{}", {415}),
        (b"Content-Type: \xff\xfe\r\nContent-Length: 2\r\n", b"{}", {415}),
        (b"Content-Type: application/json;charset=utf-16\r\nContent-Length: 2\r\n", b"{}", {400}),
    ],
)
async def test_an_odd_frame(server: Api, fields: bytes, body: bytes, statuses: set[int]) -> None:
    before = errors()
    kind = b"" if b"Content-Type" in fields else JSON
    status, _, said = await raw(
        server, b"POST /api/links HTTP/1.1\r\n" + ASK + kind + fields + b"\r\n" + body, end=0 in statuses
    )
    assert status in statuses, said
    assert errors() == before
    assert (await server.get("/v3/grants")).status == 200


@pytest.mark.parametrize("given", [b"\xff\xfe", b"all\x01", b"a" * 7000, b"", b"all all", b"\xed\xa0\x80"])
async def test_an_odd_key(server: Api, given: bytes) -> None:
    before = errors()
    head = b"GET /v3/grants HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + given + b"\r\n\r\n"
    status, _, _ = await raw(server, head)
    assert status in (400, 401)
    assert errors() == before


async def test_many_at_once(server: Api) -> None:
    """Changes and questions beside each other; each is whole, and each change is there in the end."""
    hosts = [f"h{number}.example" for number in range(40)]
    asked = [server.post("/api/links", {"what": host}) for host in hosts]
    asked += [server.get("/api/links") for _ in hosts] + [server.get("/v3/nothing") for _ in hosts]
    said = await asyncio.gather(*asked)
    assert [answer.status for answer in said] == [200] * 80 + [404] * 40
    assert len({answer.headers["x-request-id"] for answer in said}) == len(said)
    assert sorted(block["value"] for block in (await server.get("/api/links")).data) == sorted(hosts)
