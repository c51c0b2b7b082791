"""SMTP out: an envelope and its bytes -> one outcome per recipient.

Owns: the pool of connections to the upstream, how many there are, which carries what, when one is tried again.
`connections` opens them (TLS, logins), `transaction` is one transaction. Leaves to others: what becomes of an outcome
(`delivery`, `spool`), what may stand in a command (`core.envelopes`).

An upstream that does not offer 8BITMIME gets an 8bit message in 7bit (`core.sevenbit`): here, since only here is it known
what the server at hand offers, and a fallback or the next try may meet another.

A message goes to the upstream once per call. The one exception: a connection that had been used before and that the
upstream left before the message was handed over says nothing about the message; then a new one is opened.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from relay import config, log, metrics
from relay.core import dkim, dsn, envelopes, sevenbit
from relay.core.model import Done, Envelope, Later, Never, Outcome, Reply
from relay.upstream import connections, transaction

LOG = log.room("upstream")

MOST_CONNECTIONS = 20
MOST_TRIES = 10  # logins of clients tried at once; not of the places of mail, which strangers could fill
IDLE_SECONDS = 30.0  # servers close idle ones after minutes; a burst is over sooner
MOST_LOGINS = 10_000
OFF_THE_LOOP = 262_144  # octets: converting more than this would hold up the other sessions

# Looked up once: a label costs more than the counting.
UPSTREAM_SECONDS = metrics.STAGE.labels("upstream")
OUTCOMES = {kind: metrics.OUTCOMES.labels(kind.__name__.lower()) for kind in (Done, Later, Never)}

Times = transaction.Times
Credentials = tuple[str, str] | None


class UpstreamClient:
    """`name` is the upstream's, for metrics. `tokens_in` is the folder where refresh tokens that the upstream's provider
    replaced are kept. `signers` are the DKIM keys, for a signature of ours that a conversion breaks. `trust` and `times`
    are for tests and for those who know better than the system's certificates and RFC 5321."""

    def __init__(
        self,
        settings: config.Upstream,
        *,
        hostname: str,
        times: Times | None = None,
        trust: ssl.SSLContext | None = None,
        most: int = MOST_CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
        name: str = "default",
        tokens_in: Path | None = None,
        signers: Sequence[dkim.Signer] = (),
    ) -> None:
        self.times, self.signers = times or Times(), signers
        self.doors = connections.Doors(settings, hostname=hostname, times=self.times, trust=trust, tokens_in=tokens_in)
        self._gauges = metrics.CONNECTIONS.labels(name, "idle"), metrics.CONNECTIONS.labels(name, "busy")
        self.idle_seconds = idle_seconds
        self._most, self._places, self._tries = most, asyncio.Semaphore(most), asyncio.Semaphore(MOST_TRIES)
        self._idle: dict[Credentials, list[connections.Connection]] = {}
        self._busy: set[connections.Connection] = set()
        self._logins: dict[str, str] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self.trouble = ""  # why the last connection could not be opened; "" where it could
        self._said = ""  # the same in the log

    @property
    def host(self) -> str:
        return self.doors.address.host

    async def send(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per recipient, in order. Never raises but for cancellation; cancelled, the upstream may or may
        not have the message. `started` is called with the upstream's host when a connection's place is free: before
        that a caller may cancel and be sure that nothing was sent."""
        outcomes, _ = await self.attempt(envelope, content, started=started)
        for outcome in outcomes:
            OUTCOMES[type(outcome)].inc()
        return outcomes

    async def attempt(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[tuple[Outcome, ...], bool]:
        """As `send`, uncounted, and whether the upstream was reached. Where it was not, nothing of the message was
        handed over and no outcome is the upstream's word on it: another upstream may have it."""
        async with self._places:
            if started:
                started(self.host)
            began = time.perf_counter()
            found = await self._send(envelope, content)
            UPSTREAM_SECONDS.observe(time.perf_counter() - began)
        return found

    async def _send(self, envelope: Envelope, content: bytes) -> tuple[tuple[Outcome, ...], bool]:
        many, why = len(envelope.recipients), ""
        while True:
            try:
                connection = self._take(envelope.credentials) or await self._open(envelope.credentials)
                if "8bitmime" not in connection.offered and not why and not content.isascii():
                    self._give(envelope.credentials, connection)  # a large one takes a while
                    content, why = await self._converted(envelope, content)
                    continue
                lines = envelopes.lines(envelope, content, connection.offered, why)
                if isinstance(lines, Never):
                    self._give(envelope.credentials, connection)
                    return (lines,) * many, True
                reused = connection.used
                verdicts = await self._converse(envelope.credentials, connection, lines, content)
            except connections.Closed as closed:
                if self._said != str(closed):  # one line per time of trouble, and kind of it; each message has its own
                    self._said = str(closed)
                    LOG.warning("upstream_closed", upstream=str(self.doors.address), reason=self._said)
                return (self._of_closed(envelope.credentials, closed),) * many, False
            if not (verdicts.stale and reused):
                outcomes = verdicts.outcomes
                if "dsn" not in connection.offered:
                    outcomes = _unconfirmed(envelope, outcomes)
                return outcomes, not verdicts.unsent

    async def _converted(self, envelope: Envelope, content: bytes) -> tuple[bytes, str]:
        """The message in 7bit; or as it is, and why."""
        large = len(content) > OFF_THE_LOOP
        convert = sevenbit.convert
        made = await asyncio.to_thread(convert, content, self.signers) if large else convert(content, self.signers)
        about = {"upstream": str(self.doors.address), "sender": envelope.reverse_path or "<>"}
        if isinstance(made, sevenbit.Unfit):
            LOG.warning("not_converted", reason=made.reason, **about)
            return content, made.reason
        LOG.info("converted", size=len(content), to=len(made.content), signatures_removed=made.removed, **about)
        return made.content, ""

    def _of_closed(self, credentials: Credentials, closed: connections.Closed) -> Outcome:
        """What it means for a message. A user's login that was good before and is refused now says nothing of it: the
        password was changed, and with the new one the message can go."""
        if credentials and isinstance(closed.outcome, Never):
            user, password = credentials
            if self._logins.get(user) == password:
                del self._logins[user]
            return Later(Reply(451, f"4.7.8 The upstream refuses the login now: {closed.outcome.reply.text}"))
        return closed.outcome

    async def _converse(
        self, credentials: Credentials, connection: connections.Connection, lines: envelopes.Lines, content: bytes
    ) -> transaction.Verdicts:
        self._busy.add(connection)
        reusable = False
        try:
            verdicts = await connection.converse(lines, content, self.times)
            reusable = verdicts.reusable
            return verdicts
        finally:  # cancelled as well: then the upstream may be inside the message, and the connection is closed
            self._busy.discard(connection)
            if reusable:
                self._give(credentials, connection)
            else:
                connection.close()
                self._count()

    async def try_login(self, user: str, password: str) -> Outcome:
        """Does the upstream take this login? `Never` where it refuses it, `Later` where it can't be asked. The
        session is kept for the mail that follows; name and password stay in memory only."""
        async with self._tries:
            try:
                connection = await self._open((user, password))
            except connections.Closed as closed:
                return closed.outcome
            before = self._take((user, password))
            if before:  # a client that logs in for each message needs one session there, and many servers give few
                before.close(politely=True)
            self._give((user, password), connection)
        self._logins.pop(user, None)
        self._logins[user] = password
        while len(self._logins) > MOST_LOGINS:
            del self._logins[next(iter(self._logins))]
        return Done(Reply(235, "2.7.0 Authentication successful"))

    def credentials_of(self, login: str) -> Credentials:
        """What that user logged in with last, since this process began."""
        return (login, self._logins[login]) if login in self._logins else None

    async def probe(self) -> Outcome:
        """Can a connection be opened, secured and logged in? Sends no mail."""
        try:
            connection = await self._open(None)
        except connections.Closed as closed:
            return closed.outcome
        connection.close(politely=True)
        return Done(Reply(250, "2.0.0 Ok"))

    async def close(self) -> None:
        """Leaves idle connections; those in use end with their transaction."""
        self._closed = True
        if self._sweeper:
            self._sweeper.cancel()
        for waiting in self._idle.values():
            for connection in waiting:
                connection.close(politely=True)
        self._idle.clear()
        self._count()

    # -- the pool ------------------------------------------------------------------------------------------------------

    async def _open(self, credentials: Credentials) -> connections.Connection:
        began = time.perf_counter()
        try:
            connection = await self.doors.open(credentials)
        except connections.Closed as closed:
            if isinstance(closed.outcome, Later):
                self.trouble = closed.outcome.reply.text
            raise
        self.trouble = self._said = ""
        metrics.STAGE.labels("connect").observe(time.perf_counter() - began)
        return connection

    def _take(self, credentials: Credentials) -> connections.Connection | None:
        """The idle one that was used last."""
        waiting = self._idle.get(credentials)
        while waiting:
            connection = waiting.pop()
            if not waiting:
                del self._idle[credentials]
            if connection.open:
                return connection
            connection.close()
        return None

    def _give(self, credentials: Credentials, connection: connections.Connection) -> None:
        if self._closed:
            connection.close(politely=True)
        else:
            while sum(map(len, self._idle.values())) >= self._most:  # other users' sessions: the oldest goes
                self._drop(*next((who, waiting[0]) for who, waiting in self._idle.items()))
            self._idle.setdefault(credentials, []).append(connection)
            connection.idle_since = time.monotonic()
            if self._sweeper is None:  # one timer for all: most connections are taken again at once
                self._sweeper = asyncio.get_running_loop().call_later(self.idle_seconds, self._sweep)
        self._count()

    def _sweep(self) -> None:
        """Leaves connections that nobody wanted for `idle_seconds`, and looks again when the next one is due."""
        self._sweeper = None
        now = time.monotonic()
        for credentials, waiting in list(self._idle.items()):
            for connection in list(waiting):
                if now - connection.idle_since >= self.idle_seconds or not connection.open:
                    self._drop(credentials, connection)
        oldest = min((c.idle_since for waiting in self._idle.values() for c in waiting), default=None)
        if oldest is not None:
            pause = max(0.01, oldest + self.idle_seconds - now)
            self._sweeper = asyncio.get_running_loop().call_later(pause, self._sweep)
        self._count()

    def _drop(self, credentials: Credentials, connection: connections.Connection) -> None:
        self._idle[credentials].remove(connection)
        if not self._idle[credentials]:
            del self._idle[credentials]
        connection.close(politely=True)

    def _count(self) -> None:
        idle, busy = self._gauges
        idle.set(sum(map(len, self._idle.values())))
        busy.set(len(self._busy))


def _unconfirmed(envelope: Envelope, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Marks what the sender asked to hear of (RFC 3461 4.1), since an upstream without DSN will not tell."""
    if not any(recipient.options for recipient in envelope.recipients):
        return outcomes
    pairs = zip(envelope.recipients, outcomes, strict=True)
    return tuple(o.with_(unconfirmed=True) if isinstance(o, Done) and dsn.wanted(r, "relayed") else o for r, o in pairs)
