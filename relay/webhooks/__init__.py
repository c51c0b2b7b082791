"""Due deliveries -> POST -> settled.

Owns: the lanes, what follows from an answer, the endpoints of the configuration. Leaves to others: what is due and
since when (`store`), the body and its signatures (`core.payload`), the request (`post`), where it may go (`guard`).

An attempt is counted and leased before it is made, so a crash can only cause one attempt too many. Each endpoint has a
lane of its own, so that a slow one delays no other; one that does not answer gets a single place until it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from relay import log, metrics
from relay.clock import Steps, steady
from relay.config import Settings
from relay.core import failing, payload, retry, urls
from relay.core.model import Delivery, Endpoint, EndpointStatus, History, Settlement
from relay.store import Unavailable, decisions
from relay.webhooks.endpoints import by_id, configured, whole

if TYPE_CHECKING:
    from relay.webhooks.post import Answer, Poster

__all__ = ["Webhooks", "configured"]

LOG = log.room("webhooks")

# Seconds before each attempt: about three days in all. After the last one it becomes a dead letter, which is kept.
SCHEDULE = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
LONGEST = 1.2 * SCHEDULE[-1]
LANE = 8  # attempts under way at one endpoint
TOTAL = 256  # and at all of them
ROTATION = 86_400.0  # seconds for which the secret before signs too
GONE = 410
# Those that are counted: one that is gone is nobody's.
STATUSES: tuple[EndpointStatus, ...] = ("active", "failing", "failed", "pause")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `look`: between looks for other processes' events. `statuses`: between looks at the endpoints. `end`: for attempts under way when the service stops.
    `settle`: for which a result is offered to a store that does not take it, until its lease ends."""

    look: float = 1.0
    statuses: float = 10.0
    end: float = 3.0
    settle: float = 60.0


TIMES = Times()


@dataclass(slots=True)
class Lane:
    """One endpoint: how many attempts are under way, whether it answers, and until when it asked to be left alone."""

    under_way: int = 0
    answers: bool = True
    quiet_until: float = 0.0
    spell: failing.Spell = field(default_factory=failing.Spell)

    def taken(self, now: float) -> int:
        """How many places are not free."""
        if now < self.quiet_until:
            return LANE
        if self.answers:
            return self.under_way
        return LANE if self.under_way else LANE - 1


class Outbox(Protocol):
    """What this room needs of a store."""

    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None: ...
    async def endpoints(self) -> list[Endpoint]: ...
    async def set_endpoint_status(
        self,
        endpoint_id: str,
        status: EndpointStatus,
        at: float,
        *,
        was: Sequence[EndpointStatus] = (),
        error: str = "",
        since: float = 0.0,
    ) -> bool: ...
    async def claim_due(self, now: float, *, busy: Mapping[str, int], each: int, limit: int) -> list[Delivery]: ...
    async def settle(self, delivery_id: int, settlement: Settlement, claim: int) -> None: ...
    async def next_due(self) -> float | None: ...
    async def hasten(self, after: float, seconds: float) -> None: ...
    async def history(self, event_id: str) -> History | None: ...


