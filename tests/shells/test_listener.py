"""An HTTP listener takes as many connections as it was given, and says so to the next."""

import resource

import pytest
from aiohttp import web

from tests.fakes.wire import connect
from tests.until import until
from tracking_http import listener


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def broken(_request: web.Request) -> web.Response:
    raise RuntimeError


async def test_who_comes_on_top_is_told() -> None:
    application = web.Application()
    application.router.add_get("/", hello)
    room = listener.Listener(application, most=2)
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


def test_the_share_follows_the_limit_of_files() -> None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = listener.connections()
    assert listener.MIN <= found <= listener.MAX
    assert found * listener.SHARE <= max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], listener.MIN * listener.SHARE)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft


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
