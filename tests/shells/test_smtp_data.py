"""What may be a message, and where it ends: smuggling, line endings, sizes, lines, hops."""

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay import metrics, smtp
from relay.config import Settings, Smtp
from relay.core.model import Reply
from relay.smtp import data, limits
from tests.fakes.taker import Taker
from tests.fakes.wire import connect
from tests.until import until

LIMIT = 100_000


async def start(limit=LIMIT, bare_newline="normalize", **held_to):
    taker = Taker()
    settings = Settings(smtp=Smtp(listen=("127.0.0.1:0",), max_message_size=limit, bare_newline=bare_newline))
    return await smtp.serve(settings, taker, held_to=limits.Limits(**held_to)), taker


@pytest.fixture
async def relay():
    server, taker = await start()
    yield server, taker
    await server.drain(0)


@pytest.fixture
async def strict():
    server, taker = await start(bare_newline="reject")
    yield server, taker
    await server.drain(0)


# What servers somewhere have taken for the end of DATA (CVE-2023-51764, -51765, -51766, CVE-2024-27305 …).
FALSE_ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r", b"\r\r\n.\n", b"\n\n.\r\n",
    b"\r\n\x00.\r\n", b"\x00\r\n.\x00\r\n",
]  # fmt: skip


@pytest.mark.parametrize("end", FALSE_ENDS)
@pytest.mark.parametrize("setting", ["normalize", "reject"])
async def test_nothing_is_smuggled(setting, end):
    server, taker = await start(bare_newline=setting)
    second = b"MAIL FROM:<evil@x>\r\nRCPT TO:<victim@y>\r\nDATA\r\nSubject: smuggled\r\n"
    async with connect(server.addresses[0]) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        await client.send(b"Subject: one\r\n\r\nbody" + end + second + b"\r\n.\r\n")
        first = await client.reply()
        bare = end.replace(b"\r\n", b"")
        refused = b"\r" in bare or (b"\n" in bare and setting == "reject")
        assert first.startswith("550 5.6.0" if refused else "250")
        assert (await client.ask("NOOP")).startswith("250")  # and nothing was answered in between
    assert len(taker.taken) == (0 if refused else 1)
    assert all(s.reverse_path == "a@example.com" for s in taker.taken)
    if not refused:  # all of it is one message, each line of it a line
        end = end.replace(b"\r\n.\x00", b"\r\n\x00")  # a dot like any other
        lines = b"Subject: one\r\n\r\nbody" + end + second + b"\r\n"
        assert taker.taken[0].content == lines.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    await server.drain(0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Subject: a\rBcc: injected@x\r\n\r\nb\r\n", "550 5.6.0 Line 1 of the message has a bare CR"),
        (b"a\r\r\n", "550 5.6.0 Line 1 of the message has a bare CR"),
        (b"a\nb\rc\r\n", "550 5.6.0 Line 1 of the message has a bare"),
        (b"a\r\n" + b"x" * 65_537 + b"\r\n", "550 5.6.0 Line 2 of the message is longer than 65536 octets"),
        (b"x" * (LIMIT - 2) + b"\r\n", "550 5.6.0 Line 1"),
        (b"x\r\n" * 33_334, f"552 5.3.4 The message is larger than {LIMIT} octets"),
        (b"x\r\n" * 300_000, f"552 5.3.4 The message is larger than {LIMIT} octets"),
        (b"x\n" * 33_334 + b"\r\n", f"552 5.3.4 The message is larger than {LIMIT} octets"),  # as it leaves
        (b"a\n" + b"x" * 65_537 + b"\n\r\n", "550 5.6.0 Line 2 of the message is longer than 65536 octets"),
        (b"Received: by x\r\n" * 51 + b"\r\n", "554 5.4.6 More than 50 Received"),
        (b"Received: by x\n" * 51 + b"\n\r\n", "554 5.4.6 More than 50 Received"),
    ],
)
async def test_what_is_refused_and_the_connection_goes_on(relay, content, words):
    server, taker = relay
    async with connect(server.addresses[0]) as client:
        await client.greet()
        assert (await client.mail(content)).startswith(words)
        assert (await client.mail(b"Subject: good\r\n\r\n")).startswith("250")
    assert [s.content for s in taker.taken] == [b"Subject: good\r\n\r\n"]
    assert server.in_flight == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Subject: a\r\n\r\nb\nc\r\n", "550 5.6.0 Line 3 of the message has a bare LF"),
        (b"a\r\n\nb\r\n", "550 5.6.0 Line 2 of the message has a bare LF"),
        (b"Subject: a\nBcc: injected@x\r\n\r\nb\r\n", "550 5.6.0 Line 1 of the message has a bare LF"),
        (b"a\nb\rc\r\n", "550 5.6.0 Line 1 of the message has a bare"),
    ],
)
async def test_bare_newlines_are_refused_where_the_operator_wants_it(strict, content, words):
    server, taker = strict
    async with connect(server.addresses[0]) as client:
        await client.greet()
        assert (await client.mail(content)).startswith(words)
        assert (await client.mail(b"Subject: good\r\n\r\n")).startswith("250")
    assert [s.content for s in taker.taken] == [b"Subject: good\r\n\r\n"]
    assert server.in_flight == 0


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"Subject: a\n\nb\n\r\n", b"Subject: a\r\n\r\nb\r\n\r\n"),
        (b"Subject: a\nBcc: b@x\r\n\r\nc\r\n", b"Subject: a\r\nBcc: b@x\r\n\r\nc\r\n"),
        (b".\n.\n.x\r\n", b".\r\n.\r\n.x\r\n"),
        (b"a\n..\r\n", b"a\r\n.\r\n"),
        (b"x\n" * 33_332 + b"\r\n", b"x\r\n" * 33_332 + b"\r\n"),  # not one octet more
        (b"x" * 65_536 + b"\n\r\n", b"x" * 65_536 + b"\r\n\r\n"),
    ],
)
async def test_bare_newlines_become_crlf(relay, sent, content):
    server, taker = relay
    async with connect(server.addresses[0]) as client:
        await client.greet()
        assert (await client.mail(sent)).startswith("250")
    assert taker.taken[0].content == content
    await until(lambda: server.in_flight == 0)


