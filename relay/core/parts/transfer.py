"""Content-Transfer-Encoding: bytes as they travel, and as they are meant (RFC 2045 6).

Owns: decoding, the way from a decoded offset to the place in the encoded body, and encoding what an edit puts there
so that every line outside the edits stays as it was.
Leaves to others: what is edited (`rewrite`) and charsets (`parts.charsets`).

An encoded body with edits is a `Frame`: what no copy changes is laid out once, `fill` puts the values of one copy in.
"""

from __future__ import annotations

import binascii
import functools
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

LINE = 998  # octets without the line ending: RFC 5322 2.1.1
QP_LINE = 76  # RFC 2045 6.7 (5)
IDENTITY = frozenset({"7bit", "8bit", "binary"})
KNOWN = IDENTITY | {"quoted-printable", "base64"}
SPELT = re.compile(r"([78])[-_ ]?bits?(?:mime)?")  # as programs write it: "8-bit", "7bits", "8BITMIME"
# As a string of JSON, base64 is read in half the time that `binascii` takes; padded, and of nothing but its alphabet.
FROM_JSON = msgspec.json.Decoder(bytes).decode
BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
HEX = frozenset(b"0123456789ABCDEFabcdef")
IRREGULAR = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
SAMPLE = 2_000  # octets of a text that tell how much is escaped in it
QP_PLAIN = bytes(range(32, 127)) + b"\t"
QP_TABLE = tuple(bytes([o]) if o == 9 or (32 <= o <= 126 and o != 61) else b"=%02X" % o for o in range(256))

Bytes = bytes | memoryview


def named(written: str) -> str:
    """The encoding that a field's word (in lower case) names: as RFC 2045 (6.1) spells it where there is no doubt."""
    if written in KNOWN or not (match := SPELT.fullmatch(written)):
        return written
    return f"{match[1]}bit"


def exact(body: bytes, encoding: str) -> bytes | None:
    """As `decode`, but None also for quoted-printable that readers would not agree on."""
    found = decode(body, encoding)
    if found is not None and encoding == "quoted-printable" and not regular(body, found):
        return None
    return found


def decode(body: bytes, encoding: str) -> bytes | None:
    """The meant bytes; None for an encoding that is unknown, and for base64 that readers would not agree on."""
    if encoding in IDENTITY:
        return body
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        return _from_base64(body)
    return None


def _from_base64(body: bytes) -> bytes | None:
    letters = body.translate(None, b" \t\r\n")
    if b"\\" in letters:  # which JSON would read as more than itself
        return None
    try:
        return FROM_JSON(b'"%b"' % letters)
    except msgspec.DecodeError:
        return None


# -- frames ------------------------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """7bit, 8bit, binary: the constant pieces between the values."""

    pieces: tuple[Bytes, ...]

    def fill(self, values: Sequence[bytes]) -> list[Bytes]:
        woven: list[Bytes] = [b""] * (2 * len(values) + 1)
        woven[0::2] = self.pieces
        woven[1::2] = values
        return woven


class Quoted(NamedTuple):
    """quoted-printable. For each piece: how many octets it has before its first line ending (or in all), and how
    many after its last one, or -1 where it has no line ending."""

    pieces: tuple[Bytes, ...]
    heads: tuple[int, ...]
    tails: tuple[int, ...]
    newline: bytes

    def fill(self, values: Sequence[bytes]) -> list[Bytes]:
        soft = b"=" + self.newline
        woven: list[Bytes] = [self.pieces[0]]
        column = self.tails[0] if self.tails[0] >= 0 else self.heads[0]
        strange = b"".join(values).translate(None, QP_PLAIN)
        for value, piece, head, tail in zip(values, self.pieces[1:], self.heads[1:], self.tails[1:], strict=True):
            encoded = quote(value) if strange or 61 in value else value
            column += len(encoded)
            if column >= QP_LINE:
                encoded, column = _wrapped(encoded, column - len(encoded), soft)
            if column + head < QP_LINE or (column + head == QP_LINE and tail >= 0):
                woven += (encoded, piece)
            else:  # what follows on the line has no room: it goes to the next one
                woven += (encoded, soft, piece)
                column = 0
            column = tail if tail >= 0 else column + head
        return woven


class Packed(NamedTuple):
    """base64. What lies before the first edit, in whole lines, stays as it is (`lead`); `pieces` are decoded."""

    lead: Bytes
    pieces: tuple[Bytes, ...]
    width: int
    newline: bytes
    trail: bytes

    def fill(self, values: Sequence[bytes]) -> list[Bytes]:
        packed = binascii.b2a_base64(b"".join(Plain(self.pieces).fill(values)), newline=False)
        width = self.width
        many = _lines(width)  # takes a fifth of the time of slicing them off one by one
        at = len(packed) - len(packed) % many.size
        lines = [line for lines in many.iter_unpack(packed[:at]) for line in lines]
        lines += [packed[at : at + width] for at in range(at, len(packed), width)]
        return [self.lead, self.newline.join(lines), self.trail]


