"""The certificate of the SMTP listeners.

Owns: the server's SSL context, and reading the certificate anew while it is in use. Leaves the handshake to `dialogue`.
"""

from __future__ import annotations

import ssl
from pathlib import Path


class Certificate:
    """A certificate chain and its key, as PEM files. Raises OSError (ssl.SSLError is one) where they can't be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate, self.key = certificate, key
        self.context = fresh(certificate, key)

    def reload(self) -> None:
        """Handshakes from now on use what the files hold now. A pair that can't be used raises and changes nothing."""
        fresh(self.certificate, self.key)  # a context that fails halfway would be left without its key
        self.context.load_cert_chain(self.certificate, self.key)


def fresh(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
