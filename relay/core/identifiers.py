"""Message identifiers (RFC 5322 3.6.4), in the one spelling in which they are recorded and looked up.

Owns: reading Message-ID, In-Reply-To and References; which identifiers can be looked up by. An identifier is what stands
from the first `<` to the last `>`, without white space: programs fold long ones, and put names and addresses into them,
and those who answer fold anew. Quotes and brackets within it are understood.
Leaves to others: which message an identifier leads to (`threads`, the store), and the entry of ours in References.

Encoded words are decoded: no identifier looks like one, and some programs encode long ones (RFC 2047 5 forbids it).
For any text; time is linear in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from relay.core import addresses
from relay.core.headers import Headers

LONGEST = 900  # octets; with brackets and a space it must stay below 998 a line (RFC 5322 2.1.1)
# Identifiers as nearly all are written.
PLAIN = re.compile(r"(?>(?:\s*+<[^\s<>\"()\\@]++@[^\s<>\"()\\@]++>)+)\s*+")
BRACKETED = re.compile(r"<([^<>]++)>")
OUTSIDE = re.compile(r"(\([^()\\]*+\))|(<)|[^(<]++|\(")  # of brackets: a comment, a bracket, anything
INSIDE = re.compile(r"(<)|(>)|\"[^\"\\]*+\"|[^<>\"]++|\"")
SPACE = re.compile(r"\s+")
# Quotes around what could stand without them say nothing.
NEEDLESS = re.compile(r"(?<![^.<])\"([^\s\x00-\x1f\x7f()<>\[\]:;,@\\\"]++)\"(?=[.@])")


def own(head: Headers) -> str:
    """The message's own identifier, without brackets; "" where it has none. Never raises."""
    return of_message(head.get("message-id")) if "message-id" in head.named else ""


def of_message(text: str) -> str:
    """The identifier in the text of a Message-ID field. Of several whole ones it is the first; without brackets all of
    the text."""
    if PLAIN.fullmatch(text):
        return text[text.index("<") + 1 : text.index(">")]
    found, whole, good = _read(text)
    return found[0] if good else whole


def answered(head: Headers, name: str) -> list[str]:
    """The identifiers in all fields of that name (In-Reply-To, References), in order."""
    return [identifier for field in head.all(name) for identifier in listed(head.text(field))]


def listed(text: str) -> list[str]:
    """The identifiers in a list of them, in order; those beyond 900 octets left out. Without brackets: the words that
    could be one. Where the text may be a single one that was badly written, that comes first."""
    if PLAIN.fullmatch(text):
        return [identifier for identifier in BRACKETED.findall(text) if len(identifier) <= LONGEST]
    found, whole, good = _read(text)
    if not good and "@" in whole and whole not in found:
        found.insert(0, whole)
    return [identifier for identifier in found if identifier and len(identifier) <= LONGEST]


def plain(text: str) -> list[str]:
    """Those that can be written into a field anew: with both sides, and no brackets in them."""
    found, _, _ = _read(text)
    return [i for i in found if unique(i) and "<" not in i and ">" not in i]


def _read(text: str) -> tuple[list[str], str, bool]:
    """The identifiers in a text; what it is as a single one; whether the former are whole and good."""
    if "<" not in text:
        return [spelt(word) for word in text.replace(">", " ").split() if "@" in word], spelt(text), False
    found: list[str] = []
    kept: list[str] = []  # from the first bracket on
    depth = at = begun = 0
    while match := (INSIDE if depth else OUTSIDE).match(text, at):
        at = match.end()
        if not depth:
            comment, opens = match.groups()
            if opens:
                depth, begun = 1, len(kept) + 1
            if opens or (kept and not comment):
                kept.append(match[0])
            continue
        opens, closes = match.groups()
        depth += bool(opens) - bool(closes)
        kept.append(match[0])
        if not depth:
            found.append("".join(kept[begun:-1]))
    good = not depth and bool(found) and all(map(unique, found))
    if depth:  # one that never ends: each ends where the next begins
        found += [piece.partition(">")[0] for piece in "".join(kept[begun:]).split("<")]
    whole = "".join(kept)[1:]
    end = whole.rfind(">")
    return list(map(spelt, found)), spelt(whole[:end] if end >= 0 else whole), good


def spelt(text: str) -> str:
    """An identifier in its one spelling: no white space, no brackets around it, no needless quotes."""
    text = SPACE.sub("", text)
    ends = min(len(text) - len(text.lstrip("<")), len(text) - len(text.rstrip(">")))
    text = text[ends : len(text) - ends] if ends else text
    return NEEDLESS.sub(r"\1", text) if '"' in text else text


def unique(identifier: str, authors: Iterable[str] = ()) -> bool:
    """Whether it can name one message: it has both sides, is not too long to come back in an answer, and is not an address of its
    author, which some programs write into all their mail. Others are never looked up by."""
    left, _, right = identifier.rpartition("@")
    if not left or not right or len(identifier) > LONGEST:
        return False
    spelling = addresses.comparable(identifier)
    return spelling not in map(addresses.comparable, authors)
