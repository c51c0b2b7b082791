"""The way of one copy: to the upstream, into the spool where it is put off or takes long, and the reports on it.

Owns: what makes an attempt's steps happen, in which order, and how many copies are in memory at once. Leaves to others:
the states (`attempts`), when the client's patience is over and what it hears (`delivery`), the transaction (`upstream`),
what waits and how it is reported (`spool`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from relay import event_loop, log, metrics, spool
from relay.core import answer, dsn, queue
from relay.core.model import Envelope, Later, Outcome, Private
from relay.delivery import attempts
from relay.delivery.attempts import State

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = log.room("delivery")

AT_ONCE = 4  # copies of one submission in flight, and in memory
# What clients are held to (bytes in flight) counts a message once. So of those above LARGE octets that have several
# copies, LARGE_AT_ONCE copies are in memory over all submissions.
LARGE, LARGE_AT_ONCE = 65_536, 4
RENDER_SECONDS = metrics.STAGE.labels("render")  # looked up once: a label costs more than the counting


class Upstreams(Protocol):
    """`host` is that of [upstream], for reports on what no server heard of."""

    @property
    def host(self) -> str: ...

    async def send(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[Outcome, ...]: ...


class Journey(Private, frozen=True):
    """What all attempts of one submission have in common. `upstream` is the name of the one that it is for. `on_defer`:
    whether what is put off is kept without asking. `login` and `peer` say who handed it in, `queue_id` what a proxy
    calls it."""

    secret: ClassVar[frozenset[str]] = frozenset({"credentials"})
    message_id: str
    reverse_path: str
    size: int
    recipients: int
    upstream: str
    credentials: tuple[str, str] | None
    on_defer: answer.OnDefer
    login: str = ""
    peer: str = ""
    queue_id: str = ""


class Gate:
    """Lets a few through at a time: those of one submission, or of large copies those of all."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def of(self, copies: int, size: int) -> asyncio.Semaphore:
        return self._large if copies > 1 and size > LARGE else asyncio.Semaphore(AT_ONCE)


