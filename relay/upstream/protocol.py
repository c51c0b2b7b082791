"""What an upstream says during a transaction, as it says it.

Owns: reading replies (RFC 5321 4.2), several at a time, bounded; that a connection ended, hung or made no sense; that each
is given to the talk which waits for it at once, with no task between. Leaves to others: which reply answers what
(`transaction`).

aiosmtplib's own protocol waits for each reply and drops those that arrive together. So for the length of a transaction
`TransactionProtocol` stands in its place on the transport, and gives it back afterwards.
"""

from __future__ import annotations

import asyncio
import collections
import re
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from relay.core import envelopes
from relay.core.model import Reply

T = TypeVar("T")
REPLY = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.S)
LONGEST_LINE = 8192
MAX_LINES = 100


class ConnectionLost(Exception):
    """The connection ended, hung or made no sense; the text says which."""

    def __init__(self, why: str, *, left: bool = False) -> None:
        super().__init__(why)
        self.left = left


class Wait(NamedTuple):
    """For the next reply; or for `room` to write on, which ends too where the upstream speaks. For so many seconds."""

    seconds: float
    room: bool = False


# It gets the reply that it waits for. Where the connection is lost, or nothing is heard in time, `ConnectionLost` is raised in it.
Talk = Generator[Wait, Any, T]


class Deadline:
    """Of one connection: a single timer, which is not set anew each time that the deadline moves. When it comes too early, it
    is set again; `shortest` is the shortest time that the deadline is ever ahead."""

    __slots__ = ("_due", "_loop", "_over", "_shortest", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest: float) -> None:
        self._loop, self._shortest = loop, shortest
        self._timer: asyncio.TimerHandle | None = None
        self._over: Callable[[], None] | None = None
        self._due = 0.0

    def move(self, seconds: float, over: Callable[[], None]) -> None:
        """`over` is called so many seconds from now, unless it moves again or is lifted."""
        self._due, self._over = self._loop.time() + seconds, over
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
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, over = None, self._over
        if over is None:
            return
        left = self._due - self._loop.time()
        if left > 0:
            self._set(min(left, self._shortest))
        else:
            self._over = None
            over()


class TransactionProtocol(asyncio.Protocol):
    """Reads replies as they come, several at a time."""

    def __init__(self, transport: asyncio.Transport, home: asyncio.Protocol, deadline: Deadline) -> None:
        self.transport, self.home, self.deadline = transport, home, deadline
        self.replies: collections.deque[Reply] = collections.deque()
        self.lost = ""  # why, once it is
        self._buffer = b""
        self._texts: list[str] = []
        self._paused = self._failed = False
        self._talk: Talk[Any] | None = None
        self._wait = Wait(0.0)
        self._ended: asyncio.Future[Any] | None = None

    # -- what the upstream does ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            match = REPLY.fullmatch(line.removesuffix(b"\r"))
            if not match:
                return self._fail("no SMTP reply: " + envelopes.reply(0, [line[:80].decode("utf-8", "replace")]).text)
            self._texts.append((match[3] or b"").decode("utf-8", "replace"))
            if match[2] != b"-":
                self.replies.append(envelopes.reply(int(match[1]), self._texts))
                self._texts = []
        if len(self._buffer) > LONGEST_LINE or len(self._texts) > MAX_LINES:
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
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._go_on()

    def _fail(self, why: str) -> None:
        self.lost, self._failed = self.lost or why, True
        self._go_on()
        self.transport.abort()

    # -- the talk ------------------------------------------------------------------------------------------------------

    async def run(self, talk: Talk[T]) -> T:
        """What the talk comes to. Called once."""
        ended: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._talk, self._ended = talk, ended
        self._step(None)
        self._go_on()
        try:
            return await ended
        finally:
            self._talk = self._ended = None
            self.deadline.lift()
            talk.close()

    def write(self, data: bytes, seconds: float) -> Talk[None]:
        """Until the transport has room again; sooner where the upstream speaks or goes."""
        self.transport.write(data)
        if self._paused or self.lost:
            yield Wait(seconds, room=True)

    def _go_on(self) -> None:
        """As far as what was said, and the room that there is, go."""
        while self._talk is not None:
            wait = self._wait
            if self.replies:
                self._step(None if wait.room else self.replies.popleft())
            elif self.lost:
                self._step(ConnectionLost(self.lost, left=not self._failed))
            elif wait.room and not self._paused:
                self._step(None)
            else:
                self.deadline.move(wait.seconds, self._expire)
                return

    def _expire(self) -> None:
        self._step(ConnectionLost(f"nothing heard for {self._wait.seconds:g} s"))
        self._go_on()

    def _step(self, heard: Reply | ConnectionLost | None) -> None:
        talk, ended = self._talk, self._ended
        if talk is None or ended is None or ended.done():
            self._talk = None
            return
        try:
            self._wait = talk.throw(heard) if isinstance(heard, ConnectionLost) else talk.send(heard)
        except StopIteration as end:
            self._talk = None
            ended.set_result(end.value)
        except Exception as error:  # it is for whoever waits
            self._talk = None
            ended.set_exception(error)
