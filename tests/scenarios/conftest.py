"""What several scenarios start from."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import peers


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
