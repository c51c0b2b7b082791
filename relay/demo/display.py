"""A raw message -> what a mail client shows of it.

Owns: the choice of parts, their text, pictures inside the message, the list of attachments, the HTML document for the
frame. Leaves to others: isolating that document (`pages` serves it in a sandbox without scripts).
The standard library reads the MIME structure here: the demo's inbox plays the part of other people's mail clients, and
no mail of the relay's own comes through it.
"""

from __future__ import annotations

import base64
import email
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.policy import compat32
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

from relay.core import addresses, headers, unicode_domains
from relay.demo import marks
from relay.demo.inbox import Received

MAX_PARTS = 300
MAX_TEXT = 4_000_000  # characters shown of one part
MAX_INLINE = 4_000_000  # octets of pictures put into one document
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/svg+xml"})
SHOWN = ("from", "to", "cc", "subject", "date", "reply-to")
NAMED = frozenset({"from", "to", "cc", "reply-to"})  # of which fields have addresses
NAMES = {  # of parts that have none
    "message/rfc822": "message.eml",
    "message/delivery-status": "delivery-status.txt",
    "text/rfc822-headers": "headers.txt",
    "text/calendar": "invitation.ics",
}
CID = re.compile(r"cid:([^\"'\s<>)]{1,500})", re.I)
# Where our <base> goes: after <head>, else <html>, else the doctype. Before these it would cause quirks mode.
PLACES = (re.compile(r"<head(?:\s[^>]{0,2000})?>", re.I), re.compile(r"<html(?:\s[^>]{0,2000})?>", re.I))
DOCTYPE = re.compile(r"\s*<!doctype[^>]{0,1000}>", re.I)
BASE = '<base target="_blank">'


@dataclass(slots=True)
class Attachment:
    """A part that can be saved."""

    name: str
    type: str
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Reading:
    """One message, read. `html` and `text` are None if it has none; `pictures` are data URLs by Content-ID."""

    html: str | None = None
    text: str | None = None
    pictures: dict[str, str] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)
    trouble: str = ""


def read(raw: bytes) -> Reading:
    """Never raises. Of a message that can't be read, only the source is shown, and it says so."""
    try:
        return sort(email.message_from_bytes(raw, policy=compat32))
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError) as reason:
        return Reading(trouble=f"This message can't be read: {type(reason).__name__}. Only its source can be shown.")


def sort(message: Message) -> Reading:
    found = Reading()
    named: list[tuple[str, Attachment]] = []
    for count, part in enumerate(leaves(message)):
        if count >= MAX_PARTS:
            found.trouble = f"Only the first {MAX_PARTS} parts are shown."
            break
        attached = part.get_content_disposition() == "attachment"
        kind = part.get_content_type()
        if kind == "text/html" and not attached and found.html is None:
            found.html = text_of(part)
        elif kind == "text/plain" and not attached and found.text is None:
            found.text = text_of(part)
        else:
            identifier = str(part.get("Content-ID", "")).strip().strip("<>")
            named.append((identifier, Attachment(name_of(part, count), kind, octets_of(part))))
    used = {unquote(i) for i in CID.findall(found.html or "")}
    room = MAX_INLINE
    for identifier, attachment in named:
        if identifier in used and attachment.type in PICTURES and len(attachment.content) <= room:
            room -= len(attachment.content)
            found.pictures[identifier] = (
                f"data:{attachment.type};base64,{base64.b64encode(attachment.content).decode()}"
            )
        else:
            found.attachments.append(attachment)
    return found


def leaves(message: Message) -> Iterator[Message]:
    """The parts that have no parts, depth first. A message inside the message, or a report's fields, is one of them."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        inner = part.get_payload() if part.get_content_maintype() == "multipart" else None
        if isinstance(inner, list):
            waiting += [each for each in reversed(inner) if isinstance(each, Message)]
        else:
            yield part


def octets_of(part: Message) -> bytes:
    inner = part.get_payload()
    if isinstance(inner, list):  # message/*
        return b"\r\n".join(each.as_bytes() for each in inner if isinstance(each, Message))
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def text_of(part: Message) -> str:
    """The part's text. If its charset is unknown or wrong, UTF-8 is tried, then Latin-1, so something is always
    shown."""
    content = octets_of(part)
    for charset in (part.get_content_charset() or "utf-8", "utf-8"):
        try:
            return content.decode(charset)[:MAX_TEXT]
        except (LookupError, UnicodeError, ValueError):
            continue
    return content.decode("latin-1")[:MAX_TEXT]


def name_of(part: Message, count: int) -> str:
    name = headers.decoded(str(part.get_filename() or "").encode("utf-8", "replace"))
    return re.sub(r"[\x00-\x1f\x7f/\\]", "_", name).strip()[:150] or NAMES.get(part.get_content_type(), f"part-{count}")


def document(reading: Reading, *, target: str = BASE) -> str:
    """The HTML document for the frame. Links open in a new tab, and the message's own pictures are included."""
    if reading.html is None:
        text = html.escape(reading.text if reading.text is not None else reading.trouble or "(no text)")
        return f"<!doctype html><html><head>{BASE}<style>body{{font:15px/1.55 system-ui,sans-serif;margin:20px;white-space:pre-wrap;overflow-wrap:anywhere}}</style></head><body>{text}</body></html>"
    body = CID.sub(lambda m: reading.pictures.get(unquote(m[1]), m[0]), reading.html)
    for place in PLACES:
        found = place.search(body, 0, 20_000)
        if found:
            return body[: found.end()] + target + body[found.end() :]
    doctype = DOCTYPE.match(body)
    at = doctype.end() if doctype else 0
    return body[:at] + target + body[at:]