@functools.lru_cache(maxsize=16)
def _lines(width: int) -> struct.Struct:
    return struct.Struct(f"{width}s" * 100)


Frame = Plain | Quoted | Packed


def frame(body: memoryview, decoded: bytes, encoding: str, spans: Sequence[tuple[int, int]], newline: bytes) -> Frame:
    """The frame of an encoded `body`, whose meant bytes are `decoded`, for values in place of `spans` of the latter
    (ascending, not overlapping)."""
    if encoding == "base64":
        return _packed(body, decoded, spans, newline)
    if encoding == "quoted-printable":
        raw = bytes(body)
        return quoted(raw, _places(raw, decoded, spans), newline)
    return Plain(_between(body, spans))


def _between(body: Bytes, spans: Sequence[tuple[int, int]]) -> tuple[Bytes, ...]:
    at = 0
    pieces: list[Bytes] = []
    for start, end in spans:
        pieces.append(body[at:start])
        at = end
    pieces.append(body[at:])
    return tuple(pieces)


def quoted(raw: bytes, spans: Sequence[tuple[int, int]], newline: bytes) -> Quoted:
    """A frame over quoted-printable bytes; `spans` are offsets into them."""
    pieces = list(map(bytes, _between(raw, spans)))
    heads: list[int] = []
    tails: list[int] = []
    for index, piece in enumerate(pieces):
        last = piece.rfind(b"\n")
        if len(piece) - last > QP_LINE and index < len(spans):  # full: not even "=" has room after it
            cut = len(piece) - (3 if piece[-3:-2] == b"=" else 1)
            pieces[index] = piece = piece[:cut] + b"=" + newline + piece[cut:]
            last = piece.rfind(b"\n")
        if last < 0:
            heads.append(len(piece))
            tails.append(-1)
        else:
            first = piece.find(b"\n")
            heads.append(first - 1 if first and piece[first - 1] == 13 else first)
            tails.append(len(piece) - last - 1)
    return Quoted(tuple(pieces), tuple(heads), tuple(tails), newline)


