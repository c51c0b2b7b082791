"""Every kind of store, one after the other: `make` gives a started one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from relay import store
from relay.store import Store

Make = Callable[[], Awaitable[Store]]
KINDS = ["memory:", "sqlite:test.db"]


@pytest.fixture(params=KINDS, ids=lambda url: url.partition(":")[0])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A started, empty store of each kind."""
    opened = store.open(request.param, tmp_path)
    await opened.start()
    yield opened
    await opened.stop()