class Carrier:
    def __init__(self, upstreams: Upstreams, spool: spool.Spool) -> None:
        self.upstreams, self.spool = upstreams, spool
        self._to_upstream, self._to_disk = Gate(), Gate()
        self._tasks: set[asyncio.Task[object]] = set()

    # -- to the upstream -----------------------------------------------------------------------------------------------

    def send(self, found: Sequence[attempts.Attempt], journey: Journey) -> dict[attempts.Attempt, asyncio.Task[object]]:
        """Begins several attempts. Each task ends with the attempt's last word, which is kept by then where it has to be."""
        gate = self._to_upstream.of(len(found), journey.size)
        return {attempt: self._task(self._send(attempt, journey, gate)) for attempt in found}

    def _task(self, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send(self, attempt: attempts.Attempt, journey: Journey, gate: asyncio.Semaphore) -> None:
        async with gate:
            await self.carry(attempt, journey)

    async def carry(self, attempt: attempts.Attempt, journey: Journey) -> None:
        """To its last word, which is kept then where it has to be."""
        try:
            content = await _content(attempt, journey)
            envelope = Envelope(
                journey.reverse_path, attempt.recipients, attempt.options, journey.credentials, journey.upstream
            )
            outcomes = await self.upstreams.send(envelope, content, started=attempt.began)
        except Exception:  # the edge of one copy: the others go on
            metrics.ERRORS.labels("delivery").inc()
            LOG.exception("not_sent", message_id=journey.message_id)
            outcomes = (Later(attempts.FAILED),) * len(attempt.recipients)
        attempt.answered(outcomes)
        if attempt.state is State.DEFERRED and journey.on_defer == "spool":
            await self.keep(attempt, journey)

    # -- into the spool --------------------------------------------------------------------------------------------------

    async def keep(self, attempt: attempts.Attempt, journey: Journey) -> None:
        """Keeps what was put off, for another attempt: it is KEPT then, or UNKEPT."""
        late = [(w, o) for w, o in attempt.words() if isinstance(o, Later)]
        waiting = [msgspec.structs.replace(w, reply=str(o.reply)) for w, o in late]
        unsure = any(o.uncertain for _, o in late)
        entry = self._entry(journey, waiting, attempt.options, tried=True, duplicates=int(unsure))
        attempt.keep()
        try:
            await self.spool.put(entry, attempt.render())
        except spool.Unwritable as reason:
            attempt.unwritable(str(reason))
        else:
            attempt.written()
            LOG.info("kept", entry=entry.entry_id, message_id=journey.message_id, reply=entry.last_reply)

    async def hand_over(self, running: Mapping[attempts.Attempt, asyncio.Task[object]], journey: Journey) -> None:
        """Keeps the copies whose attempts take longer than a client waits. Those that the disk does not take go on."""
        gate = self._to_disk.of(len(running), journey.size)
        await asyncio.gather(*(self._hand_over(attempt, task, journey, gate) for attempt, task in running.items()))

    async def _hand_over(
        self, attempt: attempts.Attempt, task: asyncio.Task[object], journey: Journey, gate: asyncio.Semaphore
    ) -> None:
        """An attempt that a server heard of owns what is kept, also where it ends while that is written; one that waits
        for a place ends here, so that a slow upstream fills the disk and not the memory."""
        async with gate:
            if not attempt.under_way:
                return
            entry = self._entry(journey, attempt.waiting(), attempt.options)
            attempt.hand_over()
            try:
                claim = await self.spool.keep(entry, await _content(attempt, journey))
            except spool.Unwritable as reason:
                LOG.error("not_kept", message_id=journey.message_id, reason=str(reason))
                attempt.unwritable(str(reason))
                return
            attempt.written()
            over = attempt.state is State.HANDED_OVER
            LOG.info("handed_over", entry=entry.entry_id, message_id=journey.message_id, started=not over)
            if over:
                task.cancel()
                self.spool.release(claim)
            else:
                self._task(self._own(attempt, task, claim))

    async def _own(self, attempt: attempts.Attempt, task: asyncio.Task[object], claim: spool.Claim) -> None:
        """The end of an attempt that outlasts its client."""
        try:
            await asyncio.wait({task})
            if attempt.state is State.SETTLED:
                await self.spool.settle(claim, attempt.outcomes, attempt.host)
                return
            attempt.cut_off()
        except Exception:
            metrics.ERRORS.labels("delivery").inc()
            LOG.exception("not_settled", entry=claim.entry.entry_id)
        self.spool.release(claim)

    def _entry(
        self, journey: Journey, waiting: Sequence[queue.Waiting], options: Sequence[str], **how: Any
    ) -> queue.Entry:
        login = journey.credentials[0] if journey.credentials else ""
        return self.spool.entry(
            journey.message_id, journey.reverse_path, waiting, options, login=login, upstream=journey.upstream, **how
        )

    # -- reports ---------------------------------------------------------------------------------------------------------

    async def report(self, about: Iterable[tuple[attempts.Attempt, int]], action: dsn.Action, journey: Journey) -> None:
        """One report on these recipients, each named by its attempt and its place there; it shows the first copy
        concerned. Raises `spool.Unwritable`."""
        group: list[tuple[queue.Waiting, dsn.Notice]] = []
        first: attempts.Attempt | None = None
        for attempt, n in about:
            first = first or attempt
            waiting, outcome = attempt.word(n)
            host = attempt.host or self.upstreams.host
            group.append((waiting, queue.notice(waiting, outcome, action, host)))
        if first:
            if action == "failed":
                LOG.info("reported", message_id=journey.message_id, recipients=len(group))
            entry = self._entry(journey, [waiting for waiting, _ in group], first.options)
            await self.spool.report(entry, first.render(), group)

    # -- the end ---------------------------------------------------------------------------------------------------------

    async def close(self, seconds: float) -> None:
        """Waits for the attempts; what is still under way then is in the spool, or its client has no answer."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=max(0.0, seconds))
        left = set(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _content(attempt: attempts.Attempt, journey: Journey) -> bytes:
    began = time.perf_counter()
    try:
        return await asyncio.to_thread(attempt.render) if journey.size > event_loop.LARGEST else attempt.render()
    finally:
        RENDER_SECONDS.observe(time.perf_counter() - began)
