"""Handing a message to whoever takes it, and hearing what its client is to hear.

Owns: which messages have no answer yet, and their octets in flight. Leaves to others: what happens to the message, and so
the promise behind a 250.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from relay import log, metrics
from relay.core.model import Reply, Submission
from relay.smtp import limits

LOG = log.room("smtp")

FAILED = Reply(451, "4.3.0 Something went wrong here, try again later")


class Handle(Protocol):
    """A message that was taken, and goes on whatever its client does."""

    @property
    def reply(self) -> asyncio.Future[Reply]: ...

    def client_gone(self) -> None: ...


Take = Callable[[Submission], Awaitable[Handle]]


class Intake:
    def __init__(self, take: Take, flight: limits.Flight) -> None:
        self._take, self._flight = take, flight
        self._pending: set[asyncio.Future[Reply]] = set()

    @property
    def pending(self) -> int:
        """Messages that were taken and have no answer yet."""
        return len(self._pending)

    async def reply(self, submission: Submission, taken: Callable[[Handle], None] | None = None) -> Reply:
        """What the client is to hear. The message's octets are in flight already, and until there is an answer. `taken` gets
        the handle. Cancel this where the client leaves: whoever takes the message hears that, and goes on."""
        octets, taking = len(submission.content), self._take(submission)
        del submission  # the original is not kept here while it is delivered
        try:
            handle = await taking
        except BaseException as error:
            self._flight.add(-octets)
            if isinstance(error, Exception):
                return failed()
            raise
        self._pending.add(handle.reply)
        if taken:
            taken(handle)
        heard: asyncio.Future[Reply] = handle.reply.get_loop().create_future()  # the reply itself outlives the client
        handle.reply.add_done_callback(partial(self._answered, octets, heard))
        try:
            return await heard
        except asyncio.CancelledError:
            handle.client_gone()
            raise

    def _answered(self, octets: int, heard: asyncio.Future[Reply], answered: asyncio.Future[Reply]) -> None:
        self._pending.discard(answered)
        self._flight.add(-octets)
        try:
            reply = answered.result()
        except asyncio.CancelledError:
            heard.cancel()
            return
        except Exception:
            reply = failed()
        else:
            if reply.code < 300:
                metrics.ACCEPTED.inc()
            else:
                metrics.REFUSED.labels(reply.code).inc()
        if not heard.done():
            heard.set_result(reply)


def failed() -> Reply:
    """The edge: the client keeps the message, and tries again."""
    LOG.exception("not_taken")
    metrics.ERRORS.labels("smtp").inc()
    metrics.REFUSED.labels(FAILED.code).inc()
    return FAILED
