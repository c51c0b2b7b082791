"""AUTH: the exchange (RFC 4954, PLAIN RFC 4616, and LOGIN) and whether a login is good.

Owns: both mechanisms, the throttle of failures, the question to the users' file or to the upstream. A password stays
in memory and is never logged. Leaves to others: when AUTH is offered (`commands`), the file (`relay.smtp.users`).
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

from relay import config, log, metrics
from relay.core.model import Done, Later, Outcome, Reply
from relay.smtp import accounts, throttle
from relay.workers import sharing

LOG = log.room("smtp")

MECHANISMS = ("PLAIN", "LOGIN")
ABORTED = Reply(501, "5.7.0 Authentication cancelled")
UNREADABLE = Reply(501, "5.5.2 The login is not valid base64")
BAD = Reply(535, "5.7.8 Login or password is wrong")
LOCKED = Reply(454, "4.7.0 Too many failed logins, try again later")
SPENT = Reply(454, "4.7.0 Too many failed logins at the upstream, try again later")
UNAVAILABLE = Reply(454, "4.7.0 Logins can't be checked now, try again later")

LOOK_SECONDS = 0.1  # between two looks at what the other processes are trying

Ask = Callable[[bytes], Awaitable[bytes]]  # the text of a 334 -> the client's line
VerifyUpstream = Callable[[str, str], Awaitable[Outcome]]


class Tell(Protocol):
    def __call__(self, event: str, **fields: Any) -> None: ...


class Stands(Protocol):
    """What the users' file has of a login."""

    @property
    def hashed(self) -> str: ...
    @property
    def senders(self) -> tuple[str, ...]: ...


class Users(Protocol):
    async def verify(self, login: str, password: str) -> bool: ...
    def find(self, login: str) -> Stands | None: ...


class Aborted(Exception):
    """The client said "*", or what is no base64."""


async def credentials(argument: str | None, ask: Ask) -> tuple[str, str] | Reply:
    """Login and password from the argument of AUTH and, where it lacks them, from the client."""
    mechanism, _, initial = (argument or "").strip().partition(" ")
    try:
        match mechanism.upper():
            case "PLAIN":
                answer = decoded(initial.strip().encode("utf-8", "replace")) if initial else decoded(await ask(b""))
                return plain(answer)
            case "LOGIN":
                login = decoded(initial.encode("utf-8", "replace") if initial else await ask(b"VXNlcm5hbWU6"))
                password = decoded(await ask(b"UGFzc3dvcmQ6"))
                return pair(login, password)
    except Aborted:
        return ABORTED
    except ValueError:
        return UNREADABLE
    return Reply(504, "5.5.4 Unknown mechanism") if mechanism else Reply(501, "5.5.4 Syntax: AUTH mechanism")


def decoded(line: bytes) -> bytes:
    line = line.strip()
    if line == b"*":
        raise Aborted
    if line == b"=":  # RFC 4954 section 4: an empty initial response
        return b""
    return binascii.a2b_base64(line, strict_mode=True) if line else b""


def plain(answer: bytes) -> tuple[str, str] | Reply:
    """authzid NUL authcid NUL password. Acting for someone else is not offered."""
    parts = answer.split(b"\0")
    if len(parts) != 3:
        return UNREADABLE
    return BAD if parts[0] not in (b"", parts[1]) else pair(parts[1], parts[2])


def pair(login: bytes, password: bytes) -> tuple[str, str] | Reply:
    try:
        return login.decode(), password.decode()
    except UnicodeDecodeError:
        return UNREADABLE


