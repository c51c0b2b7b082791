"""The door of the APIs: a message that was composed goes the way of those that come by SMTP.

Owns: that a message has its `message_id` before anything is done with it, which of two ways it takes, and that a call which
is repeated after a crash sends it once more only where nobody can have it. Leaves to others: the bytes (`core.compose`), what
is tracked (`outbound`), the attempt (`delivery`), what waits (`spool`), what is remembered of a call (`store`).

    delivery    in the process that sends: the caller waits as an SMTP client does, and hears the upstream's refusal
    spool       in a process that sends nothing: on disk, then "accepted"; the role queue does the rest

What is done for a call that may be repeated, and what a crash after each step comes to when it is made again:
1. begun       what the upstream accepted and what is in the spool is left out, the rest goes the way again
2. the way     by `delivery`: as above. By the spool: held under names made of the message_id, which nobody sends;
   what is held is dropped, and it begins again
3. kept        what is held is admitted: again, which changes nothing where it was
4. answered    the same answer
What the upstream took, and whose "accepted" was lost or not written down when the process died, comes a second time, with the
same bytes: as with mail by SMTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Protocol

from relay import config, log, metrics, outbound, spool
from relay.core import queue, tokens
from relay.core.model import Never, Recipient, Reply, Sent, Submission, Value
from relay.delivery import attempts
from relay.store import Request, UpstreamReply
from relay.submitting import keeping

LOG = log.room("submitting")

REMEMBERED = 3600.0  # seconds that a call may be repeated for
OWN_LOGINS = Reply(550, '5.7.0 [smtp] auth = "upstream": mail goes over its sender\'s own login, and the API has none')
LOST = Reply(451, "4.3.0 The message could not be taken; try again")


class Accepted(Value, frozen=True):
    """The upstream or the spool answers for it. `reply` is what an SMTP client would hear."""

    message_id: str
    reply: Reply


class Refused(Value, frozen=True):
    """Nobody has it. `reply` is the upstream's, or ours: 5xx for good, 4xx for now."""

    message_id: str
    reply: Reply


Result = Accepted | Refused


