"""The client of one upstream: an envelope and its bytes -> one outcome per recipient.

Owns: what is made of a message for the server at hand, when a message is tried on a second connection, clients' own
logins. Leaves to others: connections (`pool`, `connections`), the transaction itself (`transaction`), what may stand in a
command (`core.envelopes`), what becomes of an outcome (`delivery`, `spool`).

An upstream that does not offer 8BITMIME gets an 8bit message in 7bit (`core.sevenbit`): here, since only here is it known
what the server at hand offers, and a fallback or the next try may meet another. So does one that offers it and then refuses
the message for what it is (5.6.1, 5.6.3), once.

A message goes to the upstream once per call. The one exception: a connection that had been used before and that the
upstream left before the message was handed over says nothing about the message; then a new one is opened.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from relay import config, event_loop, log, metrics
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import dkim, dsn, envelopes, recoding, refusals, sevenbit
from relay.core.model import Done, Envelope, Later, Never, Outcome, Reply
from relay.upstream import connections, failures, pool, transaction, troubles

LOG = log.room("upstream")

MAX_TRIES = 10  # logins of clients tried at once; not of the places of mail, which strangers could fill
MAX_LOGINS = 10_000

# Looked up once: a label costs more than the counting.
UPSTREAM_SECONDS = metrics.STAGE.labels("upstream")
OUTCOMES = {kind: metrics.OUTCOMES.labels(kind.__name__.lower()) for kind in (Done, Later, Never)}


class UpstreamClient:
    """`name` is the upstream's. `tokens_in` is the folder where refresh tokens that the upstream's provider replaced are
    kept. `logged_in` is told how each login of ours ended: "", or why it was refused for good. `signers` are the DKIM keys, for a signature of ours that a conversion breaks. `trust` and `times` are for tests
    and for those who know better than the system's certificates and RFC 5321."""

    def __init__(
        self,
        settings: config.Upstream,
        *,
        hostname: str,
        times: transaction.Times | None = None,
        trust: ssl.SSLContext | None = None,
        max_connections: int = pool.MAX_CONNECTIONS,
        idle_seconds: float = pool.IDLE_SECONDS,
        name: str = DEFAULT_UPSTREAM,
        tokens_in: Path | None = None,
        signers: Sequence[dkim.Signer] = (),
        logged_in: Callable[[str], None] | None = None,
    ) -> None:
        self.times, self.signers = times or transaction.Times(), signers
        connector = connections.Connector(
            settings, hostname=hostname, times=self.times, trust=trust, tokens_in=tokens_in, logged_in=logged_in
        )
        self.address = connector.address
        self._pool = pool.Pool(connector, name=name, max_connections=max_connections, idle_seconds=idle_seconds)
        self._tries = asyncio.Semaphore(MAX_TRIES)
        self._logins: dict[str, str] = {}

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def troubles(self) -> troubles.Troubles:
        """What keeps all mail from it now."""
        return self._pool.troubles

    async def send(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per recipient, in order. Never raises but for cancellation; cancelled, the upstream may or may
        not have the message. `started` is called with the upstream's host when a connection's place is free: before
        that a caller may cancel and be sure that nothing was sent."""
        outcomes, _ = await self.attempt(envelope, content, started=started)
        count(outcomes)
        return outcomes

    async def attempt(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[tuple[Outcome, ...], bool]:
        """As `send`, uncounted, and whether the upstream was reached. Where it was not, nothing of the message was
        handed over and no outcome is the upstream's reply to it: another upstream may have it."""
        async with self._pool.places:
            if started:
                started(self.host)
            began = time.perf_counter()
            outcomes, reached, eight = await self._transfer(envelope, content)
            if eight and any(map(_of_8bit, outcomes)):
                outcomes = await self._in_7bit(envelope, content, outcomes)
            UPSTREAM_SECONDS.observe(time.perf_counter() - began)
        return outcomes, reached

    async def _in_7bit(self, envelope: Envelope, content: bytes, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        """It offers 8BITMIME, and whoever has the message after it does not: in 7bit it may do, and is tried once."""
        content, why = await self._converted(envelope, content)
        if why:
            return outcomes
        again = [i for i, outcome in enumerate(outcomes) if _of_8bit(outcome)]
        there = tuple(envelope.recipients[i] for i in again)
        second, _, _ = await self._transfer(envelope.with_(recipients=there), content)
        found = dict(zip(again, second, strict=True))
        return tuple(found.get(i, outcome) for i, outcome in enumerate(outcomes))

    async def _transfer(self, envelope: Envelope, content: bytes) -> tuple[tuple[Outcome, ...], bool, bool]:
        """The outcomes, whether the upstream was reached, and whether it offered 8BITMIME and was told 8bit."""
        many, why, credentials = len(envelope.recipients), "", envelope.credentials
        while True:
            try:
                connection = self._pool.take(credentials) or await self._pool.open(credentials)
            except failures.CannotConnect as failure:
                return (self._of_failure(credentials, failure),) * many, False, False
            offered = connection.offered
            if "8bitmime" not in offered and not why and not content.isascii():
                self._pool.give(credentials, connection)  # a large one takes a while
                content, why = await self._converted(envelope, content)
                continue
            lines = envelopes.lines(envelope, content, offered, why)
            if isinstance(lines, Never):
                self._pool.give(credentials, connection)
                return (lines,) * many, True, False
            reused = connection.used
            result = await self._pool.run(credentials, connection, lines, content, self.times)
            if not (result.stale and reused):
                outcomes, of_us = self._judged(result, connection, credentials)
                if "dsn" not in offered:
                    outcomes = _unconfirmed(envelope, outcomes)
                return outcomes, not (result.unsent or of_us), lines.eight

    def _judged(
        self, result: transaction.Result, connection: connections.Connection, credentials: pool.Credentials
    ) -> tuple[tuple[Outcome, ...], bool]:
        """The outcomes, and whether all of them are refusals of us, that say nothing of the message: then it waits, as for
        our login that is refused, or another upstream has it."""
        if all(isinstance(outcome, Done) for outcome in result.outcomes):
            self.troubles.heard()
            return result.outcomes, False
        login = credentials is not None or connection.logged_in
        found = [
            None
            if isinstance(outcome, Done)
            else failures.of_us(outcome.reply, self.address, connection.name, login=login)
            for outcome in result.outcomes
        ]
        first = found[0]
        of_us = first is not None and all(found)
        if first and of_us:
            self.troubles.refused(first.trouble)
        elif not result.unsent:
            self.troubles.heard()
        pairs = zip(found, result.outcomes, strict=True)
        return tuple(failure.outcome if failure else outcome for failure, outcome in pairs), of_us

    async def _converted(self, envelope: Envelope, content: bytes) -> tuple[bytes, str]:
        """The message in 7bit; or as it is, and why."""
        large = len(content) > event_loop.LARGEST
        convert = sevenbit.convert
        made = await asyncio.to_thread(convert, content, self.signers) if large else convert(content, self.signers)
        about = {"upstream": str(self.address), "sender": envelope.reverse_path or "<>"}
        if isinstance(made, recoding.Unfit):
            LOG.warning("not_converted", reason=made.reason, **about)
            return content, made.reason
        LOG.info("converted", size=len(content), to=len(made.content), signatures_removed=made.removed, **about)
        return made.content, ""

    def _of_failure(self, credentials: pool.Credentials, failure: failures.CannotConnect) -> Outcome:
        """What it means for a message. A user's login that was good before and is refused now says nothing of it: the
        password was changed, and with the new one the message can go."""
        if credentials and isinstance(failure.outcome, Never):
            user, password = credentials
            if self._logins.get(user) == password:
                del self._logins[user]
            return Later(Reply(451, f"4.7.8 The upstream refuses the login now: {failure.outcome.reply.text}"))
        return failure.outcome

    async def try_login(self, user: str, password: str) -> Outcome:
        """Does the upstream take this login? `Never` where it refuses it, `Later` where it can't be asked. The
        session is kept for the mail that follows; name and password stay in memory only."""
        async with self._tries:
            try:
                connection = await self._pool.open((user, password))
            except failures.CannotConnect as failure:
                return failure.outcome
            before = self._pool.take((user, password))
            if before:  # a client that logs in for each message needs one session there, and many servers give few
                before.close(politely=True)
            self._pool.give((user, password), connection)
        self._logins.pop(user, None)
        self._logins[user] = password
        while len(self._logins) > MAX_LOGINS:
            del self._logins[next(iter(self._logins))]
        return Done(Reply(235, "2.7.0 Authentication successful"))

    def credentials_of(self, login: str) -> pool.Credentials:
        """What that user logged in with last, since this process began."""
        return (login, self._logins[login]) if login in self._logins else None

    async def probe(self) -> Outcome:
        """Can a connection be opened, secured and logged in? Sends no mail."""
        try:
            connection = await self._pool.open(None)
        except failures.CannotConnect as failure:
            return failure.outcome
        connection.close(politely=True)
        return Done(Reply(250, "2.0.0 Ok"))

    async def close(self) -> None:
        """Leaves idle connections; those in use end with their transaction."""
        self._pool.close()


def count(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        OUTCOMES[type(outcome)].inc()


def _of_8bit(outcome: Outcome) -> bool:
    return isinstance(outcome, Never) and refusals.of_8bit(outcome.reply)


def _unconfirmed(envelope: Envelope, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Marks what the sender asked to hear of (RFC 3461 4.1), since an upstream without DSN will not tell."""
    if not any(recipient.options for recipient in envelope.recipients):
        return outcomes
    pairs = zip(envelope.recipients, outcomes, strict=True)
    return tuple(o.with_(unconfirmed=True) if isinstance(o, Done) and dsn.wanted(r, "relayed") else o for r, o in pairs)
