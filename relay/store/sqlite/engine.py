"""The store over one SQLite file, put together.

Owns: the SQL of mail, events and keys; readers in threads of their own. Leaves to others: all writing order and locks
(`writer`), hits in bulk (`events`), the outbox (`outbox`), spelling (`rows`), the tables (`schema`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from relay import files
from relay.core.model import Delivery, Endpoint, Event, History, Sent, Settlement
from relay.store import (
    NONE,
    ApiKey,
    Backlog,
    Cursor,
    Notification,
    NotificationState,
    Unavailable,
    UpstreamReply,
)
from relay.store.sqlite import events, history, messages, outbox, rows, schema
from relay.store.sqlite.writer import Bulk, Writer, inode

T = TypeVar("T")
READERS = 2


class Sqlite:
    """See `relay.store.Store`."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._asking = events.Asking()
        self._writer = Writer(
            path,
            {
                Sent: Bulk(messages.sents, rows.mended),
                messages.Replies: Bulk(messages.replies, messages.mended, awaited=False),
                events.Hit: Bulk(self._hits, events.mended),
            },
        )
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._local = threading.local()
        self._readers: set[sqlite3.Connection] = set()

    async def start(self) -> None:
        await self._write(lambda db: None)

    async def stop(self) -> None:
        await self._writer.stop()
        await asyncio.to_thread(self._pool.shutdown)
        while self._readers:
            self._readers.pop().close()

    # -- mail ----------------------------------------------------------------------------------------------------------

    async def record_sent(self, sent: Sent) -> None:
        await self._writer.submit(sent)

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        await self._writer.submit(messages.Replies(tuple(replies)))

    async def sent(self, message_id: str) -> Sent | None:
        return await self._read(lambda db: rows.read_sent(db, message_id))

    async def find_sent(self, internet_ids: Sequence[str]) -> Sent | None:
        def read(db: sqlite3.Connection) -> Sent | None:
            message_id = messages.named(db, rows.mended(internet_ids))
            return rows.read_sent(db, message_id) if message_id else None

        return await self._read(read)

    async def recent_sent(self, limit: int = 50, before: float | None = None) -> list[Sent]:
        def read(db: sqlite3.Connection) -> list[Sent]:
            found = db.execute(
                "SELECT * FROM messages WHERE submitted_at < ? ORDER BY submitted_at DESC, message_id DESC LIMIT ?",
                (float("inf") if before is None else before, limit),
            ).fetchall()
            return [rows.to_sent(row, rows.read_copies(db, row[0])) for row in found]

        return await self._read(read)

    # -- events --------------------------------------------------------------------------------------------------------

    async def append(self, event: Event, cursor: Cursor | None = None) -> Event | None:
        done: Event | None = await self._writer.submit(events.Hit(event, cursor))
        return done

    def _hits(self, db: sqlite3.Connection, batch: Sequence[events.Hit]) -> list[Event | None]:
        return events.hits(db, batch, self._asking, self._clock())

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
        grant_id: str = "",
    ) -> list[Event]:
        where, values = ["position > ?"], [after]
        conditions: list[tuple[str, tuple[Any, ...]]] = [
            ("message_id = ?", (message_id,) if message_id else ()),
            (f"type IN ({', '.join('?' * len(types))})", tuple(types)),
            ("grant_id = ?", (grant_id,) if grant_id else ()),
        ]
        for condition, given in conditions:
            if given:
                where.append(condition)
                values += given
        order = "DESC" if newest else "ASC"
        sql = f"SELECT {rows.EVENT} FROM events WHERE {' AND '.join(where)} ORDER BY position {order} LIMIT ?"
        found = await self._read(lambda db: [rows.to_event(row) for row in db.execute(sql, (*values, limit))])
        return found[::-1] if newest else found

    async def history(self, event_id: str) -> History | None:
        return await self._read(lambda db: history.history(db, event_id))

    async def cursor(self, mailbox: str) -> Cursor | None:
        def read(db: sqlite3.Connection) -> Cursor | None:
            row = db.execute("SELECT * FROM cursors WHERE mailbox = ?", (mailbox,)).fetchone()
            return rows.to_cursor(row) if row else None

        return await self._read(read)

    async def save_cursor(self, cursor: Cursor) -> None:
        await self._write(lambda db: db.execute(events.CURSORS, rows.cursor(cursor)) and None)

    # -- webhooks ------------------------------------------------------------------------------------------------------

    async def sync_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        await self._write(lambda db: outbox.sync(db, endpoints))

    async def endpoints(self) -> list[Endpoint]:
        return await self._read(outbox.endpoints)

    async def set_endpoint_status(self, endpoint_id: str, status: str) -> None:
        await self._write(lambda db: outbox.set_status(db, endpoint_id, status))

    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        return await self._write(lambda db: outbox.claim(db, now, busy, each, limit))

    async def settle(self, delivery_id: int, settlement: Settlement) -> None:
        await self._write(lambda db: outbox.settle(db, delivery_id, settlement))

    async def hasten(self, after: float, seconds: float) -> None:
        await self._write(lambda db: outbox.hasten(db, after, seconds))

    async def next_due(self) -> float | None:
        return await self._read(outbox.next_due)

    async def notifications(
        self, *, endpoint_id: str = "", state: NotificationState | Literal[""] = "", limit: int = 100
    ) -> list[Notification]:
        return await self._read(lambda db: outbox.notifications(db, endpoint_id, state, limit))

    async def backlog(self) -> list[Backlog]:
        return await self._read(outbox.backlog)

    async def replay(
        self,
        now: float,
        *,
        event_ids: Sequence[str] = (),
        since: float | None = None,
        dead: bool = False,
        endpoint_id: str = "",
    ) -> int:
        return await self._write(
            lambda db: outbox.replay(db, now, event_ids=event_ids, since=since, dead=dead, endpoint_id=endpoint_id)
        )

    # -- keys of the API -----------------------------------------------------------------------------------------------

    async def add_api_key(self, key: ApiKey) -> None:
        def write(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM api_keys WHERE name = ?", (key.name,)).fetchone():
                raise ValueError(f"a key named {key.name} exists")
            db.execute("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?)", rows.api_key(key))

        await self._write(write)

    async def api_keys(self) -> list[ApiKey]:
        return await self._read(
            lambda db: [rows.to_api_key(r) for r in db.execute("SELECT * FROM api_keys ORDER BY created_at, name")]
        )

    async def find_api_key(self, digest: str) -> ApiKey | None:
        def read(db: sqlite3.Connection) -> ApiKey | None:
            row = db.execute("SELECT * FROM api_keys WHERE digest = ?", (digest,)).fetchone()
            return rows.to_api_key(row) if row else None

        return await self._read(read)

    async def revoke_api_key(self, name: str) -> bool:
        return await self._write(lambda db: db.execute("DELETE FROM api_keys WHERE name = ?", (name,)).rowcount > 0)

    # -- the whole -----------------------------------------------------------------------------------------------------

    async def backup(self, path: Path) -> None:
        await asyncio.to_thread(backup, self.path, path)

    async def check(self) -> None:
        now = self._clock()
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO probe VALUES (1, ?)", (now,)) and None)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        done: T = await self._writer.submit(work)
        return done

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._reading, work)

    def _reading(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In a reader's thread, on its own connection; one that fails, or whose file was replaced, is made again."""
        local = self._local
        try:
            if getattr(local, "db", None) is not None and inode(self.path) != local.inode:
                self._forget(local)
            if getattr(local, "db", None) is None:
                local.db, local.inode = schema.connect(self.path, busy=1.0, reading=True), inode(self.path)
                self._readers.add(local.db)
            return work(local.db)
        except (sqlite3.Error, OSError) as error:
            self._forget(local)
            raise Unavailable(f"{self.path.name}: {error}") from error

    def _forget(self, local: threading.local) -> None:
        db, local.db = getattr(local, "db", None), None
        if db is not None:
            self._readers.discard(db)
            db.close()


def backup(source: Path, target: Path) -> None:
    """SQLite's own backup into a new file beside `target`, then renamed. In WAL mode writers are not held up."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        reader = schema.connect(source, busy=1.0, reading=True)
        try:
            os.close(files.create(part))
            copy = sqlite3.connect(part)
            try:
                reader.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            finally:
                copy.close()
        finally:
            reader.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except (sqlite3.Error, OSError) as error:
        part.unlink(missing_ok=True)
        raise Unavailable(f"backup of {source.name}: {error}") from error
