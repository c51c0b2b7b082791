"""The certificates of our listeners.

Owns: a listener's SSL context, and reading its certificate again while it is in use. Leaves to others: handshakes, and
which names a certificate should have (`trackrelay check`).
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from relay import causes


class Unusable(OSError):
    """A certificate and its key can't be used together. The text is a sentence that names both files."""


class Certificate:
    """A certificate chain and its key, as PEM files. Raises `Unusable`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate, self.key = certificate, key
        self.context = context(certificate, key)

    def reload(self) -> None:
        """From now on, handshakes use what the files contain now. A pair that can't be used raises, and changes
        nothing."""
        context(self.certificate, self.key)  # a context that fails halfway would be left without its key
        load(self.context, self.certificate, self.key)


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    load(made, certificate, key)
    return made


def load(into: ssl.SSLContext, certificate: Path, key: Path) -> None:
    # What is wrong comes first: a log line has room for so much, and paths may be long.
    try:
        into.load_cert_chain(certificate, key, password=unattended)
    except OSError as error:
        words = why(error, certificate, key)
        raise Unusable(f"the certificate can't be used: {words} ({certificate} and {key})") from error


def why(error: OSError, certificate: Path, key: Path) -> str:
    """OpenSSL names no file, and has the same words for several faults: so each is looked at."""
    if not isinstance(error, ssl.SSLError) and not isinstance(error, Encrypted):
        guilty = next((path for path in (certificate, key) if not os.access(path, os.R_OK)), certificate)
        return f"{guilty.name} can't be read: {causes.of(error)}"
    if isinstance(error, Encrypted):
        return causes.PASSPHRASE
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        shown, secret = certificate.read_bytes(), key.read_bytes()
    except OSError as gone:
        return causes.of(gone)
    if b"PRIVATE KEY-----" not in secret and b"PRIVATE KEY-----" in shown and b"CERTIFICATE-----" in secret:
        return "certificate and key are the wrong way round; name each file where the other is named now"
    if b"CERTIFICATE-----" not in shown:
        return f"{certificate.name} holds no certificate: {causes.NO_PEM}"
    if b"PRIVATE KEY-----" not in secret:
        return f"{key.name} holds no private key: {causes.NO_PEM}"
    try:
        x509.load_pem_x509_certificates(shown)
    except ValueError:
        return f"{certificate.name} is damaged: {causes.NO_PEM}"
    try:
        load_pem_private_key(secret, None)
    except (ValueError, TypeError):
        return f"{key.name} is damaged: {causes.NO_PEM}"
    return causes.of(error)


class Encrypted(OSError):
    """The key wants a passphrase."""


def unattended() -> str:
    """Replaces OpenSSL's question on the terminal, which would hold up the service until somebody answers."""
    raise Encrypted
