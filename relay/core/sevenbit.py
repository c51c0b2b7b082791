"""A message in 7bit, for an upstream that takes nothing else (RFC 6152 3).

Owns: which parts are encoded, and the DKIM signatures that this breaks. Every part means the same before and after, octet
by octet; all bytes outside the encoded bodies and the fields that say so stay. What can't be had so is left, with a reason:
seals (S/MIME, PGP), raw octets in header fields or between parts, structures that readers would not agree on. The same
bytes give the same bytes each time, the signature too.
Leaves to others: how a part is encoded (`recoding`), when it is needed (`upstream`), what becomes of a message that stays
8bit (`envelopes`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.core import addresses, dkim, envelopes, headers, parts, providers, recoding
from relay.core.headers import Headers
from relay.core.model import Edit
from relay.core.parts import Part, transfer
from relay.core.recoding import LEVELS, Unfit


class Converted(NamedTuple):
    """The message in 7bit. `removed` counts the DKIM signatures of others, which no longer held."""

    content: bytes
    removed: int


LINES = Unfit("the message has a bare CR or LF")
FIELDS = Unfit("header fields of the message have raw octets beyond ASCII")
BETWEEN = Unfit("the message has octets beyond ASCII outside its parts")
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
    left_out = dkim.left_out(head, ours.place) & providers.REPLACED  # whoever wrote that field says no more than this
    try:
        made = dkim.sign(content, ours.signer, ours.at, left_out)
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
        return recoding.LIMITS
    above = {part.parent for part in scanned.parts}
    shut: list[Unfit | None] = []
    edits: list[Edit] = []
    for index, part in enumerate(scanned.parts):
        fields = part.headers.fields
        if fields and not raw[fields[0].start : part.start].isascii():
            return FIELDS
        body = b"" if index in above else raw[part.start : part.end]
        shut.append((shut[part.parent] if part.parent >= 0 else None) or recoding.shut(part, body))
        why = shut[index] or (None if part.encoding in transfer.IDENTITY else recoding.LABEL)
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
            edits += recoding.labelled(part, made[0])
    if recoding.VERSION not in head.named:
        edits.insert(0, Edit(head.end, head.end, recoding.MIME_VERSION))
    return edits


def is_seven(body: bytes) -> bool:
    """Is it 7bit data (RFC 2045 2.7): ASCII, no NUL, at most 998 octets in a line? Asked of lines that end in CRLF."""
    return body.isascii() and b"\0" not in body and not recoding.long_line(body)


def _encoded(part: Part, body: bytes, levels: int) -> tuple[str, bytes] | Unfit:
    """The new encoding and the new body."""
    if not recoding.composite(part):
        return recoding.encoded(part, body)
    if body.isascii():  # long lines only: nothing that can be encoded has them
        return part.encoding, body
    if part.content_type != "message/rfc822":
        return recoding.WHOLE
    edits = _edits(body, headers.read(body), levels - 1)
    return edits if isinstance(edits, Unfit) else ("7bit", parts.splice(body, edits))
