"""What a mail proxy says of the client that it speaks for: the attributes of XCLIENT and XFORWARD, as Postfix has them
(its XCLIENT_README and XFORWARD_README).

Owns: which attributes there are, how they are written, what they may say. Leaves to others: who may say it, and what
follows from it (`smtp.proxied`).

    XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE] LOGIN=jane+40example.com
    XFORWARD ADDR=IPV6:2001:db8::1 HELO=client.example.com IDENT=4Zx1Yz3Kq8z9 SOURCE=REMOTE
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from relay.core import networks
from relay.core.model import Reply

# A value that can be read, as it is remembered; None for one that can't.
Read = Callable[[str], str | None]

UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
# RFC 3461 section 4, in either case, and with the "=" that some leave in.
XTEXT = re.compile(r"(?:[!-*,-~]|\+[0-9A-Fa-f]{2})+")
ESCAPE = re.compile(rb"\+([0-9A-Fa-f]{2})")
MAX_VALUE = 255  # octets, as Postfix sends them
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def pattern(text: str) -> Read:
    form = re.compile(text)
    return lambda value: value if form.fullmatch(value) else None


def choice(*words: str) -> Read:
    return lambda value: value.upper() if value.upper() in words else None


def printable(value: str) -> str | None:
    return None if CONTROLS.search(value) else value


def address(value: str) -> str | None:
    """An address as `networks.plain` has it. IPv6 comes after "IPV6:"."""
    host = value[5:] if value[:5].upper() == "IPV6:" else value
    try:
        return str(networks.plain(ip_address(host))) if "%" not in host else None
    except ValueError:
        return None


def port(value: str) -> str | None:
    return value if value.isdecimal() and value.isascii() and len(value) <= 5 and int(value) <= 65_535 else None


XCLIENT: Mapping[str, Read] = {
    "NAME": printable, "ADDR": address, "PROTO": choice("SMTP", "ESMTP"), "HELO": printable, "REVERSE_NAME": printable,
    "PORT": port, "LOGIN": printable, "DESTADDR": address, "DESTPORT": port,
}  # fmt: skip
XFORWARD: Mapping[str, Read] = {
    "NAME": printable, "ADDR": address, "PROTO": pattern("[A-Za-z0-9]{1,64}"), "HELO": printable,
    "SOURCE": choice("LOCAL", "REMOTE"), "PORT": port, "IDENT": pattern("[!-~]{1,255}"),
}  # fmt: skip

Said = Mapping[str, str | None]  # by attribute; None where the proxy does not know it


def read(argument: str | None, known: Mapping[str, Read]) -> Said | Reply:
    """The argument of the command, or the refusal. What is said twice counts as said last."""
    words = (argument or "").split()
    if not words:
        return Reply(501, "5.5.4 Syntax: ATTRIBUTE=value ...")
    said: dict[str, str | None] = {}
    for word in words:
        name, equals, written = word.partition("=")
        name = name.upper()
        if not equals:
            return Reply(501, "5.5.4 Syntax: ATTRIBUTE=value ...")
        if name not in known:
            return Reply(501, "5.5.4 There is no such attribute here")
        if written.upper() in UNKNOWN:
            said[name] = None
            continue
        value = decoded(written)
        said[name] = known[name](value) if value else None
        if said[name] is None:
            return Reply(501, f"5.5.4 The value of {name} can't be read")
    return said


def decoded(written: str) -> str | None:
    """xtext, decoded; None where it is none, is too long, or stands for what is no text."""
    if not XTEXT.fullmatch(written):
        return None
    octets = ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), written.encode())
    try:
        return octets.decode() if len(octets) <= MAX_VALUE else None
    except UnicodeDecodeError:
        return None
