"""The trace field of a server that takes a message: from whom, by whom, with what, when (RFC 5321 4.4).

Owns: its text, whatever a client said of itself, and finding ours again. Leaves to others: whether a message gets one, and
what it may tell (`outbound`), where it stands (`rewrite.Rendering`).

    Received: from client.example.com ([192.0.2.1])
    \tby relay.example.com with ESMTPS id 06fv3k9r3m3bg5tvo6d0
    \tfor <ann@example.org>; Mon, 05 Jan 2026 10:00:00 +0000
"""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime
from functools import lru_cache

from relay.core import headers

WIDTH = 78
LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*")
LONGEST_DOMAIN = 255  # octets (RFC 5321 4.5.3.1.2)
LITERAL = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]")
PEER = re.compile(r"[0-9A-Fa-f:.]{2,45}")
MAILBOX = re.compile(r"[!-;=?-~]{1,254}")
SAID = 60  # characters of a name that is none
# Without "=", so that no reader finds an encoded word (RFC 2047 5) in the comment.
STRANGE = re.compile(r"[^ !-<>-~]")
ESCAPED = re.compile(r"[()\\]")
OURS = re.compile(rb"(?<!\S)by\s+([!-~]+)\s+with\s+[A-Z0-9]+\s+id\s+[0-9a-v]{20}(?:[;\s]|\Z)")


def protocol(*, extended: bool, utf8: bool, tls: bool, login: bool) -> str:
    """The name of what was spoken (RFC 3848, RFC 6531 4.3). `extended` where the client said EHLO, `utf8` where it asked
    for SMTPUTF8. What says HELO has one name, TLS or not."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + "S" * tls + "A" * login


def field(
    *, helo: str = "", peer: str = "", host: str, protocol: str, identifier: str, recipient: str = "", at: float
) -> bytes:
    """The field, folded, with its line ending; ASCII only. For any texts; never raises. Without `helo` and `peer` (an
    address without brackets) it says nothing of the client. `recipient` is left out where it can't stand there; `at` is
    Unix seconds."""
    words = [client(helo, peer), f"by {named(host)} with {protocol} id {identifier}"]
    if recipient and MAILBOX.fullmatch(recipient):
        words.append(f"for <{recipient}>")
    words[-1] += ";"
    words.append(date(int(at)))
    text, width = "Received:", 0
    for word in filter(None, words):
        if width and width + 1 + len(word) > WIDTH:
            text += f"\r\n\t{word}"
            width = 1 + len(word)
        else:
            text += f" {word}"
            width = (width or len("Received:")) + 1 + len(word)
    return f"{text}\r\n".encode("ascii")


@lru_cache(maxsize=64)
def client(helo: str, peer: str) -> str:
    """The from clause. A name that is no domain stands in a comment, cut and made harmless."""
    literal = "" if not PEER.fullmatch(peer) else f"[IPv6:{peer}]" if ":" in peer else f"[{peer}]"
    address = f" ({literal})" if literal else ""
    if is_domain(helo) or LITERAL.fullmatch(helo):
        return f"from {helo}{address}"
    if not helo and not literal:
        return ""
    said = ESCAPED.sub(r"\\\g<0>", STRANGE.sub("?", helo[:SAID]))
    return f"from {literal or 'unknown'}{address}" + (f" (helo={said})" if said else "")


@lru_cache(maxsize=8)
def named(host: str) -> str:
    """Our own name as it stands there: a machine's name may have what no domain has."""
    if is_domain(host) or LITERAL.fullmatch(host):
        return host
    mended = re.sub(r"[^A-Za-z0-9.-]", "-", host).strip(".-")
    return mended if is_domain(mended) else "unknown"


def is_domain(text: str) -> bool:
    return len(text) <= LONGEST_DOMAIN and DOMAIN.fullmatch(text) is not None


@lru_cache(maxsize=8)
def date(at: int) -> str:
    return email.utils.format_datetime(datetime.fromtimestamp(at, UTC))


def passes(head: headers.Headers, host: str) -> int:
    """How often a message was here before: trace fields of ours, by name and by the form of the identifier."""
    if not head.first("received"):
        return 0
    found = [OURS.search(head.bytes(field)) for field in head.all("received")]
    ours = named(host).lower()
    return sum(match is not None and match[1].decode("ascii").lower() == ours for match in found)
