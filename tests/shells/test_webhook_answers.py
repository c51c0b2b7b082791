"""Whatever an endpoint sends for an answer: a final status that came is believed, and the rest is cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from relay.webhooks.answers import MAX_INTERIM, MAX_OCTETS
from relay.webhooks.guard import Guard
from relay.webhooks.post import Answer, Poster

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SENT = 8_000_000  # octets that fit into the buffers on the way, and more

Says = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Endpoint:
    """What comes is a request of one header section and a body of 2 octets; `says` answers each."""

    def __init__(self, says: Says) -> None:
        self.says, self.requests, self.connections = says, 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                self.requests += 1
                await self.says(writer)
        writer.close()


@asynccontextmanager
async def endpoint(says: Says) -> AsyncIterator[tuple[Endpoint, Callable[[], Coroutine[Any, Any, Answer]]]]:
    """The endpoint, and what posts to it."""
    there = Endpoint(says)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    poster = Poster(Guard(("127.0.0.0/8",)), timeout=20)

    async def post() -> Answer:
        return await poster.post(f"http://127.0.0.1:{port}/", b"{}", {}, 0.0)

    try:
        yield there, post
    finally:
        await poster.close()
        server.close()


def once(*pieces: bytes) -> Says:
    async def says(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return says


def endless(head: bytes, again: bytes) -> tuple[Says, list[int]]:
    """`again` until the connection is cut; what was sent. In pieces that fill a reader's buffer."""
    sent: list[int] = []

    async def says(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        piece = again * (262_144 // len(again))
        while sum(sent) < 20 * SENT:
            writer.write(piece)
            await writer.drain()
            sent.append(len(piece))

    return says, sent


@pytest.mark.parametrize("interim", [CONTINUE, HINTS, b"HTTP/1.1 102 Processing\r\n\r\n"])
async def test_interim_answers_without_end(interim: bytes) -> None:
    says, sent = endless(b"", interim)
    async with endpoint(says) as (_, post):
        answer = await post()
    assert answer.status == 0
    assert "interim answers" in answer.error
    assert sum(sent) < SENT


async def test_some_interim_answers_are_no_fault() -> None:
    """On one connection, again and again: each answer has a count of its own."""
    async with endpoint(once(CONTINUE, *[HINTS] * (MAX_INTERIM - 1), OK)) as (there, post):
        for _ in range(20):
            assert (await post()).good
        assert there.requests == 20
        assert there.connections == 1


async def test_one_too_many() -> None:
    async with endpoint(once(CONTINUE * (MAX_INTERIM + 1) + OK)) as (_, post):
        assert not (await post()).good


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900000000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 4000 + b"\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nxxxx\r\n"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", OK),
    ],
)
async def test_a_final_status_is_believed_whatever_follows(head: bytes, again: bytes) -> None:
    says, sent = endless(head, again)
    async with endpoint(says) as (_, post):
        assert (await post()).good
    assert sum(sent) < SENT


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: a=b\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-" + b"y" * 5_000 + b": z\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 ", b"y"),
        (b"", b"\r\n"),
        (b"", b"y"),
    ],
)
async def test_a_header_section_without_end(head: bytes, again: bytes) -> None:
    says, sent = endless(head, again)
    async with endpoint(says) as (_, post):
        answer = await post()
    assert answer.status == 0
    assert answer.error
    assert sum(sent) < SENT


async def test_a_long_answer_is_an_answer() -> None:
    async with endpoint(once(b"HTTP/1.1 500 Oh\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)) as (_, post):
        assert (await post()).status == 500
    assert MAX_OCTETS > 60_000
