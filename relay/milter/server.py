"""The milter's listener: its start and its end, and what all mail servers' connections may use together.

Owns: the socket, on TCP or as a file, places, octets in flight, idle connections, stopping without leaving a message
unanswered. Leaves to others: a connection (`connection`), a message (`answering`).
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay import causes, log, metrics
from relay.config import Settings
from relay.core import networks
from relay.core.milter import Client, Session
from relay.milter import answering, submitters
from relay.milter.connection import Connection

LOG = log.room("milter")

UNIX, INET, INET6 = "unix:", "inet:", "inet6:"
BACKLOG = 1024


class CannotListen(Exception):
    """The listener can't start; the text says why. `now`: the settings may be right, and the address can't be had at this
    moment."""

    def __init__(self, sentence: str, *, now: bool = True) -> None:
        super().__init__(sentence)
        self.now = now


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds."""

    connections: int = 1000  # one for each session of the mail server
    in_flight: int = 1_000_000_000  # octets of messages, of all connections
    message: int = 50_000_000  # octets of one; what is larger goes on untracked
    idle: float = 7_210.0  # without a word, as libmilter has it: a mail server holds it as long as its client's session
    look: float = 30.0  # between two looks at who is idle
    say: float = 60.0  # between two lines about connections that are turned away


class Server:
    """A listener that is up. `address` is what it is bound to, "" for a file."""

    def __init__(
        self,
        answer: answering.Answering,
        tracks: Callable[[Client], bool],
        limits: Limits,
        refuses: answering.Refuses | None = None,
    ) -> None:
        self.answer, self._tracks, self._limits, self._refuses = answer.answer, tracks, limits, refuses
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.AbstractServer] = []
        self._file: tuple[Path, int] | None = None  # ours, with its inode
        self._watch: asyncio.TimerHandle | None = None
        self._said = float("-inf")
        self._stopping = False
        self._empty = asyncio.Event()  # once it stops
        self.in_flight = 0
        self.addresses: list[tuple[str, int]] = []

    @property
    def connections(self) -> int:
        return len(self._connections)

    # -- for connections -----------------------------------------------------------------------------------------------

    def session(self) -> Session:
        return Session(self._tracks, self.room, self._limits.message, asks=self._refuses is not None)

    async def refusal(self, reverse_path: str, recipient: str) -> bytes:
        """What the mail server hears of a recipient who is not written to; b"" where it may go on."""
        return await answering.refused(self._refuses, reverse_path, recipient) if self._refuses else b""

    def room(self, octets: int) -> bool:
        """Room for so many more octets; less than 0 gives back."""
        if octets > 0 and self.in_flight + octets > self._limits.in_flight:
            return False
        self.in_flight += octets
        return True

    def take(self, connection: Connection) -> bool:
        if self._stopping or len(self._connections) >= self._limits.connections:
            metrics.MILTER_TURNED_AWAY.inc()
            if self._loop.time() - self._said >= self._limits.say and not self._stopping:
                self._said = self._loop.time()
                LOG.warning("full", connections=len(self._connections))
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._stopping and not self._connections:
            self._empty.set()

    # -- its own -------------------------------------------------------------------------------------------------------

    async def listen(self, text: str, mode: int, group: str, inherited: Sequence[socket.socket] = ()) -> None:
        """By the sockets that are bound to the address where there are such. Raises `CannotListen`."""
        try:
            for each in inherited:
                await self._take(each)
            if not inherited:
                await self._open(text, mode, group)
        except OSError as reason:
            why = causes.of(reason, listening=not text.startswith(UNIX))
            raise CannotListen(f"can't listen on {text}: {why}") from reason
        self._look()

    async def _take(self, bound: socket.socket) -> None:
        """A socket that somebody else has bound, and will remove where it is a file."""
        unix = bound.family == socket.AF_UNIX
        begin: Any = self._loop.create_unix_server if unix else self._loop.create_server
        how = {"cleanup_socket": False} if unix and sys.version_info >= (3, 13) else {}
        self._listeners.append(await begin(lambda: Connection(self), sock=bound, backlog=BACKLOG, **how))
        self.addresses.append((bound.getsockname(), 0) if unix else bound.getsockname()[:2])

    async def _open(self, text: str, mode: int, group: str) -> None:
        if text.startswith(UNIX):
            path = Path(text.removeprefix(UNIX))
            bound = self._bind(path, mode, group)
            listener = await self._loop.create_unix_server(lambda: Connection(self), sock=bound, backlog=BACKLOG)
            self.addresses = [(str(path), 0)]
        else:
            host, port = networks.endpoint(text.partition(":")[2])
            listener = await self._loop.create_server(lambda: Connection(self), host or None, port, backlog=BACKLOG)
            self.addresses = [s.getsockname()[:2] for s in listener.sockets]
        self._listeners.append(listener)

    def _bind(self, path: Path, mode: int, group: str) -> socket.socket:
        """A socket as a file, which nobody can connect to before it has its owner and mode: it does not listen yet."""
        if left(path):
            path.unlink()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(path))
            self._file = path, path.stat().st_ino
            path.chmod(0o600)
            if group:
                os.chown(path, -1, gid(group))
            path.chmod(mode)
        except BaseException:
            bound.close()
            raise
        bound.setblocking(False)
        return bound

    def _look(self) -> None:
        before = self._loop.time() - self._limits.idle
        for connection in tuple(self._connections):
            if connection.heard < before:
                LOG.info("idle", seconds=round(self._limits.idle))
                connection.cut()
        self._watch = self._loop.call_later(self._limits.look, self._look)

    def stop_listening(self) -> None:
        self._stopping = True
        if self._watch:
            self._watch.cancel()
        for listener in self._listeners:
            listener.close()
        if self._file:
            path, inode = self._file
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()
            self._file = None

    async def drain(self, seconds: float) -> None:
        """Ends every connection: at once where no message is under way, else after its answer, or after `seconds`. The
        mail server goes on without us then."""
        self.stop_listening()
        for connection in tuple(self._connections):
            connection.finish()
        if not self._connections:
            self._empty.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        if self._connections:
            LOG.warning("sessions_cut", sessions=len(self._connections))
        for connection in tuple(self._connections):
            connection.cut()


def left(path: Path) -> bool:
    """Whether a socket is there which a process left that was killed. Raises `CannotListen` where something else is."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotListen(f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError as reason:
            raise CannotListen(f"{path} is there, and can't be tried: {causes.of(reason)}") from reason
    raise CannotListen(f"another process listens at {path}")


def gid(group: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise CannotListen(f"milter.group: there is no group {group}", now=False) from None


async def serve(
    settings: Settings,
    tracker: answering.Tracker,
    *,
    limits: Limits | None = None,
    refuses: answering.Refuses | None = None,
    inherited: Sequence[socket.socket] = (),
) -> Server:
    """Opens the listener of [milter], or takes the `inherited` sockets of it. `refuses` is asked about each recipient of mail that is tracked; without it the mail
    server waits for no answer there. Raises `CannotListen`."""
    milter, smtp = settings.milter, settings.smtp
    limits = limits or Limits(in_flight=max(smtp.max_in_flight, smtp.max_message_size), message=smtp.max_message_size)
    server = Server(answering.Answering(settings, tracker), submitters.rule(milter.submitters), limits, refuses)
    try:
        await server.listen(milter.listen, milter.mode, milter.group, inherited)
    except BaseException:
        server.stop_listening()
        raise
    metrics.follow(metrics.MILTER_CONNECTIONS, lambda: server.connections)
    metrics.follow(metrics.MILTER_IN_FLIGHT, lambda: server.in_flight)
    return server
