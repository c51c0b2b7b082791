"""What the store is told after the client has its answer: the upstream's replies, bounces, what was sent and delivered.

Owns: that the store never delays mail, and that a store which can't take something now gets it later, in order per
message; bounded. And that events which no endpoint asks for are not made: most installations want none of those that
every message has. Leaves to others: what is worth telling.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Literal, Protocol

from relay import log, metrics, store, suppressing
from relay.core import dsn, envelopes, floods, payload, providers, queue
from relay.core.model import Done, Endpoint, Event, EventType, Later, Never, Outcome

LOG = log.room("outcomes")

MAX_MESSAGES = 10_000  # messages whose news wait for the store
AGAIN_SECONDS = 0.5  # doubles up to a minute
FLUSH_SECONDS = 10.0
# The upstream's replies are written together: nobody waits for them, and a transaction of their own for each message
# would take from those that a message waits for.
TOGETHER_SECONDS = 0.05
TOGETHER = 500
EVENT_SECONDS = 2.0
ENDPOINTS_SECONDS = 5.0  # between looks at what endpoints ask for
KINDS: tuple[EventType, ...] = ("message.sent", "message.delivered", "message.failed")  # made only where asked for

State = Literal["done", "later", "never"]


def wants(kind: EventType) -> Callable[[Endpoint], bool]:
    event = Event("", kind, "", 0.0, counted=True)
    return lambda endpoint: payload.wants(endpoint, event)


def state_of(outcome: Outcome) -> State:
    return "done" if isinstance(outcome, Done) else "later" if isinstance(outcome, Later) else "never"


class Records(Protocol):
    """What is asked of a store here."""

    async def record_replies(self, replies: Sequence[store.UpstreamReply]) -> None: ...
    def append(self, event: Event) -> Awaitable[Event | floods.Folded | None]: ...
    async def endpoints(self) -> list[Endpoint]: ...


class Outcomes:
    """`appended` is called when an event was stored. `heard` makes of an event what is to be stored. `host` is that of [upstream]. Whoever makes it calls `flush` when
    those who tell it have ended."""

    _replies: list[store.UpstreamReply]

    def __init__(
        self,
        store: Records,
        *,
        host: str = "",
        appended: Callable[[], None] = lambda: None,
        heard: suppressing.Heard = suppressing.unheard,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.host, self.appended, self._clock = store, host, appended, clock
        self.heard = heard
        self._pending: dict[str, tuple[asyncio.Task[None], list[Callable[[], Awaitable[None]]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies = []
        self._recording: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._closing = self._away = False
        self._wanted: frozenset[str] = frozenset(KINDS)  # until the endpoints are known
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def replies(self, message_id: str, recipients: Sequence[str], outcomes: Sequence[Outcome], host: str = "") -> None:
        """The last replies of the upstream at `host` for these recipients of a message."""
        if not recipients:
            return
        if len(recipients) == 1:
            self._reply(message_id, recipients, outcomes[0], host)
            return
        groups: dict[Outcome, list[str]] = {}
        for recipient, outcome in zip(recipients, outcomes, strict=True):
            groups.setdefault(outcome, []).append(recipient)
        for outcome, named in groups.items():
            self._reply(message_id, named, outcome, host)

    def given_up(self, message_id: str, recipients: Sequence[queue.Waiting], why: str) -> None:
        """Nobody tries to deliver it to these any more, though no server refused it for good."""
        for waiting in recipients:
            words = queue.given_up(why, waiting.reply)
            self._remember(store.UpstreamReply(message_id, (waiting.address,), "never", words))

    def delivered(self, message_id: str) -> set[str]:
        """To whom it was, as far as the store may not know of it yet."""
        mine = (reply for reply in self._replies if reply.message_id == message_id and reply.state == "done")
        return {recipient for reply in mine for recipient in reply.recipients}

    def accepted(self, message_id: str) -> None:
        """The client of this message hears 250: it is the relay's, or the upstream's already."""
        if self._asked_for():
            self._happened("message.sent", message_id)

    def ended(
        self,
        message_id: str,
        recipients: Callable[[], Sequence[tuple[queue.Waiting, Outcome]]],
        *,
        given_up: bool = False,
    ) -> None:
        """What became of the recipients: accepted by the upstream, refused for good, or `given_up`. Costs next to
        nothing where no endpoint asks."""
        if not self._asked_for():
            return
        for waiting, outcome in recipients():
            if isinstance(outcome, Done):
                self._happened("message.delivered", message_id, waiting)
            elif given_up or isinstance(outcome, Never):
                self._happened("message.failed", message_id, waiting, outcome)

    def _happened(
        self, kind: EventType, message_id: str, waiting: queue.Waiting | None = None, outcome: Outcome | None = None
    ) -> None:
        if kind not in self._wanted:
            return
        index, address = (waiting.index, waiting.address) if waiting else (0, "")
        data = {}
        if outcome:
            status = envelopes.status(outcome.reply)
            data = {"reason": str(outcome.reply), "code": outcome.reply.code, "status": status,
                    "type": envelopes.nature(status)}  # fmt: skip
        # Told twice (a crash before an entry was settled), it is written once.
        name = dsn.event_id(message_id, kind, str(index), address)
        event = Event(name, kind, message_id, self._clock(), index, address, data=data)
        self._tell(message_id, lambda: self._append_if_asked_for(event))

    def _asked_for(self) -> bool:
        """Does an endpoint want any of KINDS? What endpoints ask for is known for some seconds, and looked up anew beside
        the mail. Until it is known for the first time the answer is yes, and the event waits for it."""
        if time.monotonic() - self._looked > ENDPOINTS_SECONDS and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_beside())
        return bool(self._wanted)

    async def _look_beside(self) -> None:
        try:
            await self._look()
        except store.Unavailable:
            pass  # what was known stands
        except Exception:  # the edge: mail goes on
            metrics.ERRORS.labels("outcomes").inc()
            LOG.exception("endpoints_unknown")

    async def _look(self) -> None:
        endpoints = [e for e in await self.store.endpoints() if e.live]
        self._wanted = frozenset(kind for kind in KINDS if any(map(wants(kind), endpoints)))
        self._looked = time.monotonic()

    async def _append_if_asked_for(self, event: Event) -> None:
        if self._looked < 0:
            await self._look()
        if event.type in self._wanted:
            await self._append(event)

    async def event(self, event: Event) -> None:
        """Returns when the store has it; where the store is slow it gets it later all the same."""
        task = self._tell(event.message_id, lambda: self._append(event))
        if task:
            await asyncio.wait({task}, timeout=EVENT_SECONDS)

    def _reply(self, message_id: str, named: Sequence[str], outcome: Outcome, host: str) -> None:
        identifier = providers.identifier(outcome.reply, host or self.host) if isinstance(outcome, Done) else ""
        self._remember(store.UpstreamReply(message_id, tuple(named), state_of(outcome), str(outcome.reply), identifier))

    def _remember(self, reply: store.UpstreamReply) -> None:
        if len(self._replies) >= MAX_MESSAGES:
            self._overfull(reply.message_id)
            return
        self._replies.append(reply)
        if self._recording is None:
            self._recording = self._start(self._record_replies())

    async def _record_replies(self) -> None:
        pause = TOGETHER_SECONDS
        try:
            while self._replies:
                await self._rest(pause)
                some = self._replies[:TOGETHER]
                try:
                    await self.store.record_replies(some)
                    self._away = False
                except store.Unavailable as reason:
                    self._is_away(reason)
                    if self._closing:
                        return
                    pause = min(60.0, max(AGAIN_SECONDS, pause * 2))
                    continue
                except Exception:  # the edge: a message that was sent stays sent
                    metrics.ERRORS.labels("outcomes").inc()
                    LOG.exception("not_recorded", messages=len(some))
                del self._replies[: len(some)]
                pause = TOGETHER_SECONDS
        finally:
            self._recording = None

    async def _rest(self, seconds: float) -> None:
        """Sooner over when all is to be written now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _append(self, event: Event) -> None:
        heard = await self.heard(event)
        if heard is not None and await self.store.append(heard):
            self.appended()

    def _tell(self, message_id: str, write: Callable[[], Awaitable[None]]) -> asyncio.Task[None] | None:
        waiting = self._pending.get(message_id)
        if waiting is not None:
            waiting[1].append(write)
            return waiting[0]
        if len(self._pending) >= MAX_MESSAGES:
            self._overfull(message_id)
            return None
        task = self._start(self._write(message_id))
        self._pending[message_id] = (task, [write])
        return task

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _overfull(self, message_id: str) -> None:
        metrics.ERRORS.labels("outcomes").inc()
        LOG.error("not_recorded", message_id=message_id, reason="too much waits for the store")

    def _is_away(self, reason: store.Unavailable) -> None:
        if not self._away:  # one line per time of trouble, not one per message and attempt
            self._away = True
            LOG.warning("store_unavailable", reason=str(reason))

    async def _write(self, message_id: str) -> None:
        waiting = self._pending[message_id][1]
        pause = AGAIN_SECONDS
        try:
            while waiting:
                try:
                    await waiting[0]()
                    self._away = False
                except store.Unavailable as reason:
                    self._is_away(reason)
                    if self._closing:
                        metrics.ERRORS.labels("outcomes").inc()
                        return
                    await self._rest(pause)
                    pause = min(60.0, pause * 2)
                    continue
                except Exception:  # the edge: a message that was sent stays sent
                    metrics.ERRORS.labels("outcomes").inc()
                    LOG.exception("not_recorded", message_id=message_id)
                del waiting[0]
        finally:
            del self._pending[message_id]

    async def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until the store has everything; what it can't take by then is logged and lost."""
        self._closing = True
        self._hurry.set()
        if self._looking:
            self._looking.cancel()
        try:
            if self._tasks:
                _, left = await asyncio.wait(set(self._tasks), timeout=seconds)
                for task in left:
                    task.cancel()
                if left:
                    metrics.ERRORS.labels("outcomes").inc(len(left))
                    LOG.error("not_recorded", messages=len(left), reason="the store did not take it in time")
                    await asyncio.gather(*left, return_exceptions=True)
            if self._replies:
                metrics.ERRORS.labels("outcomes").inc(len(self._replies))
                LOG.error("not_recorded", replies=len(self._replies), reason="the store does not take them")
                self._replies.clear()
        finally:
            self._closing = False
            self._hurry.clear()
