"""The certificates of our listeners.

Owns: a listener's SSL context, and reading its certificate again while it is in use. Leaves to others: handshakes, and
which names a certificate should have (`trackrelay check`).
"""

from __future__ import annotations

import ssl
from pathlib import Path


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
    except ssl.SSLError as error:
        why = error.reason or "one of them is not a PEM file of that kind"
        raise Unusable(f"the certificate can't be used: {why} ({certificate} and {key})") from error
    except OSError as error:
        raise Unusable(f"the certificate can't be used: {error.strerror or error} ({certificate} and {key})") from error


def unattended() -> str:
    """Replaces OpenSSL's question on the terminal, which would hold up the service until somebody answers."""
    raise OSError("the key is encrypted, and nobody is there to type its passphrase; store it without one")
