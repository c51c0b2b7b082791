"""Every kind of store, one after the other. Of each statement that SQLite is given the plan is looked at."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay import store as stores
from relay.store.contract import Store
from tests.store import plans

KINDS = ["memory:", "sqlite:test.db"]


@pytest.fixture(params=KINDS, ids=lambda url: url.partition(":")[0])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A started, empty store of each kind."""
    monkeypatch.setattr(sqlite3, "connect", plans.recording)
    opened = stores.open(request.param, tmp_path)
    await opened.start()
    with plans.watched():
        yield opened
        await opened.stop()


@pytest.fixture
async def another(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    """The same store as another process has it: opened once more, where the kind can be."""
    url = request.node.callspec.params["store"]
    if url == "memory:":
        yield store
        return
    opened = stores.open(url, tmp_path)
    await opened.start()
    yield opened
    await opened.stop()
