"""A mailbox's server that answers without measure: it is cut, and said which server that was."""

from __future__ import annotations

import asyncio
import contextlib
import resource

import pytest

from relay.mailbox import client, session
from relay.mailbox.imap import Imap
from relay.mailbox.source import Times, Unreachable
from relay.store import Cursor

PIECES = 1_000  # of 64 kB that a hostile server sends at the most: well beyond every bound


class Server:
    """Answers every command as an empty folder does, but the one named by `at`, to which it says `how` without end."""

    def __init__(self, at: str, how: bytes, again: bytes) -> None:
        self.at, self.how, self.again = at, how, again
        self.sent = self.port = 0

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self.how)
        piece = self.again * (65_536 // max(1, len(self.again)))
        for _ in range(PIECES if self.again else 0):
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        usual = {
            "CAPABILITY": "* CAPABILITY IMAP4rev1 IDLE\r\n",
            "EXAMINE": "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] set\r\n* OK [UIDNEXT 9] next\r\n",
            "SEARCH": "* SEARCH 8\r\n",
            "FETCH": '* 1 FETCH (UID 8 INTERNALDATE "01-Jan-2026 00:00:00 +0000" BODY[HEADER]<0> {4}\r\nA: b)\r\n',
        }
        with contextlib.suppress(ConnectionError):
            if self.at == "GREETING":
                await self._flood(writer)
            else:
                writer.write(b"* OK ready\r\n")
            while line := (await reader.readline()).decode():
                tag, _, command = line.strip().partition(" ")
                if self.at in command:
                    await self._flood(writer)
                if command.startswith("IDLE"):
                    writer.write(b"+ idling\r\n")
                    continue
                said = next((text for word, text in usual.items() if word in command), "")
                writer.write(f"{said}{tag} OK done\r\n".encode())
                await writer.drain()
        writer.close()


def source(port: int, whole_answer: float = 60.0) -> Imap:
    account = session.Account("127.0.0.1", port, "starttls", "me", "secret")
    times = Times(connect=5.0, answer=20.0, whole_answer=whole_answer, idle=(1500.0, 1500.0))
    return Imap("box", account, 1.0, times=times, logins=asyncio.Semaphore(1), jitter=lambda: 0.5)


async def read(box: Imap) -> None:
    """Until it fails."""
    async for fetched in box.messages(Cursor("box", 1, 7), 0.0):
        if not isinstance(fetched, Cursor):
            await fetched.whole()


ANSWERS: dict[str, tuple[str, bytes, bytes]] = {
    "a line for a greeting": ("GREETING", b"* OK ", b"x"),
    "lines before a greeting": ("GREETING", b"", b"* 1 EXISTS\r\n"),
    "a literal in the greeting": ("GREETING", b"* OK {3000000000}\r\n", b"x"),
    "lines after a login": ("LOGIN", b"", b"* 1 EXISTS\r\n"),
    "a literal that is announced": ("FETCH", b"* 1 FETCH (UID 8 BODY[HEADER]<0> {3000000000}\r\n", b""),
    "a literal that is sent": ("FETCH", b"* 1 FETCH (UID 8 BODY[HEADER]<0> {16777216}\r\n", b"x"),
    "literals": ("FETCH", b"", b"* 1 FETCH (UID 8 BODY[HEADER]<0> {4000}\r\n" + b"x" * 4000 + b")\r\n"),
    "a literal of a number that is none": ("FETCH", b"* 1 FETCH (UID 8 BODY[HEADER]<0> {" + b"9" * 5000 + b"}\r\n", b""),
    "a line of numbers": ("SEARCH", b"* SEARCH", b" 4294967295"),
    "a number of many digits": ("SEARCH", b"* SEARCH " + b"9" * 5000 + b"\r\n", b""),
    "lines for a search": ("SEARCH", b"", b"* SEARCH 8\r\n"),
    "word in an idle": ("IDLE", b"+ idling\r\n", b"* 5 EXISTS\r\n"),
    "a line in an idle": ("IDLE", b"+ idling\r\n* OK ", b"x"),
    "brackets": ("FETCH", b"* 1 FETCH (UID 8 X " + b"(" * 100_000 + b")\r\n", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_without_measure_is_cut(name: str) -> None:
    at, how, again = ANSWERS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with Server(at, how, again) as server:
        with pytest.raises(Unreachable) as failed:
            async with asyncio.timeout(60):
                await read(source(server.port))
    assert str(failed.value).startswith(f"127.0.0.1:{server.port}: ")
    assert len(str(failed.value)) < 400
    assert server.sent <= PIECES * 65_536 / 2  # it was not read to its end
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 10 * client.MAX_OCTETS


async def test_an_answer_that_drips_is_cut() -> None:
    """Each line comes in time; the whole does not."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"* OK ready\r\n")
            await reader.readline()
            while True:
                writer.write(b"* 1 EXISTS\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)  # drop by drop

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable, match=r"took more than 0\.2 s"):
        await read(source(port, 0.2))
    server.close()


async def test_check_is_told_the_same() -> None:
    async with Server(*ANSWERS["lines after a login"]) as server:
        with pytest.raises(Unreachable, match="more than 20000 lines"):
            await source(server.port).probe()
