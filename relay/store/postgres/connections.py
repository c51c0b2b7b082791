"""Connections to the server: made, and judged when they fail.

Owns: what is set on a connection, TLS, how long a statement may take, and which failures are the database's and not the
statement's. Leaves to others: which host and how (`locator`), when to try again (`writer`, `readers`).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import asyncpg
from asyncpg import exceptions

from relay import causes
from relay.clock import steady
from relay.store import Newer, Unavailable
from relay.store.locator import Locator
from relay.store.postgres import schema
from relay.store.postgres.programs import Types, over
from relay.store.postgres.server_clock import ServerClock
from relay.store.sql.program import Row, Writes

PATIENCE = 10.0  # seconds that a statement may take, and that the server waits for a transaction's next one
GRACE = 2.0  # seconds beyond that after which the connection counts as lost
# Classes of SQLSTATE (the first two characters) that are the database's trouble.
BROKEN = {"08", "25", "40", "53", "55", "57", "58", "XX", "F0"}
# What waiting does not mend: passwords, names of databases, what a server can't do.
# Tables, columns or functions that are not there, no right to them: no value is to blame, nor lost for it.
ASTRAY = ("42501", "42P01", "42703", "42883", "3F")
HOPELESS = ("28", "3D", "0A", *ASTRAY)
# Statements here ask for few rows, by an index, whatever the statistics say: of tables that were empty when a plan was
# made, or were just filled, they say that it is quicker to read all. A cost of that kind would also call the compiler.
PLANNING = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
PLANNED = "".join(f"; SET LOCAL {name} = {value}" for name, value in PLANNING.items())  # of one transaction
TRANSIENT = {"08", "25", "40", "55", "57"}
NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
TARGET = exceptions.TargetServerAttributeNotMatched
STANDBY = "it takes no writes: it is a standby, or read-only by its settings"


class Session:
    """A connection, for one task at a time."""

    def __init__(self, db: asyncpg.Connection[Any], types: Types) -> None:
        self.types = types
        self._db = db

    async def fetch(self, sql: str, values: Sequence[Any]) -> list[Row]:
        found: list[Row] = await self._db.fetch(sql, *values, timeout=PATIENCE + GRACE)
        return found

    async def ask(self, sql: str, values: Sequence[Any], *, reads: bool) -> list[Row]:
        return await self.fetch(sql, values)

    async def write(self, asked: Writes) -> None:
        await self.fetch(*over(self.types, asked))

    async def fetch_in_turn(self, sql: str, *values: Sequence[Any]) -> list[Row]:
        """Once with each of these, in one round trip: each sees what was committed before it begins."""
        found: list[Row] = await self._db.fetchmany(sql, values, timeout=PATIENCE + GRACE)
        return found

    async def execute(self, sql: str) -> None:
        """Statements without values, in one round trip."""
        await self._db.execute(sql, timeout=PATIENCE + GRACE)

    @property
    def lost(self) -> bool:
        return bool(self._db.is_closed())

    async def close(self) -> None:
        try:
            await self._db.close(timeout=1.0)
        except (exceptions.PostgresError, exceptions.InterfaceError, OSError, TimeoutError):
            self._db.terminate()

    def drop(self) -> None:
        """At once: what is under way is lost."""
        self._db.terminate()


class Connector:
    """Makes connections: to the first of the hosts that will do, beginning with the one that did last."""

    def __init__(self, locator: Locator, password: str = "") -> None:
        self.locator = locator
        self.clock = ServerClock()
        self.migrating = False  # the tables are being changed for this program, by us or by another node
        self._password = password
        self._good = 0

    async def connect(self) -> Session:
        """To a database that is up to date: what its schema lacks is made. Raises `Unavailable`."""
        db = await self.raw()
        try:
            self.migrating = await schema.version(db) != schema.LATEST
            try:
                await schema.migrate(db)
            finally:
                self.migrating = False
            began = steady()
            self.clock.heard(await db.fetchval(NOW), began)
            return Session(db, await schema.types(db))
        except Exception as error:
            db.terminate()
            raise self._unavailable(error) from error

    async def reading(self) -> Session:
        """To the database as it is."""
        return Session(await self.raw(), {})

    async def raw(self) -> asyncpg.Connection[Any]:
        """A server that was set up anew, and knows neither database nor password, keeps nobody from the others."""
        hosts = self.locator.hosts
        failed: dict[int, Exception] = {}
        first = self._good  # another connection that is made meanwhile may change it
        for at in range(len(hosts)):
            number = (first + at) % len(hosts)
            try:
                made = await self._to(*hosts[number])
            except Exception as error:
                if not (broken(error) or hopeless(error)):
                    raise
                failed[number] = error
            else:
                self._good = number
                return made
        worst = max(failed.values(), key=lambda error: (hopeless(error), not isinstance(error, TARGET)))
        if len(hosts) == 1:
            raise self._unavailable(worst) from worst
        each = (f"{host}:{port}: {cause(failed[at], brief=True)}" for at, (host, port) in enumerate(hosts))
        raise Unavailable(f"{self.locator.database}: {'; '.join(each)}") from worst

    async def _to(self, host: str, port: int) -> asyncpg.Connection[Any]:
        locator = self.locator
        return await asyncpg.connect(
            host=host,
            port=port,
            user=locator.user,
            database=locator.database,
            password=self._password or None,
            passfile=locator.passfile or None,
            ssl=False if host.startswith("/") else tls(locator),
            timeout=locator.connect_timeout,
            target_session_attrs=locator.target,
            # A prepared statement belongs to a connection of the server, and a pooler gives us another one each time.
            statement_cache_size=0 if locator.pooler else 500,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            # Behind a pooler it goes with each transaction.
            server_settings={"application_name": locator.application, **({} if locator.pooler else PLANNING)},
        )

    def _unavailable(self, error: Exception) -> Exception:
        if isinstance(error, Unavailable) or not (broken(error) or hopeless(error)):
            return error
        return Unavailable(f"{self.locator.shown}: {cause(error)}")


def cause(error: BaseException, *, brief: bool = False) -> str:
    """What is wrong, and what to do about it."""
    if isinstance(error, TARGET):
        return STANDBY
    return causes.brief(error) if brief else causes.of(error)


def tls(locator: Locator) -> ssl.SSLContext | bool:
    if locator.tls == "disable":
        return False
    context = ssl.create_default_context(cafile=locator.tls_root or None)
    context.check_hostname = locator.tls == "verify-full"
    if locator.tls == "require":
        context.verify_mode = ssl.CERT_NONE
    if locator.tls_certificate:
        context.load_cert_chain(locator.tls_certificate, locator.tls_key or None)
    return context


def broken(error: BaseException) -> bool:
    """Is it the database that failed, or the way to it, and not this one statement?"""
    if isinstance(error, exceptions.PostgresError):
        return state(error)[:2] in BROKEN
    if isinstance(error, exceptions.InternalClientError):  # also of a connection that the server ended just now
        return True
    if isinstance(error, exceptions.InterfaceError):
        return not isinstance(error, ValueError)  # a value that it can't encode is one
    return isinstance(error, OSError | EOFError | Unavailable)


def transient(error: BaseException) -> bool:
    """To try again is of use: the connection was lost before it committed, or the server gave way to another."""
    if not isinstance(error, exceptions.PostgresError):
        return broken(error)
    return state(error)[:2] in TRANSIENT and not isinstance(error, exceptions.QueryCanceledError)


def late(error: BaseException) -> bool:
    """It took too long: somebody else has a lock on the table, or the server hangs. To ask again takes as long again."""
    return isinstance(error, TimeoutError | exceptions.QueryCanceledError | exceptions.LockNotAvailableError)


def astray(error: BaseException) -> bool:
    """The tables are not as they should be, or not for this user."""
    return isinstance(error, exceptions.PostgresError) and state(error).startswith(ASTRAY)


def refused(error: BaseException) -> bool:
    """Nothing came of the statement, nor of its transaction: the server said so, or never had it. Whatever ends the
    connection as well may have come after the commit."""
    return not broken(error) or getattr(error, "severity_en", None) == "ERROR"


def hopeless(error: BaseException) -> bool:
    """To wait is of no use: somebody has to do something first."""
    inner = error.__cause__ if isinstance(error, Unavailable) else error
    if isinstance(error, Newer) or (isinstance(error, Unavailable) and inner is None):
        return True
    if isinstance(inner, exceptions.PostgresError):
        return state(inner).startswith(HOPELESS)
    return isinstance(inner, ssl.SSLCertVerificationError | exceptions.ClientConfigurationError | FileNotFoundError)


def state(error: exceptions.PostgresError) -> str:
    return str(getattr(error, "sqlstate", "") or "")
