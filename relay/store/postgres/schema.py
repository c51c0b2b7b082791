"""Which of the migrations a database has, and the ones that it lacks.

Owns: the table `migrations`, and that a database is brought up to date as a whole or not at all, by one node while others
wait. Leaves to others: the steps (`migrations`), connections (`connections`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay import log
from relay.store import Newer, Unavailable
from relay.store.postgres import migrations
from relay.store.postgres.programs import Types

if TYPE_CHECKING:
    from asyncpg import Connection

LOG = log.room("store")
LATEST = len(migrations.STEPS)
OLDEST_SERVER = 15
ENCODINGS = ("UTF8", "SQL_ASCII")  # the second, of clusters that were made without a language, takes any octets
NUMBER = "SELECT coalesce(max(number), 0) FROM migrations"
THERE = "SELECT to_regclass('migrations') IS NOT NULL"
# Of this program, and of this schema of the database. 0 is held by who writes, 1 by who migrates.
KEY = "1953656946, hashtext(current_schema()) * 2 + {which}"
LOCK = f"SELECT pg_advisory_xact_lock({KEY})"
TYPES = """
SELECT c.relname || '.' || a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""


async def version(db: Connection) -> int:
    """The number of the last step applied; 0 for an empty database."""
    if not await db.fetchval(THERE):
        return 0
    return int(await db.fetchval(NUMBER))


async def migrate(db: Connection, steps: Sequence[Sequence[str]] = migrations.STEPS) -> None:
    """Applies the steps that are lacking, all of them or none. Raises `Newer` where the database has more."""
    check_server(db)
    if await version(db) == len(steps):
        return
    async with db.transaction():
        await db.execute(LOCK.format(which=1))
        at = await version(db)  # another node may have done it meanwhile
        if at > len(steps):
            raise Newer(newer(at, len(steps)))
        if at == 0:
            await db.execute(
                "CREATE TABLE migrations (number integer PRIMARY KEY, applied_at double precision NOT NULL)"
            )
        for number, step in enumerate(steps[at:], at + 1):
            if at:  # over very many rows it may take minutes
                LOG.info("migrating", step=number, of=len(steps))
            for sql in step:
                await db.execute(sql)
            await db.execute("INSERT INTO migrations (number, applied_at) VALUES ($1, $2)", number, time.time())


def check_server(db: Connection) -> None:
    major = db.get_server_version().major
    if major < OLDEST_SERVER:
        raise Unavailable(f"PostgreSQL {major} is too old: {OLDEST_SERVER} or newer is needed")
    encoding = db.get_settings().server_encoding
    if encoding not in ENCODINGS:
        raise Unavailable(
            f"the database's encoding is {encoding}, which can't hold all text: make it anew with ENCODING 'UTF8' "
            "TEMPLATE template0"
        )


async def types(db: Connection) -> Types:
    return {str(name): str(kind) for name, kind in await db.fetch(TYPES)}


def newer(at: int, known: int) -> str:
    return f"the database has schema {at}, this program knows {known}: use the program that wrote it, or a newer one"
