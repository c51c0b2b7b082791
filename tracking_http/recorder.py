"""Gets a hit into the store, or into the journal if the store does not take it in time.

Owns: how long a hit waits, and for what. Leaves to others: what a hit is and how it is answered (`public`), which hits
are only counted (`folding`), the journal's files (`relay.journal`).
"""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from prometheus_client import Counter

from relay import journal as journals
from relay import log, metrics
from relay import store as stores
from relay.core import floods, tally
from relay.core.model import Event
from tracking_http import folding

LOG = log.room("public")

PATIENCE = 0.05  # seconds that a hit waits for a store that makes no progress, and then for the journal
PROBE = 0.25  # seconds between two events that are tried on a store that took none


Written = Event | floods.Folded | None
Appending = asyncio.Future[Sequence[Written]]
Hit = tuple[Event, Callable[[], None]]  # and what is called once it may be answered
TOGETHER = 64  # hits that are handed to the store as one


class Store(journals.Takes, folding.Store, Protocol):
    """What is asked of a store here."""

    def append_all(self, events: Sequence[Event]) -> Awaitable[Sequence[Written]]: ...


def nothing() -> None:
    """Where nobody waits any more."""


class Once:
    """Calls it the first time."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.done: Callable[[], None] | None = done

    def __call__(self) -> None:
        done, self.done = self.done, None
        if done is not None:
            done()


class Recorder:
    """Made on the event loop. Gets events into the store, or else into the journal.

    A hit waits for the store as long as the store makes progress. If nothing gets through for `PATIENCE`, the waiting
    events are taken back and journaled, and those that follow are journaled at once. Every `PROBE`, one of them is also
    tried on the store, and nobody waits for that. If the journal does not take an event, it goes to the store after
    all, whenever that works again; if neither takes it, it is lost and counted as such. An event may reach the store
    both ways, which is harmless: the store takes each `event_id` once, and a hit that is only to be counted is counted by the
    one who hears so: not here, where the journal has it."""

    def __init__(
        self,
        store: Store,
        journal: journals.Journal,
        appended: Callable[[], None] | None,
        limits: floods.Limits = floods.LIMITS,
    ) -> None:
        self.loop = asyncio.get_running_loop()  # asking for it is a system call
        self.store = store
        self.folding = folding.Folding(store, limits)
        self.journal = journal
        self.appended = appended
        self.waiting: dict[Appending, float] = {}  # since when, oldest first
        self.moved = 0.0  # when the store last took one
        self.probe_at = 0.0  # while it takes nothing: when to try again
        self.timer: asyncio.TimerHandle | None = None
        self.probe: Appending | None = None
        self.keeping: set[asyncio.Task[None]] = set()  # on their way into the journal
        self.losing = False
        self.verdicts: dict[tuple[str, str], Counter] = {}

    async def record(self, event: Event) -> None:
        answered: asyncio.Future[None] = self.loop.create_future()
        self.take([(event, lambda: None if answered.done() else answered.set_result(None))])
        await answered

    def take(self, hits: Sequence[Hit]) -> None:
        """Those that came at once: as one they cost the store, and the event loop, much less than each alone."""
        coming = []
        for hit in hits:
            if self.folding.folds(hit[0]):
                hit[1]()
            else:
                coming.append(hit)
        if not coming:
            return
        now = self.loop.time()
        if not self.probe_at:
            for at in range(0, len(coming), TOGETHER):
                self.append(coming[at : at + TOGETHER], now)
            return
        if now >= self.probe_at and (self.probe is None or self.probe.done()):
            self.probe_at = now + PROBE
            self.append(coming[:1], now, journaled=True)
        for hit in coming:
            self.put_by(*hit)

    def append(self, hits: Sequence[Hit], now: float, *, journaled: bool = False) -> None:
        """`journaled`: nobody waits for it, and it is in the journal too."""
        try:
            appended = self.store.append_all([event for event, _ in hits])
            appending = appended if isinstance(appended, asyncio.Future) else asyncio.ensure_future(appended)
        except Exception:
            return self.failed(hits, journaled)
        if journaled:
            self.probe = appending
        self.waiting[appending] = now
        if self.timer is None:
            self.timer = self.loop.call_later(PATIENCE / 2, self.look)
        return appending.add_done_callback(partial(self.ended, hits, journaled))

    def ended(self, hits: Sequence[Hit], journaled: bool, appending: Appending) -> None:
        """The store has them now, or does not take them."""
        self.waiting.pop(appending, None)
        try:
            results = appending.result()
        except (asyncio.CancelledError, stores.Unavailable):
            return self.refused(hits, journaled)
        except Exception:
            return self.failed(hits, journaled)
        self.moved = self.loop.time()
        self.probe_at = 0.0
        self.took(hits, results, journaled)
        if not journaled:
            for event, done in hits:
                try:
                    done()
                except Exception:  # the edge: one that can't be answered holds up no other
                    metrics.ERRORS.labels("public").inc()
                    LOG.exception("answer_failed", event_id=event.event_id)
        return None

    def failed(self, hits: Sequence[Hit], journaled: bool) -> None:
        metrics.ERRORS.labels("public").inc()
        LOG.exception("append_failed", event_id=hits[0][0].event_id, events=len(hits))
        self.refused(hits, journaled)

    def refused(self, hits: Sequence[Hit], journaled: bool) -> None:
        if not journaled:
            self.probe_at = self.loop.time() + PROBE
            for hit in hits:
                self.put_by(*hit)

    def put_by(self, event: Event, done: Callable[[], None]) -> None:
        """Into the journal."""
        if self.folding.overflows(event):
            done()
            return
        keeping = self.loop.create_task(self.keep(event))
        self.keeping.add(keeping)
        once = Once(done)
        timer = self.loop.call_later(PATIENCE, once)

        def kept(_: object) -> None:
            self.keeping.discard(keeping)
            timer.cancel()
            once()

        keeping.add_done_callback(kept)

    async def keep(self, event: Event) -> None:
        if await self.journal.append(event):
            self.count([event])
            return
        try:
            written = await self.store.append(event)
        except Exception as reason:  # the edge: the recipient has the answer
            metrics.LOST.inc()
            if not self.losing:  # one line for each spell of trouble
                self.losing = True
                LOG.error("events_lost", reason=str(reason))
            return
        self.losing = False
        self.took([(event, nothing)], [written])

    async def close(self) -> None:
        """Waits for the events that are on their way, and hands over what was only counted."""
        if self.waiting:
            await asyncio.wait(set(self.waiting))
        if self.keeping:
            await asyncio.wait(set(self.keeping))
        await self.folding.close()

    def took(self, hits: Sequence[Hit], results: Sequence[Written], journaled: bool = False) -> None:
        """By the store. What is `journaled` too is counted by what becomes of it there."""
        written = []
        for (event, _), result in zip(hits, results, strict=True):
            if isinstance(result, Event):
                written.append(result)
            elif result is not None:
                self.folding.learn(event, result)
                if not journaled:
                    self.folding.count(event)
        if written:
            if not journaled:
                self.count(written)
            if self.appended is not None:
                self.appended()

    def count(self, events: Sequence[Event]) -> None:
        for (kind, verdict), many in Counts((event.type, event.verdict) for event in events).items():
            counter = self.verdicts.get((kind, verdict))
            if counter is None:
                counter = metrics.VERDICTS.labels(tally.MARKS.get(kind, "open"), verdict)
                self.verdicts[kind, verdict] = counter
            counter.inc(many)

    def look(self) -> None:
        """Takes back what waits for a store that makes no progress. One timer serves all: one per hit would cost
        more."""
        limit = self.loop.time() - PATIENCE
        if self.moved < limit:
            for appending in [one for one, since in self.waiting.items() if since < limit]:
                appending.cancel()
        self.timer = self.loop.call_later(PATIENCE / 2, self.look) if self.waiting else None
