"""What the shape of a message says: which parts are never entered, which are shown, how lines end.

Owns: the questions that are answered by types, fields and the tree of parts alone.
Leaves to others: what is in the texts (`survey`, `links`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.core import identifiers, links
from relay.core.headers import Headers
from relay.core.model import Reason
from relay.core.parts import Part

LISTED = re.compile(r"<([^<>]*)>")

ALTERNATIVE, RELATED = "multipart/alternative", "multipart/related"
WRITTEN = frozenset({"text/plain", "text/html", "text/enriched", "text/richtext"})  # what a body is written in
NO_FILES: frozenset[int] = frozenset()

WHOLE_TYPES: dict[str, Reason] = {
    "multipart/signed": "signed",
    "multipart/encrypted": "encrypted",
    "application/pgp": "pgp",
    "application/pgp-encrypted": "encrypted",
    "text/calendar": "calendar",
    "text/x-amp-html": "amp",
}


class Text(NamedTuple):
    """A part's text, open for edits. In `view` markup has its meaning: the text itself, or the octets as Latin-1
    where `latin` (then offsets are the same). `codec` is the one that gives the octets, or the label where `latin`."""

    part: int
    decoded: bytes
    view: str
    codec: str
    latin: bool
    html: links.Page | None
    places: dict[int, int]  # view -> octets, for every place an edit may begin or end; empty where `latin`


def closed(part: Part) -> Reason | None:
    """Why a part of this type is never entered."""
    kind = part.content_type
    if kind in WHOLE_TYPES:
        return WHOLE_TYPES[kind]
    if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return "signed" if part.parameters.get("smime-type", "").lower() == "signed-data" else "encrypted"
    if kind == "multipart/report" and part.parent >= 0:  # of a whole message `instructions.never` says so
        return "auto_reply"
    if kind.startswith("message/"):
        return "embedded"
    if part.disposition not in ("", "inline"):  # RFC 2183 2.8: one that is unknown is an attachment
        return "attachment"
    return "unsafe_place" if part.doubtful else None


def files(found: Sequence[Part]) -> frozenset[int]:
    """The texts that are files though nothing but their name says so (RFC 2183 2.3): those with a name beside a text without
    one; where all have names, all but the first. An alternative is beside no other, and neither is the root of related
    parts beside what it refers to: each stands for its whole multipart, whatever its name."""
    if not any(part.named for part in found):
        return NO_FILES
    scopes: list[int] = []  # for each part the outermost one with which it stands in one row
    within: dict[int, int] = {}  # which row such a one's multipart is in
    roots = {index: _root(found, index) for index, part in enumerate(found) if part.content_type == RELATED}
    named: dict[int, list[int]] = {}
    bodies: set[int] = set()  # rows that have a text without a name
    attached: set[int] = set()
    for index, part in enumerate(found):
        scope = scopes[part.parent] if part.parent >= 0 else index
        if part.parent >= 0 and (found[part.parent].content_type == ALTERNATIVE or roots.get(part.parent) == index):
            within[index], scope = scope, index
        scopes.append(scope)
        if part.disposition not in ("", "inline") or part.parent in attached:
            attached.add(index)
            continue
        if part.content_type not in WRITTEN:
            continue
        if part.named:
            named.setdefault(scope, []).append(index)
        else:
            bodies.add(scope)
        while scope in within:
            scope = within[scope]
            bodies.add(scope)
    return frozenset([index for scope, row in named.items() for index in (row if scope in bodies else row[1:])])


def _root(found: Sequence[Part], related: int) -> int:
    """The root of related parts: what `start` names, else the first that can be one."""
    children = (n for n in range(related + 1, len(found)) if found[n].parent == related)
    first = (n for n in children if found[n].content_type.startswith(("text/", "multipart/")))
    return next(first, -1) if (started := _started(found, related)) < 0 else started


def _started(found: Sequence[Part], related: int) -> int:
    """The part whose Content-ID `start` names (RFC 2387 3.2), or -1."""
    start = identifiers.of_message(found[related].parameters.get("start", ""))
    children = (n for n in range(related + 1, len(found)) if start and found[n].parent == related)
    return next((n for n in children if identifiers.of_message(found[n].headers.get("content-id")) == start), -1)


def listed_urls(headers: Headers) -> list[str]:
    """The URLs in List-* fields (RFC 2369, RFC 8058): a redirect would break one-click unsubscription."""
    found: list[str] = []
    for field in headers.fields:
        if field.name[:5] == "list-":
            found += LISTED.findall(headers.text(field))
    return found


def shown(found: Sequence[Part], pages: dict[int, Text]) -> list[int]:
    """The HTML parts that a reader shows, in the order in which a pixel is tried: of alternatives the last that has
    HTML (RFC 2046 5.1.4), of related parts the root (RFC 2387 3.2), of others one after the other."""
    lists: dict[int, list[tuple[int, list[int]]]] = {}
    for index in range(len(found) - 1, -1, -1):
        part = found[index]
        mine = [index] if index in pages else []
        children = lists.pop(index, [])[::-1]
        full = [inside for _, inside in children if inside]
        if full:
            if part.content_type == ALTERNATIVE:
                mine = full[-1]
            elif part.content_type == RELATED:
                started = _started(found, index)
                mine = full[0] if started < 0 else next(inside for child, inside in children if child == started)
            else:
                mine = [page for inside in full for page in inside]
        lists.setdefault(part.parent, []).append((index, mine))
    return lists[-1][0][1] if -1 in lists else []


def newline_of(raw: bytes, start: int, end: int) -> bytes:
    """The line ending in use there: that of the first line, or of the message's."""
    at = raw.find(b"\n", start, end)
    if at < 0:
        at = raw.find(b"\n")
    return b"\n" if at > 0 and raw[at - 1] != 13 else b"\r\n"


def recode(part: Part, newline: bytes) -> tuple[tuple[int, int, bytes], ...]:
    """The edits of a part's header section that make its body quoted-printable. A field that is there twice said the
    same, or the part were doubtful; it still does."""
    fields = part.headers.all("content-transfer-encoding")
    if not fields:
        return ((part.headers.end, part.headers.end, b"Content-Transfer-Encoding: quoted-printable" + newline),)
    return tuple([(field.value, field.end, b" quoted-printable" + newline) for field in fields])
