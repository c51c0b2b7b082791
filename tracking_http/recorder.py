"""Gets a hit into the store, or into the journal if the store does not take it in time.

Owns: how long a hit waits, and for what. Leaves to others: what a hit is and how it is answered (`public`), which hits
are only counted (`folding`), the journal's files (`relay.journal`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

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


class Store(journals.Takes, folding.Store, Protocol):
    """What is asked of a store here."""


class Recorder:
    """Gets events into the store, or else into the journal.

    A hit waits for the store as long as the store makes progress. If nothing gets through for `PATIENCE`, the waiting
    events are taken back and journaled, and those that follow are journaled at once. Every `PROBE`, one of them is also
    tried on the store, and nobody waits for that. If the journal does not take an event, it goes to the store after
    all, whenever that works again; if neither takes it, it is lost and counted as such. An event may reach the store
    both ways, which is harmless: the store takes each `event_id` once."""

    def __init__(
        self,
        store: Store,
        journal: journals.Journal,
        appended: Callable[[], None] | None,
        limits: floods.Limits = floods.LIMITS,
    ) -> None:
        self.store = store
        self.folding = folding.Folding(store, limits)
        self.journal = journal
        self.appended = appended
        self.waiting: dict[asyncio.Task[Any], float] = {}  # since when, oldest first
        self.late: set[asyncio.Task[Any]] = set()
        self.moved = 0.0  # when the store last took one
        self.probe_at = 0.0  # while it takes nothing: when to try again
        self.timer: asyncio.TimerHandle | None = None
        self.probe: asyncio.Task[bool] | None = None
        self.keeping: set[asyncio.Task[None]] = set()  # on their way into the journal
        self.losing = False
        self.verdicts: dict[tuple[str, str], Counter] = {}

    async def record(self, event: Event) -> None:
        if self.folding.folds(event):
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self.probe_at:
            if await self.append(event, loop, now):
                return
            self.probe_at = loop.time() + PROBE
        elif now >= self.probe_at and (self.probe is None or self.probe.done()):
            self.probe_at = now + PROBE
            self.probe = loop.create_task(self.append(event, loop, now))
        if self.folding.overflows(event):
            return
        keeping = loop.create_task(self.keep(event))
        self.keeping.add(keeping)
        keeping.add_done_callback(self.keeping.discard)
        await asyncio.wait({keeping}, timeout=PATIENCE)

    async def keep(self, event: Event) -> None:
        if await self.journal.append(event):
            self.count(event)
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
        self.took(event, written)

    async def close(self) -> None:
        """Waits for the events that are on their way, and hands over what was only counted."""
        if self.keeping:
            await asyncio.wait(set(self.keeping))
        await self.folding.close()

    async def append(self, event: Event, loop: asyncio.AbstractEventLoop, now: float) -> bool:
        """Whether the store has it now."""
        task = asyncio.current_task()
        assert task is not None
        self.waiting[task] = now
        if self.timer is None:
            self.timer = loop.call_later(PATIENCE / 2, self.look, loop)
        try:
            written = await self.store.append(event)
        except asyncio.CancelledError:
            if task not in self.late or task.uncancel() > 0:
                raise
            return False
        except stores.Unavailable:
            return False
        except Exception:
            metrics.ERRORS.labels("public").inc()
            LOG.exception("append_failed", event_id=event.event_id)
            return False
        finally:
            self.waiting.pop(task, None)
            self.late.discard(task)
        self.moved = loop.time()
        self.probe_at = 0.0
        self.took(event, written)
        return True

    def took(self, event: Event, written: Event | floods.Folded | None) -> None:
        if isinstance(written, floods.Folded):
            self.folding.learn(event, written)
        elif written is not None:
            self.count(written)
            if self.appended is not None:
                self.appended()

    def count(self, event: Event) -> None:
        counter = self.verdicts.get((event.type, event.verdict))
        if counter is None:
            counter = metrics.VERDICTS.labels(tally.MARKS.get(event.type, "open"), event.verdict)
            self.verdicts[event.type, event.verdict] = counter
        counter.inc()

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes back what waits for a store that makes no progress. One timer serves all: one per hit would cost
        more."""
        limit = loop.time() - PATIENCE
        if self.moved < limit:
            for task in [task for task, since in self.waiting.items() if since < limit and task not in self.late]:
                self.late.add(task)
                task.cancel()
        self.timer = loop.call_later(PATIENCE / 2, self.look, loop) if self.waiting else None
