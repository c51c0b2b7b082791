"""One transaction of the writer, in as few round trips as can be.

Owns: the lock, the beginning and the end of a transaction, and which of them go with a statement. Leaves to others: what is
asked (`relay.store.sql`), which operations are taken and what becomes of them (`writer`).

The usual program asks one question and writes what follows from the answer, which makes two round trips. The lock is
taken with the question: that is run twice, once with no values, which waits for the lock, and then with its own, and so
sees all that was committed before. Until then there is no transaction, and the lock is the connection's. What is written
is held back until the program ends, and then goes with the commit as one statement, which makes the lock the
transaction's. Whatever wants more than that, or writes in another way, begins a transaction as anybody would.

Behind a pooler nothing outlives a transaction. So there each turn begins one.
"""
# ruff: noqa: S608 - SQL is put together from constants of `relay.store.sql`; values are bound

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from relay.store.postgres import schema
from relay.store.postgres.connections import PATIENCE, PLANNED, Session
from relay.store.postgres.programs import End, Types, over
from relay.store.sql.program import Row, Writes

MILLISECONDS = int(PATIENCE * 1000)
LIMITS = {
    "statement_timeout": MILLISECONDS,
    "lock_timeout": MILLISECONDS // 2,
    "idle_in_transaction_session_timeout": MILLISECONDS,
}
SETTINGS = "; ".join(f"SET {name} = {value}" for name, value in LIMITS.items())  # of a connection that is ours
LIMITED = "".join(f"; SET LOCAL {name} = {value}" for name, value in LIMITS.items())  # of one transaction
KEY = schema.KEY.format(which=0)
# Who holds the lock and hangs is put out, as within a transaction.
HANG = "set_config('idle_session_timeout', '{}', false)"
FREE = f"pg_advisory_unlock_all(), {HANG.format(0)}"
LOCKED = f"""
WITH turn AS MATERIALIZED (SELECT pg_advisory_lock({KEY}), {HANG.format(MILLISECONDS)})
SELECT ${{last}}::boolean, asked.* FROM turn LEFT JOIN (SELECT true AS there, q.* FROM ({{sql}}) AS q) AS asked ON true
"""
BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock({KEY}), {FREE}"
POOLED = f"BEGIN{PLANNED}{LIMITED}; SELECT pg_advisory_xact_lock({KEY})"
WRITER = (
    "INSERT INTO writers (writer_id, batch, at) VALUES ({}, {}, {}) ON CONFLICT (writer_id)"
    " DO UPDATE SET batch = excluded.batch, at = excluded.at"
)
COMMIT = WRITER.format("'{writer}'", "{batch}", "{now}") + "; COMMIT"
SEALED = End(WRITER, f"pg_advisory_xact_lock({KEY}), {FREE}")  # from left to right


class Changed(Exception):
    """It is to be asked about something else, now that the lock is held. Nothing was done."""


class Turn:
    """`same` is called once the lock is held, before anything is done: whether what was asked about is what is to be done."""

    def __init__(self, session: Session, same: Callable[[], bool], *, pooled: bool) -> None:
        self.types: Types = session.types
        self.session = session
        self._same = same
        self._pooled = pooled
        self.held = False
        self._begun = False
        self._last: Writes | None = None

    async def begin(self) -> None:
        """A transaction, with the lock. What failed before is taken back."""
        if self._begun:
            await self.session.execute("ROLLBACK")
        await self.session.execute(POOLED if self._pooled else BEGIN)
        self._begun = True
        self._last = None
        self._hold()

    def _hold(self) -> None:
        if not self.held:
            self.held = True
            if not self._same():
                raise Changed

    async def ask(self, sql: str, values: Sequence[Any], *, reads: bool) -> list[Row]:
        await self._write_last()
        if not self._begun and not reads:
            await self.begin()
        if self.held:
            return await self.session.fetch(sql, values)
        nothing = [None] * len(values)
        rows = await self.session.fetch_in_turn(locked(sql, len(values)), [*nothing, False], [*values, True])
        self._hold()
        return [row[2:] for row in map(tuple, rows) if row[0] and row[1]]

    async def write(self, asked: Writes) -> None:
        await self._write_last()
        if not self.held:
            await self.begin()
        self._last = asked

    async def _write_last(self) -> None:
        """It is not the last."""
        if (last := self._last) is not None:
            if not self._begun:
                await self.begin()
            self._last = None
            await self.session.write(last)

    async def commit(self, writer: str, batch: int) -> None:
        if not self._begun and self._last is not None:
            sql, values = over(self.types, self._last, SEALED)
            await self.session.fetch(sql, [*values, writer, batch, time.time()])
        elif self._begun:
            await self._write_last()
            await self.session.execute(COMMIT.format(writer=writer, batch=batch, now=time.time()))
        else:
            await self.leave()

    async def leave(self) -> None:
        """Nothing was done."""
        await self.session.execute("ROLLBACK" if self._begun else f"SELECT {FREE}")


@lru_cache(maxsize=100)
def locked(sql: str, values: int) -> str:
    return LOCKED.format(sql=sql, last=values + 1)
