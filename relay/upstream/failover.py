"""All upstreams: each envelope to the one that it names, or to a fallback of that where it can't be reached.

Owns: the order in which upstreams are tried. A message goes on to the next one only where nothing of it was handed over
and no server said anything about it, or one refused it for what that server lacks (size, 8bit, SMTPUTF8): then nobody has
it. A client's own login goes to one server only.
Leaves to others: which upstream a message is for (`choice`), how one of them gets it (`client`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from relay import config, log, metrics, oauth
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import dkim, envelopes, refusals
from relay.core.model import Done, Envelope, Later, Never, Outcome
from relay.upstream import choice, client, pool, transaction

LOG = log.room("upstream")

PROBE_SECONDS = 5.0  # between two looks at whether one that was in trouble is reached again …
LOGIN_SECONDS = 60.0  # … where our login was refused: servers count those …
PROBE_FOR = 2.0  # … and for how long somebody waits for one
AGAIN_SECONDS = 30.0  # for which one that could not be reached comes last


class Upstreams:
    """One client per upstream, by the upstream's name. What is about a client's own login is about [upstream]. `clock`
    gives seconds of any origin; `told` is told how each login of ours ended: the upstream's name, and "" or why it was
    refused for good; so many `processes` of the service share the connections to an upstream; the rest is as in
    `client.UpstreamClient`."""

    def __init__(
        self,
        settings: config.Settings,
        *,
        hostname: str,
        times: transaction.Times | None = None,
        trust: ssl.SSLContext | None = None,
        signers: Sequence[dkim.Signer] = (),
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[str, str], None] | None = None,
        processes: int = 1,
    ) -> None:
        self.clock = clock
        connections = max(pool.FEWEST_CONNECTIONS, -(-pool.MAX_CONNECTIONS // processes))
        upstreams = {choice.name_of(up): up for up in (settings.upstream, *settings.upstreams)}
        self._clients = {
            name: client.UpstreamClient(
                up,
                hostname=hostname,
                times=times,
                trust=trust,
                name=name,
                tokens_in=oauth.folder_in(settings.state_dir),
                signers=signers,
                logged_in=functools.partial(told, name) if told else None,
                max_connections=connections,
            )
            for name, up in upstreams.items()
        }
        self._chains = {
            name: [each for each in (name, *up.fallback) if each in upstreams] for name, up in upstreams.items()
        }
        self._away: dict[str, float] = {}  # name -> when it is looked at again as the others are
        self._default = self._clients[DEFAULT_UPSTREAM]
        self._probed: dict[str, float] = {}

    @property
    def host(self) -> str:
        """That of [upstream]."""
        return self._default.host

    def send(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> Coroutine[Any, Any, tuple[Outcome, ...]]:
        """As `UpstreamClient.send`. `started` is called with the host of each server that is tried."""
        chain = self._chains.get(envelope.upstream) or self._chains[DEFAULT_UPSTREAM]
        if len(chain) == 1 or envelope.credentials:
            return self._clients[chain[0]].send(envelope, content, started=started)
        return self._send(chain, envelope, content, started)

    async def _send(
        self, chain: Sequence[str], envelope: Envelope, content: bytes, started: Callable[[str], None] | None
    ) -> tuple[Outcome, ...]:
        found: dict[int, Outcome] = {}
        places = list(range(len(envelope.recipients)))  # of those whom another server may serve
        for name in self._in_order(chain):
            if found:
                metrics.FAILOVERS.labels(name).inc()
                LOG.warning("failover", upstream=name, reason=str(found[places[0]].reply))
            part = envelope
            if len(places) < len(envelope.recipients):
                part = envelope.with_(recipients=tuple(envelope.recipients[place] for place in places))
            outcomes, reached = await self._clients[name].attempt(part, content, started=started)
            away = not reached and all(isinstance(outcome, Later) for outcome in outcomes)
            if away:
                self._away[name] = self.clock() + AGAIN_SECONDS
            else:
                self._away.pop(name, None)
            for place, outcome in zip(places, outcomes, strict=True):
                found[place] = _together(found.get(place), outcome)
            places = [p for p, outcome in zip(places, outcomes, strict=True) if away or _of_this_server(outcome)]
            if not places:
                break
        settled = tuple(found[place] for place in range(len(envelope.recipients)))
        client.count(settled)
        return settled

    def _in_order(self, chain: Sequence[str]) -> list[str]:
        """Those that could not be reached a moment ago come last: waiting for each anew would take a minute."""
        now = self.clock()
        return sorted(chain, key=lambda name: self._away.get(name, 0.0) > now)

    async def troubles(self) -> dict[str, str]:
        """What keeps all mail from an upstream now, by its name: the sentence that `trackrelay check` has for it. Those that
        can't be reached are looked at again, so that it ends without mail as well."""
        now = self.clock()
        due = []
        for name, each in self._clients.items():
            trouble = each.troubles.connecting
            pause = LOGIN_SECONDS if trouble and trouble.kind == "login" else PROBE_SECONDS
            if trouble and now >= self._probed.get(name, float("-inf")) + pause:
                self._probed[name] = now
                due.append(each.probe())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_FOR):
                await asyncio.gather(*due)
        found = {name: each.troubles.now for name, each in self._clients.items()}
        return {name: trouble.sentence for name, trouble in found.items() if trouble}

    @property
    def stopped(self) -> bool:
        """Whether no connection can be had to [upstream] or a fallback of it, as far as is known. Where one is had and a message
        then refused, another message may not be."""
        return all(self._clients[name].troubles.connecting for name in self._chains[DEFAULT_UPSTREAM])

    async def try_login(self, user: str, password: str) -> Outcome:
        return await self._default.try_login(user, password)

    def credentials_of(self, login: str) -> pool.Credentials:
        return self._default.credentials_of(login)

    async def close(self) -> None:
        for each in self._clients.values():
            await each.close()


def _of_this_server(outcome: Outcome) -> bool:
    return isinstance(outcome, Never) and refusals.of_this_server(outcome.reply)


def _together(before: Outcome | None, now: Outcome) -> Outcome:
    """What two servers in turn mean for a recipient, where the first one left it open. One that could not be reached may
    take what another one lacks the means for: that is put off, and both are told."""
    if before is None or isinstance(now, Done) or (isinstance(now, Never) and not _of_this_server(now)):
        return now
    if isinstance(before, Never) and isinstance(now, Never):
        return before
    late, refusal = (before, now) if isinstance(now, Never) else (now, before)
    if not isinstance(refusal, Never):
        return now
    text = f"{late.reply.text}; another upstream refused it: {refusal.reply}"
    return Later(envelopes.reply(late.reply.code, [text]), uncertain=isinstance(late, Later) and late.uncertain)
