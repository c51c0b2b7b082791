"""A disk that fails, or a process that dies, at a step of its own choice: in this process, for one test."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

STEPS = ("open", "mkdir", "fchmod", "write", "fsync", "link", "rename")  # of what is to be kept; not of taking away


def at(patch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> list[int]:
    """Before the step of that number, counted from 1 over all of STEPS, `act` is called. Gives a list of one figure: the
    steps that were taken."""
    taken = [0]

    def wrapped(real):
        def call(*args, **how):
            taken[0] += 1
            if taken[0] == number:
                act()
            return real(*args, **how)

        return call

    for name in STEPS:
        patch.setattr(os, name, wrapped(getattr(os, name)))
    return taken


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken() -> None:
    raise OSError(errno.EIO, "Input/output error")
