"""The store over one SQLite file.

Owns: what runs where: `writer` gets what writes, `readers` what reads. Leaves to others: what is asked
(`relay.store.sql`), transactions (`writer`), the file (`database`), the tables (`schema`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from relay.core import floods
from relay.core.persons import Person
from relay.store import Migrating, Unavailable
from relay.store.sql.engine import Engine
from relay.store.sql.program import Program
from relay.store.sqlite import database, faults
from relay.store.sqlite.programs import run
from relay.store.sqlite.readers import Readers
from relay.store.sqlite.writer import USUAL, Times, Writer

P = ParamSpec("P")
T = TypeVar("T")


class Sqlite(Engine):
    """See `relay.store.contract.Store`."""

    def __init__(
        self,
        path: Path,
        *,
        limits: floods.Limits = floods.LIMITS,
        clock: Callable[[], float] = time.time,
        times: Times = USUAL,
    ) -> None:
        super().__init__(limits, clock)
        self.path = path
        self.readers = Readers(path)
        self.writer = Writer(path, self.bulk(), times=times)

    async def start(self) -> None:
        """Whatever time it takes to bring the tables up to date."""
        while True:
            try:
                await self.writer.submit(lambda db: None)
            except Migrating:
                continue
            return

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing is heard of others."""

    async def stop(self) -> None:
        await self.writer.stop()
        await self.readers.stop()

    async def read(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.readers.read(lambda db: run(db, program(*args, **kwargs)))

    async def write(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        done: T = await self.writer.submit(lambda db: run(db, program(*args, **kwargs)))
        return done

    def _bulk(self, value: Any, many: int = 1) -> Awaitable[Any]:
        return self.writer.submit(value, many)

    async def overwrite(self, who: Person) -> str:
        try:
            await asyncio.to_thread(database.overwrite, self.path, who.traced_in)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{self.path.name}: {faults.said(error)}") from error
        return ""

    async def backup(self, path: Path) -> bool:
        try:
            await asyncio.to_thread(database.backup, self.path, path)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"backup of {self.path.name}: {faults.said(error)}") from error
        return True
