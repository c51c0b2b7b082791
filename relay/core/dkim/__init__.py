"""DKIM (RFC 6376, RFC 8463): sign a message with a key, and know which signatures an edit breaks.

Owns: keys, the choice of one, the DNS record, what of an existing signature still holds.
Leaves to others: the signature itself (`signature`), when to sign and what happens to a message that can't be signed
(`outbound`: it goes out unsigned and says so), looking anything up in DNS (`check`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from relay.core import domains, headers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

SMALLEST_RSA = 1024  # bits; RFC 8301 3.2 lets nobody verify a shorter one
STRING = 255  # octets of one string in a TXT record (RFC 1035 3.3.14)
TAGS = re.compile(rb"[\s]*([A-Za-z][A-Za-z0-9_]*)[\s]*=([^;]*)(?:;|\Z)")
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z")


class BadKey(ValueError):
    """The key can't be used. The text says why and what would do."""


class Unsignable(Exception):
    """This message can't be signed. The text says why."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, loaded, and the domain and selector under which its public half is found. `unsigned` are names of
    fields, in lower case, that its signatures never cover."""

    domain: str
    selector: str
    algorithm: Literal["rsa-sha256", "ed25519-sha256"]
    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)
    unsigned: frozenset[str] = frozenset()


def load(pem: bytes, domain: str, selector: str, unsigned: Collection[str] = ()) -> Signer:
    """The key of a PEM file: RSA of 1,024 bits or more, or Ed25519; PKCS #1 or PKCS #8, any line endings. `unsigned` are
    names of fields, in any case. Takes some 40 ms: do it once. Raises `BadKey`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    domain, selector = domains.spelt(domain), selector.lower()
    without = frozenset(name.lower() for name in unsigned)
    for name, what in ((domain, "domain"), (selector, "selector")):
        if not NAME.match(name) or len(name) > 253:
            raise BadKey(f"{name!r} is no {what}: letters, digits, hyphens and dots are needed")
    try:
        key = load_pem_private_key(pem.replace(b"\r\n", b"\n").lstrip(b"\xef\xbb\xbf \t\n"), None)
    except TypeError as reason:  # how `cryptography` says that it needs a password
        raise BadKey("the key is encrypted; a key without a passphrase is needed") from reason
    except (ValueError, UnsupportedAlgorithm) as reason:
        raise BadKey("this is no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from reason
    if isinstance(key, Ed25519PrivateKey):
        return Signer(domain, selector, "ed25519-sha256", key, without)
    if not isinstance(key, RSAPrivateKey):
        raise BadKey("this is neither an RSA nor an Ed25519 key; DKIM knows no others")
    if key.key_size < SMALLEST_RSA:
        raise BadKey(f"an RSA key of {key.key_size} bits is too short; use 2048")
    return Signer(domain, selector, "rsa-sha256", key, without)


def choose(signers: Sequence[Signer], from_address: str) -> Signer | None:
    """The key for the From header's address: that of its domain, else of the nearest domain above it, which DMARC's
    relaxed alignment takes too (RFC 7489 3.1.1). None where there is none."""
    domain = domains.of_address(from_address)
    above = [s for s in signers if domain == s.domain or domain.endswith("." + s.domain)]
    return max(above, key=lambda s: len(s.domain), default=None)


def sign(content: bytes, signer: Signer, now: int, without: frozenset[str] = frozenset()) -> bytes:
    """The DKIM-Signature field for these bytes, folded and with its line ending, to be put before them. `now` is
    Unix seconds. Of fields of the names `without` (lower case) it says nothing, nor that there are no more of them. Raises
    `Unsignable`; the bytes are never changed."""
    from relay.core.dkim import signature  # dkimpy takes 0.15 s to import, and only those who sign need it

    return signature.sign(content, signer, now, signer.unsigned | without if without else signer.unsigned)


def refusal(head: headers.Headers) -> str:
    """Why a message with this header section can't be signed; "" where it can."""
    from relay.core.dkim import signature

    return signature.refusal(head, [field.name for field in head.fields if field.name in signature.SIGNED])


def record(signer: Signer) -> str:
    """The text of the TXT record at `<selector>._domainkey.<domain>` (RFC 6376 3.6.1; RFC 8463 4.2 for Ed25519)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public: Any = signer.key.public_key()
    if signer.algorithm == "ed25519-sha256":
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(public.public_bytes_raw()).decode('ascii')}"
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(octets).decode('ascii')}"


def published_key(record: bytes) -> bytes:
    """The key in a TXT record (p=), without white space; empty where there is none, or it was revoked."""
    return next((b"".join(match[2].split()) for match in TAGS.finditer(record) if match[1] == b"p"), b"")


def zone_line(signer: Signer) -> str:
    """The record as a line of a zone file, in strings of at most 255 octets, which readers join."""
    text = record(signer)
    strings = " ".join(f'"{text[at : at + STRING]}"' for at in range(0, len(text), STRING))
    return f"{signer.selector}._domainkey.{signer.domain}. IN TXT ( {strings} )"


def broken(head: headers.Headers, *, changed: Collection[str], body: bool) -> tuple[int, ...]:
    """Indexes of the DKIM-Signature fields that no longer hold once fields of these (lower-case) names were added,
    removed or changed, and the body where `body` says so. One that does not sign what changed stays."""
    if not changed and not body:
        return ()
    touched = {name.lower() for name in changed}
    signatures = [i for i, f in enumerate(head.fields) if f.name == "dkim-signature"]
    found: set[int] = set()
    while True:
        more = [i for i in signatures if i not in found and (body or touched & signed_fields(head, i))]
        if not more:
            return tuple(sorted(found))
        found.update(more)
        touched.add("dkim-signature")  # what signed those is broken by their removal


def signed_fields(head: headers.Headers, index: int) -> frozenset[str]:
    """The names in a signature's h= tag, in lower case."""
    names = tag(head, index, b"h")
    return frozenset(name.strip().lower() for name in names.split(":")) if names else frozenset()


def left_out(head: headers.Headers, index: int) -> frozenset[str]:
    """The names of the fields that a signature of ours would cover by itself, and that this one does not: those that were
    left `without`. A signature that replaces it leaves them out too."""
    from relay.core.dkim import signature

    return frozenset(signature.coverable(head) - signed_fields(head, index))


def tag(head: headers.Headers, index: int, name: bytes) -> str:
    """The value of a signature's tag (RFC 6376 3.2) without white space around it; "" where there is none."""
    for match in TAGS.finditer(head.bytes(head.fields[index])):
        if match[1] == name:
            return match[2].decode("latin-1").strip()
    return ""
