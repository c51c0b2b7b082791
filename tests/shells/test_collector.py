"""When the collector looks for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from relay import collector


@pytest.fixture
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("as_before")
def test_while_the_program_loads_nothing_is_looked_for() -> None:
    collector.load()
    assert gc.isenabled()
    before = [generation["collections"] for generation in gc.get_stats()]
    kept = [[] for _ in range(100_000)]
    assert [generation["collections"] for generation in gc.get_stats()] == before
    assert len(kept) == 100_000


@pytest.mark.usefixtures("as_before")
def test_cycles_are_looked_for_less_often_and_still_go() -> None:
    collector.settle()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold()[0] == collector.OBJECTS
    assert gc.isenabled()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
