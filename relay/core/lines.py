"""The same message without a line of over 998 octets (RFC 5322 2.1.1), for what is signed.

Servers on the way break a longer line (Postfix: `smtp_line_length_limit`), and a signature over it no longer holds (RFC
6376 5.3). Owns: which parts and fields have such a line, what becomes of them, and why a message can't be had without.
Bodies are encoded anew, and mean the same octet by octet; fields are folded at white space, or where white space means
nothing: after a comma in a list of addresses or URLs, between message identifiers. All other bytes stay.
Leaves to others: how a part is encoded (`recoding`), when it is needed and what happens to a message that stays as it is
(`outbound`: it goes out unsigned).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from relay.core import envelopes, headers, parts, recoding
from relay.core.headers import Field, Headers
from relay.core.model import Edit
from relay.core.parts import Part, transfer
from relay.core.recoding import LEVELS, Unfit

LINE, decode = transfer.LINE, transfer.decode
SENDMAIL = 990  # it breaks longer lines, where nobody has told it otherwise
BARE = Unfit("the message has a bare CR or LF")
FIELD = Unfit("a header field has no white space where it could be folded")
BETWEEN = Unfit("the line is a delimiter, or stands outside the parts")
ENCLOSED = Unfit("a message inside the message that is signed itself would have to change")
SIGNED = Unfit("the message has the signature of another program, which would break")
# What signs a whole message: any change of its body breaks them.
SIGNATURES = ("dkim-signature", "arc-message-signature")
SPACE = b" \t"
ADDRESSES = frozenset(
    f"{resent}{name}" for resent in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
)
IDENTIFIERS = frozenset({"references", "in-reply-to"})
# Where a comma divides addresses, and where it can't be told: an unclosed quote, a comment.
COMMA = re.compile(rb'"(?:[^"\\]|\\.)*"|<[^<>]*>|(,)|(["<(])')
QUOTE = re.compile(rb'\\.|"', re.S)
ELSEWHERE = re.compile(rb"(?<!;)[ \t]+")
BETWEEN_IDENTIFIERS = re.compile(rb">(?=<)")
WIDTH = 76  # of lines that are made of a longer one


def shortened(raw: bytes) -> bytes | Unfit:
    """The message without such a line, or why it can't be had. For any bytes with CRLF at the end of each line, or with LF."""
    if b"\r" not in raw and b"\n" in raw:
        made = shortened(raw.replace(b"\n", b"\r\n"))
        return made if isinstance(made, Unfit) else made.replace(b"\r\n", b"\n")
    if not envelopes.whole(raw):
        return BARE
    head = headers.read(raw)
    edits = _edits(raw, head, LEVELS)
    if isinstance(edits, Unfit):
        return edits
    made = parts.splice(raw, edits)
    return BETWEEN if recoding.long_line(made) else made


def signed(head: Headers) -> bool:
    """Has it a signature of the whole message?"""
    return any(name in head.named for name in SIGNATURES)


def _edits(raw: bytes, head: Headers, levels: int) -> list[Edit] | Unfit:
    scanned = parts.scan(raw, head)
    if scanned.reason is not None or not levels:
        return recoding.LIMITS
    above = {part.parent for part in scanned.parts}
    shut: list[Unfit | None] = []
    edits: list[Edit] = []
    encodes = False
    for index, part in enumerate(scanned.parts):
        outer = shut[part.parent] if part.parent >= 0 else None
        body = b"" if index in above else raw[part.start : part.end]
        shut.append(outer or recoding.shut(part, body))
        for field in part.headers.fields:
            if field.end - field.start > LINE and recoding.long_line(raw[field.start : field.end]):
                folds = outer or _folds(raw, field)
                if isinstance(folds, Unfit):
                    return folds
                edits += folds
        if not recoding.long_line(body):
            continue
        made = shut[index] or _shorter(part, body, levels)
        if isinstance(made, Unfit):
            return made
        encoding, new = made
        edits.append(Edit(part.start, part.end, new))
        if encoding != part.encoding:
            edits += recoding.labelled(part, encoding)
            encodes = True
    if encodes and recoding.VERSION not in head.named:
        edits.append(Edit(head.end, head.end, recoding.MIME_VERSION))
    return edits


# -- bodies ------------------------------------------------------------------------------------------------------------


