"""What two mail servers say of themselves before any mail: the name that we go by, and what the other one offers.

Owns: which names may stand after EHLO (RFC 5321 2.3.5, 4.1.3, 4.1.4) and which of them is ours, the reading of the reply to
EHLO as servers write it. Leaves to others: when it is said (`upstream`), what follows from an offer (`envelopes`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from relay.core import networks

LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
FULL = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})+")
LITERAL = re.compile(r"\[(?:(IPv6:)([0-9A-F:.]+)|([0-9.]+))\]", re.I)
# RFC 5321 4.1.1.1, with what servers write for the space: a tab, several spaces, "=" (as before RFC 2554: "AUTH=LOGIN").
OFFER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[\s=]+(.*))?", re.S)
BETWEEN = re.compile(r"[\s,]+")


def is_full(name: str) -> bool:
    """Is it a fully-qualified domain name of letters, digits and hyphens, as a mail server's has to be?"""
    return FULL.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()


def literal(address: networks.Address) -> str:
    """The address as it stands for a name: "[192.0.2.1]", "[IPv6:2001:db8::1]"."""
    address = networks.plain(address)
    return f"[{address}]" if isinstance(address, IPv4Address) else f"[IPv6:{address}]"


def read_literal(text: str) -> str:
    """An address literal in its one spelling; "" for what is none."""
    found = LITERAL.fullmatch(text)
    try:
        return literal(IPv6Address(found[2]) if found[1] else IPv4Address(found[3])) if found else ""
    except ValueError:
        return ""


def name(wanted: str, ours: str) -> str:
    """What we say of ourselves: the name that was set, or the machine's, where servers take it; else the literal of
    `ours`, the address of our end of the connection as the socket writes it."""
    if is_full(wanted):
        return wanted
    found = read_literal(wanted)
    address = networks.peer(ours)
    return found or literal(address if address is not None else IPv4Address("127.0.0.1"))


@dataclass(frozen=True, slots=True)
class Offers:
    """What a server offers: the keywords in lower case with their parameters, and the methods of AUTH in lower case, in its
    order."""

    keywords: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()


def offers(text: str) -> Offers:
    """Reads the text of a reply to EHLO, one line each; the first is the server's name. A keyword on several lines means
    what the last one says; of AUTH all lines count, since servers have one in the old form beside the right one."""
    keywords: dict[str, str] = {}
    methods: dict[str, None] = {}
    for line in text.split("\n")[1:]:
        found = OFFER.fullmatch(line.strip())
        if not found:
            continue
        keyword, words = found[1].lower(), (found[2] or "").strip()
        if keyword == "auth":
            for word in BETWEEN.split(words.lower()):
                methods[word.removeprefix("auth").lstrip("=")] = None
        keywords[keyword] = words
    methods.pop("", None)
    return Offers(keywords, tuple(methods))
