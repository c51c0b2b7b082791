"""One submission from the client's dot to its answer.

Owns: the order of things (track, send, wait as long as the client waits, answer), what is done before a 250, and that a
message sent twice by a client which could not wait goes out once.
Leaves to others: the copies themselves (`outbound`), the way of each (`carrying`, `attempts`), what the answer is
(`core.answer`), what waits (`spool`), the client (`smtp`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from relay import config, event_loop, log, metrics, outcomes, spool
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import answer
from relay.core.model import Reply, Submission
from relay.delivery import attempts, carrying, resubmissions
from relay.upstream import choice
from relay.workers import sharing

if TYPE_CHECKING:
    from relay import outbound

LOG = log.room("delivery")

CLOSE_SECONDS = 10.0
ANSWER_SECONDS = 1.0  # for the last answers once the last attempts are over
TRACK_SECONDS = metrics.STAGE.labels("track")  # looked up once: a label costs more than the counting


class Tracker(Protocol):
    async def track(self, submission: Submission, *, key: bytes = b"") -> outbound.Tracked: ...


class Handle:
    """A message that was taken. `reply` is what its client is to hear, once that is known; it raises nothing. Who waits
    for it shields it: the message goes on without its client."""

    __slots__ = ("_key", "_resubmissions", "gone", "reply")

    def __init__(self, reply: asyncio.Future[Reply], key: bytes, resubmissions: resubmissions.Resubmissions) -> None:
        self.reply, self._key, self._resubmissions = reply, key, resubmissions
        self.gone = False  # its client

    def client_gone(self) -> None:
        """The client went away unanswered. When it comes back with the same bytes within a quarter of an hour, it gets
        this message's reply."""
        self.gone = True
        self._resubmissions.left(self._key, self.reply)


