"""What several scenarios start from."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.peers.postgres import Server
from tests.scenarios import service

NUMBERS = itertools.count()


# Whatever a role does with the store is in one of these: they run over both engines. `--store` chooses one for all scenarios;
# those that look into SQLite's file themselves can't be had over the other.
OVER_BOTH = (
    "01-main-job",  # a message from end to end: record, open, click, reply, notifications
    "61-first-call",  # the APIs, as somebody meets them first
    "62-sdk-journey",  # Nylas' SDK: lists, threads, webhooks
    "65-later",  # drafts, and mail that is sent later
    "69-answers",  # mailboxes: answers, bounces, cursors, what was passed over
)
ENGINES = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--store")
    if chosen or metafunc.definition.path.parent.name in OVER_BOTH:
        if "engine" not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, "engine")
        metafunc.parametrize("engine", [chosen] if chosen else ENGINES, indirect=True)


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """What `service.settings` says of the store: nothing, or a database of the test's own. A fixture that lasts as long as
    its module, and runs the service, asks for it."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        name = f"scenario_{next(NUMBERS)}"
        server.psql(f"CREATE DATABASE {name}")
        service.store_url = server.url(name)
    yield request.param
    service.store_url = ""


@pytest.fixture
def set_clock(tmp_path: Path) -> tuple[Callable[[int], None], dict[str, str]]:
    """Sets the wall clock of a running program, as `date --set` would: clocks that nobody can set run on."""
    peers.require("faketime", package="faketime")
    (library, *_) = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    file = tmp_path / "clock"

    def ahead(seconds: int) -> None:
        new = file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        os.replace(new, file)

    ahead(0)
    return ahead, {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
