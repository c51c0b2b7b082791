"""Whatever an endpoint sends for an answer: a final status that came is believed, and the rest is cut."""

from __future__ import annotations

import asyncio
import base64
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


async def cut(writer: asyncio.StreamWriter, *pieces: bytes) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    writer.close()


def once(*pieces: bytes, end: bool = False) -> Says:
    async def says(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if end:
            writer.close()

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
        (b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: a=b\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-" + b"y" * 5_000 + b": z\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\n", b"\0"),
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
        (b"HTTP/1.1 200 ", b"y"),
        (b"", b"\r\n"),
        (b"", b"y"),
    ],
)
async def test_a_status_line_without_end(head: bytes, again: bytes) -> None:
    says, sent = endless(head, again)
    async with endpoint(says) as (_, post):
        answer = await post()
    assert answer.status == 0
    assert answer.error
    assert sum(sent) < SENT


WORD = b"s3cr3t-w0rd"  # of an answer: it may stand in nothing that is remembered
BROKEN = [
    b"Content-Security-Policy: " + WORD * 1000 + b"\r\nContent-Length: 2\r\n\r\nok",
    b"".join(b"X-Trace-%d: %s\r\n" % (n, WORD) for n in range(200)) + b"\r\n",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"Content-Length: " + WORD + b"\r\n\r\nok",
    b"Transfer-Encoding: chunked\r\n\r\n" + WORD + b"\r\n",
    b"Transfer-Encoding: " + WORD + b"\r\n\r\nok",
    b"X Powered By: " + WORD + b"\r\nContent-Length: 2\r\n\r\nok",
    b"<br />Notice: undefined index " + WORD + b"\r\nContent-Length: 2\r\n\r\nok",
    b": " + WORD + b"\r\n\r\n",
    b"X: \0" + WORD + b"\r\n\r\n",
    b"\xff\xfe: " + WORD + b"\r\n\r\n",
    b" folded: " + WORD + b"\r\n\r\n",
    b"Set-Cookie: a b=" + WORD + b"; \x01\r\nContent-Length: 0\r\n\r\n",
    b"Content-Encoding: gzip\r\nContent-Length: 11\r\n\r\n" + WORD,
    b"Content-Length: 500\r\n\r\n" + WORD,  # and then nothing
    b"Content-Len",
    b"",
]


