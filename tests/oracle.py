"""An independent judge of what was done to a message: by the standard library's parser and plain regular
expressions, with none of the program's own readers. It undoes the tracking and looks for any other difference."""

from __future__ import annotations

import base64
import email
import html
import re
from email.message import Message

OURS = re.compile(rb"(?i)(x-track(-[^:]*)?|bcc|resent-bcc|dkim-signature)[ \t]*:")
ADDABLE = re.compile(rb"(?i)(message-id|date|references)[ \t]*:")
# Rewriting 7bit text whose lines grow past 998 octets as quoted-printable changes these two.
RECODED = re.compile(rb"(?i)content-transfer-encoding[ \t]*:")


# What a relay puts on top: from whom, by whom, with what, when.
TRACE = re.compile(
    rb"\AReceived: (?:from \S[^\r\n]*\r\n\t)?by \S+ with [A-Z0-9]+ id \w+(?:\r\n\tfor <\S+>)?;\s+[^\r\n]+\r\n"
)


def below_trace(raw: bytes) -> bytes:
    """A message as it was before the relay put its trace field on top. That field must be there."""
    found = TRACE.match(raw)
    assert found, f"no trace field: {raw[:200]!r}"
    return raw[found.end() :]


def header_lines(raw: bytes) -> list[bytes]:
    """The fields of the header section, folded lines joined, up to the empty line."""
    section = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0] if not raw.startswith((b"\n", b"\r\n")) else b""
    return re.split(rb"\r?\n(?![ \t])", section)


def url_in(token: str) -> str:
    """The URL that a click's token carries, read without the key: after version and key id (1 byte), message key (12)
    and two varints (recipient, link); before the MAC (12)."""
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[13:-12]
    at = 0
    for _ in range(2):
        while body[at] & 0x80:
            at += 1
        at += 1
    return body[at:].decode("utf-8")


def leaves(message: Message) -> list[Message]:
    """The parts that hold no others, in order; a message inside a message counts as one leaf."""
    if message.is_multipart() and not message.get_content_type().startswith("message/"):
        inner: list[Message] = message.get_payload()  # type: ignore[assignment]
        return [leaf for part in inner for leaf in leaves(part)]
    return [message]


def content(part: Message) -> bytes:
    if part.get_content_type().startswith("message/"):
        return b"".join(inner.as_bytes() for inner in part.get_payload()) if part.is_multipart() else b""
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")


def untracked(text: bytes, base: str) -> bytes:
    """The text with our links and pixel taken out again, entities decoded and quotes around values taken away."""
    there = re.escape(base.encode())
    text = re.sub(rb'<img [^>]*src="?' + there + rb'/o/[\w-]+"?[^>]*>', b"", text)
    text = re.sub(there + rb"/c/([\w-]+)(\?a)?", lambda m: html.escape(url_in(m[1].decode())).encode(), text)
    return html.unescape(text.decode("latin-1")).encode("utf-8", "surrogatepass")


def damage(before: bytes, after: bytes, base: str) -> list[str]:
    """What differs beyond the tracking; [] is as it should be. Both with CRLF line endings."""
    found = []
    kept = [line for line in header_lines(before) if not OURS.match(line)]
    now = [line for line in header_lines(after) if not OURS.match(line)]
    given = {ADDABLE.match(line)[1].lower() for line in kept if ADDABLE.match(line)}
    now = [line for line in now if not (ADDABLE.match(line) and ADDABLE.match(line)[1].lower() not in given)]
    if [x for x in kept if not RECODED.match(x)] != [x for x in now if not RECODED.match(x)]:
        found.append(
            f"header fields: {[x for x in kept if x not in now][:3]} became {[x for x in now if x not in kept][:3]}"
        )
    old, new = email.message_from_bytes(before), email.message_from_bytes(after)
    was, became = leaves(old), leaves(new)
    if [p.get_content_type() for p in was] != [p.get_content_type() for p in became]:
        return [*found, "the parts are others"]
    for number, (a, b) in enumerate(zip(was, became, strict=True)):
        first, second = content(a), content(b)
        if first == second:
            continue
        if a.get_content_type() not in ("text/html", "text/plain"):
            found.append(f"part {number} ({a.get_content_type()}) changed")
        elif squeezed(untracked(first, base)) != squeezed(untracked(second, base)):
            found.append(
                f"part {number} ({a.get_content_type()}): {difference(untracked(first, base), untracked(second, base))}"
            )
    return found


def squeezed(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b'"', b"").replace(b"'", b"").rstrip(b"\n")


def difference(a: bytes, b: bytes) -> str:
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    since = max(0, at - 30)
    return f"{a[since : at + 40]!r} became {b[since : at + 40]!r}"
