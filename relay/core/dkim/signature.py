"""One DKIM signature, made by dkimpy's parts where they are exact, and by others where they are slow.

Owns: which fields are signed, the form of the field, the canonical body. dkimpy canonicalises and selects the header
fields; `cryptography` does the RSA and Ed25519 steps (dkimpy's RSA takes ten times as long); the relaxed body is
canonicalised here with the same result 20 times as fast.
Leaves to others: keys, and which is right for a message (the package).

Relaxed/relaxed (RFC 6376 3.4), never `l=`. From, Subject, To and Date are named once more than they are there, so
that none can be added without breaking the signature (RFC 6376 8.15).
"""

from __future__ import annotations

import base64
import hashlib
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
MOST_FIELDS = 200  # signed ones; a real message has some 15
WIDTH = 76
PKCS1, SHA256_DIGEST = PKCS1v15(), Prehashed(SHA256())
RELAXED = dkimpy.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")


def sign(content: bytes, signer: Signer, now: int) -> bytes:
    try:
        return Signature(content).field(signer, now)
    except (dkimpy.DKIMException, ValueError) as reason:
        raise Unsignable(str(reason)) from reason


class Signature(dkimpy.DKIM):  # type: ignore[misc]  # dkimpy has no types
    """dkimpy's signer over spans of our own reading: it splits and joins every line of a body, and turns bare line
    feeds into CRLF without a word."""

    def set_message(self, message: bytes) -> None:
        super().set_message(None)
        head = headers.read(message)
        if head.malformed >= 0:
            raise Unsignable(f"the line at octet {head.malformed} is no header field")
        count = sum(f.name == "from" for f in head.fields)
        if count != 1:
            raise Unsignable("there is no From field" if not count else f"there are {count} From fields, not one")
        self.newline = b"\n" if b"\n" in message and b"\r\n" not in message else b"\r\n"
        self.body = as_sent(message[head.body :])
        self.names = [f.name for f in head.fields if f.name in SIGNED]
        if len(self.names) > MOST_FIELDS:
            raise Unsignable(f"{len(self.names)} fields would have to be signed; at most {MOST_FIELDS} are")
        self.headers = [
            (f.name.encode("ascii"), message[f.value : f.end].rstrip(b"\r\n") + b"\r\n")
            for f in head.fields
            if f.name in SIGNED
        ]

    def field(self, signer: Signer, now: int) -> bytes:
        """The whole field. Its value is hashed with an empty `b=`, canonical like the others (RFC 6376 3.7)."""
        names = [name.encode("ascii") for name in (*self.names, *FROZEN)]
        digest = base64.b64encode(hashlib.sha256(relaxed_body(self.body)).digest()).decode("ascii")
        lines = [
            f"DKIM-Signature: v=1; a={signer.algorithm}; c=relaxed/relaxed;",
            f" d={signer.domain}; s={signer.selector}; t={now};",
            *folded(" h=", (*self.names, *FROZEN)),
            f" bh={digest};",
            " b=",
        ]
        whole = "\r\n".join(lines).encode("ascii")
        hasher = hashlib.sha256()
        value = (b"DKIM-Signature", whole.partition(b":")[2])
        dkimpy.hash_headers(hasher, RELAXED, RELAXED.canonicalize_headers(self.headers), names, value, {})
        return (whole + wrapped(seal(signer, hasher.digest()))).replace(b"\r\n", self.newline) + self.newline


def seal(signer: Signer, digest: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 over the digest (RFC 6376 3.3), or PureEdDSA over it (RFC 8463 3)."""
    key: Any = signer.key
    return bytes(key.sign(digest) if isinstance(key, Ed25519PrivateKey) else key.sign(digest, PKCS1, SHA256_DIGEST))


def folded(start: str, names: tuple[str, ...]) -> list[str]:
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