def line(message: Received) -> dict[str, Any]:
    """One line of the list."""
    head = headers.read(message.raw)
    field = head.first("from")
    sender = addresses.mailboxes(head.undecoded(field)) if field else ()
    return {
        "id": message.id,
        "from": unicode_domains.shown_in(
            (sender[0][0] or sender[0][1]) if sender else head.get("from") or message.reverse_path
        )[:200],
        "subject": head.get("subject")[:300],
        "for": list(map(unicode_domains.shown_in, message.recipients[:10])),
        "at": message.at,
        "seen": message.seen,
        "answered": message.answered,
    }


def view(message: Received) -> dict[str, Any]:
    """Everything that the reading pane shows, except the HTML."""
    head, reading = headers.read(message.raw), read(message.raw)
    return {
        **line(message),
        "shown": {
            name: unicode_domains.shown_in(head.get(name))[:2_000] if name in NAMED else head.get(name)[:2_000]
            for name in SHOWN
            if head.first(name)
        },
        "html": reading.html is not None,
        "text": reading.text if reading.text is not None else (plain(reading.html) if reading.html else ""),
        "derived": reading.text is None and reading.html is not None,
        "trouble": reading.trouble,
        "size": len(message.raw),
        "headers": [
            [message.raw[f.start : f.value].split(b":")[0].decode("ascii").strip(), head.text(f)[:4_000]]
            for f in head.fields[:300]
        ],
        "attachments": [
            {"index": i, "name": a.name, "type": a.type, "size": len(a.content)}
            for i, a in enumerate(reading.attachments)
        ],
    }


def changes(message: Received, tracking: str) -> dict[str, Any]:
    """The source for reading, and octet by octet, as sections of [mark, text]; a mark is "same", "added" or "removed". Of a
    message that did not come from this relay, without marks. `tracking` is the URL of the tracking server."""
    before = message.raw if message.original is None else message.original
    return {
        "known": message.original is not None,
        **marks.summary(before, message.raw, tracking),
        "readable": [section._replace(runs=shown(section.runs)) for section in marks.readable(before, message.raw)],
        "whole": [marks.Section("", "", shown(marks.whole(before, message.raw)))],
    }


def shown(runs: list[marks.Run] | None) -> list[marks.Run] | None:
    """As far as a page can show them, in characters that JSON has."""
    found: list[marks.Run] = []
    room = MAX_TEXT
    for kind, text in runs or ():
        found.append(marks.Run(kind, text[:room].encode("utf-8", "replace").decode()))
        room -= len(text)
        if room <= 0:
            found.append(marks.Run("same", "\n[…]"))
            break
    return None if runs is None else found


# -- HTML as text
# --------------------------------------------------------------------------------------------------------


class PlainText(HTMLParser):
    """The text of an HTML document, with blocks on lines of their own and addresses beside the links."""

    BLOCKS = frozenset(
        ["p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "table", "ul", "ol", "blockquote", "hr", "section"]
    )
    HIDDEN = frozenset({"style", "script", "title", "head"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.hidden = 0
        self.link = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.BLOCKS:
            self.pieces.append("\n")
        if tag in self.HIDDEN:
            self.hidden += 1
        if tag == "a":
            self.link = dict(attrs).get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        if tag == "a" and self.link:
            self.pieces.append(f" <{self.link}>")
            self.link = ""
        if tag in self.BLOCKS and tag != "br":
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.pieces.append(re.sub(r"\s+", " ", data))


def plain(document: str) -> str:
    """An HTML document as plain text."""
    words = PlainText()
    try:
        words.feed(document[:1_000_000])
        words.close()
    except (AssertionError, ValueError):  # what html.parser makes of some broken declarations
        return ""
    lines = (each.strip() for each in "".join(words.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
