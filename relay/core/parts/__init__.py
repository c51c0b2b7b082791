"""The parts of a raw message, as byte spans; their text; the splice.

Owns: where each MIME part (RFC 2045, RFC 2046) begins and ends, how far a scan goes, and the one way to change bytes.
Leaves to others: what to change (`rewrite`, `links`), how a field is read (`structured`), and what fields mean beyond MIME
(`reports`).
How a body is encoded is in `parts.transfer`, how its bytes are text in `parts.charsets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from relay.core import headers as fields
from relay.core import structured
from relay.core.headers import Headers
from relay.core.model import Edit, Reason
from relay.core.parts import charsets, transfer

# Beyond these a message passes untouched: nothing that people send comes near, and every figure bounds the time.
DEPTH = 100
PARTS = 1_000
FIELDS = 1_000
HEADER_BYTES = 256 * 1024
ALL_HEADER_BYTES = 4 * HEADER_BYTES  # of the headers of all parts together
LINES = 250_000  # lines looked at that begin with "--" and are no delimiter
BOUNDARY = 1_000  # RFC 2046 5.1.1 allows 70

MIME = ("content-type", "content-transfer-encoding", "content-disposition")
NONE: Mapping[str, str] = {}
PLACE = itemgetter(0, 1)


# Octets start to end of a message, and what comes in their place; an insertion has start == end.
Change = tuple[int, int, Sequence[transfer.Bytes]]


class Part(NamedTuple):
    """One part. `path` is "1" for the root, "1.2" for the second part in a multipart root. `start` to `end` is the
    body as it stands in the message, without the line ending that belongs to the next delimiter (RFC 2046 5.1.1).
    `encoding` is the Content-Transfer-Encoding in lower case, as `transfer.named` has it. `parent` is an index into
    `Scan.parts`, or -1.
    `doubtful`: the header section can be read in more than one way (a line that is no field, contradicting fields, a
    type, encoding or disposition that is not exactly one), or nothing ends it. `named`: it has the name of a file."""

    path: str
    headers: Headers
    content_type: str
    parameters: Mapping[str, str]
    disposition: str
    encoding: str
    start: int
    end: int
    parent: int
    doubtful: bool = False
    named: bool = False


END = Part._fields.index("end")


class Scan(NamedTuple):
    """All parts, depth first; `reason` is the limit that was passed, where one was (`parts` then ends early)."""

    parts: tuple[Part, ...]
    reason: Reason | None


def scan(raw: bytes, headers: Headers) -> Scan:
    """The parts of `raw`, whose header section is `headers`. For any bytes; time is linear in the message's size.

    message/* is a leaf. A delimiter is a line that begins with "--" and the boundary and holds nothing more than
    white space, or "--" and white space; one of an outer multipart ends all inner ones."""
    if len(headers.fields) > FIELDS or headers.body > HEADER_BYTES:
        return Scan((), "limit_headers")
    return _Scanner(raw).run(headers)


def text(raw: bytes, part: Part) -> str | None:
    """The decoded text of a text part, for people; None where its encoding or charset is unknown."""
    if not part.content_type.startswith("text/"):
        return None
    body = transfer.decode(raw[part.start : part.end], part.encoding)
    return None if body is None else charsets.shown(body, part.parameters.get("charset", ""))


def splice(raw: bytes, edits: Iterable[Edit]) -> bytes:
    """`raw` with the edits made. They may come in any order and must not overlap; insertions at one place are made
    in the order given."""
    return joined(raw, changes(edits))


def changes(edits: Iterable[Edit]) -> list[Change]:
    return [(edit.start, edit.end, (edit.new,)) for edit in edits]


def joined(raw: bytes, changes: Sequence[Change]) -> bytes:
    """`raw` with the changes made, as `splice` has it."""
    if not changes:
        return raw
    view = memoryview(raw)
    pieces: list[transfer.Bytes] = []
    at = 0
    for start, end, new in sorted(changes, key=PLACE):
        if start < at or end < start or end > len(raw):
            raise ValueError(f"edit {start}:{end} overlaps or is outside")
        pieces.append(view[at:start])
        pieces += new
        at = end
    pieces.append(view[at:])
    return b"".join(pieces)


class _Open(NamedTuple):
    """A multipart whose closing delimiter has not been met."""

    part: int  # index in the parts
    nested: int  # its place among those that have no end yet
    boundary: bytes


class _Scanner:
    """One pass over the lines that begin with "--", with the stack of the multiparts that are open."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.parts: list[Part] = []
        self.ends: list[int] = []
        self.children: list[int] = []  # how many, for each part
        self.unended: list[int] = []  # from the root inwards
        self.stack: list[_Open] = []
        self.levels: dict[bytes, int] = {}  # boundary -> place in the stack; the outermost where two are equal
        self.at = 0
        self.header_bytes = 0
        self.lines = 0

    def run(self, headers: Headers) -> Scan:
        reason = self.enter(headers, "1", -1, "text/plain")
        while reason is None and self.stack:
            hit = self.delimiter(self.at, len(self.raw))
            if hit is None:
                reason = "limit_parts" if self.lines > LINES else None
                break
            reason = self.divide(*hit)
        self.end(0, len(self.raw))
        new = tuple.__new__  # its own constructor takes twice as long
        parts = [
            new(Part, (*part[:END], end if end > part.start else part.start, *part[END + 1 :]))
            for part, end in zip(self.parts, self.ends, strict=True)
        ]
        return Scan(tuple(parts), reason)

    def delimiter(self, at: int, stop: int) -> tuple[int, int, int, bool] | None:
        """The next delimiter of an open multipart that begins between `at` (a line's beginning) and `stop`: its line,
        what follows the line, the multipart's place in the stack, whether it closes."""
        raw, levels = self.raw, self.levels
        dashes = 0
        while self.lines <= LINES:
            if dashes < 8:  # one octet is found ten times faster than three, and base64 has none
                hit = raw.find(b"-", at, stop) - 1
                if hit >= -1 and (raw[hit] != 10 or not raw.startswith(b"--", hit + 1)):
                    dashes += 1
                    at = hit + 2
                    continue
            else:
                hit = raw.find(b"\n--", at - 1, stop)
            if hit < 0:
                return None
            at = hit + 3
            end = raw.find(b"\n", at, at + BOUNDARY + 100)
            if end < 0 and at + BOUNDARY + 100 >= len(raw):
                end = len(raw)
            if end >= 0:
                line = raw[at:end].rstrip(b" \t\r")
                level = levels.get(line)
                if level is not None:
                    return hit + 1, min(end + 1, len(raw)), level, False
                if line.endswith(b"--") and (level := levels.get(line[:-2])) is not None:
                    return hit + 1, min(end + 1, len(raw)), level, True
                at = end
            self.lines += 1
        return None

    def divide(self, line: int, after: int, level: int, closes: bool) -> Reason | None:
        """At a delimiter: whatever is inside that multipart ends, and its next part begins."""
        container = self.stack[level]
        end = line - (2 if self.raw.endswith(b"\r\n", 0, line) else 1)
        self.end(container.nested + 1, end)
        self.at = after
        if closes:
            self.drop(level)
            return None
        self.drop(level + 1)
        return self.begin(container, after)

    def begin(self, container: _Open, at: int) -> Reason | None:
        """The part whose header section begins at `at`."""
        if len(self.parts) >= PARTS:
            return "limit_parts"
        headers = fields.read(self.raw, at, min(len(self.raw), at + HEADER_BYTES + 1))
        self.header_bytes += headers.body - at
        if self.raw.find(b"--", at, headers.body) >= 0 and (inside := self.delimiter(at, headers.body)):
            headers = fields.read(self.raw, at, inside[0])  # a delimiter ends a header section too
        if len(headers.fields) > FIELDS or headers.body - at > HEADER_BYTES or self.header_bytes > ALL_HEADER_BYTES:
            return "limit_headers"
        parent = self.parts[container.part]
        self.children[container.part] += 1
        default = "message/rfc822" if parent.content_type == "multipart/digest" else "text/plain"
        return self.enter(headers, f"{parent.path}.{self.children[container.part]}", container.part, default)

    def enter(self, headers: Headers, path: str, parent: int, default: str) -> Reason | None:
        """One more part, and one more open multipart where it is one."""
        part = _part(headers, path, parent, default)
        self.unended.append(len(self.parts))
        self.parts.append(part)
        self.ends.append(-1)
        self.children.append(0)
        self.at = part.start
        if not part.content_type.startswith("multipart/"):
            return None
        boundary = part.parameters.get("boundary", "").rstrip().encode("latin-1", "replace")
        if not boundary or len(boundary) > BOUNDARY:
            return None
        if len(self.unended) > DEPTH:
            return "limit_depth"
        self.levels.setdefault(boundary, len(self.stack))
        self.stack.append(_Open(len(self.parts) - 1, len(self.unended) - 1, boundary))
        return None

    def end(self, nested: int, at: int) -> None:
        for index in self.unended[nested:]:
            self.ends[index] = at
        del self.unended[nested:]

    def drop(self, level: int) -> None:
        for place in range(len(self.stack) - 1, level - 1, -1):
            if self.levels.get(self.stack[place].boundary) == place:
                del self.levels[self.stack[place].boundary]
            self.stack.pop()


def _part(headers: Headers, path: str, parent: int, default: str) -> Part:
    """What the MIME fields of one header section say. The first of a kind counts; another that differs is doubt."""
    raw, fields, named = headers.raw, headers.fields, headers.named
    doubtful = (
        headers.malformed >= 0 or headers.body == headers.end > headers.start
    )  # no empty line: what stood here were a field
    if len(named) < len(fields):
        for name, _, start, end in fields:
            if name in MIME and raw[start:end].strip() != raw[named[name].value : named[name].end].strip():
                doubtful = True
    kind, parameters = default, NONE
    if field := named.get("content-type"):
        kind, parameters, sound = structured.of(raw[field[2] : field[3]])
        if "/" not in kind:  # RFC 2045 5.2
            kind, sound = "text/plain", False
        doubtful = doubtful or not sound
    encoding, shown, file = "7bit", "", bool(parameters.get("name"))
    if field := named.get("content-transfer-encoding"):
        found, _, sound = structured.of(raw[field[2] : field[3]])
        encoding = transfer.named(found or "7bit")
        doubtful = doubtful or not (sound or raw[field[2] : field[3]].isspace())
    if field := named.get("content-disposition"):
        shown, more, sound = structured.of(raw[field[2] : field[3]])
        file = file or bool(more.get("filename"))
        doubtful = doubtful or not (sound or raw[field[2] : field[3]].isspace())
    return Part(path, headers, kind, parameters, shown, encoding, headers.body, -1, parent, doubtful, file)
