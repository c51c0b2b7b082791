"""What a hit shows of whoever made it: all of the event but what was asked for, and when.

Owns: putting that together, once for all hits of a minute that look alike: a person's pixel and links, a gateway's
row, a mail provider's proxy. Leaves to others: each piece (`visitor`, `core.classify`, `core.neighbours`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from relay.config import Privacy
from relay.core import classify, neighbours, tally
from relay.core.model import Verdict
from tracking_http import heads, reverse_names, visitor

# In seconds. A day has whole minutes, so that nobody is remembered with the hash of another day (`identities`).
MINUTE = 60
MOST = 2048  # that are remembered; each has a header section of at most `heads.LONGEST` octets


class Asker(NamedTuple):
    """`address` is the client's; `ip`, `user_agent` and `referer` are as far as they are kept. `data` is of the event."""

    address: str
    ip: str
    user_agent: str
    referer: str
    verdict: Verdict
    reason: str
    data: Mapping[str, Any]


class Askers:
    """`client` gives the client's address by the peer's and X-Forwarded-For; `network`, `identity` and `named` as in
    `public`."""

    def __init__(
        self,
        privacy: Privacy,
        client: Callable[[str, str], str],
        network: classify.Networks,
        identity: Callable[[float], bytes],
        named: reverse_names.ReverseNames | None,
    ) -> None:
        self.privacy, self.client, self.network, self.identity = privacy, client, network, identity
        self.named = named
        self._minute = -1.0
        self._known: dict[tuple[bytes, str, bool], Asker] = {}

    def usual(self, section: bytes, peer: str, click: bool, now: float) -> Asker | None:
        """Of a GET with this header section; None where that has anything unusual about it (`heads.fields`)."""
        minute = now // MINUTE
        if minute != self._minute:
            self._known.clear()
            self._minute = minute
        key = (section, peer, click)
        known = self._known.get(key)
        if known is None:
            fields = heads.fields(section)
            if fields is None:
                return None
            if len(self._known) >= MOST:
                self._known.clear()
            known = self._known[key] = self._plain("GET", fields, peer, click, now)
        return known if self.named is None else self._by_name(known, self.named, now)

    def of(self, head: heads.Head, click: bool, now: float) -> Asker:
        found = self._plain(head.method, head.fields, head.peer, click, now)
        return found if self.named is None else self._by_name(found, self.named, now)

    def _by_name(self, asker: Asker, named: reverse_names.ReverseNames, now: float) -> Asker:
        """What is known of the names of addresses may be another with each hit."""
        if asker.verdict in ("human", "unknown") and named.is_gateway(asker.address, now):
            return asker._replace(verdict="scanner", reason=reverse_names.REASON)
        return asker

    def _plain(self, method: str, fields: Mapping[str, str], peer: str, click: bool, now: float) -> Asker:
        agent = fields.get("user-agent", "")
        address = self.client(peer, fields.get(heads.FORWARDED, ""))
        network = self.network(address)
        verdict, reason = classify.hit(method=method, agent=agent, headers=fields, network=network, click=click)
        data: dict[str, Any] = {}
        if self.privacy.ip != "full" and address:  # for telling the sender's own hit; the store keeps it not
            data[tally.TRANSIENT] = address
        data[tally.WHO] = (*neighbours.identity(self.identity(now), address, agent), network)
        return Asker(
            address,
            visitor.ip(address, self.privacy.ip),
            visitor.user_agent(agent, self.privacy.user_agent),
            visitor.referer(fields.get("referer", ""), self.privacy.referer),
            verdict,
            reason,
            data,
        )
