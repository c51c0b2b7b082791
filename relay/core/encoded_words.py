"""Encoded words (RFC 2047): text in header fields that is not ASCII.

Owns: decoding them, in time linear in the text. The standard library's decoder is quadratic in their number: a field
of 250 kB holds a processor for seconds.
Leaves to others: unfolding, and what a field means (`headers`); what the name of a charset means (`charset_names`).
"""

from __future__ import annotations

import re
from base64 import b64decode

from relay.core import charset_names

# A charset may be followed by a language (RFC 2231 5).
WORD = re.compile(r"=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=")
HEXADECIMAL = re.compile(rb"=([0-9A-Fa-f]{2})")
UNREAD = frozenset({"", "iso2022_cn", charset_names.USER_DEFINED})  # Python has no codec for these


def decoded(text: str) -> str:
    """The text with each encoded word decoded, and the white space between two of them gone (RFC 2047 6.2). Adjacent
    words of one charset are decoded as one, since some programs cut inside a character. A word with an unknown
    charset or broken base64 stays as it is. Never raises."""
    found: list[str] = []
    run: list[bytes] = []  # octets of adjacent words in one charset
    charset = ""
    at = 0
    for match in WORD.finditer(text):
        between = text[at : match.start()]
        adjacent = bool(run) and (not between or between.isspace())
        name = charset_names.codec(match[1])
        octets = None if name in UNREAD else octets_of(match[3], match[2])
        if run and not (adjacent and octets is not None and name == charset):
            found.append(told(run, charset))
            run = []
        if not (adjacent and octets is not None):
            found.append(between)
        if octets is None:
            found.append(match[0])
        else:
            run.append(octets)
            charset = name
        at = match.end()
    if run:
        found.append(told(run, charset))
    found.append(text[at:])
    return "".join(found)


def octets_of(text: str, encoding: str) -> bytes | None:
    """The octets of a word's text; None for broken base64. Base64 without its padding is taken."""
    raw = text.encode("utf-8", "surrogateescape")
    if encoding in "qQ":
        return HEXADECIMAL.sub(lambda match: bytes((int(match[1], 16),)), raw.replace(b"_", b" "))
    try:
        return b64decode(raw + b"=" * (-len(raw) % 4))
    except ValueError:
        return None


def told(run: list[bytes], charset: str) -> str:
    return b"".join(run).decode(charset, "replace")
