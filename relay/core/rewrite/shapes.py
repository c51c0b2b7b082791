"""What the shape of a message says: which parts are never entered, which are shown, how lines end.

Owns: the questions that are answered by types, fields and the tree of parts alone.
Leaves to others: what is in the texts (`survey`, `links`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.core import links
from relay.core.headers import Headers
from relay.core.model import Reason
from relay.core.parts import Part

LISTED = re.compile(r"<([^<>]*)>")

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
    if kind.startswith("message/"):
        return "embedded"
    if part.disposition not in ("", "inline"):  # RFC 2183 2.8: one that is unknown is an attachment
        return "attachment"
    return "unsafe_place" if part.doubtful else None


def listed_urls(headers: Headers) -> list[str]:
    """The URLs in List-* fields (RFC 2369, RFC 8058): a redirect would break one-click unsubscription."""
    found: list[str] = []
    for field in headers.fields:
        if field.name[:5] == "list-":
            found += LISTED.findall(headers.text(field))
    return found


def has_pixel(text: Text) -> bool:
    """Is a pixel of ours there that stands for this message? One in the older message below an answer does not, unless
    it is exactly where ours would go."""
    page = text.html
    if page is None or not page.pixels:
        return False
    if page.pixels[0] < page.quotes:
        return True
    if page.top in page.pixels:
        return True
    bottom = -1 if page.bottom is None else page.bottom
    last = max((at for at in page.pixels if at < bottom), default=-1)
    return last >= 0 and "<" not in text.view[last + 1 : bottom]


def shown(found: Sequence[Part], pages: dict[int, Text]) -> list[int]:
    """The HTML parts that a reader shows, in the order in which a pixel is tried: of alternatives the last that has
    HTML (RFC 2046 5.1.4), of related parts the root (RFC 2387), of others one after the other."""
    lists: dict[int, list[list[int]]] = {}
    for index in range(len(found) - 1, -1, -1):
        part = found[index]
        mine = [index] if index in pages else []
        children = [child for child in reversed(lists.pop(index, [])) if child]
        if children:
            if part.content_type == "multipart/alternative":
                mine = children[-1]
            elif part.content_type == "multipart/related":
                mine = children[0]
            else:
                mine = [page for child in children for page in child]
        lists.setdefault(part.parent, []).append(mine)
    return lists[-1][0] if -1 in lists else []


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
