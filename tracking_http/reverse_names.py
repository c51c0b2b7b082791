"""Whose machine made a hit, by the name that its address has in the DNS: asked after the answer, and only where the hit looks like a
person's.

Owns: the questions, how many at a time, what is remembered of the answers, correcting the hit. Leaves to others: which names are
gateways' (`core.gateway_names`), what a correction does (`relay.store`).

Whoever has an address can give it any name, so a name counts only if it leads back to the address. No question is in the way of
an answer: beyond so many that wait, hits stay as they are. Of an address nothing is remembered but a hash, whose key
lives a day, and what came out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from relay import log, metrics
from relay import store as stores
from relay.core import gateway_names, neighbours, networks
from relay.core.model import Event, History, Verdict

if TYPE_CHECKING:
    import dns.asyncresolver

LOG = log.room("public")

SECONDS = 1.0  # that a question may take
AT_A_TIME = 4
WAITING = 500  # hits that wait for an answer
REMEMBERED = 4096  # addresses
DAY = 86_400.0  # seconds for which an answer holds
NAMES = 3  # of one address that are looked at
REASON = "gateway_name"


class Store(Protocol):
    async def history(self, event_id: str) -> History | None: ...
    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None: ...


class ReverseNames:
    """`identity` gives the key of a moment's hashes, `corrected` is called when a hit was corrected."""

    def __init__(
        self,
        store: Store,
        identity: Callable[[float], bytes],
        resolver: dns.asyncresolver.Resolver,
        corrected: Callable[[], None] | None = None,
    ) -> None:
        self.store, self.identity, self.resolver, self.corrected = store, identity, resolver, corrected
        self.known: dict[int, tuple[float, bool]] = {}  # by hash: until when, and whether it is a gateway's
        self.waiting: dict[int, list[str]] = {}  # by hash: the hits
        self.hits = 0  # in `waiting`
        self.places = asyncio.Semaphore(AT_A_TIME)
        self.tasks: set[asyncio.Task[None]] = set()

    def is_gateway(self, address: str, now: float) -> bool | None:
        """What is known of it; None where it is to be asked."""
        found = self.known.get(self.number(address, now))
        return found[1] if found and now < found[0] <= now + DAY else None

    def number(self, address: str, now: float) -> int:
        return neighbours.number(self.identity(now), address)

    def ask(self, event: Event, address: str) -> None:
        """The hit is corrected later, where that is due. It is in the store, or will be."""
        place = networks.peer(address)
        if place is None or not networks.public(place) or self.is_gateway(address, event.at) is False:
            return
        if self.hits >= WAITING:
            return
        number = self.number(address, event.at)
        self.hits += 1
        if number in self.waiting:
            self.waiting[number].append(event.event_id)
            return
        self.waiting[number] = [event.event_id]
        task = asyncio.get_running_loop().create_task(self.look(number, address, event.at))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def look(self, number: int, address: str, at: float) -> None:
        try:
            found = self.is_gateway(address, at)
            if found is None:
                async with self.places:
                    found = await self.named(address)
                self.known.pop(number, None)
                self.known[number] = (at + DAY, found)
                if len(self.known) > REMEMBERED:
                    del self.known[next(iter(self.known))]
            if found:
                for event_id in self.waiting[number]:  # it may get more meanwhile
                    await self.correct(event_id)
        except stores.Unavailable as reason:
            LOG.warning("hit_not_corrected", reason=str(reason))
        except Exception:  # the edge: nobody waits for it
            metrics.ERRORS.labels("public").inc()
            LOG.exception("reverse_name_failed")
        finally:
            self.hits -= len(self.waiting.pop(number))

    async def correct(self, event_id: str) -> None:
        """Only what is taken for a person's; the sender's own hit is theirs."""
        found = await self.store.history(event_id)
        if found is None or found.event.verdict not in ("human", "unknown"):
            return
        if await self.store.correct(event_id, "scanner", REASON) is not None and self.corrected:
            self.corrected()

    async def named(self, address: str) -> bool:
        """Whether the address has a gateway's name that leads back to it. A question without an answer is a no."""
        import dns.exception

        try:
            answer = await self.resolver.resolve_address(address, lifetime=SECONDS, search=False)
            names = [row.target for row in answer if gateway_names.of_gateway(row.target.to_text())]
            own = ip_address(address)
            for name in names[:NAMES]:
                back = await self.resolver.resolve(name, "AAAA" if own.version == 6 else "A", lifetime=SECONDS)
                if any(ip_address(row.address) == own for row in back):
                    return True
        except (dns.exception.DNSException, OSError, ValueError):
            pass
        return False

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.waiting.clear()  # what had not begun
        self.hits = 0


def system(
    store: Store, identity: Callable[[float], bytes], corrected: Callable[[], None] | None = None
) -> ReverseNames | None:
    """With the resolver of this machine; None where it has none."""
    import dns.asyncresolver
    import dns.resolver

    try:
        resolver = dns.asyncresolver.Resolver()
    except (dns.resolver.NoResolverConfiguration, OSError) as reason:
        LOG.warning("no_reverse_names", reason=str(reason))
        return None
    return ReverseNames(store, identity, resolver, corrected)