class Delivery:
    def __init__(
        self,
        settings: config.Settings,
        tracker: Tracker,
        upstreams: carrying.Upstreams,
        spool: spool.Spool,
        outcomes: outcomes.Outcomes,
        *,
        clock: Callable[[], float] = time.monotonic,
        service: sharing.Shared = sharing.ALONE,
    ) -> None:
        self.settings, self.tracker, self.outcomes = settings, tracker, outcomes
        self._carrier = carrying.Carrier(upstreams, spool)
        self._resubmissions = resubmissions.Resubmissions(clock=clock, service=service)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone: set[asyncio.Task[object]] = set()  # those of them that carry their message's one copy themselves

    async def take(self, submission: Submission, *, message_key: bytes = b"") -> Handle:
        """Begins to deliver a message, in a task that ends whatever its client does. `message_key` is the message's where
        it has one already."""
        large = len(submission.content) > event_loop.LARGEST
        key = await asyncio.to_thread(resubmissions.key, submission) if large else resubmissions.key(submission)
        earlier = self._resubmissions.find(key)
        if earlier:
            LOG.info("joined", peer=submission.peer, login=submission.login or None)
            return Handle(earlier, key, self._resubmissions)
        # Asked once: in Python 3.11 it is a system call to ask which loop runs, and so is each asyncio.create_task.
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        handle = Handle(reply, key, self._resubmissions)
        began = self._resubmissions.begin(key, reply)
        if began is None:
            self._start(loop, self._take(submission, message_key, reply))
        else:
            heard = self._resubmissions.heard(key, began, lambda: handle.gone)
            self._start(loop, self._join(submission, message_key, reply, heard))
        return handle

    def _start(self, loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, None]) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(
        self,
        submission: Submission,
        key: bytes,
        reply: asyncio.Future[Reply],
        heard: Coroutine[object, object, Reply | None],
    ) -> None:
        """Another process has the same: its answer is the answer, if it is this client's and comes to one."""
        await self._say_to(reply, heard, submission.peer)
        if reply.done():
            LOG.info("joined", peer=submission.peer, login=submission.login or None)
        else:
            await self._take(submission, key, reply)

    async def _take(self, submission: Submission, key: bytes, reply: asyncio.Future[Reply]) -> None:
        peer, work = submission.peer, self._deliver(submission, key, reply)
        del submission  # large, and done with once its copies are made
        await self._say_to(reply, work, peer)

    async def _say_to(
        self, reply: asyncio.Future[Reply], work: Coroutine[object, object, Reply | None], peer: str
    ) -> None:
        """The answer, where this work has it."""
        try:
            said = await work
        except asyncio.CancelledError:
            reply.cancel()
            raise
        except Exception:  # the edge: the client keeps the message, and tries again
            metrics.ERRORS.labels("delivery").inc()
            LOG.exception("not_taken", peer=peer)
            said = attempts.FAILED
        if said is not None and not reply.done():
            reply.set_result(said)

    def delivered(self, message_id: str) -> set[str]:
        """To whom it was, as far as the store may not know of it yet."""
        return self.outcomes.delivered(message_id)

    # -- one submission --------------------------------------------------------------------------------------------------

    async def _deliver(self, submission: Submission, key: bytes, reply: asyncio.Future[Reply]) -> Reply | None:
        """What its client is to hear; None where `_outlast` says it."""
        began = time.perf_counter()
        tracked = await (self.tracker.track(submission, key=key) if key else self.tracker.track(submission))
        TRACK_SECONDS.observe(time.perf_counter() - began)
        upstream = choice.named(self.settings, tracked.upstream)
        journey = self._journey(submission, tracked.message_id, upstream)
        if tracked.refusal:
            return self._say(answer.Answer(tracked.refusal, "refused"), journey)
        found = attempts.of(submission, tracked)
        del submission, tracked
        under_way = [a for a in found if a.under_way]
        patience = upstream.patience if journey.on_defer == "spool" else None
        if len(under_way) == 1:  # as of nearly all
            if not await self._carry_alone(under_way[0], patience, found, journey, reply):
                return None
        elif under_way:
            running = self._carrier.send(under_way, journey)
            _, slow = await asyncio.wait(running.values(), timeout=patience)
            if slow:
                await self._hand_over(running, journey)
        return await self._answer(found, journey)

    async def _carry_alone(
        self,
        attempt: attempts.Attempt,
        patience: float | None,
        found: Sequence[attempts.Attempt],
        journey: carrying.Journey,
        reply: asyncio.Future[Reply],
    ) -> bool:
        """The one copy, in the message's own task. False where that took longer than its client waits: then that one's
        answer comes from elsewhere."""
        loop = reply.get_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        late = False

        def over() -> None:
            nonlocal late
            late = True
            self._start(loop, self._say_to(reply, self._outlast({attempt: task}, found, journey), journey.peer))

        timer = loop.call_later(patience, over) if patience is not None else None
        self._alone.add(task)
        try:
            await self._carrier.carry(attempt, journey)
        except asyncio.CancelledError:  # by `close`, or since the spool has it
            task.uncancel()
        finally:
            self._alone.discard(task)
            if timer:
                timer.cancel()
        return not late

    async def _outlast(
        self,
        running: dict[attempts.Attempt, asyncio.Task[object]],
        found: Sequence[attempts.Attempt],
        journey: carrying.Journey,
    ) -> Reply:
        await self._hand_over(running, journey)
        return await self._answer(found, journey)

    async def _hand_over(
        self, running: Mapping[attempts.Attempt, asyncio.Task[object]], journey: carrying.Journey
    ) -> None:
        """Their client waits no longer."""
        await self._carrier.hand_over(running, journey)
        # Those that have their outcome but are not kept yet, and those that the disk did not take.
        ending = [task for a, task in running.items() if not a.in_spool and not task.done()]
        if ending:
            await asyncio.wait(ending)

    def _journey(self, submission: Submission, message_id: str, upstream: config.Upstream) -> carrying.Journey:
        # A client's own login goes along only where the upstream is who checked it.
        own = self.settings.smtp.auth == "upstream" and submission.login
        return carrying.Journey(
            message_id,
            submission.reverse_path,
            len(submission.content),
            len(submission.recipients),
            choice.name_of(upstream),
            (submission.login, submission.password) if own else None,
            # A user whose own session carries the mail is there to try again; we can't without that session.
            "pass" if own else upstream.on_defer,
            submission.login,
            submission.peer,
            submission.queue_id,
        )

    # -- the answer ------------------------------------------------------------------------------------------------------

    async def _answer(self, found: Sequence[attempts.Attempt], journey: carrying.Journey) -> Reply:
        for attempt in found:
            if attempt.under_way:
                attempt.cut_off()
        if len(found) == 1:
            told = found[0].fates
        else:
            fates = {attempt: attempt.fates for attempt in found}
            told = [fates[attempt][n] for attempt, n in _everybody(found)]
        said = answer.over(journey.message_id, told, journey.on_defer)
        if said.taken:
            self.outcomes.accepted(journey.message_id)
        for attempt in found:
            if not attempt.in_spool:
                self._record(attempt, journey)
        if said.keep or said.report or said.relayed:
            said = await self._carry_out(said, _everybody(found), journey)
        return self._say(said, journey)

    def _record(self, attempt: attempts.Attempt, journey: carrying.Journey) -> None:
        addresses = [recipient.address for recipient in attempt.recipients]
        self.outcomes.replies(journey.message_id, addresses, attempt.outcomes, attempt.host)
        self.outcomes.ended(journey.message_id, attempt.words)

    async def _carry_out(
        self, wanted: answer.Answer, everybody: Sequence[tuple[attempts.Attempt, int]], journey: carrying.Journey
    ) -> answer.Answer:
        """Does what has to be done before a 250; the answer, which is another one where the disk is full."""
        for attempt in dict.fromkeys(everybody[place][0] for place in wanted.keep):
            await self._carrier.keep(attempt, journey)
            if attempt.state is attempts.State.UNKEPT:
                return answer.full(attempt.reason)
        try:
            await self._carrier.report([everybody[place] for place in wanted.report], "failed", journey)
        except spool.Unwritable as reason:
            return answer.full(str(reason))
        try:
            await self._carrier.report([everybody[place] for place in wanted.relayed], "relayed", journey)
        except spool.Unwritable as reason:  # the message is with the upstream: no reason to refuse it
            LOG.error("not_told", message_id=journey.message_id, reason=str(reason))
        return wanted

    def _say(self, said: answer.Answer, journey: carrying.Journey) -> Reply:
        """The one line per message: what became of it when its client was answered."""
        LOG.often(
            "accepted" if said.reply.code == 250 else "refused",
            message_id=journey.message_id,
            login=journey.login or None,
            peer=journey.peer or None,
            queue_id=journey.queue_id or None,
            sender=journey.reverse_path or "<>",
            recipients=journey.recipients,
            size=journey.size,
            outcome=said.result,
            upstream=None if journey.upstream == DEFAULT_UPSTREAM else journey.upstream,
            reply=said.reply,
        )
        return said.reply

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Waits for what is under way. What is not over by then is in the spool, or its client has no answer."""
        until = asyncio.get_running_loop().time() + seconds
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for alone in set(self._alone):
            alone.cancel()
        await self._carrier.close(until - asyncio.get_running_loop().time())
        if self._tasks:
            _, left = await asyncio.wait(set(self._tasks), timeout=ANSWER_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._carrier.close(0.0)  # what these began meanwhile


def _everybody(found: Sequence[attempts.Attempt]) -> list[tuple[attempts.Attempt, int]]:
    """All recipients in the submission's order, each by its attempt and its place there."""
    everybody = [(attempt, n) for attempt in found for n in range(len(attempt.recipients))]
    if len(found) > 1:
        everybody.sort(key=lambda one: one[0].places[one[1]])
    return everybody
