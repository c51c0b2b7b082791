"""What queues to be written, and what becomes of it.

Owns: these values, and how many of them there may be. Leaves to others: when they are written (the engines' writers).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

BATCH = 512  # operations in one transaction at most
QUEUE = 20_000  # operations that may wait; beyond, Unavailable at once

Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Operation:
    """Something to be written, since `at`: a value of a class that goes in bulk with others, or what the writer runs."""

    __slots__ = ("at", "future", "work")

    def __init__(self, work: Any, future: asyncio.Future[Any], at: float) -> None:
        self.work = work
        self.future = future
        self.at = at


def settle(outcomes: Iterable[Outcome]) -> None:
    """Whoever waits hears what became of it. Some have given up."""
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
