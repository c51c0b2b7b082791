"""One copy before it is bytes: what changes of a message, and the two forms in which a door asks for it.

Owns: the order of trace field, signature and changes; the whole as bytes, or as edits of header fields and a body, as a
milter hands them to its MTA. Both are made of the same changes. Leaves to others: what changes, and where (`copies`,
`outbound`), the signature's value (`dkim`), how a milter's packets look.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from relay.core import headers, parts
from relay.core.model import Value


class Removed(Value, frozen=True):
    """The `index`th field of that name goes; counted from 1 among the original's (SMFIR_CHGHEADER without a value)."""

    name: str
    index: int


class Replaced(Value, frozen=True):
    """The `index`th field of that name has another value (SMFIR_CHGHEADER): the octets after the colon, folds and all,
    without the last line ending."""

    name: str
    index: int
    value: bytes


class Added(Value, frozen=True):
    """A new field, above which so many others stand (SMFIR_INSHEADER): 0 is the top, what is past the last field is
    the end."""

    name: str
    value: bytes
    above: int


HeaderEdit = Removed | Replaced | Added


class Edits(NamedTuple):
    """In an order in which they can be made one after the other: from the last field to the first, so that no index
    moves; then what is added. `body` is what follows the empty line, None where it stays as it is."""

    headers: tuple[HeaderEdit, ...]
    body: bytes | None


class Rendering(Value, frozen=True):
    """One copy. `changes` are those of the message whose header section is `head`, in any order. `trace` and
    `signature` are whole fields with their line endings, which stand above all others. `unsigned` is the copy without
    these two, where it had to be made already: for the signature. `shortened` where that has shorter lines than the
    changes make (`core.lines`): the same fields in the same order, and more at the end. What stands before the header
    section is in no copy: a mail server would take the fields above it for all there are."""

    head: headers.Headers
    changes: Sequence[parts.Change] = ()
    trace: bytes = b""
    signature: bytes = b""
    unsigned: bytes | None = None
    shortened: bool = False

    def content(self) -> bytes:
        """As it is sent, or kept."""
        above, top = self.trace + self.signature, self.head.start
        if above and self.folds():
            above += b"\r\n"
        if self.unsigned is not None:
            return above + self.unsigned if above else self.unsigned
        changes = [(0, top, (above,)), *self.changes] if above or top else self.changes
        return parts.joined(self.head.raw, changes)

    def folds(self) -> bool:
        """Whether the message begins with white space. It has no header section then, and its first line would go on
        whatever stands above it (RFC 5322 2.2.3)."""
        head = self.head
        return head.malformed == head.start and head.raw.startswith((b" ", b"\t"), head.start)

    def edits(self) -> Edits:
        """The same for whoever holds the message and changes it. For lines that end in CRLF."""
        fields, end = self.head.fields, self.head.end
        starts = [field.start for field in fields]
        inside: dict[int, list[parts.Change]] = {}
        body: list[parts.Change] = []
        added = b""
        for start, stop, pieces in self.changes:
            if start == stop == end:
                added += b"".join(pieces)
            elif start < end:
                inside.setdefault(bisect_right(starts, start) - 1, []).append((start, stop, pieces))
            else:
                body.append((start, stop, pieces))
        above = [Added(*named, 0) for field in (self.signature, self.trace) for named in written(field)]
        if self.shortened and self.unsigned is not None:
            return self.compared(self.unsigned, inside, above)
        found: list[HeaderEdit] = [self.changed(index, inside[index]) for index in sorted(inside, reverse=True)]
        found += [Added(*named, len(fields) + n) for n, named in enumerate(written(added))]
        body_now = within(self.head.raw, self.head.body, len(self.head.raw), body) if body else None
        return Edits((*found, *above), body_now)

    def compared(self, unsigned: bytes, inside: Mapping[int, Sequence[parts.Change]], above: Sequence[Added]) -> Edits:
        """The edits that make `unsigned` of the message, by its fields; `inside` has the changes of each field."""
        raw, now = self.head.raw, headers.read(unsigned)
        gone = {place for place, changes in inside.items() if isinstance(self.changed(place, changes), Removed)}
        stay = [place for place in range(len(self.head.fields)) if place not in gone]
        found: list[HeaderEdit] = []
        for place in range(len(self.head.fields) - 1, -1, -1):
            if place in gone:
                found.append(self.changed(place, inside[place]))
                continue
            was, field = self.head.fields[place], now.fields[bisect_left(stay, place)]
            new = unsigned[field.value : field.end]
            if new != raw[was.value : was.end]:
                found.append(self.replaced(place, new))
        more = [(now.spelling(field), ended(unsigned[field.value : field.end])) for field in now.fields[len(stay) :]]
        found += [Added(*named, len(self.head.fields) + n) for n, named in enumerate(more)]
        body = unsigned[now.body :]
        return Edits((*found, *above), body if body != raw[self.head.body :] else None)

    def changed(self, place: int, changes: Sequence[parts.Change]) -> HeaderEdit:
        """What becomes of the field at that place."""
        field = self.head.fields[place]
        text = within(self.head.raw, field.start, field.end, changes)
        return self.replaced(place, text[field.value - field.start :]) if text else Removed(*self.named(place))

    def replaced(self, place: int, value: bytes) -> Replaced:
        return Replaced(*self.named(place), ended(value))

    def named(self, place: int) -> tuple[str, int]:
        """How edits call the field at that place."""
        field = self.head.fields[place]
        return self.head.spelling(field), sum(other.name == field.name for other in self.head.fields[: place + 1])


def within(raw: bytes, start: int, stop: int, changes: Sequence[parts.Change]) -> bytes:
    """That section of a message with the changes made, all of which lie in it."""
    return parts.joined(raw[start:stop], [(a - start, b - start, pieces) for a, b, pieces in changes])


def written(text: bytes) -> list[tuple[str, bytes]]:
    """The fields that a text of ours adds, as (name, value)."""
    if not text:
        return []
    text = text.lstrip(b"\r\n")  # of the line before it, where that had no end
    head = headers.read(text)
    return [(head.spelling(field), ended(text[field.value : field.end])) for field in head.fields]


def ended(value: bytes) -> bytes:
    return value.removesuffix(b"\n").removesuffix(b"\r")
