"""What a whole message says, for who wants to have it back: its text, its files, who is named.

Owns: which part is the text that readers see, and which are files. Leaves to others: where parts begin and end (`parts`),
addresses (`addresses`), whether a message is kept.
"""

from __future__ import annotations

from relay.core import addresses, headers, parts, structured
from relay.core.model import Value
from relay.core.parts import transfer
from relay.core.rewrite import shapes

FIELDS = ("to", "cc", "reply-to", "from")


class File(Value, frozen=True):
    """`content_id` is without its brackets; `inline` where the text shows it."""

    filename: str
    content: bytes
    content_type: str
    content_id: str = ""
    disposition: str = ""
    inline: bool = False


class Contents(Value, frozen=True):
    """`html` None is a message without HTML, whose text is `plain`."""

    head: headers.Headers
    html: str | None = None
    plain: str = ""
    files: tuple[File, ...] = ()

    @property
    def body(self) -> str:
        return self.plain if self.html is None else self.html

    def people(self, name: str) -> tuple[addresses.Mailbox, ...]:
        """The mailboxes in the fields of that name."""
        return tuple(
            mailbox for field in self.head.all(name) for mailbox in addresses.mailboxes(self.head.undecoded(field))
        )


def read(raw: bytes) -> Contents:
    """Never raises, for any bytes: what can't be read is not there."""
    head = headers.read(raw)
    html: str | None = None
    plain: str | None = None
    files: list[File] = []
    found = parts.scan(raw, head).parts
    beside = shapes.files(found)
    for index, part in enumerate(found):
        if part.content_type.startswith("multipart/"):
            continue
        named = filename(part)
        attached = part.disposition.startswith("attachment") or index in beside
        if part.content_type == "text/html" and html is None and not attached:
            html = lines(parts.text(raw, part))
        elif part.content_type == "text/plain" and plain is None and not attached:
            plain = lines(parts.text(raw, part))
        elif not (part.content_type.startswith("text/") and not attached):
            files.append(file(raw, part, named))
    return Contents(head, html, plain or "", tuple(files))


def lines(text: str | None) -> str:
    return (text or "").replace("\r\n", "\n")


def filename(part: parts.Part) -> str:
    given = structured.read(part.headers.get("content-disposition")).parameters
    return given.get("filename") or part.parameters.get("name", "")


def file(raw: bytes, part: parts.Part, named: str) -> File:
    octets = raw[part.start : part.end]
    content = transfer.decode(octets, part.encoding)
    identifier = part.headers.get("content-id").strip().removeprefix("<").removesuffix(">")
    return File(
        named, octets if content is None else content, part.content_type, identifier, part.disposition,
        part.disposition.startswith("inline") or bool(identifier and not part.disposition.startswith("attachment")),
    )  # fmt: skip
