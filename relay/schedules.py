"""Messages that are sent later, from the moment they are due until it is known what became of them.

Owns: that each is handed to the spool once, whatever dies when, and that its end is told. Leaves to others: claims and
leases (`store`), what may be scheduled and what is said of it (`core.schedules`), what leaves (`outbound`), sending it
(`spool`).

The steps, and what a crash before each of them comes to:
1. claim          leased: another claim follows
2. track, hold    the same again; what was held by a claim that was lost is never sent
3. settle         "handed": from here on it is this claim's bytes that leave. Who lost the claim can't settle. Of several
                  nodes this one goes on, since its spool has it
4. admit          what is held becomes entries of the spool. Done again at each later claim: what is gone was sent
5. look           until the spool has none of them left; then the event, and the schedule is closed
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from relay import config, log, metrics, outbound, store
from relay.core import floods, queue, schedules, tokens
from relay.core.model import Event, Never, Sent, Submission
from relay.delivery import attempts
from relay.store import Schedule, UpstreamReply
from relay.submitting import keeping

LOG = log.room("schedules")

AT_ONCE = 4
LOOK = 1.0  # seconds between looks at what is due: other processes schedule and cancel too
AWAY = 5.0  # seconds after a look that failed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Submission).decode


class Records(keeping.Records, Protocol):
    """What is asked of a store here."""

    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool: ...
    async def claim_schedules(self, now: float, limit: int, holder: str) -> list[Schedule]: ...
    async def settle_schedule(self, schedule: Schedule) -> bool: ...
    async def next_schedule(self) -> float | None: ...
    async def contents(self, owner_id: str) -> list[bytes]: ...
    async def sent(self, message_id: str) -> Sent | None: ...
    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None: ...
    async def events(self, *, message_id: str, types: Sequence[str]) -> list[Event]: ...
    def append(self, event: Event) -> Awaitable[Event | floods.Folded | None]: ...


class Tracker(Protocol):
    async def track(self, submission: Submission, *, key: bytes) -> outbound.Tracked: ...


class Spool(Protocol):
    def entry(
        self, message_id: str, reverse_path: str, recipients: Sequence[queue.Waiting], options: Sequence[str],
        *, upstream: str, entry_id: str,
    ) -> queue.Entry: ...  # fmt: skip
    async def hold(self, entry: queue.Entry, content: bytes) -> None: ...
    async def admit(self, prefix: str) -> None: ...
    async def drop(self, prefix: str) -> None: ...
    async def has(self, prefix: str) -> bool: ...


async def add(records: Records, schedule: Schedule, submission: Submission) -> bool:
    """The message, to be sent when it is due. Durable when it returns. False where there is a schedule of that id."""
    return await records.add_schedule(schedule, [_encode(submission.with_(content=b"")), submission.content])


class Schedules:
    """`holder` is this node, to which `spool` belongs: what it handed over no other can follow. `appended` is called when an
    event was stored."""

    def __init__(
        self,
        records: Records,
        tracker: Tracker,
        spool: Spool,
        *,
        holder: str = "",
        settings: config.Admin | None = None,
        appended: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        look: float = LOOK,
    ) -> None:
        self._settings, self._holder = settings or config.Admin(), holder
        self._records, self._tracker, self._spool = records, tracker, spool
        self._appended, self._clock, self._look = appended, clock, look

    async def run(self) -> None:
        """Sends what is due until cancelled."""
        while True:
            try:
                claimed = await self.step()
            except store.Unavailable as reason:
                LOG.warning("store_unavailable", reason=str(reason))
                await asyncio.sleep(AWAY)
                continue
            if not claimed:
                await asyncio.sleep(self._look)

    async def step(self) -> int:
        """What is due now, a few at a time: how many there were."""
        now = self._clock()
        due = await self._records.next_schedule()
        if due is None:
            return 0
        claimed = await self._records.claim_schedules(now, AT_ONCE, self._holder)  # also where the clock was set back
        await asyncio.gather(*map(self._go_on, claimed))
        return len(claimed)

    async def _go_on(self, schedule: Schedule) -> None:
        try:
            if schedule.state == "scheduled":
                await self._hand_over(schedule)
            else:
                await self._follow(schedule)
        except Exception:  # the edge of one schedule: its lease ends, and it is claimed again
            metrics.ERRORS.labels("schedules").inc()
            LOG.exception("not_sent", schedule=schedule.schedule_id)

    # -- handing over --------------------------------------------------------------------------------------------------

    async def _hand_over(self, schedule: Schedule) -> None:
        envelope, content = await self._records.contents(schedule.schedule_id)
        submission = _decode(envelope).with_(content=content, received_at=self._clock())
        tracked = await self._tracker.track(submission, key=tokens.key_of(schedule.message_id))
        found = attempts.of(submission, tracked)
        refused = [(w, o) for a in found if a.state is attempts.State.REFUSED for w, o in a.words()]
        kept = [attempt for attempt in found if attempt.state is not attempts.State.REFUSED]
        if tracked.refusal or not kept:
            reason = str(tracked.refusal or next((o.reply for _, o in refused), "550 5.1.3 nobody to send it to"))
            await self._close(schedule, reason)
            return
        prefix = schedules.entry_names(schedule.schedule_id, schedule.send_at, schedule.attempt)
        for number, attempt in enumerate(kept):
            entry = self._spool.entry(
                schedule.message_id, submission.reverse_path, attempt.waiting(), attempt.options,
                upstream=tracked.upstream, entry_id=f"{prefix}{number:04x}",
            )  # fmt: skip
            await self._spool.hold(entry, await asyncio.to_thread(attempt.render))
        look_at = self._clock() + schedules.FIRST_LOOK
        if not await self._records.settle_schedule(
            schedule.with_(state="handed", handed=schedule.attempt, next_at=look_at, holder=self._holder)
        ):
            await self._spool.drop(prefix)  # another has the claim, and what it holds is what leaves
            return
        await self._spool.admit(prefix)
        await keeping.keep(self._settings, self._records, schedule.message_id, content)
        LOG.info("handed_over", schedule=schedule.schedule_id, message_id=schedule.message_id)
        never = [
            UpstreamReply(schedule.message_id, (w.address,), "never", str(o.reply))
            for w, o in refused
            if isinstance(o, Never)
        ]
        if never:
            await self._records.record_replies(never)

    # -- what became of it -----------------------------------------------------------------------------------------------

    async def _follow(self, schedule: Schedule) -> None:
        prefix = schedules.entry_names(schedule.schedule_id, schedule.send_at, schedule.handed)
        await self._spool.admit(prefix)
        if await self._spool.has(prefix):
            pause = schedules.pause(schedule.attempt - schedule.handed)
            await self._records.settle_schedule(schedule.with_(next_at=self._clock() + pause))
            return
        sent = await self._records.sent(schedule.message_id)
        bounces = await self._records.events(message_id=schedule.message_id, types=["message.bounce_detected"])
        await self._close(schedule, schedules.reason_of_failure(sent, bounces))

    async def _close(self, schedule: Schedule, reason: str) -> None:
        """Its event, and then its end: a crash in between tells it again, and it is written once."""
        now = self._clock()
        if await self._records.append(
            schedules.event(schedule.message_id, now, schedule.grant_id, schedule.fields, reason)
        ):
            self._appended()
        state = "failed" if reason else "sent"
        # What a claim held that was lost, and whose process died, would lie there for ever.
        await self._spool.drop(schedules.entry_names(schedule.schedule_id, schedule.send_at))
        await self._records.settle_schedule(schedule.with_(state=state, closed_at=now, error=reason))
        LOG.info("closed", schedule=schedule.schedule_id, message_id=schedule.message_id, state=state, reason=reason)
