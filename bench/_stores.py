"""The store that a load bench asks for: SQLite in each relay's folder, a private PostgreSQL server of Debian's package, or
one that is there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
from collections.abc import Callable

from tests.peers import postgres

# Unlike in the tests it keeps what it says that it has.
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "256MB"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=1, help="processes of the role, under a supervisor")
    parser.add_argument(
        "--store",
        default="sqlite",
        metavar="URL",
        help='"postgresql" starts a server; a URL is used by all (default: sqlite)',
    )


def urls(stack: contextlib.ExitStack, asked: str) -> Callable[[], str]:
    """Gives the URL of a store that nobody else has, and "sqlite" for one of the relay's own."""
    if asked != "postgresql":
        return lambda: asked
    server = postgres.Server(DURABLE)
    stack.callback(server.remove)
    server.start()
    numbers = itertools.count()

    def new() -> str:
        name = f"bench_{next(numbers)}"
        server.psql(f"CREATE DATABASE {name}")
        asyncio.run(migrated(server.url(name)))
        return server.url(name)

    return new


async def migrated(url: str) -> None:
    """With its tables, as after a first start."""
    import asyncpg

    from relay.store.postgres import schema

    db = await asyncpg.connect(url)
    await schema.migrate(db)
    await db.close()


def toml(url: str) -> str:
    return "" if url == "sqlite" else f'[store]\nurl = "{url}"\n'
