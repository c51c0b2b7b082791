"""The SMTP listeners: their start and their end.

Owns: sockets, what all sessions are given, stopping without cutting a message. Leaves the rest to its neighbours: a
server knows its sessions, and they know nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from relay import causes, certificates, log, metrics
from relay.config import Settings
from relay.core import networks
from relay.smtp import accounts, auth, commands, intake, limits, session, submitters, throttle
from relay.workers import sharing

LOG = log.room("smtp")

BACKLOG = 1024  # of the kernel, which cuts it to net.core.somaxconn
AT_ONCE = 16  # connections that asyncio accepts before it looks at the first of them, which may have to be turned away


class CannotListen(Exception):
    """The listeners can't start; the text says why, a sentence a line. `now`: the settings may be right, and the address
    can't be had at this moment (another program has it, or it is not there yet)."""

    def __init__(self, sentence: str, *, now: bool = False) -> None:
        super().__init__(sentence)
        self.now = now


class Server:
    """Listeners that are up. `addresses` are those bound, in the order of `listen`, then `listen_tls`."""

    def __init__(self, shared: session.Shared) -> None:
        self._shared = shared
        self._pattern = commands.Commands(shared)
        self._loop = asyncio.get_running_loop()
        self._listeners: list[asyncio.AbstractServer] = []
        self._watch: asyncio.TimerHandle | None = None
        self.addresses: list[tuple[str, int]] = []

    @property
    def connections(self) -> int:
        """Clients that are here."""
        return len(self._shared.places)

    @property
    def in_flight(self) -> int:
        """Octets of messages that are being received, or wait for their answer."""
        return self._shared.flight.used

    async def listen(
        self, host: str, port: int, *, implicit_tls: bool, inherited: Sequence[socket.socket] = ()
    ) -> None:
        """By the sockets that are bound to the address where there are such."""
        # Made by the loop, which knows them as TCP: a socket of our own would lack TCP_NODELAY under asyncio.
        places: list[dict[str, Any]] = [{"sock": each} for each in inherited]
        for place in places or [{"host": host or None, "port": port}]:
            try:
                listener = await self._loop.create_server(
                    lambda: commands.Commands(self._shared, implicit_tls=implicit_tls, pattern=self._pattern),
                    **place, backlog=AT_ONCE,
                )  # fmt: skip
            except OSError as reason:
                where = networks.written(host, port)
                raise CannotListen(
                    f"can't listen on {where}: {causes.of(reason, listening=True)}", now=True
                ) from reason
            self._listeners.append(listener)
            for bound in listener.sockets:
                with socket.socket(fileno=os.dup(bound.fileno())) as same:
                    same.listen(BACKLOG)
            self.addresses += [s.getsockname()[:2] for s in listener.sockets]

    def watch(self) -> None:
        """Ends the sessions of logins that were removed, now and by the clock: who is idle asks for nothing."""
        for each in self._shared.places:
            each.end_if_removed()
        self._watch = self._loop.call_later(self._shared.held_to.look_seconds, self.watch)

    def stop_listening(self) -> None:
        if self._watch:
            self._watch.cancel()
        for listener in self._listeners:
            listener.close()

    async def drain(self, seconds: float) -> bool:
        """Ends every session: at once where no message is under way, else after its reply; a message that has not
        arrived whole soon is not waited for. False where some had no answer after `seconds`: their sessions are cut
        without a reply, so their clients keep the message and try again."""
        self.stop_listening()
        places, taking = self._shared.places, self._shared.taking
        places.close()
        for each in places:
            each.finish()
        began = self._loop.time()
        await asyncio.sleep(0)
        while (len(places) or taking.pending) and self._loop.time() < began + seconds:
            await asyncio.sleep(0.02)
            if self._loop.time() > began + self._shared.held_to.last_call:
                for each in places:
                    each.last_call()
        left = taking.pending
        if left or len(places):
            LOG.warning("sessions_cut", sessions=len(places), messages=left)
        for each in places:
            each.cut()
        return not left

    def reload(self) -> None:
        """Reads the certificate anew. Raises OSError, and goes on with the old one, where it can't be used."""
        if self._shared.certificate is not None:
            self._shared.certificate.reload()


