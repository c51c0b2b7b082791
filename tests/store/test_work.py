"""What a store is asked costs no more once there is more in it: counted in what the database does (see `work`), for all
that is asked (`asks`), over two stores that `filled` made, one four times as large.

Of PostgreSQL it is the plan that it really follows, with the statistics of a large table. In both engines a filter that
no index serves may look at so many rows, and no more.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from relay import store as stores
from relay.store.postgres.programs import numbered
from relay.store.sql.program import Rows
from relay.store.sqlite import programs
from tests.peers import postgres as servers
from tests.store import asks, filled, test_plans, work

SIZES = (3_500, 14_000)
WALK = 100  # rows that a page of a list looks at here, so that the small store has more
NOW = 1_764_400_000.0
DAYS = 20.0
RATIO, LITTLE = 1.5, 40  # a tree has a level more, and pages are not equally full
# What grows all the same, and is to be mended: this list only gets shorter.
GROWS: Mapping[str, frozenset[str]] = {"sqlite": frozenset(), "postgresql": frozenset()}

# Not asked here: of rows by their keys, or at the end of a copy; or only as a part of another.
UNASKED = {
    "suppressions.FIRST_REFUSAL",
    "copying.ADD", "copying.UNNUMBERED", "copying.NUMBER_EVENTS", "copying.NUMBER_DELIVERIES", "persons.COPY_ERASED",
    "persons.COPY_CLEANED", "purging.SOME_COPIES",
}  # fmt: skip

Done = Mapping[str, tuple[Counter[str], Counter[str]]]  # by ask, over the small and the large store


async def over(url: str, of: filled.Filled) -> dict[str, Counter[str]]:
    store: Any = stores.open(url, Path("/"))
    store.walk = WALK
    await store.start()
    found = {name: await work.of(ask(store)) for name, ask in asks.all_of(of).items()}
    await store.stop()
    return found


async def measured(urls: list[str]) -> Done:
    both = [await over(url, filled.Filled(size, NOW, DAYS)) for url, size in zip(urls, SIZES, strict=True)]
    return {name: (both[0][name], both[1][name]) for name in both[0]}


def of_sqlite(folder: Path) -> Done:
    urls = []
    for size in SIZES:
        filled.sqlite(folder / f"{size}.db", filled.Filled(size, NOW, DAYS))
        urls.append(f"sqlite:{folder}/{size}.db")
    return asyncio.run(measured(urls))


async def of_postgres(server: servers.Server) -> Done:
    async with server.database() as small, server.database() as large:
        for url, size in zip((small, large), SIZES, strict=True):
            db = await asyncpg.connect(url)
            await filled.postgres(db, filled.Filled(size, NOW, DAYS))
            # What happens now has a table of its own, which an emptied database may have from before.
            await db.execute("SELECT events_month($1)", time.time())
            await db.close()
        return await measured([small, large])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    with pytest.MonkeyPatch.context() as patch:
        work.SAID.clear()
        if request.param == "sqlite":
            patch.setattr(sqlite3, "connect", work.counting)
            yield of_sqlite(tmp_path_factory.mktemp("filled"))
        else:
            patch.setattr(asyncpg, "connect", work.explaining)
            yield asyncio.run(of_postgres(request.getfixturevalue("postgres")))


def test_each_statement_is_asked(done: Done, request: pytest.FixtureRequest) -> None:
    """A new one needs an ask. PostgreSQL is given several in one: of those that write rows it is SQLite that tells."""
    sqlite = request.node.callspec.params["done"] == "sqlite"
    forgotten, asked = set(), set()
    for name, text in test_plans.named():
        texts: set[str] = set()
        if not isinstance(text, Rows):
            texts = {text if sqlite else numbered(text)[0]}
        elif sqlite:
            texts = {*programs.statements(text).values()}
        if texts and {*texts, text} & {*test_plans.STATEMENTS.values()}:
            (asked if texts & work.SAID else forgotten).add(name.rpartition(".")[0])
    assert forgotten == (UNASKED if sqlite else UNASKED - {"copying.ADD"})


def test_it_costs_no_more(done: Done, request: pytest.FixtureRequest) -> None:
    engine = request.node.callspec.params["done"]
    grown = {
        name: (small.total(), large.total(), large.most_common(1))
        for name, (small, large) in done.items()
        if large.total() > RATIO * small.total() + LITTLE
    }
    assert grown.keys() == GROWS[engine], {name: grown.get(name) for name in grown.keys() ^ GROWS[engine]}
