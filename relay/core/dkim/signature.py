"""One DKIM signature, made by dkimpy's parts where a value is unusual, and by faster ones of the same result where not.

Owns: which fields are signed, the form of the field, the canonical header and body. `cryptography` does the RSA and
Ed25519 steps (dkimpy's RSA takes ten times as long); dkimpy's own way through a message splits and joins every line
of a body, and turns bare line feeds into CRLF without a word.
Leaves to others: keys, and which is right for a message (the package).

Relaxed/relaxed (RFC 6376 3.4), never `l=`. From, Subject, To and Date are named once more than they are there, so
that none can be added without breaking the signature (RFC 6376 8.15), but for those that a server on the way replaces.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import dkim as dkimpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from relay.core import headers
from relay.core.dkim import Signer, Unsignable

FROZEN = ("from", "subject", "to", "date")
# RFC 6376 5.4.1, and what came later: List-Unsubscribe-Post has to be signed for one-click to work (RFC 8058 3.1).
SIGNED = frozenset(name.decode("ascii") for name in dkimpy.DKIM.SHOULD) | {
    "list-unsubscribe-post",
    "auto-submitted",
    "feedback-id",
}
MAX_FIELDS = 200  # signed ones; a real message has some 15
WIDTH = 76
PKCS1, SHA256_DIGEST = PKCS1v15(), Prehashed(SHA256())
RELAXED = dkimpy.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
UNUSUAL = re.compile(rb"[\x0b\x0c]|\r(?!\n)")  # white space that is none to DKIM


def sign(content: bytes, signer: Signer, now: int, without: frozenset[str]) -> bytes:
    head = headers.read(content)
    covered, frozen = (SIGNED - without, frozen_but(without)) if without else (SIGNED, FROZEN)
    signed = [field for field in head.fields if field.name in covered]
    names = tuple([field.name for field in signed])
    if why := refusal(head, names):
        raise Unsignable(why)
    newline = b"\n" if b"\n" in content and b"\r\n" not in content else b"\r\n"
    digest = base64.b64encode(hashlib.sha256(relaxed_body(as_sent(content[head.body :]))).digest())
    before, after = form(signer.algorithm, signer.domain, signer.selector, names + frozen)
    whole = b"%b%d%b%b;\r\n b=" % (before, now, after, digest)
    # The value is hashed with an empty `b=`, canonical like the others, without a line ending (RFC 6376 3.7).
    lines = selected([(f.name, canonical(f.name, content[f.value : f.end])) for f in signed], names + frozen)
    lines.append(canonical("dkim-signature", whole.partition(b":")[2])[:-2])
    signature = wrapped(seal(signer, hashlib.sha256(b"".join(lines)).digest()))
    field = whole + signature + b"\r\n"
    return field if newline == b"\r\n" else field.replace(b"\r\n", newline)


def refusal(head: headers.Headers, names: Sequence[str]) -> str:
    """Why a message can't be signed, or ""; `names` are those of the fields that would be."""
    if head.malformed >= 0:
        return f"the line at octet {head.malformed - head.start} is no header field"
    if (count := names.count("from")) != 1:
        return "there is no From field" if not count else f"there are {count} From fields, not one"
    if len(names) > MAX_FIELDS:
        return f"{len(names)} fields would have to be signed; at most {MAX_FIELDS} are"
    return ""


def frozen_but(without: frozenset[str]) -> tuple[str, ...]:
    return tuple([name for name in FROZEN if name not in without])


def coverable(head: headers.Headers) -> set[str]:
    """The names that a signature of this message has in h= where it leaves none out."""
    return {name for name in head.named if name in SIGNED} | set(FROZEN)


@lru_cache(maxsize=256)
def form(algorithm: str, domain: str, selector: str, names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The field up to the value of `t=`, and from there to the value of `bh=`; `names` are those of `h=`."""
    lines = [
        f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;",
        f" d={domain}; s={selector}; t=",
    ]
    rest = [";", *folded(" h=", names), " bh="]
    return "\r\n".join(lines).encode("ascii"), "\r\n".join(rest).encode("ascii")


def selected(lines: Sequence[tuple[str, bytes]], names: Sequence[str]) -> list[bytes]:
    """For each name the next field of that name from the bottom, or nothing where there is none left (RFC 6376 5.4.2)."""
    found: dict[str, list[bytes]] = {}
    for name, line in lines:
        found.setdefault(name, []).append(line)
    return [there.pop() for name in names if (there := found.get(name))]


def canonical(name: str, value: bytes) -> bytes:
    """One field as it is hashed (RFC 6376 3.4.2): unfolded, runs of spaces and tabs as one space, none at either end."""
    if UNUSUAL.search(value):
        [(_, made)] = RELAXED.canonicalize_headers([(name.encode("ascii"), value)])
        return name.encode("ascii") + b":" + bytes(made)
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return b"%b:%b\r\n" % (name.encode("ascii"), b" ".join(value.split()))


def seal(signer: Signer, digest: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 over the digest (RFC 6376 3.3), or PureEdDSA over it (RFC 8463 3)."""
    key: Any = signer.key
    return bytes(key.sign(digest) if isinstance(key, Ed25519PrivateKey) else key.sign(digest, PKCS1, SHA256_DIGEST))


def folded(start: str, names: Sequence[str]) -> list[str]:
    """The names, joined by colons, over lines."""
    lines = [start]
    for i, name in enumerate(names):
        word = name + (";" if i == len(names) - 1 else ":")
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append("  ")
        lines[-1] += word
    return lines


def wrapped(signature: bytes) -> bytes:
    text = base64.b64encode(signature)
    width = WIDTH - 4
    return b"\r\n  ".join(text[at : at + width] for at in range(0, len(text), width))


# -- the body ----------------------------------------------------------------------------------------------------------


def as_sent(body: bytes) -> bytes:
    """The body as it travels: bare line feeds as CRLF, and a line ending at its end (RFC 5321 4.1.1.4)."""
    if body.count(b"\n") != body.count(b"\r\n"):
        body = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return body if not body or body.endswith(b"\r\n") else body + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 3.4.4, for a body as it travels: runs of spaces and tabs are one space, none is at the end of a line,
    no empty lines are at the end. Whole-buffer replacements: a regular expression visits every single space."""
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    for run in (b" " * 16, b" " * 4, b"  "):
        while run in body:
            body = body.replace(run, b" ")
    body = body.replace(b" \r\n", b"\r\n")
    end = len(body.rstrip(b"\r\n"))
    last = len(body)
    if body.count(b"\r\n", end) * 2 == last - end:
        last = end
    while last > end and body.endswith(b"\r\n", 0, last):
        last -= 2
    return body[:last] + b"\r\n" if last else b""
