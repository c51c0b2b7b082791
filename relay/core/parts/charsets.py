"""Body bytes as text.

Owns: which octets of a body are markup whatever the others are, what the octets of a link mean.
Leaves to others: where to edit (`links`) and the transfer encoding (`parts.transfer`). What labels mean is in
`charset_names`, charsets with escape sequences in `parts.escapes`.

A body is edited as bytes wherever it can be: then nothing outside the edits can change, and an octet that is broken
costs nothing. A label that is unknown is never guessed at; ASCII alone is ASCII under each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote_from_bytes

from relay.core import charset_names
from relay.core.parts import escapes

# Charsets in which no byte of a character beyond ASCII is one of < > " ' = & / or white space: what is markup in
# a Latin-1 view of the bytes is markup. Tried code point by code point. Of those with more than one byte to a
# character the bytes are checked against the label, with the superset that people mean by it (WHATWG Encoding 4.2).
SINGLE = frozenset(
    {f"iso8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)}
    | {f"cp{n}" for n in (437, 720, 737, 775, 850, 852, 855, 858, 860, 861, 862, 863, 865, 866, 874, 1006, 1250, 1251)}
    | {f"cp{n}" for n in range(1252, 1259)}
    | {f"mac-{name}" for name in ("roman", "cyrillic", "greek", "turkish", "latin2", "iceland", "croatian", "romanian")}
    | {"koi8-r", "koi8-u", "koi8-t", "kz1048", "ptcp154", "tis-620", "hp-roman8"}
)
MULTIPLE = {
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
    "euc_jp": ("euc_jp",),
    "euc_jis_2004": ("euc_jis_2004",),
    "euc_jisx0213": ("euc_jisx0213",),
    "euc_kr": ("cp949", "euc_kr"),
    "cp949": ("cp949",),
}
# Of these, by the beginning of the name: ASCII and whole characters, as many as one step of a repetition may have.
SOUND = tuple(
    (start, re.compile(rb"(?>(?:[\x00-\x7f%b]++|%b){0,1000})" % (alone, character)))
    for start, alone, character in (
        ("gb", b"", rb"[\x81-\xfe](?:[\x40-\x7e\x80-\xfe]|[0-9][\x81-\xfe][0-9])"),
        ("big5", b"", rb"[\x81-\xfe][\x40-\x7e\xa1-\xfe]"),
        ("cp950", b"", rb"[\x81-\xfe][\x40-\x7e\xa1-\xfe]"),
        ("shift", rb"\xa1-\xdf", rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"),
        ("cp932", rb"\xa1-\xdf", rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"),
        ("euc_j", b"", rb"[\xa1-\xfe]{2}|\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}"),
        ("", b"", rb"[\x81-\xfe][A-Za-z\x81-\xfe]"),
    )
)
LINE = 1_000  # octets before a URL in plain text
FAULTS = 10_000  # in one text; one that has more is none of this charset
# From an octet that is no character's on: as far as readers may take it, the next one of ASCII with it.
BROKEN = re.compile(rb"[\x80-\xff0-9]*+[\x00-\x7f]?")
TOUCHED = re.compile(rb"[<>\"'-]")
TAG = 4_000  # octets of a tag before a broken one that are looked at
IN_VALUE = re.compile(
    rb"<[A-Za-z][^<>\"'=]*+(?>(?:=[ \t\r\n]*+(?:\"[^\"]*+\"|'[^']*+'|[^ \t\r\n\"'<>=]++)[^<>\"'=]*+)*)=[ \t\r\n]*+(?:\"[^\"]*+|'[^']*+)"
)
OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")  # of ASCII
NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
NO_ASCII = re.compile(rb"[\0\x0e\x0f\x1b]")  # where these are, the rest may be something else
MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
UNITS = frozenset(exact for _, exact in MARKS)
UTF_8 = b"\xef\xbb\xbf"
ANY_MARK = (UTF_8, b"\xff\xfe", b"\xfe\xff")
SHIFTED = re.compile(rb"\x1b\$\(?[@-~][!-~]{2}|\x1b\([@-~][!-~]|~\{[!-~]{2}|[\x00-\x7f]")  # one character
NOT_WEB = re.compile(r"[\x00-\x20]*(?!https?:)[a-z][a-z0-9+.-]*:", re.I)
BEYOND = re.compile(r"[^\x00-\x7f]+")
C1 = re.compile(r"[\x80-\x9f]")


def marked(body: bytes, label: str) -> str:
    """The label, or what a byte order mark says instead (WHATWG Encoding 6)."""
    if not body.startswith(ANY_MARK):
        return label
    if body.startswith(UTF_8):
        return "utf-8"
    return "utf-16" if 0 in body else label


def view(body: bytes, label: str) -> str | None:
    """The body as Latin-1, where it may be edited as bytes: what is markup in this view is markup for every reader of
    the label. Octets are masked that are not what they look like, so offsets are the same. None where it must be
    decoded (`decoded`), or can't be edited at all."""
    name = charset_names.codec(label)
    if name == "utf-8" or name == "us-ascii":  # or no label
        if 0 in body or (0x1B in body and escapes.DESIGNATION.search(body)):
            return None  # UTF-16 or ISO 2022 under another label
        return body.decode("latin-1") if body.isascii() or _is(body, ("utf-8",)) or _like_utf_8(body) else None
    if name in SINGLE or name == charset_names.USER_DEFINED:
        return None if 0 in body or (0x1B in body and escapes.DESIGNATION.search(body)) else body.decode("latin-1")
    if name in MULTIPLE:
        if 0 in body or (0x1B in body and escapes.DESIGNATION.search(body)):
            return None
        seen = body if body.isascii() or _is(body, MULTIPLE[name]) else _masked(body, name)
        return None if seen is None else seen.decode("latin-1")
    if name == "hz" or name.startswith("iso2022"):
        seen = None if 0 in body else escapes.view(body, name)
        return None if seen is None else seen.decode("latin-1")
    if body.isascii() and not NO_ASCII.search(body) and not (name == "utf-7" and b"+" in body):
        return body.decode("latin-1")
    return None


