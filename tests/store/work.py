"""How much a database does for what it is asked: SQLite in steps of its machine, PostgreSQL in pages and rows that it looks
at. Neither depends on how quick or busy the machine is."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import asyncpg

from relay.store.postgres import turns

GRAIN = 20  # steps of SQLite that are one here
CONNECT, CONNECT_POSTGRES = sqlite3.connect, asyncpg.connect
EXPLAINING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}
DONE: Counter[str] = Counter()  # by statement
SAID: set[str] = set()  # to either
PLANS: dict[str, Mapping[str, Any]] = {}  # of PostgreSQL, by statement: the last one


class Counting(sqlite3.Connection):
    """Adds what it does to the statement that it was given last."""

    said = ""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.said = sql
        SAID.add(sql)
        return super().execute(sql, *values)

    def step(self) -> int:
        DONE[self.said] += 1
        return 0


def counting(database: str, *args: Any, **kwargs: Any) -> sqlite3.Connection:
    """In place of sqlite3.connect."""
    db = CONNECT(database, *args, factory=Counting, **kwargs)
    db.set_progress_handler(db.step, GRAIN)
    return db


async def explaining(
    *args: Any, server_settings: Mapping[str, str] | None = None, **kwargs: Any
) -> asyncpg.Connection[Any]:
    """In place of asyncpg.connect: of each statement of the program's own connections the server says what it did."""
    if server_settings is None:
        return await CONNECT_POSTGRES(*args, **kwargs)
    db = await CONNECT_POSTGRES(*args, server_settings={**server_settings, **EXPLAINING}, **kwargs)
    db.add_log_listener(heard)
    return db


def heard(_: Any, message: asyncpg.PostgresLogMessage) -> None:
    _, plan, text = message.message.partition("plan:\n")
    if plan:
        found = json.loads(text)
        sql = found["Query Text"]
        PLANS[sql] = found["Plan"]
        SAID.update((sql, in_turn(sql)))
        DONE[sql] += did(found["Plan"])


def in_turn(sql: str) -> str:
    """The question itself, without the writers' lock that is taken with it."""
    before, _, behind = turns.LOCKED.partition("{sql}")
    question = sql.partition(before.partition("{last}")[2])[2]
    return question.rstrip().removesuffix(behind.rstrip())


def did(plan: Mapping[str, Any]) -> int:
    """Pages, also those that it looked at again, and rows."""
    rows = sum(
        step["Actual Loops"] * (step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) for step in steps(plan)
    )
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] + rows)


def steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield step
    for below in step.get("Plans", ()):
        yield from steps(below)


async def of(asked: Any) -> Counter[str]:
    """What was done for it."""
    DONE.clear()
    await asked
    await asyncio.sleep(0)
    return DONE.copy()
