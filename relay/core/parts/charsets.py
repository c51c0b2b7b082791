"""Body bytes as text.

Owns: which charsets may be edited as bytes, and whether bytes are what their label says.
Leaves to others: where to edit (`links`) and the transfer encoding (`parts.transfer`).

A label that is unknown, or that the bytes contradict, is never guessed at: such a part is left alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from functools import lru_cache

from relay.core import encoded_words

# Charsets in which no byte of a character beyond ASCII is one of < > " ' = & / or white space: what is markup in
# a Latin-1 view of the bytes is markup. Tried code point by code point. Of those with more than one byte to a
# character the bytes are checked against the label, with the superset that people mean by it (WHATWG Encoding 4.2).
SINGLE = frozenset(
    {f"iso8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)}
    | {f"cp{n}" for n in (437, 720, 737, 775, 850, 852, 855, 858, 860, 861, 862, 863, 865, 866, 874, 1006, 1250, 1251)}
    | {f"cp{n}" for n in range(1252, 1259)}
    | {"koi8-r", "koi8-u", "koi8-t", "kz1048", "ptcp154", "mac-roman", "mac-cyrillic", "tis-620", "hp-roman8"}
)
MULTIPLE = {
    "utf-8": ("utf-8",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "gb18030": ("gb18030",),
    "big5": ("big5", "cp950", "big5hkscs"),
    "cp950": ("cp950", "big5hkscs"),
    "big5hkscs": ("big5hkscs",),
    "shift_jis": ("cp932", "shift_jis"),
    "cp932": ("cp932",),
    "shift_jis_2004": ("shift_jis_2004",),
    "shift_jisx0213": ("shift_jisx0213",),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "euc_jis_2004": ("euc_jis_2004",),
    "euc_jisx0213": ("euc_jisx0213",),
    "euc_kr": ("cp949", "euc_kr"),
    "cp949": ("cp949",),
}
# Text encodings of Python that no message names; some are slow to decode.
NO_CHARSETS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem", "palmos"}
)
ALIASES = {
    "windows-31j": "cp932",
    "x-sjis": "shift_jis",
    "x-gbk": "gbk",
    "ks_c_5601-1987": "cp949",
    "windows-874": "cp874",
}
MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


@lru_cache(maxsize=256)
def codec(label: str) -> str:
    """The codec that a charset label names, or "" for one that is unknown or no charset at all."""
    label = label.strip().strip("'\"").lower()
    if not label or len(label) > 40 or not label.isascii() or "\0" in label:
        return "us-ascii" if not label else ""
    label = ALIASES.get(label, label)
    if not encoded_words.exists(label):
        return ""
    try:
        found = codecs.lookup(label)
    except (LookupError, ValueError):
        return ""
    name = "us-ascii" if found.name == "ascii" else found.name
    return name if found._is_text_encoding and name not in NO_CHARSETS else ""


def superset(body: bytes, label: str) -> bool | None:
    """True: `body` may be edited as bytes, as markup in a Latin-1 view. False: it must be decoded (`decoded`).
    None: it is not what its label says."""
    name = codec(label)
    if name == "us-ascii":  # or no label: the bytes are ASCII, or else UTF-8
        return (
            True if body.isascii() and 0x1B not in body and 0 not in body else (True if _is(body, ("utf-8",)) else None)
        )
    if name in SINGLE:
        return None if 0x1B in body or 0 in body else True
    if name in MULTIPLE:
        return True if _is(body, MULTIPLE[name]) else None
    return False if name else None


def reader(label: str) -> str:
    """The codec with which bytes that are a `superset` are read."""
    name = codec(label)
    return "utf-8" if name == "us-ascii" else MULTIPLE.get(name, (name,))[0]


def _is(body: bytes, names: Sequence[str]) -> bool:
    if 0x1B in body or 0 in body:  # ISO 2022 or UTF-16 under another label
        return False
    if body.isascii():
        return True
    for name in names:
        try:
            body.decode(name)
            return True
        except UnicodeDecodeError:
            continue
    return False


def decoded(body: bytes, label: str) -> tuple[str, str] | None:
    """The text, and the codec with which encoding it again gives the same bytes; None where there is none such."""
    name = codec(label)
    if name in ("utf-16", "utf-32"):
        name = next((exact for mark, exact in MARKS if body.startswith(mark) and exact.startswith(name)), f"{name}-be")
    if not name:
        return None
    try:
        text = body.decode(name)
        return (text, name) if text.encode(name) == body else None
    except (UnicodeError, ValueError):
        return None


def offsets(text: str, name: str, body: bytes, places: Sequence[int]) -> list[int] | None:
    """Where in `body` the characters at `places` (ascending) begin; None where the pieces between them, encoded one
    by one, are not the body: then an edit at these places would change bytes elsewhere."""
    found: list[int] = []
    pieces: list[bytes] = []
    last = total = 0
    try:
        for place in (*places, len(text)):
            pieces.append(text[last:place].encode(name))
            total += len(pieces[-1])
            found.append(total)
            last = place
    except UnicodeError:
        return None
    return found[:-1] if b"".join(pieces) == body else None


def decode(body: bytes, label: str) -> str | None:
    """`body` as text for reading; None where the charset is unknown or the bytes are not of it."""
    name = codec(label)
    candidates = ("utf-8", "latin-1") if name == "us-ascii" else MULTIPLE.get(name, (name,))
    for candidate in candidates:
        try:
            return body.decode(candidate) if candidate else None
        except (UnicodeError, ValueError):
            continue
    return None
