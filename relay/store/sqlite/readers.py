"""The threads that read, each on a connection of its own.

Owns: these threads and connections; one that fails, or whose file was replaced, is made again. Leaves to others: what is
read.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relay.store import Unavailable
from relay.store.sqlite import faults
from relay.store.sqlite.database import connect, inode

T = TypeVar("T")
THREADS = 2
BUSY = 1.0  # seconds that a reader waits for a lock; in WAL mode only while the file is being recovered


class Readers:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store-reader")
        self._local = threading.local()
        self._open: set[sqlite3.Connection] = set()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._reading, work)

    async def stop(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        while self._open:
            self._open.pop().close()

    def _reading(self, work: Callable[[sqlite3.Connection], T]) -> T:
        local = self._local
        try:
            if getattr(local, "db", None) is not None and inode(self.path) != local.inode:
                self._forget()
            if getattr(local, "db", None) is None:
                local.db, local.inode = connect(self.path, busy=BUSY, reading=True), inode(self.path)
                self._open.add(local.db)
            return work(local.db)
        except (sqlite3.Error, OSError) as error:
            self._forget()
            raise Unavailable(f"{self.path.name}: {faults.said(error)}") from error

    def _forget(self) -> None:
        db, self._local.db = getattr(self._local, "db", None), None
        if db is not None:
            self._open.discard(db)
            db.close()
