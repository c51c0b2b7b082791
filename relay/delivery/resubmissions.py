"""Clients that leave before their answer, and come back with the same message.

Many clients give up after seconds, and then send the message again; the first one is on its way by then. Owns: knowing
the message again, for a while. Leaves to others: noticing that a client is gone (`smtp`).

What is remembered is a digest and a reply. The other processes of a service see both (`workers.board`): whichever of them
the client comes back to, it gets this reply. They also see the digests of what is under way. For a client may be at another
process before its first one has noticed that it is gone, or has even read the message that it left. So the process that
began later waits for the other one to look at its connections, and looks at its own:

- the other's client is gone: it is the same one, and gets that message's reply;
- its own client is gone: the other process has that one's second try already, and its reply is this one's too;
- both are there: two clients sent the same bytes at once, and both messages are delivered, as by a single process.

Where a process died before there was a reply, or does not look, it is as after a crash.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relay.core.model import Reply, Submission
from relay.workers import sharing

REMEMBER_SECONDS = 900.0
MAX_REMEMBERED = 10_000  # messages
FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.002, 0.05  # between two looks whether another process has the reply, at most
ASK_SECONDS = 2.0  # that another process is waited for which is to look at its connections
OVER_SECONDS = 30.0  # that is known what was answered to a client that was there: as long as a process may stand still
# hashlib gives up the interpreter's lock for more octets than these, and waits to get it back, for every message though
# nearly none comes twice. So a message of the usual size is fed in pieces: 6 µs for 5 kB.
PIECE = 2047
BEFORE = ("5.0.0 Refused when it was sent again", "2.0.0 Taken when it was sent again")
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
    head = "\0".join([f"{len(part)} {part}" for part in parts])
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
        service: sharing.Shared = sharing.ALONE,
    ) -> None:
        self._clock, self._limit = clock, limit
        self._answers, self._alone = service.answers(), service.alone
        self._answers.listen()
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

    def begin(self, key: bytes, reply: asyncio.Future[Reply]) -> float | None:
        """This message is under way from now on, until it has its reply. Where another process has the same from this
        client, or had it not long ago: since when, for `heard`."""
        if self._alone:
            return None
        now = self._clock()
        elsewhere, place = self._answers.begin(key.hex(), now, now + REMEMBER_SECONDS)
        reply.add_done_callback(partial(self._over, place))
        return now if elsewhere else None

    def _over(self, place: sharing.Place, reply: asyncio.Future[Reply]) -> None:
        self._answers.over(place, reply.result().code if known(reply) else 0, self._clock() + OVER_SECONDS)

    async def heard(self, key: bytes, began: float, gone: Callable[[], bool]) -> Reply | None:
        """What the other process has to say, once it can. None where the message is to be delivered: nobody has it after
        all, or it is another client's that was not gone. `gone`: whether this one is."""
        name, until, pause = key.hex(), self._clock() + ASK_SECONDS, FIRST_LOOK_SECONDS
        looked = self._answers.ask(name, self._clock(), began)
        for _ in range(sharing.TURNS):
            await asyncio.sleep(0)
        while True:
            waits = not looked() and self._clock() < until  # before `find`, which tells what they saw
            found = self._answers.find(name, self._clock(), began)
            if found is None:
                return None
            if found.code > 0:
                return Reply(found.code, found.text)
            if found.code < 0:
                if not gone() and (found.code != sharing.UNDER_WAY or not waits):
                    return None
                if gone() and found.code != sharing.UNDER_WAY:
                    return Reply(-found.code, BEFORE[found.code == -250])
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS)

    def _settle(self, key: bytes, reply: asyncio.Future[Reply]) -> None:
        if known(reply):
            self._answers.settle(key.hex(), sharing.Answer(reply.result().code, reply.result().text))
        else:
            self._answers.drop(key.hex())


def known(reply: asyncio.Future[Reply]) -> bool:
    """Somebody has the message, or nobody ever will."""
    return not reply.cancelled() and reply.result().code // 100 != 4
