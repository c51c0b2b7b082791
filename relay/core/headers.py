"""Header fields of a message, as byte spans.

Owns: where a field begins and ends, its unfolded and decoded text.
Leaves to others: the words and parameters of a structured value (`structured`), the addresses and message identifiers in a
field (`addresses`, `identifiers`), what it means (`instructions`, `threads`, `reports`), and every change of bytes
(`parts.splice`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from relay.core import encoded_words

# RFC 5322 2.2: a field name is printable ASCII without colon; white space before the colon is the obsolete form
# (4.5.8). A field goes on over lines that begin with a space or a tab (2.2.3). Lines end as they end: CRLF or LF.
# One of more than 1,000 lines is read in two steps: a repetition takes memory for each time.
NAME = rb"([!-9;-~]+)[ \t]*:"
FIELD = re.compile(NAME + rb"([^\n]*+(?>(?:\n[ \t][^\n]*){0,1000})(?:\n(?![ \t])|\Z))")
BEGINNING = re.compile(NAME + rb"()")
END = re.compile(rb"\n(?![ \t])")
# What a file has before a message, and is no part of it: a byte order mark, the lines of an mbox (RFC 4155).
MARK = b"\xef\xbb\xbf"
MBOX = re.compile(rb">*From [^\n]*\n")
BEFORE = (b"From ", b">", MARK)
EMPTY = (b"\r\n", b"\n")
LONGEST_VALUE = 262_144  # octets of one field that are looked at
MAX_FIELDS = 20_000  # as values they take 30 times their octets, and nothing that is sent has a thousand


class Field(NamedTuple):
    """One field: `name` in lower case; `start` to `end` is the whole field with its line ending, `value` where the
    text after the colon begins."""

    name: str
    start: int
    value: int
    end: int


class Headers(NamedTuple):
    """The header section of `raw`. `body` is the offset of the body (after the empty line, or the end of `raw`
    where there is none). `malformed` is the offset of the first line that is no field (or is one too many), or -1;
    what follows such a line is body, as most readers have it. `named` has the first field of each name. `start` is where
    the first field begins, or would: what stands before it is no part of the message."""

    raw: bytes
    fields: tuple[Field, ...]
    body: int
    malformed: int
    named: Mapping[str, Field]
    start: int

    @property
    def end(self) -> int:
        """Where another field can be inserted: after the last field."""
        return self.fields[-1].end if self.fields else self.start

    def all(self, name: str) -> tuple[Field, ...]:
        return tuple([f for f in self.fields if f.name == name]) if name in self.named else ()

    def first(self, name: str) -> Field | None:
        return self.named.get(name)

    def spelling(self, field: Field) -> str:
        """The name as it is written."""
        return self.raw[field.start : field.value].rstrip(b": \t").decode("ascii")

    def bytes(self, field: Field) -> bytes:
        """The value, unfolded (its line endings taken out, nothing else), without space at either end; of one that is
        too long its beginning."""
        value = self.raw[field.value : field.end]
        if len(value) > LONGEST_VALUE:
            value = value[:LONGEST_VALUE]
        value = value.strip(b" \t\r\n")
        return value.replace(b"\r\n", b"").replace(b"\n", b"") if b"\n" in value else value

    def undecoded(self, field: Field) -> str:
        """The value as text, unfolded; encoded words as they stand."""
        return as_text(self.bytes(field))

    def text(self, field: Field | None) -> str:
        """The value as text: unfolded, encoded words decoded (RFC 2047). Never raises; "" for no field."""
        return "" if field is None else decoded(self.bytes(field))

    def get(self, name: str) -> str:
        """The text of the first field of that name, or ""."""
        return decoded(self.bytes(self.named[name])) if name in self.named else ""


def read(raw: bytes, start: int = 0, stop: int | None = None) -> Headers:
    """The header section that begins at `start`. For any bytes; time is linear in the section's length."""
    stop = len(raw) if stop is None else stop
    fields: list[Field] = []
    named: dict[str, Field] = {}
    matched, new = FIELD.match, tuple.__new__  # its own constructor takes twice as long
    first = at = beginning(raw, start, stop) if raw.startswith(BEFORE, start) else start
    for _ in range(MAX_FIELDS):
        if at >= stop:
            return Headers(raw, tuple(fields), at, -1, named, first)
        if match := matched(raw, at, stop):
            end = match.end()
        elif match := BEGINNING.match(raw, at, stop):
            last = END.search(raw, match.end(), stop)
            end = last.end() if last else stop
        elif raw.startswith(EMPTY, at):
            return Headers(raw, tuple(fields), at + (2 if raw[at] == 13 else 1), -1, named, first)
        else:
            return Headers(raw, tuple(fields), at, at, named, first)
        name = match[1].decode("ascii").lower()
        field = new(Field, (name, at, match.start(2), end))
        fields.append(field)
        named.setdefault(name, field)
        at = end
    return Headers(raw, tuple(fields), at, at, named, first)


def beginning(raw: bytes, start: int, stop: int) -> int:
    """Where the header section begins: behind what a file has before a message, if a field or the empty line follows. So
    no text is lost that has no header section and begins alike."""
    at = start + len(MARK) if start == 0 and raw.startswith(MARK) else start  # of a file, not of a part
    while not BEGINNING.match(raw, at, stop):
        if line := MBOX.match(raw, at, stop):
            at = line.end()
        else:
            return at if at < stop and raw.startswith(EMPTY, at) else start
    return at


def as_text(value: bytes) -> str:
    """Header bytes as text: UTF-8 (RFC 6532) or else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def decoded(value: bytes) -> str:
    """The same with encoded words decoded; a broken one is left as it is."""
    text = as_text(value)
    return encoded_words.decoded(text) if "=?" in text else text