def _shorter(part: Part, body: bytes, levels: int) -> tuple[str, bytes] | Unfit:
    """The encoding of that body, and the body."""
    if part.content_type == "message/rfc822":
        inner = headers.read(body)
        edits = ENCLOSED if signed(inner) else _edits(body, inner, levels - 1)
        return edits if isinstance(edits, Unfit) else (part.encoding, parts.splice(body, edits))
    if recoding.composite(part):
        return recoding.WHOLE
    if part.encoding in transfer.IDENTITY:
        return recoding.encoded(part, body)
    if part.encoding not in ("base64", "quoted-printable"):
        return recoding.LABEL
    cut = _cut if part.encoding == "base64" else transfer.softened
    new = b"\r\n".join([line if len(line) <= LINE else cut(line) for line in body.split(b"\r\n")])
    same = new.count(b"\n--") == body.count(b"\n--") and decode(new, part.encoding) == decode(body, part.encoding)
    return (part.encoding, new) if same else recoding.DOUBT  # as of a long row of "=", which is no quoted-printable


def _cut(line: bytes) -> bytes:
    """A line of base64, which readers join (RFC 2045 6.8)."""
    return b"\r\n".join([line[at : at + WIDTH] for at in range(0, len(line), WIDTH)])


# -- header fields -----------------------------------------------------------------------------------------------------


def _folds(raw: bytes, field: Field) -> list[Edit] | Unfit:
    """Line breaks before white space that is there (RFC 5322 2.2.3): unfolded it is the same field. Not inside quotes if
    there is other white space; and with a boundary, which not every reader unfolds, only behind a semicolon. Where there is
    none, a break and a space where a space means nothing."""
    edits: list[Edit] = []
    loose: list[int] | None = None
    bare = _without_quoted(raw, field)
    divided = b"boundary" in raw[field.value : field.end].lower()
    if divided:
        bare = ELSEWHERE.sub(lambda match: b"x" * len(match[0]), bare)
    at = field.start
    while at < field.end:
        end = raw.find(b"\n", at, field.end) + 1 or field.end
        line = raw[at:end].rstrip(b"\r\n")
        stop, last = at + len(line), at + len(line.rstrip(SPACE))
        while stop - at > LINE:
            place = _white(bare, at - field.start, last - field.start) + field.start
            if place < field.start and not divided:
                place = _white(raw, at, last)
            if place >= field.start:
                edits.append(Edit(place, place, b"\r\n"))
                at = place
                continue
            loose = list(_loose(raw, field)) if loose is None else loose
            index = bisect_right(loose, at + LINE) - 1
            if index < 0 or loose[index] <= at + 1:
                return FIELD
            edits.append(Edit(loose[index], loose[index], b"\r\n "))
            at = loose[index] - 1  # the new line has one octet more
        at = end
    return edits


def _without_quoted(raw: bytes, field: Field) -> bytes:
    """The field, with other octets in place of its quoted strings (RFC 5322 3.2.4)."""
    text = bytearray(raw[field.start : field.end])
    opened = -1
    for match in QUOTE.finditer(raw, field.value, field.end):
        if match[0] != b'"':
            continue
        if opened < 0:
            opened = match.start()
        else:
            text[opened - field.start : match.end() - field.start] = b"x" * (match.end() - opened)
            opened = -1
    return bytes(text)


def _white(raw: bytes, at: int, last: int) -> int:
    """White space, as far on as can be, at which the line that begins at `at` may be broken, or -1. `last` is where nothing but white
    follows: no line may be white alone (RFC 5322 3.2.2)."""
    for width in (SENDMAIL, LINE):
        most = min(at + width, last - 1)
        place = max(raw.rfind(b" ", at + 1, most + 1), raw.rfind(b"\t", at + 1, most + 1))
        if place > 0 and raw[at:place].strip(SPACE):
            return place
    return -1


def _loose(raw: bytes, field: Field) -> Iterator[int]:
    """Where white space may be put into a field without a change of what it means."""
    if field.name in IDENTIFIERS:
        yield from (match.end() for match in BETWEEN_IDENTIFIERS.finditer(raw, field.value, field.end))
    elif field.name in ADDRESSES or field.name.startswith("list-"):  # of URLs in angle brackets (RFC 2369 2)
        for match in COMMA.finditer(raw, field.value, field.end):
            if match[2]:
                return
            if match[1]:
                yield match.end()
