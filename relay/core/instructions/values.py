"""One value of a header: read, or refused with a sentence that says what would be right.

Owns: yes and no, labels, JSON and address lists in headers, however they were folded or encoded.
Leaves to others: which header means what (`control`, `dialects`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from relay.core import addresses, headers
from relay.core.model import Switch

LONGEST_LABEL = 2_048  # characters
SHOWN = 60  # characters of a bad value that a sentence repeats

YES = frozenset({"yes", "true", "on", "1"})
NO = frozenset({"no", "false", "off", "0"})

# A fold is a line ending before white space (RFC 5322 2.2.3). Programs that fold JSON at a width put white space in
# where there was none: `FOLDED` takes it out again.
FOLDED = re.compile(rb"\r?\n[ \t]+")
WORDS = re.compile(r"[,;\s]+")
PLAIN_ADDRESS = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+\Z")

T = TypeVar("T")


class Unreadable(Exception):
    """A value that can't be read. The text is one ASCII sentence, fit for an SMTP reply and a log line."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What one source says: X-Track-Options, or one vendor's headers. `switches` is empty where it says nothing
    about tracking, and else names all three; each with the header that it came from."""

    switches: Mapping[Switch, tuple[bool, str]] = field(default_factory=dict)
    label: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None
    pixel: Literal["top", "bottom"] | None = None
    text_links: bool | None = None


def all_three(header: str, *, opens: bool = False, links: bool = False, replies: bool = False) -> dict[Switch, Any]:
    return {"opens": (opens, header), "links": (links, header), "thread_replies": (replies, header)}


@dataclass(frozen=True, slots=True)
class Source:
    """The fields of a message by name; `name` arguments are as people write them (`X-Track-Opens`)."""

    head: headers.Headers
    fields: Mapping[str, Sequence[headers.Field]]

    def all(self, name: str) -> Sequence[headers.Field]:
        return self.fields.get(name.lower(), ())

    def texts(self, name: str) -> list[str]:
        return [text(self.head, f) for f in self.all(name)]

    def one(self, name: str, read: Callable[[str, str], T]) -> T | None:
        """What `read(name, text)` makes of the field; None where it is absent. Twice the same is once."""
        return self.agreed(name, [read(name, found) for found in self.texts(name)])

    def json(self, name: str, read: Callable[[str, Any], T], known: Collection[str] = ()) -> T | None:
        """The same for a JSON value, which may have suffered from folding. `known` are keys that it may have."""
        return self.agreed(name, [self.mended(name, f, read, known) for f in self.all(name)])

    def agreed(self, name: str, found: Sequence[T]) -> T | None:
        if any(value != found[0] for value in found):
            raise Unreadable(f"{name} is there more than once and its values contradict each other; give it once")
        return found[0] if found else None

    def mended(self, name: str, field: headers.Field, read: Callable[[str, Any], T], known: Collection[str] = ()) -> T:
        """What `read` makes of the JSON: unfolded as the standard says, or with the space of folds taken out where
        only that is JSON, or has more of the known keys, or makes sense."""
        readings: list[tuple[int, Any]] = []
        first: Unreadable | None = None
        for value in dict.fromkeys((text(self.head, field), text(self.head, field, tight=True))):
            keys: list[str] = []
            try:
                whole = parsed(name, value, keys)
                readings.append((-sum(key in known for key in keys), whole))
            except Unreadable as reason:
                first = first or reason
        for _, value in sorted(readings, key=lambda reading: reading[0]):
            try:
                return read(name, value)
            except Unreadable as reason:
                first = first or reason
        raise first or Unreadable(f"{name} can't be read")


def text(head: headers.Headers, field: headers.Field, *, tight: bool = False) -> str:
    """The field's text: unfolded, encoded words decoded (RFC 2047), tabs of folding as spaces. With `tight` the
    white space of folds goes too."""
    raw = head.bytes(field)
    if tight and b"\n" in (whole := head.raw[field.value : field.end][: headers.LONGEST_VALUE]):
        raw = FOLDED.sub(b"", whole)
    return headers.decoded(raw.replace(b"\t", b" ")).strip()


def shown(value: str) -> str:
    """The value as a sentence may repeat it: in quotes, ASCII, controls escaped, cut."""
    return ascii(value if len(value) <= SHOWN else value[:SHOWN] + "...")


def switch(name: str, value: str) -> bool:
    word = value.lower()
    if word in YES or word in NO:
        return word in YES
    raise Unreadable(f"{name}: {shown(value)} is neither yes nor no; write yes, no, true, false, on, off, 1 or 0")


def label(name: str, value: str) -> str:
    if len(value) > LONGEST_LABEL:
        raise Unreadable(f"{name} has {len(value)} characters; a label has at most {LONGEST_LABEL:,}")
    if not printable(value):
        raise Unreadable(f"{name}: {shown(value)} has control characters; a label is one line of text")
    return value


def printable(value: str) -> bool:
    """No controls, line or paragraph separators, or halves of characters."""
    return value.isprintable() or not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in value)


def parsed(name: str, value: str, keys: list[str]) -> Any:
    """The JSON; the keys of all its objects are added to `keys`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, one in pairs:
            if key in found and found[key] != one:
                raise Unreadable(f"{name} has {shown(key)} more than once and with different values; give it once")
            found[key] = one
        keys.extend(found)
        return found

    try:
        return json.loads(value, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as reason:
        raise Unreadable(
            f'{name}: {shown(value)} is not JSON; it needs an object such as {{"opens": true}}'
        ) from reason


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")  # NaN and Infinity, which the library would take


def mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{name}: a JSON object is needed, not {shown(json.dumps(value))}")
    return value


def flag(name: str, key: str, value: Any) -> bool:
    """A yes or no inside JSON; null is no."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) or (isinstance(value, int) and value in (0, 1)):
        return switch(f"{name}, {key}", str(value).strip())
    raise Unreadable(f"{name}, {key}: true or false is needed, not {shown(json.dumps(value))}")


def strings(value: Any) -> dict[str, str]:
    """An object as metadata: text stays as it is, everything else becomes its JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v, separators=(",", ":")) for k, v in value.items()}


def recipients(name: str, value: str) -> tuple[str, ...]:
    """The addresses of a list, `comparable`. Every entry must be one: a recipient who refused is not to be missed
    for a stray character."""
    if not any(c in value for c in '<>"(:'):
        found = tuple(word for word in WORDS.split(value) if word)
        bad = next((word for word in found if not PLAIN_ADDRESS.match(word)), None)
    else:
        found = addresses.specs(value)
        bad = None if found else value
    if bad is not None or not found:
        raise Unreadable(f"{name}: {shown(bad or value)} is no address; write addresses, separated by commas")
    return tuple(addresses.comparable(address) for address in found)
