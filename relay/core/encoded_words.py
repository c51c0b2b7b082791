"""Encoded words (RFC 2047): text in header fields that is not ASCII.

Owns: decoding them, in time linear in the text. The standard library's decoder is quadratic in their number: a field
of 250 kB holds a processor for seconds.
Leaves to others: unfolding, and what a field means (`headers`).
"""

from __future__ import annotations

import codecs
import re
from base64 import b64decode
from encodings import normalize_encoding
from encodings.aliases import aliases

# A charset may be followed by a language (RFC 2231 5).
WORD = re.compile(r"=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=")
HEXADECIMAL = re.compile(rb"=([0-9A-Fa-f]{2})")
# Codecs of host names: no charsets of mail, and the decoder of the first is quadratic.
NO_CHARSETS = frozenset({"punycode", "idna"})
# All that Python can decode: its list of aliases, and those that have none. A name that it does not know is looked for
# on disk, and remembered for ever: a message has room for many thousands.
NAMES = frozenset(aliases) | frozenset(aliases.values()) | {
    "charmap", "cp1006", "cp720", "cp737", "cp856", "cp874", "cp875", "idna", "koi8_t", "koi8_u", "mac_arabic",
    "mac_croatian", "mac_farsi", "mac_romanian", "palmos", "punycode", "raw_unicode_escape", "undefined",
    "unicode_escape", "utf_8_sig",
}  # fmt: skip


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
        octets = octets_of(match[3], match[2]) if known(match[1]) else None
        if run and not (adjacent and octets is not None and match[1].lower() == charset):
            found.append(told(run, charset))
            run = []
        if not (adjacent and octets is not None):
            found.append(between)
        if octets is None:
            found.append(match[0])
        else:
            run.append(octets)
            charset = match[1].lower()
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
    try:
        return b"".join(run).decode(charset, "replace")
    except (LookupError, ValueError):  # a codec that does not go from octets to text
        return b"".join(run).decode("latin-1")


def exists(charset: str) -> bool:
    """Is it the name of any encoding?"""
    name = normalize_encoding(charset.lower())
    return name in NAMES or name.replace(".", "_") in NAMES


def known(charset: str) -> bool:
    if not exists(charset):
        return False
    try:
        return codecs.lookup(charset).name not in NO_CHARSETS
    except (LookupError, ValueError):
        return False
