"""One machine for the tests of a file, with systemd as its first process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers import systemd
from tests.scenarios.units import Relay


@pytest.fixture(scope="module")
def machine() -> Iterator[systemd.Machine]:
    with systemd.booted(bound=systemd.installed()) as machine:
        systemd.install(machine)
        yield machine


@pytest.fixture
def relay(machine: systemd.Machine) -> Iterator[Relay]:
    """With the usual settings; nothing runs."""
    relay = Relay(machine)
    relay.settings()
    yield relay
    relay.clear()
