"""All upstreams: each envelope to the one that it names, or to a fallback of that where it can't be reached.

Owns: the order in which upstreams are tried. A message goes on to the next one only where nothing of it was handed over
and no server said anything about it: then nobody has it. A client's own login goes to one server only.
Leaves to others: which upstream a message is for (`choice`), connections and transactions (`client`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Sequence

from relay import config, log, metrics
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import dkim
from relay.core.model import Envelope, Later, Outcome
from relay.upstream import choice, client

LOG = log.room("upstream")

PROBE_SECONDS = 5.0  # between two looks at whether one that was in trouble is reached again …
PROBE_FOR = 2.0  # … and for how long somebody waits for one
AGAIN_SECONDS = 30.0  # for which one that could not be reached comes last


class Upstreams:
    """One `Courier` per upstream, by name. What is about a client's own login is about [upstream]."""

    def __init__(
        self,
        settings: config.Settings,
        *,
        hostname: str,
        times: client.Times | None = None,
        trust: ssl.SSLContext | None = None,
        signers: Sequence[dkim.Signer] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        all_ = (settings.upstream, *settings.upstreams)
        self._couriers = {
            choice.name_of(up): client.UpstreamClient(
                up,
                hostname=hostname,
                times=times,
                trust=trust,
                name=choice.name_of(up),
                tokens_in=settings.state_dir / "keys",
                signers=signers,
            )
            for up in all_
        }
        self._chains = {
            choice.name_of(up): [name for name in (choice.name_of(up), *up.fallback) if name in self._couriers]
            for up in all_
        }
        self._down: dict[str, float] = {}  # name -> when it is looked at again as the others are
        self.default = self._couriers[DEFAULT_UPSTREAM]
        self._probed = float("-inf")

    @property
    def host(self) -> str:
        return self.default.host

    async def send(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[Outcome, ...]:
        """As `Courier.send`. `started` is called with the host of each server that is tried."""
        chain = self._chains.get(envelope.upstream) or self._chains[DEFAULT_UPSTREAM]
        if len(chain) == 1 or envelope.credentials:
            return await self._couriers[chain[0]].send(envelope, content, started=started)
        outcomes: tuple[Outcome, ...] = ()
        for name in self._in_order(chain):
            if outcomes:
                metrics.FAILOVERS.labels(name).inc()
                LOG.warning("failover", upstream=name, reason=str(outcomes[0].reply))
            outcomes, reached = await self._couriers[name].attempt(envelope, content, started=started)
            if reached or not all(isinstance(outcome, Later) for outcome in outcomes):
                self._down.pop(name, None)
                break
            self._down[name] = self.clock() + AGAIN_SECONDS
        self._count(outcomes)
        return outcomes

    def _in_order(self, chain: Sequence[str]) -> list[str]:
        """Those that could not be reached a moment ago come last: waiting for each anew would take a minute."""
        now = self.clock()
        return sorted(chain, key=lambda name: self._down.get(name, 0.0) > now)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            client.OUTCOMES[type(outcome)].inc()

    async def trouble(self) -> str:
        """Why neither [upstream] nor a fallback of it could be reached last, or "". While there is trouble [upstream] is
        looked at again, so that it ends without mail as well."""
        chain = [self._couriers[name] for name in self._chains[DEFAULT_UPSTREAM]]
        if all(each.trouble for each in chain) and self.clock() >= self._probed + PROBE_SECONDS:
            self._probed = self.clock()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_FOR):
                    await self.default.probe()
        return self.default.trouble if all(each.trouble for each in chain) else ""

    async def try_login(self, user: str, password: str) -> Outcome:
        return await self.default.try_login(user, password)

    def credentials_of(self, login: str) -> client.Credentials:
        return self.default.credentials_of(login)

    async def close(self) -> None:
        for each in self._couriers.values():
            await each.close()