def _is(body: bytes, names: Sequence[str]) -> bool:
    for name in names:
        try:
            body.decode(name)
            return True
        except UnicodeDecodeError:
            continue
    return False


def _like_utf_8(body: bytes) -> bool:
    """Text that is not UTF-8 throughout: no reader takes an octet of ASCII into a broken sequence."""
    return not NO_TEXT.search(body) and not OVERLONG.search(body)


def _masked(body: bytes, name: str) -> bytes | None:
    """A body that is broken somewhere, with these places masked: as far as some readers take them for one character, and
    others for several. None where such a place touches markup."""
    if NO_TEXT.search(body):
        return None
    sound = next(pattern for start, pattern in SOUND if name.startswith(start))
    seen = bytearray(body)
    opened = closed = since = at = faults = 0  # the last < and >, counted from 1, and from where on they are looked for
    while at < len(body):
        whole = sound.match(body, at)
        if whole and whole.end() > at:
            at = whole.end()
            continue
        end = BROKEN.match(body, at).end()  # type: ignore[union-attr]
        opened = max(opened, body.rfind(b"<", since, at) + 1)
        closed = max(closed, body.rfind(b">", since, at) + 1)
        faults += 1
        if faults > FAULTS or end == len(body) or TOUCHED.search(body, at, end):
            return None
        if opened > closed and not _inside(body[max(opened - 1, at - TAG) : end]):
            return None
        seen[at:end] = escapes.MASK * (end - at)
        since = at = end
    return bytes(seen)


def _inside(beginning: bytes) -> bool:
    """Does what has no ">" end inside a comment, or a value in quotes? There it matters little what a character is."""
    if beginning.startswith(b"<!--"):
        return b"--" not in beginning[4:]
    return IN_VALUE.fullmatch(beginning) is not None


def spells(label: str, urls: Sequence[str]) -> bool:
    """Is each character of these URLs of ours itself in a body of this charset, wherever it is put?"""
    name = charset_names.codec(label)
    if name != "hz" and name != "utf-7" and not name.startswith("iso2022"):
        return True
    return not any(set(url) & set("\\~+") for url in urls)


def decoded(body: bytes, label: str) -> tuple[str, str] | None:
    """The text of a body that has no `view`, and the codec with which each piece of it between edits gives the same bytes
    (`offsets` says where those may be); None where there is none such."""
    name = charset_names.codec(label)
    if not name or name == "us-ascii" or name == "utf-8" or name in SINGLE or name in MULTIPLE:
        return None
    if name == "hz" or name == charset_names.USER_DEFINED or name.startswith("iso2022"):
        return None
    if name in ("utf-16", "utf-32"):
        name = _ordered(body, name)
    try:
        if name in UNITS:  # what is broken there is a whole unit
            text = body.decode(name, "replace")
            return (text, name) if len(text.encode(name)) == len(body) else None
        text = body.decode(name)
        return (text, name) if name == "utf-7" or text.encode(name) == body else None
    except (UnicodeError, ValueError):
        return None


def _ordered(body: bytes, name: str) -> str:
    """The same with the order of its octets: by the mark, or else by where the markup is."""
    for mark, exact in MARKS:
        if exact.startswith(name) and body.startswith(mark):
            return exact
    unit = 2 if name == "utf-16" else 4
    at = body.find(b"<")
    return f"{name}-le" if at >= 0 and at % unit == 0 and not any(body[at + 1 : at + unit]) else f"{name}-be"


