"""Clients that leave before their answer, and come back with the same message.

Many clients give up after seconds, and then send the message again; the first one is on its way by then. Owns: knowing
the message again, for a while. Leaves to others: noticing that a client is gone (`smtp`).

What is remembered is a digest and a reply. The other processes of a service see both (`workers.board`): whichever of them
the client comes back to, it gets this reply. Not if it comes back before its first process has noticed that it is gone,
which takes that some milliseconds; and not if that process died before there was a reply. Then it is as after a crash.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from relay.core.model import Reply, Submission
from relay.workers import board

REMEMBER_SECONDS = 900.0
MAX_REMEMBERED = 10_000  # messages
LOOK_SECONDS = 0.05  # between two looks whether another process has the reply
# hashlib gives up the interpreter's lock for more octets than these, and waits to get it back, for every message though
# nearly none comes twice. So a message of the usual size is fed in pieces: 6 µs for 5 kB.
PIECE = 2047
IN_PIECES = 65_536  # octets up to which the waiting would take longer than the digest


def key(submission: Submission) -> bytes:
    """16 octets: the same for the same bytes to the same recipients from the same client, in every process. The client
    is known by its login, else by its address: nobody else's message has this key, whatever they send."""
    parts = [
        "login" if submission.login else "peer",
        submission.login or submission.peer,
        submission.reverse_path,
        *(recipient.address for recipient in submission.recipients),
    ]
    head = "\0".join(f"{len(part)} {part}" for part in parts)
    found = hashlib.blake2b(digest_size=16)
    for octets in (head.encode("utf-8", "surrogatepass"), submission.content):
        found.update(b"%d\0" % len(octets))
        if len(octets) > IN_PIECES:
            found.update(octets)
        else:
            for at in range(0, len(octets), PIECE):
                found.update(octets[at : at + PIECE])
    return found.digest()


@dataclass(frozen=True, slots=True)
class Remembered:
    reply: asyncio.Future[Reply]
    until: float


class Resubmissions:
    """Those of one process, at most `limit`, and what the others of its service have. `clock` gives monotonic seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        limit: int = MAX_REMEMBERED,
        service: board.Shared = board.ALONE,
    ) -> None:
        self._clock, self._limit = clock, limit
        self._answers = service.answers()
        self._left: dict[bytes, Remembered] = {}  # the oldest first

    def left(self, key: bytes, reply: asyncio.Future[Reply]) -> None:
        """The client of this message is gone; `reply` is what it would have heard, or will be."""
        now = self._clock()
        self._left.pop(key, None)
        self._left[key] = Remembered(reply, now + REMEMBER_SECONDS)
        self._answers.expect(key.hex(), now + REMEMBER_SECONDS)
        if reply.done():
            self._settle(key, reply)
        else:
            reply.add_done_callback(lambda reply: self._settle(key, reply))
        for oldest, its in list(self._left.items()):
            if its.until >= now and len(self._left) <= self._limit:
                break
            del self._left[oldest]

    def find(self, key: bytes) -> asyncio.Future[Reply] | None:
        """The reply to this message, where its client left within the last quarter of an hour. A 4xx that it would have
        had is none: nobody has the message then. Nor is one that was cut off."""
        found = self._left.get(key)
        if found is None or found.until < self._clock():
            return None
        if found.reply.done() and not known(found.reply):
            return None
        return found.reply

    def elsewhere(self, key: bytes) -> bool:
        """Whether another process has this message, or had it, from this client, which left within that time."""
        return self._answers.find(key.hex(), self._clock()) is not None

    async def heard(self, key: bytes) -> Reply | None:
        """What the other process has to say, once it can; None where nobody has the message after all."""
        while found := self._answers.find(key.hex(), self._clock()):
            if found.code:
                return Reply(found.code, found.text)
            await asyncio.sleep(LOOK_SECONDS)
        return None

    def _settle(self, key: bytes, reply: asyncio.Future[Reply]) -> None:
        if known(reply):
            self._answers.settle(key.hex(), board.Answer(reply.result().code, reply.result().text))
        else:
            self._answers.drop(key.hex())


def known(reply: asyncio.Future[Reply]) -> bool:
    """Somebody has the message, or nobody ever will."""
    return not reply.cancelled() and reply.result().code // 100 != 4
