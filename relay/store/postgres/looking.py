"""What a start would find in a database, without making or changing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from relay import causes
from relay.core.nodes import Roll
from relay.core.suppressions import Suppression
from relay.store import Newer, Unavailable
from relay.store.locator import Locator
from relay.store.postgres import schema
from relay.store.postgres.connections import Connector, Session
from relay.store.postgres.programs import run
from relay.store.sql import cursors, nodes, suppressions
from relay.store.sql.program import Program

T = TypeVar("T")
READ_ONLY = "SELECT current_setting('transaction_read_only')"
MAY_MAKE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
MAY_WRITE = (
    "SELECT has_table_privilege('messages', 'INSERT, UPDATE') AND has_table_privilege('events', 'INSERT, UPDATE')"
)
TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


async def examine(locator: Locator, password: str) -> str:
    """See `relay.store.examine`."""
    async with _looking(locator, password) as db:
        schema.check_server(db)
        at = await schema.version(db)
        if at > schema.LATEST:
            raise Newer(f"{locator.shown}: {schema.newer(at, schema.LATEST)}")
        if await db.fetchval(READ_ONLY) == "on":
            raise Unavailable(
                f"{locator.shown}: this server takes no writes: it is a standby, or read-only by its settings"
            )
        if not await db.fetchval(MAY_WRITE if at else MAY_MAKE):
            raise Unavailable(
                f"{locator.shown}: {locator.user} has no right to {'write' if at else 'make tables'} there"
            )
        server = ".".join(str(number) for number in db.get_server_version()[:2])
        how = "with TLS" if await db.fetchval(TLS) else "without TLS"
    if at == 0:
        return (
            f"{locator.shown} (PostgreSQL {server}, {how}) can be written; its tables will be made at the first start"
        )
    return f"{locator.shown} (PostgreSQL {server}, {how}) has schema {at} of {schema.LATEST}, and can be written"


async def passed_over(locator: Locator, mailbox: str, password: str) -> tuple[str, ...]:
    """See `relay.store.passed_over`."""
    found = await _asked(locator, password, cursors.one(mailbox))
    return found.passed if found else ()


async def suppressed(locator: Locator, digests: Collection[str], password: str) -> Sequence[Suppression]:
    """See `relay.store.suppressed`."""
    return await _asked(locator, password, suppressions.of(digests)) or ()


async def roll(locator: Locator, password: str) -> Roll:
    """See `relay.store.roll`."""
    return await _asked(locator, password, nodes.listed(0.0)) or Roll(0.0)


async def _asked(locator: Locator, password: str, program: Program[T]) -> T | None:
    """None where the tables are of an older version."""
    async with _looking(locator, password) as db:
        at = await schema.version(db)
        if at > schema.LATEST:
            raise Newer(f"{locator.shown}: {schema.newer(at, schema.LATEST)}")
        return None if at < schema.LATEST else await run(Session(db, {}), program)


@asynccontextmanager
async def _looking(locator: Locator, password: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connector = Connector(locator, password)
    db = await connector.raw()
    try:
        yield db
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise Unavailable(f"{locator.shown}: {causes.of(error)}") from error
    finally:
        db.terminate()
