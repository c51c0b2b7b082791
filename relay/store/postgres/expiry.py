"""Whole months of events that are too old go by dropping their tables.

Owns: which tables are of such months, what is taken away with their events, and how a table goes without holding anybody up.
Leaves to others: rows of a month that is only partly too old (`sql.purging`), making tables (`events_month`, see `migrations`).

A table is detached concurrently: that takes no lock for which a hit would wait, only patience with who reads at that moment.
What was detached, and was not dropped because something came between, is found and dropped the next time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from relay import log
from relay.store.postgres.connections import Connector
from relay.store.sql import copying
from relay.store.sql.program import Many, Program

LOG = log.room("store")
NAME = re.compile(r"events_(?:\d{4}_\d{2}|before|after)")
UPPER = re.compile(r" TO \('?([0-9.e+-]+|MAXVALUE)'?\)")
# The partitions with their bounds, and tables of that name that are none any more.
MONTHS = r"""
SELECT c.relname, coalesce(pg_get_expr(c.relpartbound, c.oid), ''), coalesce(i.inhdetachpending, true)
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'events\_%' ORDER BY c.relname
"""
PAGE = "SELECT position FROM {table} WHERE position > ? ORDER BY position LIMIT ?"
OWED = "SELECT position FROM deliveries WHERE position = ANY(CAST(? AS bigint[]))"
FORGIVE = "DELETE FROM deliveries WHERE position = ANY(CAST(? AS bigint[])) RETURNING 1"
# A lock that is not to be had soon is not waited for: others would wait behind us.
PATIENCE = ("SET lock_timeout = '2s'", "SET statement_timeout = '60s'")


STAYS = (
    "PostgreSQL keeps the octets of deleted rows in its pages until these are used again (VACUUM FULL writes the tables anew, and"
    " locks them), in its WAL until that is recycled, and in standbys, archives and backups"
)


class Month(NamedTuple):
    """A table that is to go; `detached`: it is no partition any more, or half."""

    table: str
    detached: bool


def expired(before: float) -> Program[list[Month]]:
    rows = yield MONTHS, ()
    found = []
    for table, bounds, pending in rows:
        upper = UPPER.search(bounds)
        if NAME.fullmatch(table) and (upper is None or (upper[1] != "MAXVALUE" and float(upper[1]) <= before)):
            found.append(Month(table, pending))
    return found


def owed(table: str, after: int, most: int) -> Program[tuple[list[int], list[int]]]:
    """The next positions of a month, and those of them of which somebody is still owed word."""
    rows = yield PAGE.format(table=table), (after, most)
    positions = [int(row[0]) for row in rows]
    waiting = yield OWED, (Many(positions),)
    return positions, [int(row[0]) for row in waiting]


def forgive(positions: Sequence[int]) -> Program[int]:
    return len((yield FORGIVE, (Many(positions),)))


async def vacuum(connector: Connector) -> str:
    """The space of dead rows can be used again. What PostgreSQL keeps all the same, in a sentence."""
    db = await connector.raw()
    try:
        if not connector.locator.pooler:
            await db.execute("SET statement_timeout = 0")
        await db.execute(f"VACUUM {', '.join(table.name for table in copying.TABLES)}")
    except asyncpg.PostgresError as reason:
        return f"{STAYS}; VACUUM failed: {reason}"
    finally:
        db.terminate()
    return STAYS


async def drop(connector: Connector, month: Month) -> bool:
    """False where that can't be now, or not by this user: the log says why, and its rows go as others do."""
    db = await connector.raw()
    try:
        # What is set on a pooler's connection would be others' too.
        for setting in () if connector.locator.pooler else PATIENCE:
            await db.execute(setting)
        if not month.detached:
            await db.execute(f"ALTER TABLE events DETACH PARTITION {month.table} CONCURRENTLY")
        elif await db.fetchval("SELECT relispartition FROM pg_class WHERE oid = $1::regclass", month.table):
            await db.execute(f"ALTER TABLE events DETACH PARTITION {month.table} FINALIZE")
        await db.execute(f"DROP TABLE {month.table}")
    except asyncpg.PostgresError as reason:
        LOG.warning("month_not_dropped", table=month.table, reason=str(reason))
        return False
    finally:
        db.terminate()
    LOG.info("month_dropped", table=month.table)
    return True