async def test_a_client_with_bare_newlines_is_named_once(relay, caplog):
    server, taker = relay
    caplog.set_level("INFO")
    before = metrics.value("trackrelay_bare_newlines_total")
    for _ in range(2):
        async with connect(server.addresses[0]) as client:
            await client.greet()
            for _ in range(2):
                assert (await client.mail(b"Subject: a\n\nb\r\n")).startswith("250")
            assert (await client.mail(b"Subject: a\r\n\r\nb\r\n")).startswith("250")
    assert {s.content for s in taker.taken} == {b"Subject: a\r\n\r\nb\r\n"}
    assert metrics.value("trackrelay_bare_newlines_total") == before + 4
    assert caplog.text.count("bare_newlines") == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x\r\n",
        b"\r\n",
        b"nul \x00 and 8 bit \xff\xfe\r\n",
        b"x" * 65_536 + b"\r\n",
        b"a\r\n" * 33_333,
        b"Received: by x\r\n" * 50 + b"\r\n" + b"Received: in the body\r\n" * 100,
        b"no header end: " + b"y" * 5000 + b"\r\n",
    ],
)
async def test_what_passes_as_it_is(relay, content):
    server, taker = relay
    async with connect(server.addresses[0]) as client:
        await client.greet()
        assert (await client.mail(content)).startswith("250")
    assert taker.taken[0].content == content
    await until(lambda: server.in_flight == 0)


async def test_beyond_the_bytes_in_flight():
    server, taker = await start(limit=40_000, in_flight=50_000)  # there is always room for two of the largest
    taker.gate.clear()
    async with connect(server.addresses[0]) as first, connect(server.addresses[0]) as second:
        await first.greet()
        await second.greet()
        await first.envelope()
        await first.ask("DATA")
        await first.send(b"x\r\n" * 10_000 + b".\r\n")
        await until(lambda: taker.taken)
        await second.envelope()
        await second.ask("DATA")
        await second.send(b"x\r\n" * 10_000 + b".\r\n")
        await until(lambda: len(taker.taken) == 2)
        async with connect(server.addresses[0]) as third:
            await third.greet()
            assert (await third.mail(b"x\r\n" * 10_000)).startswith("452 4.3.1")
            assert (await third.ask("MAIL FROM:<a@b> SIZE=30000")).startswith("452 4.3.1")
            taker.gate.set()
            assert (await first.reply()).startswith("250")
            assert (await second.reply()).startswith("250")
            assert (await third.mail(b"x\r\n" * 10_000)).startswith("250")
    await server.drain(0)


