"""What queues to be written, and what becomes of it.

Owns: these values, how many of them there may be, and how those of one class are written together. Leaves to others: when they are
written (the engines' writers).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from relay.store.sql.program import Program

BATCH = 512  # values in one transaction, as far as operations with several allow
QUEUE = 20_000  # operations that may wait; beyond, Unavailable at once

Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Bulk(NamedTuple):
    """How values of one class are written: many at once, giving a result each; one that failed made fit for another
    try; whether somebody waits for them."""

    write: Callable[[Sequence[Any]], Program[Sequence[Any]]]
    mend: Callable[[Any], Any]
    awaited: bool = True


class Operation:
    """Something to be written, since `at`: a value of a class that goes in bulk with others, or what the writer runs. `many`
    says as how many it counts."""

    __slots__ = ("at", "future", "many", "work")

    def __init__(self, work: Any, future: asyncio.Future[Any], at: float, many: int = 1) -> None:
        self.work = work
        self.future = future
        self.at = at
        self.many = many


def fitting(operations: Iterable[Operation]) -> list[Operation]:
    """The first of them, as many as one transaction takes."""
    found, room = [], BATCH
    for operation in operations:
        if room <= 0:
            break
        found.append(operation)
        room -= operation.many
    return found


def values(operations: Iterable[Operation]) -> int:
    return sum([operation.many for operation in operations])


def settle(outcomes: Iterable[Outcome]) -> None:
    """Whoever waits hears what became of it. Some have given up."""
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
