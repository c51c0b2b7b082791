"""Exports while their readers are slow, or gone."""

import asyncio
import contextlib
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from relay import store as stores
from relay.core.model import Event
from relay.store import lists
from relay.store.memory import Memory
from relay.store.sqlite import Sqlite
from tests.api.serving import Api, serving
from tests.store.contract import event, sent
from tests.until import until

HEAVY = "x" * 10_000  # octets that an event has at least
BUFFERS = 16_000_000  # octets: more than the system keeps of a connection on its way


class Endless(Memory):
    """A store whose events do not end before `end` pages."""

    def __init__(self, end: int = 1 << 60) -> None:
        super().__init__()
        self.pages, self.end, self.rows = 0, end, 0

    async def list_events(self, asked: lists.Events, limit: int) -> lists.Listed[Event]:
        self.pages += 1
        self.rows = limit
        found = [event(position=n, user_agent=HEAVY) for n in range(limit)]
        return lists.Listed(found, (1.0, self.pages) if self.pages < self.end else None)

    @property
    def octets(self) -> int:
        """That were asked for so far, at least."""
        return self.pages * self.rows * len(HEAVY)


@contextlib.asynccontextmanager
async def reader(server: Api, path: str = "/api/export/events?format=jsonl") -> AsyncIterator[socket.socket]:
    """A client that has asked, and reads nothing by itself."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", server.port))
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer all\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(client, request.encode())
        assert (await loop.sock_recv(client, 15)).startswith(b"HTTP/1.1 200")
        yield client


async def others(server: Api, count: int = 50) -> None:
    """Others are answered; the loop has gone round some hundred times by then."""
    for _ in range(count):
        assert (await server.get("/api/messages")).status == 200


async def test_a_reader_that_stops_has_the_export_stop_and_one_that_goes_on_gets_all(tmp_path: Path) -> None:
    known = Endless(end=60)
    async with serving(tmp_path, known=known) as server, reader(server) as client:
        await others(server)
        assert 0 < known.octets < BUFFERS
        size = 0
        while part := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
            size += len(part)
        assert known.pages == 60
        assert size > known.octets > 3 * BUFFERS


async def test_a_reader_that_does_not_read_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path, known=Endless(), patience=0.1) as server, reader(server):
        assert server.connections == 1
        await until(lambda: server.connections == 0)


async def test_an_export_ends_with_its_reader(tmp_path: Path) -> None:
    known = Endless()
    async with serving(tmp_path, known=known) as server:
        async with reader(server):
            await others(server, 5)
            assert server.connections == 2  # and that of the others
        await until(lambda: server.connections == 1)
        pages = known.pages
        await others(server)
        assert known.pages == pages


async def test_nothing_is_locked_for_a_reader_that_stops(tmp_path: Path) -> None:
    known = stores.open("sqlite:t.db", tmp_path)
    assert isinstance(known, Sqlite)
    async with serving(tmp_path, known=known) as server:
        heavy = HEAVY * 2
        await asyncio.gather(*(known.append(event(message_id=f"x{n}", user_agent=heavy)) for n in range(1500)))
        async with reader(server) as client:
            await others(server)
            await known.record_sent(sent("m2"))
            with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as db:
                checkpoint: Any = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert checkpoint == (0, 0, 0)  # no page of the log is kept for a reader
            size = 0
            while part := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
                size += len(part)
            assert size > 1500 * len(heavy)