async def serve(
    settings: Settings,
    take: intake.Take,
    *,
    users: auth.Users | None = None,
    verify_upstream: auth.VerifyUpstream | None = None,
    held_to: limits.Limits | None = None,
    guesses: throttle.Guesses | None = None,
    service: sharing.Shared = sharing.ALONE,
    refuses: session.Refuses = session.refuses_nobody,
    inherited: Mapping[tuple[str, int], Sequence[socket.socket]] | None = None,
) -> Server:
    """Opens the listeners of [smtp], on sockets that are bound already where they are `inherited` (by setting, and place
    in it). `take` gets each message; `users` is asked with auth = "users" (without one the
    file of `users` is), `verify_upstream` with auth = "upstream". `held_to` and `guesses` are what clients may use, of
    all processes of the `service`. `refuses` is asked about each recipient. Raises `CannotListen`."""
    smtp = settings.smtp
    found = submitters.problems(settings)
    if smtp.auth == "upstream" and verify_upstream is None:
        found.append('smtp.auth = "upstream": there is no upstream to ask')
    found += unbound(settings)
    if found:
        raise CannotListen("\n".join(found))
    asked = authenticator(settings, users, verify_upstream, guesses, service)
    server = Server(share(settings, take, asked, held_to, service, refuses))
    metrics.follow(metrics.SMTP_CONNECTIONS, lambda: server.connections)
    metrics.follow(metrics.SMTP_IN_FLIGHT, lambda: server.in_flight)
    try:
        for name, texts in (("smtp.listen", smtp.listen), ("smtp.listen_tls", smtp.listen_tls)):
            for at, text in enumerate(texts):
                await server.listen(
                    *(("", 0) if networks.passed(text) else networks.endpoint(text)),
                    implicit_tls=name == "smtp.listen_tls",
                    inherited=(inherited or {}).get((name, at), ()),
                )
    except BaseException:
        server.stop_listening()
        raise
    server.watch()
    return server


def unbound(settings: Settings) -> list[str]:
    """Why the listeners can't open with these logins. A file that can't be read is said at the first login."""
    if settings.smtp.auth != "users":
        return []
    from relay.smtp import users as book

    with contextlib.suppress(OSError):
        logins = book.read(book.path(settings))
        sentence = accounts.unbound(settings, ((name, login.senders) for name, login in logins.items()))
        return [sentence] if sentence else []
    return []


def share(
    settings: Settings,
    take: intake.Take,
    authenticator: auth.Authenticator,
    held_to: limits.Limits | None = None,
    service: sharing.Shared = sharing.ALONE,
    refuses: session.Refuses = session.refuses_nobody,
) -> session.Shared:
    """What the sessions of one server are given."""
    smtp = settings.smtp
    held_to = held_to or limits.Limits(in_flight=smtp.max_in_flight)
    flight = limits.Flight(max(held_to.in_flight, 2 * smtp.max_message_size), service)
    return session.Shared(
        hostname=smtp.hostname or os.uname().nodename,
        allow=submitters.allow_list(smtp.allow),
        proxies=submitters.allow_list(smtp.proxies),
        max_size=smtp.max_message_size,
        clear_logins=smtp.clear_logins,
        normalizes=smtp.bare_newline == "normalize",
        certificate=certificate(settings),
        held_to=held_to,
        places=limits.Places(limits.connections(held_to.connections), held_to.per_address, service),
        flight=flight,
        rates=limits.Rates(smtp.messages_per_minute, service),
        clients_told=limits.Remembered(),
        authenticator=authenticator,
        taking=intake.Intake(take, flight),
        refuses=refuses,
    )


def certificate(settings: Settings) -> certificates.Certificate | None:
    smtp = settings.smtp
    if not (smtp.certificate and smtp.key):
        return None
    try:
        return certificates.Certificate(smtp.certificate, smtp.key)
    except certificates.Unusable as error:
        raise CannotListen(f"smtp.certificate: {error}") from error


def authenticator(
    settings: Settings,
    users: auth.Users | None = None,
    verify_upstream: auth.VerifyUpstream | None = None,
    guesses: throttle.Guesses | None = None,
    service: sharing.Shared = sharing.ALONE,
) -> auth.Authenticator:
    match settings.smtp.auth:
        case "users":
            if users is None:
                from relay.smtp import users as book  # with argon2, which others need not wait for

                users = book.Book(book.path(settings))
            return auth.Authenticator(users, None, guesses, settings=settings, service=service)
        case "upstream":
            return auth.Authenticator(None, verify_upstream, guesses, settings=settings, service=service)
        case _:
            return auth.Authenticator(None, None, guesses, settings=settings, service=service)
