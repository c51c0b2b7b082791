"""The SMTP listeners: their start, what all sessions share, and their end.

Owns: sockets, the tasks in which messages are taken, stopping without cutting one. Leaves the rest to its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable

from relay import certificates, log, metrics
from relay.config import Settings
from relay.core.model import Reply, Submission
from relay.smtp import auth, commands, limits, submitters

LOG = log.room("smtp")

Take = Callable[[Submission], Awaitable[Reply]]
Left = Callable[[asyncio.Task[Reply]], object]
FAILED = Reply(451, "4.3.0 Something went wrong here, try again later")
BACKLOG = 1024  # of the kernel, which cuts it to net.core.somaxconn
AT_ONCE = 16  # connections that asyncio accepts before it looks at the first of them, which may have to be turned away


class Refused(Exception):
    """The listeners can't start as the settings have them; the text says why, a sentence a line."""


class House:
    """What all sessions of one server share."""

    def __init__(self, settings: Settings, take: Take, gate: auth.Gate, left: Left) -> None:
        self.loop = asyncio.get_running_loop()
        self.take, self.gate, self.left = take, gate, left
        self.hostname = settings.smtp.hostname or os.uname().nodename
        self.allow = submitters.networks(settings.smtp.allow)
        self.clear_logins = settings.smtp.clear_logins
        self.max_size = settings.smtp.max_message_size
        self.places = limits.Places(limits.connections())
        self.flight = limits.Flight(max(limits.IN_FLIGHT, 2 * self.max_size))
        self.rates = limits.Rates(settings.smtp.messages_per_minute)
        self.certificate: certificates.Certificate | None = None
        self.dialogues: set[commands.Commands] = set()
        self.tasks: set[asyncio.Task[Reply]] = set()
        self.draining = False
        self.said_full = float("-inf")  # when the log had the last line about clients that were turned away
        self.pattern: commands.Commands | None = None
        self.pattern = commands.Commands(self, implicit_tls=False)

    def start(self, submission: Submission) -> asyncio.Task[Reply]:
        """Takes a message in a task of its own, which no client can cancel. Its octets are on `flight` already."""
        task = self.loop.create_task(self._take(submission, len(submission.content)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _take(self, submission: Submission, octets: int) -> Reply:
        pending = self.take(submission)
        del submission  # the original is not kept here while it is delivered
        try:
            reply = await pending
        except Exception:
            LOG.exception("message not taken")
            metrics.ERRORS.labels("smtp").inc()
            reply = FAILED
        finally:
            self.flight.add(-octets)
        if reply.code < 300:
            metrics.ACCEPTED.inc()
        else:
            metrics.REFUSED.labels(reply.code).inc()
        return reply


class Server:
    """Listeners that are up. `addresses` are those bound, in the order of `listen`, then `listen_tls`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._listeners: list[asyncio.AbstractServer] = []
        self.addresses: list[tuple[str, int]] = []

    async def listen(self, host: str, port: int, *, implicit_tls: bool) -> None:
        house = self._house
        # Made by the loop, which knows them as TCP: a socket of our own would lack TCP_NODELAY under asyncio.
        listener = await house.loop.create_server(
            lambda: commands.Commands(house, implicit_tls=implicit_tls),
            host if host not in ("", "*") else None, port, backlog=AT_ONCE,
        )  # fmt: skip
        self._listeners.append(listener)
        for bound in listener.sockets:
            with socket.socket(fileno=os.dup(bound.fileno())) as same:
                same.listen(BACKLOG)
        self.addresses += [s.getsockname()[:2] for s in listener.sockets]

    def stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def drain(self, seconds: float) -> bool:
        """Ends every session: at once where no message is under way, else after its reply; a message that has not
        arrived whole soon is not waited for. False where some were still at it after `seconds`: they are cut without a
        reply, so their clients keep the message and try again."""
        self.stop_listening()
        house = self._house
        house.draining = True
        for session in list(house.dialogues):
            if not session.busy:
                session.retire()
        began = house.loop.time()
        await asyncio.sleep(0)
        while (house.dialogues or house.tasks) and house.loop.time() < began + seconds:
            await asyncio.sleep(0.02)
            if house.loop.time() > began + limits.LAST_CALL:
                for session in [s for s in house.dialogues if s.receiving]:
                    session.retire()
        left = list(house.tasks)
        if left or house.dialogues:
            LOG.warning("sessions cut at the end", sessions=len(house.dialogues), messages=len(left))
        for task in left:
            task.cancel()
        for session in list(house.dialogues):
            if session.transport is not None:
                session.transport.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*left, return_exceptions=True)
        return not left

    def reload(self) -> None:
        """Reads the certificate anew. Raises OSError, and goes on with the old one, where it can't be used."""
        if self._house.certificate is not None:
            self._house.certificate.reload()


async def serve(
    settings: Settings, take: Take, *, users: auth.Users | None = None,
    verify_upstream: auth.VerifyUpstream | None = None,
    left: Left = lambda task: None,
) -> Server:  # fmt: skip
    """Opens the listeners of [smtp]. `take` answers for each message; `users` is asked with auth = "users" (without
    one the file of `relay.smtp.users` is), `verify_upstream` with auth = "upstream". `left` hears of the task in which a
    message is being taken when its client went away unanswered. Raises `Refused`, or OSError where a port is taken."""
    smtp = settings.smtp
    found = submitters.problems(settings)
    if smtp.auth == "upstream" and verify_upstream is None:
        found.append('smtp.auth = "upstream": there is no upstream to ask')
    if found:
        raise Refused("\n".join(found))
    house = House(settings, take, gate(settings, users, verify_upstream), left)
    if smtp.certificate and smtp.key:
        try:
            house.certificate = certificates.Certificate(smtp.certificate, smtp.key)
        except certificates.Unusable as error:
            raise Refused(f"smtp.certificate: {error}") from error
    metrics.SMTP_CONNECTIONS.set_function(lambda: house.places.taken)
    metrics.SMTP_IN_FLIGHT.set_function(lambda: house.flight.used)
    server = Server(house)
    try:
        for text in smtp.listen:
            await server.listen(*submitters.endpoint(text), implicit_tls=False)
        for text in smtp.listen_tls:
            await server.listen(*submitters.endpoint(text), implicit_tls=True)
    except BaseException:
        server.stop_listening()
        raise
    return server


def gate(settings: Settings, users: auth.Users | None, verify_upstream: auth.VerifyUpstream | None) -> auth.Gate:
    match settings.smtp.auth:
        case "users":
            if users is None:
                from relay.smtp import users as book

                users = book.Book(book.path(settings))
            return auth.Gate(users, None)
        case "upstream":
            return auth.Gate(None, verify_upstream)
        case _:
            return auth.Gate(None, None)
