"""What an upstream says during a transaction, as it says it.

Owns: reading replies (RFC 5321 4.2), several at a time, bounded; that a connection ended, hung or made no sense; that each
is given to the talk which waits for it at once, with no task between. Leaves to others: which reply answers what
(`transaction`).

aiosmtplib's own protocol waits for each reply and drops those that arrive together. So from the first transaction on,
`TransactionProtocol` stands in its place on the transport.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from relay.core import envelopes
from relay.core.model import Reply, Value

T = TypeVar("T")
REPLY = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.S)
LONGEST_LINE = 8192
MAX_LINES = 100


class ConnectionLost(Exception):
    """The connection ended, hung or made no sense; the text says which."""

    def __init__(self, why: str, *, left: bool = False) -> None:
        super().__init__(why)
        self.left = left


class Said(NamedTuple):
    """A reply as it was said: the code, and the text of each line. Of most only the code is ever asked for."""

    code: int
    lines: list[bytes]

    @property
    def reply(self) -> Reply:
        return envelopes.reply(self.code, [line.decode("utf-8", "replace") for line in self.lines])


class Wait(Value, frozen=True):
    """For so many replies, or a 421, after which no more is said (RFC 5321 3.8); or, where none are asked for, for room to
    write on, which ends too where the upstream speaks. For so many seconds each."""

    seconds: float
    replies: int = 1


# It gets the replies that it waits for. Where the connection is lost, or nothing is heard in time, `ConnectionLost` is raised in it.
Talk = Generator[Wait, list[Said], T]


class Deadline:
    """Of one connection: a single timer, which is not set anew each time that the deadline moves. When it comes too early, it
    is set again; `shortest` is the shortest time that the deadline is ever ahead."""

    __slots__ = ("_due", "_over", "_shortest", "_timer", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest: float) -> None:
        self.loop, self._shortest = loop, shortest
        self._timer: asyncio.TimerHandle | None = None
        self._over: Callable[[], None] | None = None
        self._due = 0.0

    def move(self, seconds: float, over: Callable[[], None]) -> None:
        """`over` is called so many seconds from now, unless it moves again or is lifted."""
        self._due, self._over = self.loop.time() + seconds, over
        if self._timer is None:
            self._set(min(seconds, self._shortest))

    def lift(self) -> None:
        """There is none until it moves. The timer stays for the next time."""
        self._over = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._over = None

    def _set(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, over = None, self._over
        if over is None:
            return
        left = self._due - self.loop.time()
        if left > 0:
            self._set(min(left, self._shortest))
        else:
            self._over = None
            over()


class TransactionProtocol(asyncio.Protocol):
    """Reads replies as they come, several at a time. It takes the place of `home`, which hears of the end."""

    def __init__(self, transport: asyncio.Transport, home: asyncio.BaseProtocol, deadline: Deadline) -> None:
        self.transport, self.home, self.deadline = transport, home, deadline
        self.replies: list[Said] = []
        self.lost = ""  # why, once it is
        self.paused = False  # the transport has no room
        self._buffer = b""
        self._lines: list[bytes] = []  # of a reply that is not whole
        self._failed = False
        self._talk: Talk[Any] | None = None
        self._wait = Wait(0.0)
        self._ended: asyncio.Future[Any] | None = None
        transport.set_protocol(self)

    # -- what the upstream does ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if (
            self._talk is None
        ):  # it is leaving, or does not know what it was asked: another message has another connection
            return self.transport.close()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            match = REPLY.fullmatch(line.removesuffix(b"\r"))
            if not match:
                return self._fail("no SMTP reply: " + envelopes.reply(0, [line[:80].decode("utf-8", "replace")]).text)
            code, more, text = match.groups(b"")
            self._lines.append(text)
            if more != b"-":
                self.replies.append(Said(int(code), self._lines))
                self._lines = []
        if len(self._buffer) > LONGEST_LINE or len(self._lines) > MAX_LINES:
            return self._fail("a reply without an end")
        if self.replies:  # half a reply is no reason to wait for longer
            self._go_on()

    def eof_received(self) -> bool:
        self.lost = self.lost or "it closed the connection"
        self._go_on()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or (f"connection lost: {exc}" if exc else "it closed the connection")
        self._go_on()
        self.home.connection_lost(exc)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._go_on()

    def _fail(self, why: str) -> None:
        self.lost, self._failed = self.lost or why, True
        self._go_on()
        self.transport.abort()

    # -- the talk ------------------------------------------------------------------------------------------------------

    async def run(self, talk: Talk[T]) -> T:
        """What the talk comes to. One at a time."""
        ended: asyncio.Future[T] = self.deadline.loop.create_future()
        self._talk, self._ended = talk, ended
        self._step(None)
        self._go_on()
        try:
            return await ended
        finally:
            self._talk = self._ended = None
            self.deadline.lift()
            talk.close()

    def _go_on(self) -> None:
        """As far as what was said, and the room that there is, go."""
        while self._talk is not None:
            wait, replies = self._wait, self.replies
            if replies and (len(replies) >= wait.replies or any(said.code == 421 for said in replies)):
                self.replies = replies[wait.replies :]
                self._step(replies[: wait.replies])
            elif self.lost:
                self._step(ConnectionLost(self.lost, left=not self._failed))
            elif not wait.replies and not self.paused:
                self._step([])
            else:
                self.deadline.move(wait.seconds, self._expire)
                return

    def _expire(self) -> None:
        self._step(ConnectionLost(f"nothing heard for {self._wait.seconds:g} s"))
        self._go_on()

    def _step(self, heard: list[Said] | ConnectionLost | None) -> None:
        talk, ended = self._talk, self._ended
        if talk is None or ended is None or ended.done():
            self._talk = None
            return
        try:
            if type(heard) is ConnectionLost:
                self._wait = talk.throw(heard)
            else:
                self._wait = talk.send(heard)  # type: ignore[arg-type]  # None begins it
        except StopIteration as end:
            self._talk = None
            ended.set_result(end.value)
        except Exception as error:  # it is for whoever waits
            self._talk = None
            ended.set_exception(error)
