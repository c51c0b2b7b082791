"""A message in a mailbox, taken apart as far as a report needs it: its own words, and the message that came back in it.

Owns: which parts are looked at, and how much of them. Leaves to others: what they say (`reports` and its other modules).
For any bytes; time is linear in the size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from relay.core import headers, identifiers, parts, threads
from relay.core.headers import Headers
from relay.core.parts import Part, charsets, transfer
from relay.core.reports import prose

RETURNED = frozenset({"message/rfc822", "message/global"})
ORIGINAL = RETURNED | {"text/rfc822-headers", "message/global-headers"}
# In a header section that lost its folds, or begins in the middle of one.
MESSAGE_ID = re.compile(rb"^message-id:(.{1,1000}(?:\n[ \t].{1,1000})?)", re.I | re.M)
# In a text that lists what the message was.
LISTED_ID = re.compile(rb"^[ \t>|*\-]{0,12}message[- ]?id:(.{1,1000})", re.I | re.M)
MARK = b"\xef\xbb\xbf"  # a byte order mark: some programs write one before the header section
LONGEST = 1_048_576  # octets of a message that are read
LONGEST_TEXT = 65_536  # octets of a part's text that are read
LONGEST_HEADERS = 131_072  # octets of the returned message that are read


@dataclass(frozen=True, slots=True)
class Inspected:
    """A message taken apart, as far as a report needs it."""

    raw: bytes
    head: Headers
    parts: tuple[Part, ...]
    references: tuple[str, ...] = field(default=())

    def body(self, part: Part, limit: int) -> bytes:
        """The decoded octets of a part, as far as they are read; those that can't be decoded as they stand."""
        cut = self.raw[part.start : min(part.end, part.start + limit * 2)]
        decoded = transfer.decode(cut, part.encoding)
        if decoded is None and part.encoding == "base64":  # cut, or sloppy: whole groups of four
            packed = bytes(c for c in cut if c in transfer.BASE64_ALPHABET)
            decoded = transfer.decode(packed[: len(packed) // 4 * 4], "base64")
        return (cut if decoded is None else decoded)[:limit]

    def text(self, part: Part) -> str:
        body = self.body(part, LONGEST_TEXT)
        charset = part.parameters.get("charset", "")
        if not charset and b"\x1b$" in body:  # unlabelled ISO-2022-JP, as many Japanese reports are
            charset = "iso-2022-jp"
        text = charsets.decode(body, charset or "utf-8")
        return body.decode("latin-1") if text is None else text


def unmarked(raw: bytes) -> bytes:
    """The message without a byte order mark before it."""
    return raw.removeprefix(MARK)


def taken_apart(raw: bytes) -> Inspected | None:
    """The message's parts; None where it has more header fields than a message has."""
    head = headers.read(raw)
    scan = parts.scan(raw, head)
    if scan.reason == "limit_headers" and not scan.parts:
        return None
    return Inspected(raw, head, scan.parts, threads.references(head))


def texts(message: Inspected) -> list[str]:
    """The report's own words: the first text, of an alternative the plain one. A message that declares parts and
    has none is read as it stands."""
    for part in message.parts:
        if plain(part) and part.disposition != "attachment":
            found = message.text(part)
            if found.strip():
                return [found]
    for part in message.parts:
        if part.content_type == "text/html" and part.disposition != "attachment":
            return [prose.plain(message.text(part))]
    if not any(part.content_type.startswith("text/") and part.end > part.start for part in message.parts):
        body = message.raw[message.head.body : message.head.body + LONGEST_TEXT]
        return [body.decode("utf-8", "replace")]
    return []


def returned(message: Inspected) -> list[str]:
    """The header sections of the message that came back, as text: in parts of their own, or as the header section of a
    part that forgot to have one."""
    found = [message.body(part, LONGEST_HEADERS) for part in message.parts if part.content_type in ORIGINAL]
    found += [message.raw[part.headers.start : part.start] for part in message.parts[1:] if bare(part)]
    return [body.lstrip(b"\r\n").decode("latin-1") for body in found]


def bare(part: Part) -> bool:
    """Whether the part's header fields are a message's."""
    return part.headers.first("message-id") is not None and any(
        part.headers.first(name) for name in ("received", "from", "return-path")
    )


def plain(part: Part) -> bool:
    return part.content_type == "text/plain"


def original(message: Inspected) -> tuple[str, tuple[str, ...]]:
    """The Message-ID of the message that came back (no brackets, "" where none is found) and the identifiers in its
    References: of the text where it holds the message, else of a part; the last Message-ID of all is a guess."""
    text = "\n".join(texts(message))
    _, below = prose.divided(text)
    further = [part for part in message.parts if plain(part)][1:]
    sections = [below.encode("utf-8", "surrogateescape")]
    sections += [message.body(part, LONGEST_HEADERS) for part in message.parts if part.content_type in ORIGINAL]
    sections += [message.raw[part.headers.start : part.start] for part in message.parts[1:] if bare(part)]
    sections += [message.body(part, LONGEST_HEADERS) for part in further]
    for section in sections:
        own, references = quoted(section)
        if own:
            return own, references
    # Boundaries that do not match hide the returned message: the last Message-ID in the body is its own.
    tail = message.raw[max(message.head.body, len(message.raw) - LONGEST_HEADERS) :].replace(b"\r\n", b"\n")
    for body in (tail, text.encode("utf-8", "surrogateescape")):
        found = [m for m in (*LISTED_ID.finditer(body), *MESSAGE_ID.finditer(body)) if b"<" in m[1]]
        if ids := identifiers.listed(found[-1][1].decode("latin-1")) if found else []:
            return ids[0], ()
    return "", ()


def quoted(section: bytes) -> tuple[str, tuple[str, ...]]:
    """The identifiers of a returned header section."""
    section = section.lstrip(b"\r\n")
    head = headers.read(section)
    field_ = head.first("message-id") or head.first("x-original-message-id")
    own = identifiers.listed(head.text(field_))
    value = head.bytes(field_) if field_ else b""
    if not own and (match := MESSAGE_ID.search(section.replace(b"\r\n", b"\n").partition(b"\n\n")[0])):
        value = match[1]
        own = identifiers.listed(value.decode("latin-1"))
    if not own or (b"<" in value and b">" not in value):  # or cut off
        return "", ()
    return own[0], tuple(identifiers.answered(head, "references"))[:100]
