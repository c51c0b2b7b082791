"""Hits that a process only counts, because their pixel, link or copy has had its share: a flood costs no transaction.

Owns: what this process knows to be folded, and the numbers until the store has them; how many hits are kept while no store
answers. Leaves to others: whether a hit is folded (`core.tally`, in the store, for all processes), events that are kept
(`recorder`).

Nothing is decided here while the store answers: what it folded is folded here until the time that it said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, TypeVar

from relay import log, metrics
from relay import store as stores
from relay.core import classify, floods, tally
from relay.core.floods import Fold, Folded, Level
from relay.core.model import Event

LOG = log.room("public")

SECONDS = 5.0  # between two hands-over of numbers to the store
MOST = 10_000  # tokens, clients and numbers that are remembered; beyond it the oldest go
UNASKED = 10  # times the limit are kept while the store can't say how many have a copy, and what was kept elsewhere

T = TypeVar("T")


class Store(Protocol):
    async def fold(self, folds: Sequence[Fold]) -> None: ...


class Folding:
    """One process' counters. Its methods are called on the event loop."""

    def __init__(self, store: Store, limits: floods.Limits = floods.LIMITS) -> None:
        self._store = store
        self._unasked = floods.Limits(limits.token * UNASKED, limits.message * UNASKED)
        self._until: dict[Hashable, float] = {}
        self._numbers: dict[tuple[str, str], int] = {}  # per message and token
        self._levels: dict[str, dict[str, Level]] = {}  # per message, of what was kept unasked
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def folds(self, event: Event) -> bool:
        """Whether the store has said that such a hit is folded now. It is counted then."""
        if not self._until:
            return False
        everyone = like(event)
        if not self._lasts(everyone, event.at) and not self._lasts((everyone, client(event)), event.at):
            return False
        self._count(event)
        return True

    def learn(self, event: Event, folded: Folded) -> None:
        """The store has folded it, and counted it."""
        counted(event)
        everyone = like(event)
        limited(self._until)
        self._until[everyone if folded.everyone else (everyone, client(event))] = folded.until

    def overflows(self, event: Event) -> bool:
        """While the store does not answer: whether the hit is one too many even so. It is counted then."""
        if self._unasked == (0, 0):
            return False
        if event.message_id not in self._levels:
            limited(self._levels)
        levels = self._levels.setdefault(event.message_id, {})
        if not floods.take(levels, event, self._unasked, counted=True):
            return False
        self._count(event)
        return True

    async def close(self) -> None:
        """Hands over what there is."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._hand_over()
        if self._numbers:
            LOG.warning("folded_hits_not_stored", hits=sum(self._numbers.values()))

    def _lasts(self, key: Hashable, now: float) -> bool:
        until = self._until.get(key)
        if until is None:
            return False
        if now < until < now + 2 * floods.HOUR:  # else it is over, or the clock was set back
            return True
        del self._until[key]
        return False

    def _count(self, event: Event) -> None:
        counted(event)
        key = (event.message_id, floods.token(event))
        if key not in self._numbers:
            limited(self._numbers)
        self._numbers[key] = self._numbers.get(key, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._start)

    def _start(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._hand_over())

    async def _hand_over(self) -> None:
        numbers, self._numbers = self._numbers, {}
        if not numbers:
            return
        try:
            return await self._store.fold([Fold(*key, hits) for key, hits in numbers.items()])
        except stores.Unavailable:
            pass
        except Exception:  # the edge: a number is worth no restart
            metrics.ERRORS.labels("public").inc()
            LOG.exception("fold_failed")
        for key, hits in numbers.items():  # again with the next ones
            limited(self._numbers)
            self._numbers[key] = self._numbers.get(key, 0) + hits
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._start)


def counted(event: Event) -> None:
    metrics.FOLDED.labels(tally.MARKS.get(event.type, "open")).inc()


def like(event: Event) -> tuple[str, str, str]:
    """What hits have in common of which the store says the same whoever makes them."""
    way = classify.BLOCKED if event.reason == classify.BLOCKED else event.method
    return event.message_id, floods.token(event), way


def client(event: Event) -> tuple[str, str]:
    return event.data.get(tally.TRANSIENT) or event.ip, event.user_agent


def limited(known: dict[T, Any]) -> None:
    """Room for one more."""
    if len(known) >= MOST:
        del known[next(iter(known))]
