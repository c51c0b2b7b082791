"""A name server on loopback that knows the TXT records that it was given, and others: `(name, type)`, of which several are
separated by ` | `. A CNAME leads on to its target's records; `SERVFAIL` is the answer of a server that can't say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

NONE: Mapping[tuple[str, str], str] = {}


class _Names(asyncio.DatagramProtocol):
    def __init__(self, records: Mapping[str, str], others: Mapping[tuple[str, str], str]) -> None:
        self.records, self.others = records, others
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = query.question[0].name
        self.asked.append(name.to_text(omit_final_dot=True))
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        other = self.others.get((name.to_text(omit_final_dot=True), kind))
        alias = self.others.get((name.to_text(omit_final_dot=True), "CNAME"))
        if alias is not None:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", f"{alias}."))
            name, other = dns.name.from_text(alias), self.others.get((alias, kind))
            if other is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
                return self.transport.sendto(answer.to_wire(), addr)  # type: ignore[attr-defined]
        if other == "SERVFAIL":
            answer.set_rcode(dns.rcode.SERVFAIL)
            return self.transport.sendto(answer.to_wire(), addr)  # type: ignore[attr-defined]
        if other is not None:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *other.split(" | ")))
            return self.transport.sendto(answer.to_wire(), addr)  # type: ignore[attr-defined]
        text = self.records.get(name.to_text(omit_final_dot=True))
        if text is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:  # strings of a TXT record hold at most 255 octets
            strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", strings))
        self.transport.sendto(answer.to_wire(), addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def resolver(
    records: Mapping[str, str], others: Mapping[tuple[str, str], str] = NONE
) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """A resolver that asks this name server only."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Names(records, others), local_addr=("127.0.0.1", 0))
    made = dns.asyncresolver.Resolver(configure=False)
    made.nameservers = ["127.0.0.1"]
    made.port = transport.get_extra_info("sockname")[1]
    try:
        yield made
    finally:
        transport.close()
