"""Names in DNS, as recipients and their servers look them up: records, or why they can't be known here.

Owns: the question, its bound in time, and telling "there is none" from "nobody could say". Leaves to others: what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SECONDS = 5.0  # for one question, of which some are asked in a row


@dataclass(frozen=True, slots=True)
class Records:
    """What is published: TXT as text, others as they are written in a zone. `alias`: the name that a CNAME leads to, or ""."""

    found: tuple[str, ...]
    alias: str = ""


class Unknown(Exception):
    """Nobody could say. The text says why."""


async def look_up(name: str, kind: str, resolver: Any = None) -> Records:
    """Raises `Unknown`. A name that does not exist has no records."""
    import dns.asyncresolver
    import dns.exception
    import dns.name
    import dns.resolver

    asked = dns.name.from_text(name)
    try:
        resolver = resolver or dns.asyncresolver.get_default_resolver()
        answer = await resolver.resolve(asked, kind, lifetime=SECONDS, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN as none:
        end = none.canonical_name
        return Records((), "" if end == asked else end.to_text(omit_final_dot=True))
    except (dns.exception.DNSException, OSError, UnicodeError) as error:
        raise Unknown(why(error)) from error
    end = answer.canonical_name
    alias = "" if end == asked else end.to_text(omit_final_dot=True)
    rows = answer.rrset or ()
    if kind == "TXT":
        return Records(tuple(b"".join(row.strings).decode(errors="replace") for row in rows), alias)
    return Records(tuple(row.to_text() for row in rows), alias)


def why(error: BaseException) -> str:
    import dns.exception
    import dns.resolver

    match error:
        case dns.resolver.NoResolverConfiguration():
            return "this machine names no DNS server (/etc/resolv.conf)"
        case dns.exception.Timeout():
            return "no DNS server answers this machine (/etc/resolv.conf)"
        case dns.resolver.NoNameservers():
            return "the DNS servers of this machine (/etc/resolv.conf) fail to answer that"
    return f"it can't be looked up here: {' '.join(str(error).split()) or type(error).__name__}"[:200]