def offsets(text: str, name: str, body: bytes, places: Sequence[int]) -> list[int] | None:
    """Where in `body` the characters at `places` (ascending) begin; None where the pieces between them, encoded one
    by one, are not the body: then an edit at these places would change bytes elsewhere."""
    found: list[int] = []
    pieces: list[bytes] = []
    last = total = 0
    try:
        if name == "utf-7":
            return escapes.direct(body, places)
        for place in (*places, len(text)):
            pieces.append(text[last:place].encode(name))
            total += len(pieces[-1])
            found.append(total)
            last = place
    except UnicodeError:
        return None
    same = total == len(body) if name in UNITS else b"".join(pieces) == body
    return found[:-1] if same else None


def decode(body: bytes, label: str) -> str | None:
    """`body` as text for reading; None where the charset is unknown or the bytes are not of it."""
    name = charset_names.codec(label)
    candidates = ("utf-8", "cp1252", "latin-1") if name == "us-ascii" else MULTIPLE.get(name, (name,))
    return _read(body, candidates, name)


def shown(body: bytes, label: str) -> str | None:
    """`body` for people, with U+FFFD where it is broken; None where nobody knows the charset, and it is not ASCII."""
    text = decode(body, label)
    if text is not None:
        return text
    name = charset_names.codec(label)
    try:
        return body.decode(MULTIPLE.get(name, (name,))[0] if name else "ascii", "replace" if name else "strict")
    except (UnicodeError, ValueError, LookupError):
        return None


def linked(octets: bytes, label: str) -> str | None:
    """What the octets of a link's value mean, as browsers read them; None where that is not certain."""
    name = charset_names.codec(label)
    if name == "us-ascii":
        match = charset_names.LABEL.match(label)
        text = _read(octets, ("utf-8", "cp1252") if match and match[1] else ("utf-8",), name)
    elif name.startswith("iso2022_jp"):
        text = escapes.japanese(octets)
        if text and ("\u00a5" in text or "\u203e" in text):  # or a backslash and a tilde
            return None
    else:
        text = _read(octets, MULTIPLE.get(name, (name,)), name)
    return text


def _read(octets: bytes, candidates: Sequence[str], name: str) -> str | None:
    if name == "iso2022_kr":  # said once, at the beginning of the text
        octets = escapes.KOREAN + octets
    for candidate in candidates:
        try:
            return octets.decode(candidate) if candidate else None
        except (UnicodeError, ValueError, LookupError):
            continue
    if name == "euc_jp":
        return escapes.extended_unix(octets)
    return escapes.japanese(octets) if name.startswith("iso2022_jp") else None


def following(body: bytes, label: str, at: int) -> str:
    """The character that begins at an octet of a body that has a `view`; "" where there is none."""
    name = charset_names.codec(label)
    if name == "hz" or name.startswith("iso2022"):
        match = SHIFTED.match(body, at)
        return ((match and decode(match[0], label)) or "")[:1]
    name = "utf-8" if name == "us-ascii" else MULTIPLE.get(name, (name,))[0]
    return body[at : at + 4].decode(name, "ignore")[:1] if name in SINGLE or name in MULTIPLE or name == "utf-8" else ""


def begins(body: bytes, label: str, at: int) -> bool:
    """Does a character begin at this octet of ASCII? Behind a lead octet it may be the second half of one."""
    if at == 0 or body[at - 1] < 0x80 or (name := charset_names.codec(label)) not in MULTIPLE:
        return True
    start = at - 1
    while start > 0 and body[start - 1] >= 0x40 and at - start < LINE:  # below, no octet is a second half
        start -= 1
    sound = next(pattern for beginning, pattern in SOUND if name.startswith(beginning))
    whole = sound.match(body, start, at)
    return at - start < LINE and whole is not None and whole.end() == at


def queried(url: str, label: str) -> str:
    """A link's value, in which characters beyond ASCII in the query are octets of the document's charset, as browsers
    send them (URL 4.4, query state). What the charset has not stays, and is UTF-8, as everything outside the query."""
    end = url.find("#")
    end = len(url) if end < 0 else end
    at = url.find("?", 0, end)
    if at < 0 or url[at:end].isascii() or NOT_WEB.match(url):
        return url
    name = charset_names.codec(label)
    if name in MULTIPLE:
        name = {"gb2312": "gbk", "euc_kr": "cp949"}.get(name, MULTIPLE[name][0] if name != "gbk" else name)
    elif name not in SINGLE and name != "iso2022_jp":
        return url
    try:
        query = BEYOND.sub(lambda match: quote_from_bytes(match[0].encode(name), safe=""), url[at:end])
    except UnicodeEncodeError:
        return url
    return url[:at] + query + url[end:]
