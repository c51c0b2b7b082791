"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.peers.postgres import Server

# No example has a deadline: a slow machine is not a fault. In CI the same examples every time: what a random one finds
# is found by `make torture` and by those who develop, and then stands in a table.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("usual"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "usual")

LONGEST = (
    "test_install.py",
    "torture",
    "scenarios",
    "shells",
    "test_gaps.py",
    "store",
)  # files, and folders with long ones


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store", choices=("sqlite", "postgresql"), help="of all scenarios, instead of both of those chosen"
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of this process that ask for a database."""
    from tests.peers import postgres as servers  # brings the driver with it

    with servers.running() as server:
        yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One for all tests of a file, which have no event loop."""
    from tests.peers import browser

    with browser.running() as started:
        yield started


def pytest_xdist_auto_num_workers() -> int:
    """Of `-n auto`: twice the processors, since half of the time the tests wait for processes and peers."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side the longest files begin first, so that none is left over at the end; else the quickest do."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((n for n, folder in enumerate(LONGEST) if folder in item.path.parts), 9))
