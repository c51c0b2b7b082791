"""The MIME parts of a message that is made here.

Owns: which parts there are and how they are nested (RFC 2046, RFC 2387), and their encodings: text goes as it is where
its lines are short enough, so that it can be read and tracked; files in base64.
Leaves to others: the header of the message (`compose`).

    mixed ─┬─ related ─┬─ alternative ─┬─ text/plain
           │           │               └─ text/html
           │           └─ inline files
           └─ attached files
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from email import quoprimime, utils
from urllib.parse import quote

from relay.core.compose import fields, text
from relay.core.compose.fields import Unfit
from relay.core.model import Value

LONGEST_LINE = 998  # octets (RFC 5322 2.1.1)
MAX_FILENAME = 255  # characters
MAX_ATTACHMENTS = 500
KIND = re.compile(r"(?P<type>[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100})(?P<rest>(?:;.*)?)", re.S)
PARAMETER = re.compile(r";\s*([A-Za-z0-9-]+)=(\"[^\"\\]*\"|[A-Za-z0-9!#$&'*+.^_`{|}~-]+)\s*")
CONTENT_ID = re.compile(r"[!-;=?-~]{1,250}")
LINE_END = re.compile(r"\r\n|\r|\n")
QUOTED_PRINTABLE = 76
IN_A_LINE = 70  # characters of a file name's parameter


class Attachment(Value, frozen=True):
    """`content` is the octets. An inline one is shown by the HTML, which names its `content_id` (`cid:`)."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"
    content_id: str = ""
    inline: bool = False


def write(html: str | None, plain: str | None, attachments: Sequence[Attachment], boundary: str) -> bytes:
    """The body with its own header fields (Content-…), the blank line in between. Raises `Unfit`."""
    if len(attachments) > MAX_ATTACHMENTS:
        raise Unfit("attachments", f"there may be {MAX_ATTACHMENTS}")
    files = [(a.inline and html is not None, file(n, a)) for n, a in enumerate(attachments)]
    if html is None:
        made = words("plain", plain or "")
    else:
        other = text.of(html) if plain is None else plain
        made = words("html", html)
        if other.strip() or plain is not None:
            made = together("alternative", [words("plain", other), made], f"{boundary}a")
    inline = [part for is_inline, part in files if is_inline]
    if inline:
        kind = "multipart/alternative" if made.startswith(b"Content-Type: multipart/") else "text/html"
        made = together("related", [made, *inline], f"{boundary}r", f'; type="{kind}"')
    attached = [part for is_inline, part in files if not is_inline]
    return together("mixed", [made, *attached], f"{boundary}m") if attached else made


def together(kind: str, parts: Sequence[bytes], boundary: str, more: str = "") -> bytes:
    mark = boundary.encode()
    pieces = [f'Content-Type: multipart/{kind}{more};\r\n boundary="{boundary}"\r\n\r\n'.encode()]
    for part in parts:
        pieces += (b"--", mark, b"\r\n", part, b"" if part.endswith(b"\r\n") else b"\r\n")
    pieces += (b"--", mark, b"--\r\n")
    return b"".join(pieces)


def words(kind: str, given: str) -> bytes:
    """A part of text. It ends in a line end."""
    if any("\ud800" <= c <= "\udfff" for c in given):
        raise Unfit("body", "it is no text: half of a character stands in it")
    lines = LINE_END.split(given)
    if lines[-1]:
        lines.append("")
    whole = "\r\n".join(lines)
    raw = whole.encode()
    # A NUL, or a line that a server would break, has to be encoded.
    if b"\0" in raw or max(len(line) for line in raw.split(b"\r\n")) > LONGEST_LINE:
        encoding = "quoted-printable"
        raw = quoted_printable(raw)
    else:
        encoding = "7bit" if raw.isascii() else "8bit"
    return f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + raw


def quoted_printable(raw: bytes) -> bytes:
    encoded = quoprimime.body_encode(raw.replace(b"\r\n", b"\n").decode("latin-1"), QUOTED_PRINTABLE, "\r\n")
    return encoded.encode("ascii")


def file(number: int, given: Attachment) -> bytes:
    field = f"attachments[{number}]"
    name = fields.clean(f"{field}.filename", given.filename).strip()
    if len(name) > MAX_FILENAME:
        raise Unfit(f"{field}.filename", f"it may have {MAX_FILENAME} characters")
    kind = content_type(f"{field}.content_type", given.content_type)
    multi = kind.lower().startswith(("multipart/", "message/"))  # which base64 is not allowed for (RFC 2046 5.1, 5.2)
    lines = [
        f"Content-Type: {'application/octet-stream' if multi else kind}",
        f"Content-Disposition: {'inline' if given.inline else 'attachment'}{filename(name)}",
        "Content-Transfer-Encoding: base64",
    ]
    identifier = given.content_id.strip().removeprefix("<").removesuffix(">")
    if identifier:
        if not CONTENT_ID.fullmatch(identifier):
            raise Unfit(f"{field}.content_id", "white space and <> can't stand in it, nor other than ASCII")
        lines.append(f"Content-ID: <{identifier}>")
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + in_base64(given.content)


def content_type(field: str, given: str) -> str:
    """With the parameters that it has. Raises `Unfit`."""
    found = KIND.fullmatch(fields.clean(field, given).strip() or "application/octet-stream")
    if not found:
        raise Unfit(field, f"{given[:100]!r} is no media type")
    parameters = PARAMETER.findall(found["rest"])
    kept = [f";\r\n {name}={value}" for name, value in parameters if name.lower() not in ("name", "boundary")]
    return found["type"] + "".join(kept)


def filename(name: str) -> str:
    """The parameter, in pieces where it is long or other than ASCII (RFC 2231); "" without a name."""
    if not name:
        return ""
    if name.isascii() and len(name) <= IN_A_LINE:
        return f';\r\n filename="{utils.quote(name)}"'
    encoded = f"utf-8''{quote(name, safe='')}"
    if len(encoded) <= IN_A_LINE:
        return f";\r\n filename*={encoded}"
    pieces: list[str] = []
    while encoded:
        end = min(IN_A_LINE - 8, len(encoded))
        while end < len(encoded) and "%" in encoded[end - 2 : end]:  # not within %41
            end -= 1
        pieces.append(encoded[:end])
        encoded = encoded[end:]
    return "".join(f";\r\n filename*{n}*={piece}" for n, piece in enumerate(pieces))


def in_base64(content: bytes) -> bytes:
    whole = base64.encodebytes(content)  # lines of 76
    return whole.replace(b"\n", b"\r\n")
