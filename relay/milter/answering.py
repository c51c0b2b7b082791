"""One message that a mail server asks about -> what it is told.

Owns: the submission made of it, the deadline, and that it goes on without us where anything fails (or comes again later,
with on_failure = "tempfail"). Control headers and Bcc are taken out then too. Leaves to others: tracking (`outbound`), the
form of what is told (`core.milter.changes`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from relay import config, event_loop, log, metrics, outbound
from relay.core import headers
from relay.core.milter import Message, changes, packets
from relay.core.model import Reason, Reply, Submission
from relay.core.rewrite import Edits, Removed

LOG = log.room("milter")

OUTCOMES = {
    name: metrics.MILTER_MESSAGES.labels(name) for name in ("changed", "unchanged", "refused", "failed", "put_off")
}
Refuses = Callable[[str, str], Awaitable[Reply | None]]  # reverse-path, recipient
OF_CLIENT = ("SIZE=", "AUTH=")  # parameters of MAIL that are not the message's


class Tracker(Protocol):
    async def track(self, submission: Submission, *, one_group: bool = False) -> outbound.Tracked: ...
    async def pass_by(self, submission: Submission, reason: Reason, size: int) -> None: ...


class Failed(Exception):
    """It can't be tracked; the text is the reason code. Where it is `recorded`, it is counted with its record."""

    def __init__(self, reason: str, *, recorded: bool = False) -> None:
        super().__init__(reason)
        self.recorded = recorded


async def refused(refuses: Refuses, reverse_path: str, recipient: str) -> bytes:
    """The packet that refuses this recipient; b"" for none. Never raises."""
    try:
        reply = await refuses(reverse_path, recipient)
    except Exception:  # the edge
        metrics.ERRORS.labels("milter").inc()
        LOG.exception("recipient_not_asked_about")
        return b""
    if reply is None:
        return b""
    LOG.info("recipient_suppressed", reply=reply)
    return packets.reply(reply.code, reply.text)


class Answering:
    def __init__(self, settings: config.Settings, tracker: Tracker, clock: Callable[[], float] = time.time) -> None:
        self._deadline, self._tempfail = settings.milter.deadline, settings.milter.on_failure == "tempfail"
        self._tracker, self._clock = tracker, clock

    async def answer(self, message: Message) -> bytes:
        """All packets, the last of which ends the message. Never raises for any message; takes no longer than the
        deadline."""
        try:
            async with asyncio.timeout(self._deadline):
                return await self._tracked(message)
        except TimeoutError:
            return self._failed(message, "limit_time")
        except Failed as reason:
            return self._failed(message, str(reason), recorded=reason.recorded)
        except Exception:  # the edge
            metrics.ERRORS.labels("milter").inc()
            LOG.exception("not_answered", queue_id=message.queue_id)
            return self._failed(message, "internal_error")

    async def _tracked(self, message: Message) -> bytes:
        if not message.recipients:  # nobody to track it for
            return self._untouched(message)
        content = message.content
        if content is None:
            await self._tracker.pass_by(submission(message, message.head, self._clock()), "limit_size", message.size)
            raise Failed("limit_size", recorded=True)
        head = headers.read(content)
        if head.malformed >= 0 or head.body != message.body or len(head.fields) != len(message.fields):
            raise Failed("unsafe_place")  # the mail server counts its fields otherwise than we would
        tracked = await self._tracker.track(submission(message, content, self._clock()), one_group=True)
        if tracked.refusal:
            return self._refused(message, tracked, tracked.refusal)
        if tracked.failed and self._tempfail:
            raise Failed("internal_error")
        if not tracked.copies:  # no recipient is left
            return self._refused(message, tracked, tracked.refused[0][1])
        (copy,) = tracked.copies
        large = len(content) > event_loop.LARGEST
        edits = await asyncio.to_thread(copy.edits) if large else copy.edits()
        changed = bool(edits.headers) or edits.body is not None
        OUTCOMES["changed" if changed else "unchanged"].inc()
        metrics.ACCEPTED.inc()
        LOG.info(
            "answered", message_id=tracked.message_id, queue_id=message.queue_id, recipients=len(message.recipients),
            size=len(content), headers=len(edits.headers), body=edits.body is not None, peer=message.client.address,
            login=message.client.login,
        )  # fmt: skip
        return changes.answer(edits, leading_space=message.leading_space)

    def _refused(self, message: Message, tracked: outbound.Tracked, reply: Reply) -> bytes:
        OUTCOMES["refused"].inc()
        LOG.info(
            "refused", message_id=tracked.message_id, queue_id=message.queue_id, peer=message.client.address,
            login=message.client.login, reply=reply,
        )  # fmt: skip
        return packets.reply(reply.code, reply.text)

    def _failed(self, message: Message, reason: str, *, recorded: bool = False) -> bytes:
        metrics.FAILED_OPEN.labels("milter").inc()
        if not recorded:
            metrics.UNTRACKED.labels(reason).inc()
        LOG.warning("untracked", reason=reason, queue_id=message.queue_id, put_off=self._tempfail)
        if self._tempfail and reason in ("limit_time", "internal_error"):  # others would fail for ever
            OUTCOMES["put_off"].inc()
            return packets.reply(451, "4.3.0 Something went wrong here, try again later")
        OUTCOMES["failed"].inc()
        return self._untouched(message)

    def _untouched(self, message: Message) -> bytes:
        return changes.answer(Edits(tuple(taken(message)), None), leading_space=message.leading_space)


def taken(message: Message) -> Iterator[Removed]:
    """What must not leave, from the last field to the first: so no index moves."""
    for name, index in reversed(message.fields):
        if outbound.never_leaves(name):
            yield Removed(name, index)


def submission(message: Message, content: bytes, now: float) -> Submission:
    client = message.client
    return Submission(
        message.reverse_path,
        message.recipients,
        content,
        tuple(option for option in message.options if not option.upper().startswith(OF_CLIENT)),
        peer=client.address,
        received_at=now,
        login=client.login,
        queue_id=message.queue_id,
        daemon=client.daemon,
    )