class Webhooks:
    """`run` runs until it is cancelled; call `wake` when something was appended in this process."""

    def __init__(
        self,
        settings: Settings,
        store: Outbox,
        *,
        poster: Poster | None = None,
        clock: Callable[[], float] = time.time,
        passed: Callable[[], float] = steady,
        jitter: Callable[[], float] = random.random,
        times: Times = TIMES,
    ) -> None:
        self.times = times
        self.settings = settings
        self.store = store
        self._poster = poster
        self._clock = clock
        self._passed = passed  # seconds of any origin: also where the machine was asleep, or the clock set
        self._jitter = jitter
        self._configured = by_id(settings)
        self._endpoints: dict[str, Endpoint] = {}
        self._known_at = -math.inf  # when they were read
        self._lanes: dict[str, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._away = False
        self._steps = Steps(clock)

    def wake(self) -> None:
        self._news.set()

    async def run(self) -> None:
        if self._poster is None:
            from relay.webhooks.guard import Guard
            from relay.webhooks.post import Poster

            self._poster = Poster(Guard(self.settings.webhook_delivery.allow_private))
        synced = False
        try:
            while True:
                self._news.clear()
                try:
                    if not synced:
                        await self.store.sync_endpoints(configured(self.settings, self._clock()))
                        # What is due later than any pause allows was written while the clock was ahead.
                        await self.store.hasten(self._clock() + LONGEST, math.inf)
                        self._steps = Steps(self._clock)  # a store's clock is known once it was heard
                        synced = True
                    pause = await self._turn()
                    self._away = False
                except Unavailable as reason:
                    if not self._away:  # one line for each spell of trouble
                        self._away = True
                        LOG.warning("store_unavailable", reason=str(reason))
                    pause = self.times.look
                if pause:
                    await self._rest(pause)
        finally:
            await self._end()

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _turn(self) -> float:
        """Starts what is due. Returns the seconds until there may be more; 0 means at once."""
        now = self._clock()
        if step := self._steps.look():
            await self._stepped(now, step)
        if not 0 <= now - self._known_at < self.times.statuses:
            await self._know(now)
        next_due = await self.store.next_due()  # a read: an idle service writes nothing
        if next_due is None or next_due > now:
            look = self.times.look
            return look if next_due is None else min(max(next_due - now, 0.01), look)
        room = TOTAL - len(self._tasks)
        busy = {endpoint_id: taken for endpoint_id, lane in self._lanes.items() if (taken := lane.taken(now))}
        until = self._passed() + decisions.LEASE
        due = await self.store.claim_due(now, busy=busy, each=LANE, limit=min(room, 50)) if room > 0 else []
        if not due:  # everything that is due waits for its lane, and the end of an attempt wakes us
            return self.times.look
        await self._know(now)
        for delivery in due:
            self._start(delivery, until)
        return 0.0

    async def _know(self, now: float) -> None:
        """The endpoints as they are now; also others set their status."""
        found = await self.store.endpoints()
        self._endpoints, self._known_at = {e.endpoint_id: whole(e, self._configured) for e in found}, now
        counted = Counter(endpoint.status for endpoint in found)
        for status in STATUSES:
            metrics.ENDPOINTS.labels(status).set(counted[status])

    async def _stepped(self, now: float, seconds: float) -> None:
        """The clock was set. If it was set back, what waits would wait that much longer; if forward, it goes early."""
        LOG.warning("clock_set", seconds=round(seconds, 1))
        if seconds < 0:
            for lane in self._lanes.values():
                lane.quiet_until += seconds
            await self.store.hasten(now, -seconds)

    def _start(self, delivery: Delivery, until: float) -> None:
        lane = self._lanes.setdefault(delivery.endpoint_id, Lane())
        lane.under_way += 1
        task = asyncio.create_task(self._deliver(delivery, lane, until), name=f"webhook-{delivery.delivery_id}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            lane.under_way -= 1
            self.wake()

        task.add_done_callback(ended)

    async def _deliver(self, delivery: Delivery, lane: Lane, until: float) -> None:
        """One attempt, whatever happens in it. This is the edge of the room. `until` is when its lease ends."""
        try:
            settlement = await self._attempt(delivery, lane, until)
            if settlement is None:
                LOG.warning("lease_over", event_id=delivery.event_id, endpoint=delivery.endpoint_id)
                return
        except asyncio.CancelledError:
            now = self._clock()
            stopped = Settlement("retry", now, next_at=now, error="cut short by a stop of the service")
            await asyncio.shield(self._settle(delivery, stopped))
            raise
        except Unavailable as reason:  # the history could not be read: nothing was sent
            now = self._clock()
            settlement = Settlement("retry", now, next_at=now + self.times.look, error=f"store: {reason}")
        except Exception as error:  # an event that can't be rendered must not hold up the others
            metrics.ERRORS.labels("webhooks").inc()
            LOG.exception("attempt_failed", event_id=delivery.event_id, endpoint=delivery.endpoint_id)
            settlement = self._again(delivery, 0, urls.redacted(f"{type(error).__name__}: {error}")[:300])
        await self._settle(delivery, settlement)

    async def _attempt(self, delivery: Delivery, lane: Lane, until: float) -> Settlement | None:
        """None where this process or its machine stood still until somebody else had the notification."""
        assert self._poster is not None
        endpoint = self._endpoints.get(delivery.endpoint_id)
        if endpoint is None or not endpoint.secret:
            return self._again(delivery, 0, "the endpoint's secret is not known here")
        history = await self.store.history(delivery.event_id)
        if history is None:
            return Settlement("dead", self._clock(), error="the event is gone")
        body = payload.shape(
            history,
            endpoint,
            application_id=self.settings.application_id,
            attempt=delivery.attempt,
            trigger=delivery.trigger,
        )
        now = self._clock()
        if self._passed() >= until:
            return None
        number = payload.notification_id(history.event, endpoint, delivery.trigger)
        if endpoint.compressed:
            body = compressed(body)
        headers = request_headers(body, endpoint, endpoint.secret, number, now, delivery.attempt)
        begun = time.monotonic()
        answer = await self._poster.post(endpoint.url, body, headers, now)
        took = round((time.monotonic() - begun) * 1000)
        return replace(await self._judge(delivery, lane, endpoint, answer), milliseconds=took)

    async def _judge(self, delivery: Delivery, lane: Lane, endpoint: Endpoint, answer: Answer) -> Settlement:
        now = self._clock()
        lane.answers = answer.status != 0
        if answer.status != GONE:
            await self._weigh(endpoint, lane, answer, now)
        if answer.good:
            return Settlement("delivered", now, status=answer.status)
        if answer.status == GONE:
            if await self.store.set_endpoint_status(
                endpoint.endpoint_id, "failed", now, was=("active", "failing", "pause"), error=answer.error, since=now
            ):
                self._known_at = -math.inf
                LOG.warning("endpoint_gone", endpoint=endpoint.endpoint_id, url=urls.shown(endpoint.url))
            return Settlement("dead", now, status=GONE, error=answer.error)
        if answer.retry_after:
            lane.quiet_until = now + answer.retry_after
        return self._again(delivery, answer.status, answer.error, answer.retry_after)

    async def _weigh(self, endpoint: Endpoint, lane: Lane, answer: Answer, now: float) -> None:
        """What its attempts say of the endpoint as a whole."""
        began = lane.spell.since
        status = lane.spell.hear(answer.good, now, endpoint.status, endpoint.status_updated_at)
        if status == endpoint.status:
            return
        if status == "failed" and endpoint.source == "config":  # nobody could set it active again by the API
            return
        since = began or now
        if await self.store.set_endpoint_status(
            endpoint.endpoint_id, status, now, was=(endpoint.status,), error=answer.error, since=since
        ):
            self._known_at = -math.inf
            LOG.warning("endpoint_status", endpoint=endpoint.endpoint_id, url=urls.shown(endpoint.url), status=status)

    def _again(self, delivery: Delivery, status: int, error: str, at_least: float = 0.0) -> Settlement:
        now = self._clock()
        pause = retry.after(SCHEDULE, delivery.attempt, self._jitter())
        if pause is None:
            return Settlement("dead", now, status=status, error=error)
        return Settlement("retry", now, next_at=now + max(pause, at_least), status=status, error=error)

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        metrics.WEBHOOKS.labels(settlement.state).inc()
        write = LOG.info if settlement.state == "delivered" else LOG.warning
        write(
            settlement.state,
            event_id=delivery.event_id,
            endpoint=delivery.endpoint_id,
            trigger=delivery.trigger,
            attempt=delivery.attempt,
            status=settlement.status or None,
            error=settlement.error or None,
        )
        until = self._clock() + self.times.settle
        while True:
            try:
                return await self.store.settle(delivery.delivery_id, settlement, delivery.attempt)
            except Unavailable as reason:
                if self._clock() > until:
                    LOG.error("not_settled", delivery=delivery.delivery_id, reason=str(reason))
                    return
                await asyncio.sleep(self.times.look)

    async def _end(self) -> None:
        """Attempts under way may end; those that do not are due again at once."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self.times.end)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self.times.end)
        if self._poster is not None:
            await self._poster.close()


def compressed(body: bytes) -> bytes:
    """As gzip (RFC 1952) without a time: a retry has the same bytes."""
    return gzip.compress(body, mtime=0)


def request_headers(
    body: bytes, endpoint: Endpoint, secret: str, number: str, now: float, attempt: int
) -> dict[str, str]:
    """All headers of a notification. `number` is its id; `body` is what goes over the wire, which is what is signed."""
    headers = {"Content-Type": "application/json"}
    if endpoint.compressed:
        headers["Content-Encoding"] = "gzip"
    previous = endpoint.previous_secret if now < endpoint.rotated_at + ROTATION else ""
    headers |= payload.signatures(
        body, secret, event_id=number, timestamp=int(now), format=endpoint.format, previous=previous
    )
    if endpoint.format == "unosend":
        headers |= {"X-Unosend-Webhook-Id": endpoint.endpoint_id, "X-Unosend-Retry-Attempt": str(attempt - 1)}
    return headers
