"""An HTTP listener takes as many connections as it was given, and says so to the next."""

import asyncio
import resource
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.fakes.wire import connect
from tests.until import until
from tracking_http import listener

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def broken(_request: web.Request) -> web.Response:
    raise RuntimeError


async def test_who_comes_on_top_is_told() -> None:
    application = web.Application()
    application.router.add_get("/", hello)
    room = listener.Listener(application, most=2, behind=["127.0.0.1/32"])
    await room.start("127.0.0.1", 0)
    try:
        async with connect(room.addresses[0]) as first:
            async with connect(room.addresses[0]) as second:
                await second.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await second.reader.readline()).startswith(b"HTTP/1.1 200")
                async with connect(room.addresses[0]) as third:
                    assert await third.reader.read() == listener.FULL

            async def served() -> bool:
                async with connect(room.addresses[0]) as again:
                    await again.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    return (await again.reader.readline()).startswith(b"HTTP/1.1 200")

            await until(served)
            await first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await first.reader.readline()).startswith(b"HTTP/1.1 200")
    finally:
        await room.stop()


async def test_one_client_has_a_fourth_of_the_places() -> None:
    application = web.Application()
    application.router.add_get("/", hello)
    room = listener.Listener(application, most=8, behind=["127.0.0.1/32"])
    await room.start("127.0.0.1", 0)
    host, port = room.addresses[0]

    async def asked(source: str) -> Connection:
        found = await asyncio.open_connection(host, port, local_addr=(source, 0))
        found[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return found

    async def served(source: str) -> bool:
        reader, writer = await asked(source)
        line = await reader.readline()
        writer.close()
        return line.startswith(b"HTTP/1.1 200")

    try:
        held = [await asked("127.0.0.9") for _ in range(2)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert not await served("127.0.0.9")
        assert await served("127.0.0.10")
        proxy = [await asked("127.0.0.1") for _ in range(4)]  # behind which are many
        for reader, _ in proxy:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _, writer in (held[0], *proxy):
            writer.close()
        await until(lambda: served("127.0.0.9"))  # its place was given back
    finally:
        await room.stop()


def test_a_client_is_a_64_of_ipv6() -> None:
    room = listener.Listener(web.Application(), most=11, behind=["fd00::/64"])
    names = [room.admitted((f"2001:db8:0:1::{n:x}", 4711, 0, 0)) for n in range(4)]
    assert names == ["2001:db8:0:1::/64", "2001:db8:0:1::/64", None, None]
    assert room.admitted(("2001:db8:0:2::1", 4711, 0, 0)) == "2001:db8:0:2::/64"
    assert [room.admitted(("fd00::1", 4711, 0, 0)) for _ in range(5)] == [""] * 5
    room.left("2001:db8:0:1::/64")
    assert room.admitted(("2001:db8:0:1::9", 4711, 0, 0))
    assert room.admitted(None) is not None  # a peer that has gone has no address


def test_the_share_follows_the_limit_of_files() -> None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = listener.connections()
    assert listener.MIN <= found <= listener.MAX
    assert found * listener.SHARE <= max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], listener.MIN * listener.SHARE)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft


async def test_a_target_with_raw_octets_is_read_as_browsers_write_it() -> None:
    async def said(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.rel_url.raw_path} {request.headers['X']}")

    app = web.Application()
    app.router.add_get("/{tail:.*}", said)
    room = listener.Listener(app)
    await room.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*room.addresses[0])
        for target in ("/c/token\u3002", "/c/token\u201d"):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nX: \u00fc\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            body = (await reader.readexactly(length)).decode()
            assert body == f"{quote(target)} \u00fc"
        writer.close()
    finally:
        await room.stop()


async def test_what_is_no_http_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    application = web.Application()
    application.router.add_get("/", hello)
    application.router.add_get("/broken", broken)
    room = listener.Listener(application)
    await room.start("127.0.0.1", 0)
    try:
        for nothing in (
            b"\x16\x03\x01\x02\x00",
            b"G\x00T / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ):
            async with connect(room.addresses[0]) as client:
                await client.send(nothing + b"\r\n\r\n")
                assert b" 400 " in await client.reader.readline()
        assert caplog.records == []
        async with connect(room.addresses[0]) as client:
            await client.send(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 500 " in await client.reader.readline()
        assert [record.name for record in caplog.records] == ["aiohttp.server"]  # a fault of our own is
    finally:
        await room.stop()
