"""A message in 7bit, for an upstream that takes nothing else (RFC 6152 3).

Owns: which parts are encoded and how, the fields that say so, and the DKIM signatures that this breaks. Every part means
the same before and after, octet by octet; all bytes outside the encoded bodies and those fields stay. What can't be had so
is left, with a reason: seals (S/MIME, PGP), raw octets in header fields or between parts, structures that readers would
not agree on. The same bytes give the same bytes each time, the signature too.
Leaves to others: when it is needed (`upstream`), what becomes of a message that stays 8bit (`envelopes`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.core import addresses, dkim, envelopes, headers, parts
from relay.core.headers import Headers
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


class Unfit(NamedTuple):
    """It can't be had in 7bit. The reason is ASCII, and goes on from "The upstream does not offer 8BITMIME, and"."""

    reason: str


class Converted(NamedTuple):
    """The message in 7bit. `removed` counts the DKIM signatures of others, which no longer held."""

    content: bytes
    removed: int


LINES = Unfit("the message has a bare CR or LF")
LIMITS = Unfit("the message has more parts or fields than are looked at")
FIELDS = Unfit("header fields of the message have raw octets beyond ASCII")
BETWEEN = Unfit("the message has octets beyond ASCII outside its parts")
SEAL = Unfit("a signed or encrypted part of the message would have to change")
DOUBT = Unfit("a part of the message can be read in more than one way")
LABEL = Unfit("a part of the message is not what its transfer encoding says")
WHOLE = Unfit("the message has a part of a kind that may not be encoded (RFC 2045 6.4)")
SIGNATURE = Unfit("the signature of the message could not be made again")
SECONDS = re.compile(r"[0-9]{1,12}")


def convert(raw: bytes, signers: Sequence[dkim.Signer] = ()) -> Converted | Unfit:
    """For any bytes. A signature by one of `signers`, the one that the From header chooses, is made again over what leaves,
    with the time of the one that it replaces."""
    if raw.isascii():
        return Converted(raw, 0)
    if not envelopes.whole(raw):
        return LINES
    head = headers.read(raw)
    edits = _edits(raw, head, LEVELS)
    if isinstance(edits, Unfit):
        return edits
    broken = dkim.broken(head, changed=(), body=True)
    taken = {i: Edit(head.fields[i].start, head.fields[i].end, b"") for i in broken}
    content = parts.splice(raw, [*edits, *taken.values()])
    if not content.isascii():
        return BETWEEN
    ours = _ours(head, broken, signers)
    if ours is None:
        return Converted(content, len(broken))
    try:
        made = dkim.sign(content, ours.signer, ours.at, dkim.left_out(head, ours.place))
    except dkim.Unsignable:
        return SIGNATURE
    taken[ours.place] = taken[ours.place].with_(new=made)  # where the old one stood: trace fields stay above it
    return Converted(parts.splice(raw, [*edits, *taken.values()]), len(broken) - 1)


class _Ours(NamedTuple):
    """A signature of ours that broke: its place among the fields, its key, and when it was made."""

    place: int
    signer: dkim.Signer
    at: int


def _ours(head: Headers, broken: Sequence[int], signers: Sequence[dkim.Signer]) -> _Ours | None:
    signer = dkim.choose(signers, addresses.author(head).address)
    if signer is None:
        return None
    for index in broken:
        domain, selector, at = (dkim.tag(head, index, name) for name in (b"d", b"s", b"t"))
        if (domain.lower(), selector.lower()) == (signer.domain, signer.selector) and SECONDS.fullmatch(at):
            return _Ours(index, signer, int(at))
    return None


def _edits(raw: bytes, head: Headers, levels: int) -> list[Edit] | Unfit:
    """What makes a message, or a message in a message, 7bit but for what lies between its parts."""
    scanned = parts.scan(raw, head)
    if scanned.reason is not None or not levels:
        return LIMITS
    above = {part.parent for part in scanned.parts}
    shut: list[Unfit | None] = []
    edits: list[Edit] = []
    for index, part in enumerate(scanned.parts):
        fields = part.headers.fields
        if fields and not raw[fields[0].start : part.start].isascii():
            return FIELDS
        body = b"" if index in above else raw[part.start : part.end]
        shut.append((shut[part.parent] if part.parent >= 0 else None) or _shut(part, body))
        why = shut[index] or (None if part.encoding in transfer.IDENTITY else LABEL)
        if why:
            if not body.isascii():
                return why
            continue
        made = ("7bit", body) if is_seven(body) else _encoded(part, body, levels)
        if isinstance(made, Unfit):
            return made
        if made[1] is not body:
            edits.append(Edit(part.start, part.end, made[1]))
        if made[0] != part.encoding:
            edits += _labelled(part, made[0])
    if VERSION not in head.named:  # without it the encodings mean nothing (RFC 2045 4)
        edits.insert(0, Edit(head.end, head.end, b"MIME-Version: 1.0\r\n"))
    return edits


def _shut(part: Part, body: bytes) -> Unfit | None:
    """Why nothing of this part and of what is in it may change."""
    if part.content_type in SEALED or PGP in body:
        return SEAL
    many = part.content_type.startswith(("multipart/", "message/"))
    return DOUBT if part.doubtful or (many and part.encoding not in transfer.IDENTITY) else None


def is_seven(body: bytes) -> bool:
    """Is it 7bit data (RFC 2045 2.7): ASCII, no NUL, at most 998 octets in a line? Asked of lines that end in CRLF."""
    if not body.isascii() or b"\0" in body:
        return False
    at = 0
    while len(body) - at > transfer.LINE:
        end = body.rfind(b"\n", at, at + transfer.LINE + 2)
        if end < 0:
            return False
        at = end + 1
    return True


def _encoded(part: Part, body: bytes, levels: int) -> tuple[str, bytes] | Unfit:
    """The new encoding and the new body."""
    if part.content_type.startswith(("multipart/", "message/")):
        if body.isascii():  # long lines only: nothing that can be encoded has them
            return part.encoding, body
        if part.content_type != "message/rfc822":
            return WHOLE
        edits = _edits(body, headers.read(body), levels - 1)
        return edits if isinstance(edits, Unfit) else ("7bit", parts.splice(body, edits))
    if part.content_type.startswith("text/") and 2 * len(body.translate(None, TEXT)) <= len(body):
        quoted = binascii.b2a_qp(body + b"\r\n", istext=True)[:-2]  # it breaks lines as the first one ends
        if quoted.count(b"\n--") == body.count(b"\n--"):  # else a soft line break made what may be a delimiter
            return "quoted-printable", quoted
    packed = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return "base64", packed if body.endswith(b"\r\n") else packed[:-2]


def _labelled(part: Part, encoding: str) -> list[Edit]:
    """The fields as everybody reads them. More than one said the same, or it were doubtful."""
    at = part.headers.end
    spans = [(field.start, field.end) for field in part.headers.all(ENCODING)] or [(at, at)]
    return [Edit(start, end, b"Content-Transfer-Encoding: %b\r\n" % encoding.encode()) for start, end in spans]
