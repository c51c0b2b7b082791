"""Charsets in which seven bits change their meaning on the way: ISO 2022 (RFC 1468, 1554, 1557, 1922), HZ (RFC 1843) and
UTF-7 (RFC 2152).

Owns: which octets of such a text are ASCII, and the characters that the Japanese ones are, with all that programs put
there beyond the RFC: the rows of NEC and IBM, JIS X 0201's katakana and Roman letters, the tables of 1978 and 1990.
Leaves to others: which labels mean these charsets (`charsets`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SHIFTS = 250_000  # in one text; the time is for each
MASK = b"\xff"  # in a view: an octet that is not ASCII, whatever it looks like
MARKUP = re.compile(rb"[<>\"'&=/]")
# ISO 2022: what G0 becomes, of one octet or of two; what goes into G1 to G3; the shifts. Before
# them, the pictures of a maker of phones, which shift nothing.
TOKEN = re.compile(
    rb"\x1b\$[EFGOPQ][!-~]*+\x0f|\x1b\((?P<one>[@-~])|\x1b\$\(?(?P<two>[@-~])|\x1b(?:\$[)*+]|[)*+./-])[@-~]|\x1b&[@-~]"
    rb"|\x1b(?P<once>[NO])|(?P<shift>[\x0e\x0f])"
)
DESIGNATION = re.compile(rb"\x1b[$()*+./&N-]")
ASCII, ROMAN, KANA = b"B", b"J", b"I"
ROMANS = frozenset((ROMAN, b"H"))  # the second is an old mistake for the first
NOT_ROMAN = bytes.maketrans(b"\\~", MASK * 2)  # yen and overline there, or not: readers do not agree
KOREAN = b"\x1b$)C"
HZ = re.compile(rb"~(?:\{((?>(?:[!-}][!-~])*))(~\})?|(~|\r?\n)?)")
HIGH = bytes(octet | 128 for octet in range(256))
GRAPHIC = re.compile(rb"(?>(?:[!-~]{2})+)")
# The tables of two octets in G0: those that Shift_JIS has too are read by the one of Windows.
COMMON = frozenset((b"@", b"B"))
OTHERS = {b"A": ("gb2312", b""), b"C": ("euc_kr", b""), b"D": ("euc_jp", b"\x8f"), b"O": ("euc_jis_2004", b""),
          b"P": ("euc_jis_2004", b"\x8f"), b"Q": ("euc_jis_2004", b"")}  # fmt: skip
RUN = re.compile(rb"\+[A-Za-z0-9+/]*+-?")  # UTF-7
EUC = re.compile(rb"([\x00-\x7f]++)|((?>(?:[\xa1-\xfe]{2})+))|((?>(?:\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2})+))")


class _Run(NamedTuple):
    """Octets start to end, which are characters of `charset` (as its escape sequence ends); `wide`: two octets to one;
    `shifted`: between SO and SI; `alone`: how many at the beginning belong to a single shift."""

    start: int
    end: int
    charset: bytes
    wide: bool
    shifted: bool
    alone: int

    @property
    def plain(self) -> bool:
        return not (self.wide or self.shifted) and (self.charset == ASCII or self.charset in ROMANS)


def view(body: bytes, name: str) -> bytes | None:
    """The body with every octet that is not ASCII masked; of the same length. None where readers would not agree which
    ones are, or a text put at the end would not be ASCII. `name` is the codec."""
    return _hz_view(body) if name == "hz" else _view(body, name)


def _view(body: bytes, name: str) -> bytes | None:
    alone, japanese = (2 if name == "iso2022_cn" else 1), name.startswith("iso2022_jp")
    if body.count(b"\x1b") + body.count(b"\x0e") + body.count(b"\x0f") > SHIFTS:
        return None
    pieces: list[bytes] = []
    at = 0
    run = None
    for run in _runs(body, alone):
        octets = body[run.start : run.end]
        pieces.append(MASK * (run.start - at + run.alone))  # the escape sequence, and what is shifted alone
        at = run.end
        if MARKUP.search(octets, 0, run.alone):
            return None
        octets = octets[run.alone :]
        if run.plain:
            pieces.append(octets if run.charset == ASCII else octets.translate(NOT_ROMAN))
            continue
        if not run.wide and not run.shifted and run.charset != KANA:
            return None
        # A line's end is to be in ASCII. Some readers go back there by themselves, and few know SO in Japanese.
        line = 0 if run.shifted and japanese else octets.find(b"\n")
        if line >= 0 and MARKUP.search(octets, line):
            return None
        pieces.append(MASK * len(octets))
    return b"".join(pieces) if run is None or run.plain else None


def _runs(body: bytes, alone: int) -> Iterator[_Run]:
    charset, wide, shifted, single, at = ASCII, False, False, 0, 0
    for match in TOKEN.finditer(body):
        if match.start() < at + single:
            continue  # an octet that was shifted alone
        yield _Run(at, match.start(), charset, wide, shifted, single)
        at, single = match.end(), 0
        if match["one"]:
            charset, wide = match["one"], False
        elif match["two"]:
            charset, wide = match["two"], True
        elif match["shift"]:
            shifted = match["shift"] == b"\x0e"
        elif match["once"]:
            single = min(alone if match["once"] == b"N" else 2, len(body) - at)
    yield _Run(at, len(body), charset, wide, shifted, single)


def _hz_view(body: bytes) -> bytes | None:
    if body.count(b"~") > SHIFTS:
        return None
    pieces: list[bytes] = []
    at = 0
    for match in HZ.finditer(body):
        if match[1] is not None and not match[2]:
            return None
        pieces += (body[at : match.start()], MASK * (match.end() - match.start()))
        at = match.end()
    pieces.append(body[at:])
    return b"".join(pieces)


def direct(body: bytes, places: Sequence[int]) -> list[int] | None:
    """Where in UTF-7 the characters at `places` (ascending) begin; None where one is inside a run of base64, or right
    behind one that nothing ends: what is put there would be taken for more of it. However a program encodes the
    characters around, their octets stay."""
    found: list[int] = []
    text = octets = 0  # of this place in both, outside a run
    runs = RUN.finditer(body)
    run = next(runs, None)
    open_ = False
    for place in places:
        while run is not None and text + run.start() - octets < place:
            text += run.start() - octets + len(run[0].decode("utf-7"))
            octets, open_ = run.end(), not run[0].endswith(b"-")
            run = next(runs, None)
        if text > place or (open_ and text == place):
            return None
        found.append(octets + place - text)
    return found


def japanese(octets: bytes) -> str | None:
    """ISO-2022-JP as it is written, read as Windows reads it. None for what is none."""
    found: list[str] = []
    for run in _runs(octets, 1):
        text = None if run.shifted or run.alone else _read(octets[run.start : run.end], run.charset, run.wide)
        if text is None:
            return None
        found.append(text)
    return "".join(found)


def _read(octets: bytes, charset: bytes, wide: bool) -> str | None:
    try:
        if wide:
            if octets and not GRAPHIC.fullmatch(octets):
                return None
            if charset in COMMON:
                return _windows(octets)
            codec, before = OTHERS[charset]
            high = octets.translate(HIGH)
            return b"".join([before + high[at : at + 2] for at in range(0, len(high), 2)]).decode(codec)
        if charset == KANA:
            return bytes(octet | 128 for octet in octets).decode("cp932")
        text = octets.decode("ascii")
        return text.replace("\\", "\u00a5").replace("~", "\u203e") if charset in ROMANS else text
    except (UnicodeDecodeError, KeyError):
        return None


def extended_unix(octets: bytes) -> str | None:
    """EUC-JP with the rows of NEC and IBM, which the standard library's codec lacks."""
    found: list[str] = []
    at = 0
    try:
        for match in EUC.finditer(octets):
            if match.start() != at:
                return None
            at = match.end()
            ascii_, pairs, others = match.groups()
            if pairs:
                found.append(_windows(bytes(octet & 127 for octet in pairs)))
            else:
                found.append((ascii_ or others).decode("euc_jp"))
    except UnicodeDecodeError:
        return None
    return "".join(found) if at == len(octets) else None


def _windows(pairs: bytes) -> str:
    """Pairs of JIS X 0208 (rows and cells from 0x21 on) by the code page that has more in them."""
    found = bytearray()
    for row, cell in zip(pairs[0::2], pairs[1::2], strict=True):
        lead = (row - 0x21 >> 1) + (0x81 if row < 0x5F else 0xC1)
        trail = cell + (0x7E if row % 2 == 0 else 0x1F if cell < 0x60 else 0x20)
        found += bytes((lead, trail))
    return found.decode("cp932")
