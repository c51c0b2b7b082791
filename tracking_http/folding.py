"""Hits that a process only counts, because their pixel, link or copy has had its share: a flood costs no transaction.

Owns: what this process knows to be folded, and the numbers until the store has them; how many hits are kept while no store
answers. Leaves to others: whether a hit is folded (`core.tally`, in the store, for all processes), events that are kept
(`recorder`).

Nothing is decided here while the store answers: what it folded is folded here until the time that it said. What it folded is
counted here too, once its outcome is known; where that is not waited for, whoever asks for it again counts it (`relay.journal`).
"""

from __future__ import annotations

import asyncio
import secrets
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
    async def fold(self, folds: Sequence[Fold], by: str, number: int) -> None: ...


class Folding:
    """One process' counters. Its methods are called on the event loop."""

    def __init__(self, store: Store, limits: floods.Limits = floods.LIMITS) -> None:
        self._store = store
        self._unasked = floods.Limits(limits.token * UNASKED, limits.message * UNASKED)
        self._until: dict[Hashable, float] = {}
        self._numbers: dict[tuple[str, str], int] = {}  # per message and token
        self._name, self._number = secrets.token_hex(4), 0  # who hands over, and how often so far
        self._handing: list[Fold] = []  # what is handed over until it is known that the store has it
        self._levels: dict[str, dict[str, Level]] = {}  # per message, of what was kept unasked
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[bool] | None = None

    def folds(self, event: Event) -> bool:
        """Whether the store has said that such a hit is folded now. It is counted then."""
        if not self._until:
            return False
        everyone = like(event)
        if not self._lasts(everyone, event.at) and not self._lasts((everyone, client(event)), event.at):
            return False
        self.count(event)
        return True

    def learn(self, event: Event, folded: Folded) -> None:
        """The store has folded it."""
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
        self.count(event)
        return True

    async def close(self) -> None:
        """Hands over what there is."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})
        if await self._hand_over():
            await self._hand_over()
        if left := sum(self._numbers.values()) + sum(fold.hits for fold in self._handing):
            LOG.warning("folded_hits_not_stored", hits=left)

    def _lasts(self, key: Hashable, now: float) -> bool:
        until = self._until.get(key)
        if until is None:
            return False
        if now < until < now + 2 * floods.HOUR:  # else it is over, or the clock was set back
            return True
        del self._until[key]
        return False

    def count(self, event: Event) -> None:
        metrics.FOLDED.labels(tally.MARKS.get(event.type, "open")).inc()
        key = (event.message_id, floods.token(event))
        if key not in self._numbers:
            limited(self._numbers)
        self._numbers[key] = self._numbers.get(key, 0) + 1
        self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hand_over())
        else:
            self._soon()

    async def _hand_over(self) -> bool:
        """Whether the store has it. What it may have got is handed over again as it was, before anything else."""
        if not self._handing:
            self._handing = [Fold(*key, hits) for key, hits in self._numbers.items()]
            self._numbers = {}
            self._number += 1
        if not self._handing:
            return False
        try:
            await self._store.fold(self._handing, self._name, self._number)
        except Exception as error:  # the edge: a number is worth no restart
            if not isinstance(error, stores.Unavailable):
                metrics.ERRORS.labels("public").inc()
                LOG.exception("fold_failed")
            self._soon()
            return False
        self._handing = []
        return True


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