class Records(keeping.Records, Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None: ...
    async def settle_request(self, request: Request) -> None: ...


class Tracker(Protocol):
    async def track(self, submission: Submission, *, key: bytes) -> outbound.Tracked: ...


class Handle(Protocol):
    @property
    def reply(self) -> asyncio.Future[Reply]: ...


class Delivery(Protocol):
    async def take(self, submission: Submission, *, message_key: bytes) -> Handle: ...
    def delivered(self, message_id: str) -> set[str]: ...


class Spool(Protocol):
    def entry(
        self, message_id: str, reverse_path: str, recipients: Sequence[queue.Waiting], options: Sequence[str],
        *, upstream: str, entry_id: str,
    ) -> queue.Entry: ...  # fmt: skip
    async def hold(self, entry: queue.Entry, content: bytes) -> None: ...
    async def admit(self, prefix: str) -> None: ...
    async def drop(self, prefix: str) -> None: ...
    async def recipients_of(self, message_id: str) -> set[str]: ...


class Submitting:
    """`deliver` is None in a process that sends nothing. `random_bytes` gives n of them."""

    def __init__(
        self,
        settings: config.Settings,
        records: Records,
        tracker: Tracker,
        kept: Spool,
        delivery: Delivery | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._settings, self._records, self._tracker, self._spool = settings, records, tracker, kept
        self._delivery, self._clock, self._random_bytes = delivery, clock, random_bytes

    def new_id(self) -> str:
        """A `message_id`, which is a message's from before it is composed."""
        return tokens.message_id(tokens.message_key(self._clock(), self._random_bytes(6)))

    @property
    def refusal(self) -> Reply | None:
        """Why no message can be sent by API here."""
        return OWN_LOGINS if self._settings.smtp.auth == "upstream" else None

    async def submit(self, submission: Submission, message_id: str = "", request: Request | None = None) -> Result:
        """Sends it; durable when the result is `Accepted`. `request` is the call that the store has begun for it, and that
        is told here when the message is kept. Goes on to its end when the caller is cancelled."""
        message_id = message_id or self.new_id()
        if self.refusal:
            return Refused(message_id, self.refusal)
        work = self._guarded(self._submit(submission, message_id, request), message_id, submission)
        return await asyncio.shield(asyncio.ensure_future(work))

    async def resume(self, submission: Submission, request: Request) -> Result:
        """The same after a crash, of a call that is "begun" or "kept"."""
        message_id = request.message_id
        work = self._guarded(self._resume(submission, request), message_id, submission)
        return await asyncio.shield(asyncio.ensure_future(work))

    async def _guarded(
        self, work: Coroutine[object, object, Result], message_id: str, submission: Submission
    ) -> Result:
        try:
            result = await work
            if isinstance(result, Accepted):
                await keeping.keep(self._settings.admin, self._records, message_id, submission.content)
            return result
        except spool.Unwritable as reason:
            return Refused(message_id, Reply(452, f"4.3.1 The message can't be kept now: {reason}"))
        except Exception:  # the edge: the caller keeps the message, and tries again
            metrics.ERRORS.labels("submitting").inc()
            LOG.exception("not_taken", message_id=message_id)
            return Refused(message_id, LOST)

    async def _submit(self, submission: Submission, message_id: str, request: Request | None) -> Result:
        if self._delivery is None:
            return await self._keep(submission, message_id, request)
        handle = await self._delivery.take(submission, message_key=tokens.key_of(message_id))
        reply = await handle.reply
        return Accepted(message_id, reply) if reply.code < 400 else Refused(message_id, reply)

    async def _resume(self, submission: Submission, request: Request) -> Result:
        message_id = request.message_id
        if request.state == "kept":
            await self._spool.admit(entry_names(message_id))
            return accepted(message_id)
        await self._spool.drop(entry_names(message_id))
        # In this order: what leaves the spool meanwhile was told, and what was told is in the store. Who was refused gets it
        # again, so that somebody hears of the refusal.
        over = await self._spool.recipients_of(message_id)
        over |= self._delivery.delivered(message_id) if self._delivery else set()
        known = await self._records.sent(message_id)
        over |= {copy.recipient for copy in known.copies if copy.state == "done"} if known else set()
        left = [recipient for recipient in submission.recipients if recipient.address not in over]
        LOG.info("resumed", message_id=message_id, recipients=len(left))
        if not left:
            return accepted(message_id)
        if len(left) == len(submission.recipients):
            return await self._submit(submission, message_id, request)
        return await self._keep(submission, message_id, request, over)

    async def _keep(
        self,
        submission: Submission,
        message_id: str,
        request: Request | None,
        over: frozenset[str] | set[str] = frozenset(),
    ) -> Result:
        """By the spool: all copies or none."""
        tracked = await self._tracker.track(submission, key=tokens.key_of(message_id))
        if tracked.refusal:
            return Refused(message_id, tracked.refusal)
        found = attempts.of(submission, tracked)
        refused = [(w, o) for a in found if a.state is attempts.State.REFUSED for w, o in a.words()]
        never = [
            UpstreamReply(message_id, (w.address,), "never", str(o.reply)) for w, o in refused if isinstance(o, Never)
        ]
        if never:
            await self._records.record_replies(never)
        kept = [a for a in found if a.state is not attempts.State.REFUSED]
        if not kept:
            reply = next((o.reply for _, o in refused), Reply(550, "5.1.3 nobody to send it to"))
            return Refused(message_id, reply)
        prefix = entry_names(message_id)
        for number, attempt in enumerate(kept):
            waiting = [each for each in attempt.waiting() if each.address not in over]
            if waiting:
                entry = self._spool.entry(
                    message_id, submission.reverse_path, waiting, attempt.options,
                    upstream=tracked.upstream, entry_id=f"{prefix}{number:04x}",
                )  # fmt: skip
                await self._spool.hold(entry, await asyncio.to_thread(attempt.render))
        if request:
            await self._records.settle_request(request.with_(state="kept"))
        await self._spool.admit(prefix)
        LOG.info("accepted", message_id=message_id, login=submission.login or None, peer=submission.peer or None,
                 sender=submission.reverse_path, recipients=len(submission.recipients),
                 size=len(submission.content), outcome="kept")  # fmt: skip
        return accepted(message_id)


def accepted(message_id: str) -> Accepted:
    return Accepted(message_id, Reply(250, f"2.0.0 Ok {message_id} queued"))


def entry_names(message_id: str) -> str:
    """How the names of the spool's entries begin that are made of this message here."""
    at = int.from_bytes(tokens.key_of(message_id)[:6], "big") / 1000
    return queue.entry_id(at, hashlib.blake2b(message_id.encode(), digest_size=8).digest())


def submission(
    content: bytes, reverse_path: str, recipients: Sequence[str], options: Sequence[str], *, peer: str, at: float,
    metadata: Mapping[str, str],
) -> Submission:  # fmt: skip
    """A message as the rooms behind the door have it. `peer` is the address of who asked; nobody spoke SMTP."""
    return Submission(
        reverse_path, tuple(map(Recipient, recipients)), content, tuple(options), peer=peer, received_at=at,
        metadata=metadata,
    )  # fmt: skip