async def test_a_message_without_end_is_cut(relay):
    server, taker = relay
    async with connect(server.addresses[0]) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                await client.send(b"x" * 50_000)
        await until(lambda: not server.connections)
    assert taker.taken == []
    assert server.in_flight == 0


async def test_a_slow_dripper_loses_its_place():
    server, taker = await start(slow_start=0.05, slowest=1_000_000)
    async with connect(server.addresses[0]) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                await client.send(b"x")
                await asyncio.sleep(0.01)  # an octet at a time
                if not server.connections:
                    break
        assert not server.connections
        assert (await client.reply()).startswith("421 4.4.2")
    assert taker.taken == []
    await server.drain(0)


# -- the reading itself, over any cut ----------------------------------------------------------------------------------


def feed(pieces: list[bytes], limit: int = 10_000, *, normalize: bool = False) -> tuple[bytes | Reply, bytes, int]:
    """What `data.read` returns, what it leaves for the next command, and what stays in flight."""

    async def main() -> tuple[bytes | Reply, bytes, int]:
        reader, pace = asyncio.StreamReader(), limits.Limits()
        flight = limits.Flight(pace.in_flight)

        async def write() -> None:
            for piece in pieces:
                reader.feed_data(piece)
                await asyncio.sleep(0)

        writing = asyncio.ensure_future(write())
        found = await data.read(
            reader, limit=limit, flight=flight, pace=pace, tick=lambda seconds: None,
            mended=(lambda: None) if normalize else None,
        )  # fmt: skip
        await writing
        reader.feed_eof()
        return found, await reader.read(), flight.used

    with asyncio.Runner() as runner:
        return runner.run(main())


WORDS = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r\n.", b"\r\n..", b"a", b"received:", b"\r", b"\n", b"\x00", b"\r\n\r\n"]),
    max_size=12,
).map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=5)


def cut(content: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    """The pieces in which a client sends it, and it."""
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    sent = stuffed + b".\r\nQUIT\r\n"
    edges = sorted({0, len(sent), *(at for at in cuts if at < len(sent))})
    return [sent[a:b] for a, b in itertools.pairwise(edges)], content


@settings(max_examples=150, deadline=None)
@given(WORDS, CUTS)
@example(b"", [1, 3])
@example(b".\r\n", [2])
def test_any_content_comes_out_as_it_went_in_or_is_refused(content, cuts):
    """For any content and any cuts: the same bytes or a refusal, and what follows the end is left for the next."""
    pieces, content = cut(content, cuts)
    found, rest, flying = feed(pieces)
    assert rest == b"QUIT\r\n"
    plain = content.replace(b"\r\n", b"")
    if b"\r" in plain or b"\n" in plain:
        assert isinstance(found, Reply)
        assert found.code == 550
        assert flying == 0
    else:
        assert found == content
        assert flying == len(content)


@settings(max_examples=150, deadline=None)
@given(WORDS, CUTS)
@example(b"a\nb\r\n", [1, 2])
@example(b"a\n.\nb\r\n", [2, 3, 4])
@example(b"a\r\n.\nb\r\n", [2, 3, 4, 5])
@example(b".\n", [1, 2])
def test_any_content_has_the_same_lines_with_other_ends(content, cuts):
    """By a client that doubles dots behind CRLF alone, as curl does, where a line feed stands before one that is single."""
    content = content.replace(b"\n..", b"\n.-.")
    pieces, content = cut(content, cuts)
    found, rest, flying = feed(pieces, normalize=True)
    assert rest == b"QUIT\r\n"
    if b"\r" in content.replace(b"\r\n", b""):
        assert isinstance(found, Reply)
        assert flying == 0
    else:
        message = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        assert found == message
        assert flying == len(message)


@given(st.integers(0, 3 * limits.MAX_LINE), st.integers(0, 3 * limits.MAX_LINE))
def test_long_lines_are_found(one, two):
    content = b"x" * one + b"\r\n" + b"y" * two + b"\r\n"
    expected = 1 if one > limits.MAX_LINE else 2 if two > limits.MAX_LINE else 0
    assert data.long_line(content) == expected