def _places(raw: bytes, decoded: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of the decoded bytes as spans of the quoted-printable `raw`, which is `regular`."""
    found: list[tuple[int, int]] = []
    known = _known(raw, decoded)
    at = place = 0
    for start, end in spans:
        first = known[start] if start in known else seek(raw, at, start - place)
        count = end - start
        # Nearly all end before a quote. One guess takes half the time of counting.
        guessed = end < len(decoded) and decoded[end] == 34
        hit = raw.find(b'"', first + count, first + 4 * count + 16) if guessed else -1
        at = hit if hit >= 0 and len(binascii.a2b_qp(raw[first:hit])) == count else seek(raw, first, count)
        place = end
        found.append((first, at))
    return found


def _known(raw: bytes, decoded: bytes) -> dict[int, int]:
    """Where nearly all links begin, in the decoded bytes and in `raw`: behind each mark that no soft line break divides."""
    pieces, meant = raw.split(b'href=3D"'), decoded.split(b'href="')
    # With as many marks here as there, each is the other's. Where one is divided, the pieces tell which.
    sizes = map(len, meant if len(meant) == len(pieces) else map(binascii.a2b_qp, pieces))
    known: dict[int, int] = {}
    at = place = 0
    for piece, size in zip(pieces, sizes, strict=True):
        at += len(piece) + 8
        place += size + 6
        known[place] = at
    del known[place]  # behind the last piece is no mark
    return known


def seek(raw: bytes, at: int, count: int) -> int:
    """The offset that is `count` decoded octets beyond `at`. Whole stretches are counted, not walked."""
    while count > 0:
        if raw[at] == 61:
            if raw[at + 1] in HEX:
                at += 3
                count -= 1
            else:
                at += 3 if raw[at + 1] == 13 else 2
            continue
        to = at + count
        if raw[to - 1] == 61:
            to -= 1
        elif to - at > 1 and raw[to - 2] == 61:
            to -= 2
        count -= to - at
        if marks := raw.count(b"=", at, to):
            count += 2 * marks + raw.count(b"=\r\n", at, to)  # an escape has 2 octets too many, CRLF one more
        at = to
    return at


def regular(raw: bytes, decoded: bytes) -> bool:
    """Is every "=" in `raw` the beginning of an escape or a soft line break (RFC 2045 6.7)? Where one is not, readers
    disagree about what the bytes are."""
    if raw.count(b"=", 0, SAMPLE) * 16 < min(len(raw), SAMPLE):  # so few that a look at each is faster than counting
        return IRREGULAR.search(raw) is None
    marks = raw.count(b"=")
    crlf = raw.count(b"=\r\n")
    last = raw.endswith(b"=")  # a soft line break whose line ending went to the delimiter
    if raw.count(b"=\r") != crlf:
        return False
    return len(decoded) == len(raw) - 2 * (marks - last) - crlf - last  # an escape has 2 octets too many, as "=" and LF


def quote(value: bytes) -> bytes:
    """Quoted-printable without line breaks."""
    if value.translate(None, QP_PLAIN):
        return b"".join([QP_TABLE[octet] for octet in value])
    return value.replace(b"=", b"=3D")


def _wrapped(encoded: bytes, column: int, soft: bytes) -> tuple[bytes, int]:
    """`encoded` with soft line breaks, written from `column` on; and the column after it. No line that such a break makes
    begins as a delimiter does (RFC 2046 5.1.1)."""
    at, size = (QP_LINE - 1 - column if column < QP_LINE else 0), len(encoded)
    careful = 61 in encoded  # our URLs have no "="
    lines = [encoded[:at]]
    while size - at >= QP_LINE:
        careful = careful or encoded[at] == 45  # nor often a dash at such a place
        lines.append(encoded[at : at + QP_LINE - 1])
        at += QP_LINE - 1
    if careful or encoded.startswith(b"-", at):
        return _wrapped_with_care(encoded, column, soft)
    lines.append(encoded[at:])
    return soft.join(lines), size - at


def _wrapped_with_care(encoded: bytes, column: int, soft: bytes) -> tuple[bytes, int]:
    lines: list[bytes] = []
    at, dash = 0, b""
    while column + len(dash) + len(encoded) - at >= QP_LINE:
        cut = at + max(0, QP_LINE - 1 - column - len(dash))
        escape = encoded.rfind(b"=", max(at, cut - 2), cut)  # an escape is not divided
        cut = cut if escape < 0 else escape
        lines.append(dash + encoded[at:cut])
        at, column, dash = cut, 0, b""
        if encoded.startswith(b"--", at):
            at, dash = at + 1, b"=2D"
    lines.append(dash + encoded[at:])
    return soft.join(lines), column + len(dash) + len(encoded) - at


def softened(line: bytes) -> bytes:
    """A line of quoted-printable, without its line ending, in several lines that mean the same."""
    text = line.rstrip(b" \t")  # readers take away what is white at the end (RFC 2045 6.7 (3)), and nothing before "="
    return _wrapped(text, 0, b"=\r\n")[0] + line[len(text) :]


def longest(body: bytes, spans: Sequence[tuple[int, int]], lengths: Sequence[int], least: int = 0) -> int:
    """Octets in the longest line of `body` that a value is in, where values of these lengths replace the spans; `least` if
    none has more, which is told faster."""
    most, column, at = least, 0, 0
    for index, ((start, end), length) in enumerate(zip(spans, lengths, strict=True)):
        last = body.rfind(b"\n", at, start)
        if last < 0:
            column += start - at
        else:
            if column + last - at > most and index:  # the line may end long before its last possible place
                most = max(most, column + _rest(body, at))
            column = start - last - 1
        column += length
        at = end
    return max(most, column + _rest(body, at)) if spans else least


def _rest(body: bytes, at: int) -> int:
    """Octets from `at` to the end of its line."""
    end = body.find(b"\n", at)
    if end < 0:
        return len(body) - at
    return end - at - (1 if end > at and body[end - 1] == 13 else 0)


def to_quoted(pieces: Sequence[Bytes], newline: bytes) -> Quoted:
    """A frame in quoted-printable with the same constant pieces, which were plain so far. Lines stay lines."""
    soft = b"=" + newline
    encoded: list[bytes] = []
    for piece in pieces:
        lines = []
        for line in bytes(piece).split(newline):
            text = quote(line)
            if text[-1:] in (b" ", b"\t"):  # RFC 2045 6.7 (3)
                text = text[:-1] + b"=%02X" % text[-1]
            lines.append(_wrapped(text, 0, soft)[0] if len(text) > QP_LINE else text)
        encoded.append(newline.join(lines))
    whole = b"".join(encoded)
    spans, at = [], 0
    for piece_ in encoded[:-1]:
        at += len(piece_)
        spans.append((at, at))
    return quoted(whole, spans, newline)


def _packed(body: memoryview, decoded: bytes, spans: Sequence[tuple[int, int]], newline: bytes) -> Packed:
    raw = bytes(body)
    bare = raw.rstrip(b" \t\r\n")
    first = raw.find(b"\n")
    ending = newline if first < 0 else (b"\r\n" if raw.endswith(b"\r\n", 0, first + 1) else b"\n")
    width = first - len(ending) + 1
    if first < 0 or width % 4 or not 4 <= width <= LINE:
        width = 76
    count = spans[0][0] // (width // 4 * 3) if spans else 0  # whole lines before the first edit
    lead, kept = raw[: count * (width + len(ending))], count * (width // 4 * 3)
    if lead.count(b"\n") != count or not lead.endswith(ending) or binascii.a2b_base64(lead) != decoded[:kept]:
        lead, kept = b"", 0
    pieces = _between(decoded, spans)
    return Packed(lead, (pieces[0][kept:], *pieces[1:]), width, ending, raw[len(bare) :])
