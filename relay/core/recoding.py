"""A part in another transfer encoding, octet by octet the same (RFC 2045 6).

Owns: what may not be encoded anew and why, which encoding is right for a body, the field that says so, and the limit on
a line's length (RFC 5322 2.1.1).
Leaves to others: when it is needed, and the whole message (`sevenbit`, `lines`).
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from relay.core.model import Edit
from relay.core.parts import Part, transfer

# A message in a message is one itself, and is read once more for each that it is in; people forward two or three deep.
LEVELS = 8
SEALED = frozenset(
    {
        "multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime",
        "application/pgp", "application/pgp-encrypted",
    }
)  # fmt: skip
PGP = b"-----BEGIN PGP "
TEXT = bytes(range(32, 127)).replace(b"=", b"") + b"\t\r\n"  # one octet each in quoted-printable; others have three
ENCODING, VERSION = "content-transfer-encoding", "mime-version"
MIME_VERSION = b"MIME-Version: 1.0\r\n"  # without it the encodings mean nothing (RFC 2045 4)


class Unfit(NamedTuple):
    """It can't be had so. The reason is ASCII, and goes on from "and"."""

    reason: str


LIMITS = Unfit("the message has more parts or fields than are looked at")
SEAL = Unfit("a signed or encrypted part of the message would have to change")
DOUBT = Unfit("a part of the message can be read in more than one way")
LABEL = Unfit("a part of the message is not what its transfer encoding says")
WHOLE = Unfit("the message has a part of a kind that may not be encoded (RFC 2045 6.4)")


def shut(part: Part, body: bytes) -> Unfit | None:
    """Why nothing of this part and of what is in it may change. (An encoding of a multipart, which there is none, is said by
    programs and heeded by no reader.)"""
    if part.content_type in SEALED or PGP in body:
        return SEAL
    inner = part.content_type.startswith("message/")
    return DOUBT if part.doubtful or (inner and part.encoding not in transfer.IDENTITY) else None


def composite(part: Part) -> bool:
    """May it have no encoding of its own (RFC 2045 6.4)?"""
    return part.content_type.startswith(("multipart/", "message/"))


def encoded(part: Part, body: bytes) -> tuple[str, bytes]:
    """The encoding that is right for an unencoded body, and the encoded body. For lines that end in CRLF."""
    others = len(body.translate(None, TEXT))
    if part.content_type.startswith("text/") and 2 * others <= len(body) and b"\0" not in body:  # UTF-16 has NUL
        quoted = binascii.b2a_qp(body + b"\r\n", istext=True)[:-2]  # it breaks lines as the first one ends
        if quoted.count(b"\n--") == body.count(b"\n--"):  # else a soft line break made what may be a delimiter
            return "quoted-printable", quoted
    packed = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return "base64", packed if body.endswith(b"\r\n") else packed[:-2]


def labelled(part: Part, encoding: str) -> list[Edit]:
    """The fields as everybody reads them. More than one said the same, or it were doubtful."""
    at = part.headers.end
    spans = [(field.start, field.end) for field in part.headers.all(ENCODING)] or [(at, at)]
    return [Edit(start, end, b"Content-Transfer-Encoding: %b\r\n" % encoding.encode()) for start, end in spans]


def long_line(text: bytes) -> bool:
    """Has a line more than 998 octets, without its line ending? A look at each thousand octets, not at each line."""
    at, most, size = 0, transfer.LINE, len(text)
    while size - at > most:
        end = text.rfind(b"\n", at, at + most + 2)
        if end < 0:
            return True
        if end - at > most and text[end - 1] != 13 and text.rfind(b"\n", at, end) < 0:
            return True  # 999 octets and a bare LF
        at = end + 1
    return False
