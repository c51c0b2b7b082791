"""Every kind of store, one after the other. Of each statement that SQLite is given the plan is looked at."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay import store as stores
from relay.store.contract import Store
from tests.peers import postgres
from tests.store import plans

KINDS = ["memory:", "sqlite:test.db", "postgresql:"]


@pytest.fixture(params=KINDS, ids=lambda url: url.partition(":")[0])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Of each kind."""
    if request.param != "postgresql:":
        yield request.param
        return
    server: postgres.Server = request.getfixturevalue("postgres")
    async with server.database() as made:
        yield made


@pytest.fixture
async def store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A started, empty store of each kind."""
    monkeypatch.setattr(sqlite3, "connect", plans.recording)
    opened = stores.open(url, tmp_path)
    await opened.start()
    with plans.watched():
        yield opened
        await opened.stop()


@pytest.fixture
async def another(url: str, store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    """The same store as another process has it: opened once more, where the kind can be."""
    if url == "memory:":
        yield store
        return
    opened = stores.open(url, tmp_path)
    await opened.start()
    yield opened
    await opened.stop()