@pytest.mark.parametrize("rest", BROKEN)
@pytest.mark.parametrize("line", [b"HTTP/1.1 204 " + WORD, b"HTTP/1.0 200", b"HTTP/1.1 202 Accepted"])
async def test_a_2xx_is_believed_whatever_stands_behind_it(
    line: bytes, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with endpoint(once(line + b"\r\n" + rest, end=True)) as (there, post):
        assert await post() == Answer(int(line.split()[1]))
        assert there.requests == 1
    assert WORD.decode() not in caplog.text


@pytest.mark.parametrize("rest", BROKEN)
async def test_another_status_is_none_and_no_octet_of_it_is_said(rest: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for line, error in ((b"HTTP/1.1 500 " + WORD, "HTTP 500"), (WORD, ""), (b"HTTP/1.1 abc " + WORD, "")):
        async with endpoint(once(line + b"\r\n" + rest, end=True)) as (_, post):
            answer = await post()
        assert not answer.good
        assert answer.error == error if error else answer.error
        assert WORD.decode() not in answer.error + caplog.text


async def test_octet_by_octet_and_behind_interim_answers() -> None:
    """Interim answers that can't be read take nothing from the final one either."""
    for interim in (b"", CONTINUE, b"HTTP/1.1 103 Early Hints\r\nX Y: z\r\n\r\n", b"HTTP/1.1 100\n\n", b"\r\n"):
        whole = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        async with endpoint(once(*(whole[n : n + 1] for n in range(len(whole))))) as (there, post):
            for _ in range(3):
                assert (await post()).good
            assert there.connections == 1  # such a connection can be used again


async def test_what_hangs_behind_the_status_line_is_not_waited_for() -> None:
    """Well within the 20 s of this poster: the test would take its time otherwise."""

    async def hangs(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        await writer.drain()
        await asyncio.Event().wait()

    async with endpoint(hangs) as (_, post):
        async with asyncio.timeout(15):
            assert (await post()).good


async def test_how_long_to_wait_is_read_where_the_rest_is_broken() -> None:
    says = b"HTTP/1.1 503 Oh\r\nRetry-After: 120\r\nX Y: z\r\n\r\n"
    async with endpoint(once(says, end=True)) as (_, post):
        assert await post() == Answer(503, "HTTP 503", 120.0)


async def test_a_challenge_needs_an_answer_that_can_be_read() -> None:
    server = await asyncio.start_server(
        lambda _, writer: cut(writer, b"HTTP/1.1 200 OK\r\nX Y: z\r\n\r\nvalue"), "127.0.0.1", 0
    )
    poster = Poster(Guard(("127.0.0.0/8",)))
    answer, body = await poster.fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", 5)
    assert (answer.status, body) == (200, b"")
    await poster.close()
    server.close()


# -- what is asked for -------------------------------------------------------------------------------------------------

AS_WRITTEN = [
    "/hook", "/", "/a/../hook", "/./hook", "//hook", "/a%2Fb", "/a%2fb", "/path%28test%29", "/p%C3%A4th", "/h(oo)k'!*;x=1",
    "/hook?x=%2A%21", "/hook?ids=1%2C2%2C3", "/hook?user=smooth%40criminal.test", "/hook?sig=a%2Bb%3D", "/hook?a+b",
    "/hook?next=https://x.test/?a=b", "/hook?%7Etilde&empty=&=&&", "/hook?a=%41", "/%68ook", "/hook/?x", "/hook?", "/?", "/hook??", "/hook;v=1?a;b",
    "/workflows/9d/triggers/manual/paths/invoke?api-version=2016-10-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=Qm4nZ8",
]  # fmt: skip


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its address, and the header sections of what came."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        await cut(writer, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()


@pytest.mark.parametrize(
    ("given", "target"),
    [
        *((text, text) for text in AS_WRITTEN),
        ("", "/"),
        ("?x=%2A", "/?x=%2A"),
        ("/hook?x=%2A#part", "/hook?x=%2A"),
        ("/a b?{c}=ü|", "/a%20b?%7Bc%7D=%C3%BC%7C"),  # no URI: it is made one
        ("/100%", "/100%25"),
    ],
)
async def test_a_url_is_called_as_it_is_written(given: str, target: str) -> None:
    poster = Poster(Guard(("127.0.0.0/8",)))
    async with listening() as (where, heard):
        assert (await poster.post(f"http://{where}{given}", b"{}", {}, 0.0)).good
        assert (await poster.fetch(f"http://{where}{given}", 9))[0].good
    await poster.close()
    assert [h.split(b"\r\n")[0].split(b" ")[1].decode() for h in heard] == [target, target]


async def test_a_login_in_the_url_goes_as_a_header() -> None:
    poster = Poster(Guard(("127.0.0.0/8",)))
    async with listening() as (where, heard):
        assert (await poster.post(f"http://us%40er:p%3Aä@s@{where}/hook?a=%2A", b"{}", {}, 0.0)).good
        assert (await poster.fetch(f"http://only@{where}/", 9))[0].good
    await poster.close()
    target, fields = heard[0].decode("latin-1").split("\r\n", 1)
    assert target == "POST /hook?a=%2A HTTP/1.1"
    assert f"Host: {where}\r\n" in fields
    assert "Authorization: Basic " + base64.b64encode("us@er:p:ä@s".encode()).decode() in fields
    assert b"Authorization: Basic " + base64.b64encode(b"only:") in heard[1]


async def test_a_long_answer_is_an_answer() -> None:
    async with endpoint(once(b"HTTP/1.1 500 Oh\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)) as (_, post):
        assert (await post()).status == 500
    assert MAX_OCTETS > 60_000
