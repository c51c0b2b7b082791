"""Signing a 5 kB message, as a ratio to the bare signature of `cryptography` with the same key in the same run.

What lies above 1 is ours: reading the header, canonicalising, hashing, writing the field. Goal for RSA-2048: 1.3.
dkimpy's own signer, its RSA in Python, stands beside it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import dkim as dkimpy
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from relay.core import dkim

ROUNDS = 7
SECONDS = 0.25  # of one measurement

BODY = b"".join(
    b'<p>Line %d of a message, with <a href=3D"https://example.com/%d">a link</a>.</p>=20\r\n' % (n, n)
    for n in range(60)
)
MESSAGE = (
    b"Received: from client (client [192.0.2.1]) by relay; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"From: Ann Example <ann@example.com>\r\nTo: Ben <ben@example.net>\r\nSubject: A message of the usual kind\r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <20260101000000.1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"List-Unsubscribe: <https://example.com/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n"
) + BODY


def microseconds(call: Callable[[], object]) -> float:
    """The time of one call, over as many as fit."""
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS:
        call()
        count += 1
    return spent / count * 1e6


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """In alternating rounds, so that a busy machine slows all alike."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name].append(microseconds(call))
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> int:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    edwards = ed25519.Ed25519PrivateKey.generate()
    signer = dkim.load(pem, "example.com", "t1")
    small = dkim.Signer("example.com", "t2", "ed25519-sha256", edwards)
    digest = bytes(32)
    print(f"a message of {len(MESSAGE)} octets, {ROUNDS} alternating rounds, medians")
    times = medians(
        {
            "RSA-2048, bare signature": lambda: key.sign(digest, padding.PKCS1v15(), hashes.SHA256()),
            "RSA-2048, message": lambda: dkim.sign(MESSAGE, signer, 1_767_225_600),
            "Ed25519, bare signature": lambda: edwards.sign(digest),
            "Ed25519, message": lambda: dkim.sign(MESSAGE, small, 1_767_225_600),
            "dkimpy, RSA in Python": lambda: dkimpy.DKIM(MESSAGE).sign(
                b"t1", b"example.com", pem, canonicalize=(b"relaxed", b"relaxed")
            ),
        }
    )
    bare = times["RSA-2048, bare signature"]
    for name, each in times.items():
        print(f"  {name:26} {each:9.1f} us  {each / bare:6.2f} x the bare RSA signature")
    return 0


if __name__ == "__main__":
    sys.exit(main())
