"""What the store is told after the client has its answer: the upstream's words, bounces.

Owns: that the store never delays mail, and that a store which can't take something now gets it later, in order per
message; bounded. Leaves to others: what is worth telling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from relay import log, metrics, store
from relay.core import envelopes
from relay.core.model import Done, Event, Later, Outcome

LOG = log.room("ledger")

MOST = 10_000  # messages whose news wait for the store
AGAIN_SECONDS = 0.5  # doubles up to a minute
FLUSH_SECONDS = 10.0
EVENT_SECONDS = 2.0

State = Literal["done", "later", "never"]


def state_of(outcome: Outcome) -> State:
    return "done" if isinstance(outcome, Done) else "later" if isinstance(outcome, Later) else "never"


class Ledger:
    """`appended` is called when an event was stored. `host` is the upstream's."""

    def __init__(self, store: store.Store, *, host: str = "", appended: Callable[[], None] = lambda: None) -> None:
        self.store, self.host, self.appended = store, host, appended
        self._pending: dict[str, tuple[asyncio.Task[None], list[Callable[[], Awaitable[None]]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def replies(self, message_id: str, recipients: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """The upstream's last words for these recipients of a message."""
        groups: dict[Outcome, list[str]] = {}
        for recipient, outcome in zip(recipients, outcomes, strict=True):
            groups.setdefault(outcome, []).append(recipient)
        for outcome, named in groups.items():
            identifier = envelopes.upstream_id(outcome.reply, self.host) if isinstance(outcome, Done) else ""
            self._tell(message_id, self._reply(message_id, named, outcome, identifier))

    async def event(self, event: Event) -> None:
        """Returns when the store has it; where the store is slow it gets it later all the same."""
        task = self._tell(event.message_id, lambda: self._append(event))
        if task:
            await asyncio.wait({task}, timeout=EVENT_SECONDS)

    def _reply(
        self, message_id: str, named: Sequence[str], outcome: Outcome, identifier: str
    ) -> Callable[[], Awaitable[None]]:
        return lambda: self.store.record_reply(
            message_id, named, state_of(outcome), str(outcome.reply), upstream_id=identifier
        )

    async def _append(self, event: Event) -> None:
        if await self.store.append(event):
            self.appended()

    def _tell(self, message_id: str, write: Callable[[], Awaitable[None]]) -> asyncio.Task[None] | None:
        waiting = self._pending.get(message_id)
        if waiting is not None:
            waiting[1].append(write)
            return waiting[0]
        if len(self._pending) >= MOST:
            metrics.ERRORS.labels("ledger").inc()
            LOG.error("not_recorded", message_id=message_id, reason="too much waits for the store")
            return None
        task = asyncio.create_task(self._write(message_id))
        self._pending[message_id] = (task, [write])
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _write(self, message_id: str) -> None:
        waiting = self._pending[message_id][1]
        pause = AGAIN_SECONDS
        try:
            while waiting:
                try:
                    await waiting[0]()
                except store.Unavailable as reason:
                    LOG.warning("store_unavailable", message_id=message_id, reason=str(reason))
                    if self._closing:
                        metrics.ERRORS.labels("ledger").inc()
                        return
                    await asyncio.sleep(pause)
                    pause = min(60.0, pause * 2)
                    continue
                except Exception:  # the edge: a message that was sent stays sent
                    metrics.ERRORS.labels("ledger").inc()
                    LOG.exception("not_recorded", message_id=message_id)
                del waiting[0]
        finally:
            del self._pending[message_id]

    async def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until the store has everything; what it can't take by then is logged and lost."""
        self._closing = True
        try:
            if self._tasks:
                _, left = await asyncio.wait(set(self._tasks), timeout=seconds)
                for task in left:
                    task.cancel()
                if left:
                    metrics.ERRORS.labels("ledger").inc(len(left))
                    LOG.error("not_recorded", messages=len(left), reason="the store did not take it in time")
                    await asyncio.gather(*left, return_exceptions=True)
        finally:
            self._closing = False