class Authenticator:
    """Says whether a login is good. With neither `users` nor `verify_upstream` there are no logins. `guesses`: what
    whoever guesses is held to, by all processes of the service."""

    def __init__(
        self,
        users: Users | None,
        verify_upstream: VerifyUpstream | None,
        guesses: throttle.Guesses | None = None,
        *,
        settings: config.Settings | None = None,
        service: sharing.Shared = sharing.ALONE,
    ) -> None:
        self._users, self._verify_upstream = users, verify_upstream
        self._accounts = accounts.Accounts(settings or config.Settings())
        allowed = guesses or (throttle.ELSEWHERE if verify_upstream else throttle.HERE)
        clock, each = asyncio.get_running_loop().time, (settings or config.Settings()).smtp.failed_logins_per_hour
        self._throttle = throttle.Throttle(clock, allowed, service)
        self._budget = throttle.Budget(clock, each if verify_upstream else 0, service)
        self._known = throttle.Known(clock, service)
        self._ended = asyncio.Event()  # a try has, in this process …
        self._look = None if service.alone else LOOK_SECONDS  # … or in another

    @property
    def offered(self) -> bool:
        return self._users is not None or self._verify_upstream is not None

    @property
    def keeps_password(self) -> bool:
        """Whether the upstream needs it again with the message."""
        return self._verify_upstream is not None

    def account(self, login: str) -> accounts.Account | None:
        """What a login that was good may do now; None where there is no such login any more. Raises OSError where the
        file can't be read."""
        if self._users is None:
            return self._accounts.of(login)
        found = self._users.find(login)
        return self._accounts.of(login, found.hashed, found.senders) if found else None

    async def admit(
        self, login: str, password: str, address: IPv4Address | IPv6Address | None, tell: Tell = LOG.warning
    ) -> Reply | None:
        """None for a good login, else the refusal, already late enough to make guessing slow. `tell` writes the line of
        the log, if one is due."""
        known = self._known.has(login, password)
        while self._waits(address, login, known=known):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look):
                    await self._ended.wait()
        pause = 0.0
        if self._throttle.locked(address, login):
            outcome, refusal = "locked", LOCKED
        elif self._budget.spent and not known:
            # Counted as wrong, or guessing would be free: who guesses right would be told so by getting in.
            outcome, refusal, pause = "spent", SPENT, self._throttle.failed(address, login)
        else:
            outcome, refusal, pause = await self._try(login, password, address)
        metrics.LOGINS.labels(outcome).inc()
        if outcome == "good":
            return None
        tell("login_refused", login=login, peer=address, outcome=outcome)
        await asyncio.sleep(pause)
        return refusal

    def _waits(self, address: IPv4Address | IPv6Address | None, login: str, *, known: bool) -> bool:
        """Whether it depends on others that are being tried now whether this one may be."""
        if self._throttle.locked(address, login) or (self._budget.spent and not known):
            return False
        return self._throttle.full(address, login) or (self._budget.full and not known)

    async def _try(
        self, login: str, password: str, address: IPv4Address | IPv6Address | None
    ) -> tuple[str, Reply, float]:
        """The outcome, the refusal, and the seconds until the client hears it. A client that leaves before it is known
        counts as one that guessed wrong: the upstream was asked all the same."""
        outcome, refusal, pause = "bad", BAD, 0.0
        try:
            with self._throttle.trying(address, login), self._budget.trying():
                outcome, refusal = await self._check(login, password)
        finally:
            if outcome == "bad":
                pause = self._throttle.failed(address, login)
                self._budget.failed()
                if self._known.has(login, password):  # it was changed
                    self._known.remove(login)
            elif outcome == "good":
                self._throttle.passed(address, login)
                if self._verify_upstream is not None:
                    self._known.add(login, password)
            self._ended.set()  # wakes all who wait now
            self._ended.clear()
        return outcome, refusal, pause

    async def _check(self, login: str, password: str) -> tuple[str, Reply]:
        try:
            if self._users is not None:
                good = await self._users.verify(login, password)
            else:
                assert self._verify_upstream is not None
                outcome = await self._verify_upstream(login, password)
                if isinstance(outcome, Later):
                    return "unavailable", UNAVAILABLE
                good = isinstance(outcome, Done)
        except OSError as reason:  # the file of logins can't be read
            LOG.error("login_check_failed", login=login, reason=reason)
            metrics.ERRORS.labels("smtp").inc()
            return "unavailable", UNAVAILABLE
        except Exception:
            # The traceback has no values, so no password either.
            LOG.exception("login_check_failed", login=login)
            metrics.ERRORS.labels("smtp").inc()
            return "unavailable", UNAVAILABLE
        return ("good" if good else "bad"), BAD
