"""Commands one after the other, and their replies.

Owns: reading a command line, which method answers it, the order of replies and when they are sent (RFC 5321 4.2, RFC
2920 3.2), and what comes of errors, of commands that there are not and of those that lead nowhere.
Leaves to others: the connection (`session`), what each command does (`commands`).
"""

from __future__ import annotations

import asyncio
import contextlib

from relay import log, metrics
from relay.core.model import Reply
from relay.smtp import limits, session

LOG = log.room("smtp")

NO_COMMAND = "5.5.2 That is no command here, or too long"


class Methods:
    """A session's commands by their names, bound when one is asked for: thirty bound methods take 2.5 kB."""

    __slots__ = ("_session",)

    def __init__(self, session: CommandLoop) -> None:
        self._session = session

    def get(self, name: str, default: object = None) -> object:
        return getattr(self._session, f"smtp_{name}", default)


class CommandLoop(session.Session):
    def become(self, pattern: session.Session) -> None:
        super().become(pattern)
        self._smtp_methods = Methods(self)

    async def _handle_client(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client left while it was answered
            if self.implicit_tls and not await self.start_tls():
                return
            await self.push(f"220 {self.hostname} {self.__ident__}")
            while self.transport is not None:
                try:
                    await self.hear()
                except (asyncio.CancelledError, ConnectionResetError):
                    self._writer.close()
                    raise
                except Exception:  # the edge: the session goes on
                    LOG.exception("command_failed")
                    metrics.ERRORS.labels("smtp").inc()
                    await self.push("451 4.3.0 Something went wrong here, try again later")

    async def hear(self) -> None:
        """One command. (aiosmtpd's own loop spends more on its log, which nobody reads, than the commands take.)"""
        try:
            line: bytes = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            return await self.pass_over(error.consumed)
        line = line.rstrip(b"\r\n")
        verb, _, rest = line.partition(b" ")
        if not line or not verb.isascii() or len(line) > self.command_size_limit:
            return await self.push(f"500 {NO_COMMAND}")
        method = self._smtp_methods.get(verb.decode("ascii").upper())
        if method is None:
            self.unknown += 1
            if self.unknown < limits.MAX_UNKNOWN:
                return await self.push(f"500 {NO_COMMAND}")
            await self.push("502 5.5.1 Too many unrecognized commands, goodbye.")
            return self.transport.close()  # type: ignore[no-any-return]
        self._reset_timeout()
        # What is no UTF-8 can be made the same octets again.
        await method(rest.strip().decode("utf-8", "surrogateescape") if rest else None)

    async def pass_over(self, octets: int) -> None:
        """A line that is too long, of which so many have been seen."""
        while True:
            await self._reader.read(octets)
            try:
                await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                octets = error.consumed
            else:
                return await self.push(f"500 {NO_COMMAND}")

    # -- replies -------------------------------------------------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        line = status if isinstance(status, bytes) else status.encode("utf-8", "replace")
        self.held += line + b"\r\n"
        if line[:1] in b"45":
            metrics.SMTP_REFUSED.labels(line[:3].decode("ascii", "replace")).inc()
            self.errors += 1
            if self.errors >= self.shared.held_to.errors:
                self.tell("too_many_errors", peer=self.address)
                await self.goodbye("421 4.7.0 Too many errors")
        if b"\n" not in self._reader._buffer:
            await self.flush()

    def pause_writing(self) -> None:
        self.backed_up = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.backed_up = False
        super().resume_writing()

    async def flush(self) -> None:
        """Sends the replies that wait. Call it before anything that takes time."""
        if self.held:
            self._writer.write(self.held)
            self.held = b""
            if self.backed_up or self.transport is None or self.transport.is_closing():
                await self._writer.drain()

    async def say(self, reply: Reply, *, utf8: bool = False) -> None:
        """A reply of others, who may have written anything into it: one line or several, nothing that ends a line."""
        if len(reply.text) <= 900 and reply.text.isascii() and reply.text.isprintable():
            return await self.push(b"%d %b" % (reply.code, reply.text.encode("ascii")))
        words = [log.safe(line)[:900] for line in reply.text.splitlines()] or [""]
        lines = [f"{reply.code}{' ' if n == len(words) else '-'}{text}" for n, text in enumerate(words, 1)]
        text = "\r\n".join(lines)
        await self.push(text if utf8 else text.encode("ascii", "replace"))

    async def goodbye(self, words: str) -> None:
        """The last reply. What the client has sent already is not looked at."""
        self._writer.write(self.held + words.encode() + b"\r\n")
        self.held = b""
        if self.transport is not None:
            self.transport.close()
        self._handler_coroutine.cancel()
        await asyncio.sleep(0)

    async def idled(self) -> None:
        """Counts a command that leads nowhere. A session without a message holds a place that others need."""
        self.idle += 1
        held_to = self.shared.held_to
        most, stay = held_to.idle_commands, held_to.session_seconds
        if not (self.allowed or self.login):
            most, stay = held_to.stranger_commands, held_to.stranger_seconds
        if self.idle > most or self.loop.time() - self.since_message > stay:
            await self.goodbye("421 4.7.0 Too many commands without a message")
