"""The SMTP listeners: their start, what all sessions share, and their end.

Owns: sockets, the tasks in which messages are taken, stopping without cutting one. Leaves the rest to its neighbours.
"""

from __future__ import annotations

import asyncio
import os
import socket

from relay import certificates, log, metrics
from relay.config import Settings
from relay.smtp import auth, commands, intake, limits, submitters

LOG = log.room("smtp")

BACKLOG = 1024  # of the kernel, which cuts it to net.core.somaxconn
AT_ONCE = 16  # connections that asyncio accepts before it looks at the first of them, which may have to be turned away


class Refused(Exception):
    """The listeners can't start as the settings have them; the text says why, a sentence a line."""


class House:
    """What all sessions of one server share."""

    def __init__(self, settings: Settings, take: intake.Take, gate: auth.Gate) -> None:
        self.loop = asyncio.get_running_loop()
        self.gate = gate
        self.hostname = settings.smtp.hostname or os.uname().nodename
        self.allow = submitters.networks(settings.smtp.allow)
        self.clear_logins = settings.smtp.clear_logins
        self.max_size = settings.smtp.max_message_size
        self.places = limits.Places(limits.connections())
        self.flight = limits.Flight(max(limits.IN_FLIGHT, 2 * self.max_size))
        self.intake = intake.Intake(take, self.flight)
        self.rates = limits.Rates(settings.smtp.messages_per_minute)
        self.certificate: certificates.Certificate | None = None
        self.dialogues: set[commands.Commands] = set()
        self.draining = False
        self.said_full = float("-inf")  # when the log had the last line about clients that were turned away
        self.pattern: commands.Commands | None = None
        self.pattern = commands.Commands(self, implicit_tls=False)


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

    @property
    def connections(self) -> int:
        """Clients that are here."""
        return self._house.places.taken

    @property
    def in_flight(self) -> int:
        """Octets of messages that are being received, or wait for their answer."""
        return self._house.flight.used

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
        while (house.dialogues or house.intake.pending) and house.loop.time() < began + seconds:
            await asyncio.sleep(0.02)
            if house.loop.time() > began + limits.LAST_CALL:
                for session in [s for s in house.dialogues if s.receiving]:
                    session.retire()
        left = house.intake.pending
        if left or house.dialogues:
            LOG.warning("sessions cut at the end", sessions=len(house.dialogues), messages=left)
        for session in list(house.dialogues):
            if session.transport is not None:
                session.transport.abort()
        return not left

    def reload(self) -> None:
        """Reads the certificate anew. Raises OSError, and goes on with the old one, where it can't be used."""
        if self._house.certificate is not None:
            self._house.certificate.reload()


async def serve(
    settings: Settings, take: intake.Take, *, users: auth.Users | None = None,
    verify_upstream: auth.VerifyUpstream | None = None,
) -> Server:  # fmt: skip
    """Opens the listeners of [smtp]. `take` answers for each message; `users` is asked with auth = "users" (without
    one the file of `relay.smtp.users` is), `verify_upstream` with auth = "upstream". Raises `Refused`, or OSError where a port is
    taken."""
    smtp = settings.smtp
    found = submitters.problems(settings)
    if smtp.auth == "upstream" and verify_upstream is None:
        found.append('smtp.auth = "upstream": there is no upstream to ask')
    if found:
        raise Refused("\n".join(found))
    house = House(settings, take, gate(settings, users, verify_upstream))
    if smtp.certificate and smtp.key:
        try:
            house.certificate = certificates.Certificate(smtp.certificate, smtp.key)
        except certificates.Unusable as error:
            raise Refused(f"smtp.certificate: {error}") from error
    server = Server(house)
    metrics.SMTP_CONNECTIONS.set_function(lambda: server.connections)
    metrics.SMTP_IN_FLIGHT.set_function(lambda: server.in_flight)
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
