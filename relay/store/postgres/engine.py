"""The store over a PostgreSQL database.

Owns: what runs where: `writer` gets what writes, `readers` what reads. Leaves to others: what is asked
(`relay.store.sql`), transactions (`writer`), connections (`connections`), the tables (`schema`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from relay.clock import steady
from relay.core import floods
from relay.core.model import Event, Verdict
from relay.core.nodes import Node, Roll
from relay.core.persons import Person
from relay.store import Migrating, Purged, PurgeMark
from relay.store.locator import Locator
from relay.store.postgres import expiry
from relay.store.postgres.connections import Connector
from relay.store.postgres.listener import Listener
from relay.store.postgres.months import Months
from relay.store.postgres.readers import Readers
from relay.store.postgres.writer import USUAL, Times, Writer
from relay.store.sql import appending, copying
from relay.store.sql.engine import Engine
from relay.store.sql.operations import Bulk
from relay.store.sql.program import Program, Row

ROWS = "rows"
PAGE = 1000  # positions of a month that are looked at at once
P = ParamSpec("P")
T = TypeVar("T")


class Postgres(Engine):
    """See `relay.store.contract.Store`."""

    def __init__(
        self,
        locator: Locator,
        password: str = "",
        *,
        limits: floods.Limits = floods.LIMITS,
        times: Times = USUAL,
    ) -> None:
        connector = Connector(locator, password)
        super().__init__(limits, connector.clock)
        self._months = Months()
        self._connector = connector
        self.readers = Readers(connector)
        self.listener = Listener(connector)
        self.writer = Writer(connector, self.bulk(), times=times)

    def bulk(self) -> dict[type, Bulk]:
        kinds = super().bulk()
        times: dict[type, Callable[[Any], Sequence[float]]] = {
            appending.Hit: lambda hit: [hit.event.at],
            appending.Hits: lambda hits: [event.at for event in hits.events],
        }
        for kind, of in times.items():
            write, mend, awaited = kinds[kind]
            kinds[kind] = Bulk(self._months.before(write, of), self._months.mending(mend), awaited)
        return kinds

    def adding(self, table: copying.Copied, rows: Sequence[Row]) -> Program[None]:
        if table.name == "events":
            at = table.columns.index("at")
            yield from self._months.make(row[at] for row in rows)
        yield from super().adding(table, rows)

    def correction(self, event_id: str, verdict: Verdict, reason: str, now: float) -> Program[Event | None]:
        yield from self._months.make([now])
        return (yield from super().correction(event_id, verdict, reason, now))

    async def start(self) -> None:
        """Whatever time it takes to bring the tables up to date."""
        while True:
            try:
                await self.check()
            except Migrating:
                continue
            return

    async def beat(self, node: Node) -> Roll:
        began = steady()
        roll = await super().beat(node)
        self._connector.clock.heard(roll.now, began)
        return roll

    def watch(self, changed: Callable[[], None]) -> None:
        self.listener.add(changed)

    async def stop(self) -> None:
        await self.listener.stop()
        await self.writer.stop()
        await self.readers.stop()

    async def read(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.readers.read(partial(program, *args, **kwargs))

    async def write(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        done: T = await self.writer.submit(partial(program, *args, **kwargs))
        return done

    def _bulk(self, value: Any, many: int = 1) -> Awaitable[Any]:
        return self.writer.submit(value, many)

    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
        """Whole months first: `mark.after` is the month that is under way, the last position and the number of rows in it;
        or ROWS."""
        if mark.stage or mark.after == ROWS or await self.counting():
            return await super().purge(mark, before, most)
        months = await self.read(expiry.expired, before)
        table, *reached = mark.after.split() or [""]
        month = next((one for one in months if one.table >= table), None)
        if month is None:
            return Purged({}, PurgeMark(0, ROWS))
        position, rows = map(int, reached if reached and table == month.table else (0, 0))
        positions, owed = await self.read(expiry.owed, month.table, position, PAGE)
        gone = await self.write(expiry.forgive, owed) if owed else 0
        if positions:
            return Purged({"deliveries": gone}, PurgeMark(0, f"{month.table} {positions[-1]} {rows + len(positions)}"))
        if not await expiry.drop(self._connector, month):
            return Purged({}, PurgeMark(0, f"{month.table}~"))
        return Purged({"events": rows}, PurgeMark(0, ""))

    async def overwrite(self, who: Person) -> str:
        return await expiry.vacuum(self._connector)

    async def backup(self, path: Path) -> bool:
        return False
