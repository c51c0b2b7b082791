"""Certificates and keys for loopback, made anew for each test (and bench), and the TLS contexts of both sides."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """PEM files. The certificate is its own authority: a client that is to trust it has it in SSL_CERT_FILE."""

    certificate: Path
    key: Path


def make(folder: Path, name: str = "localhost", *, days: int = 2, local: bool = True) -> Pair:
    """`cert.pem` and `key.pem` in `folder`, for `name` and, where `local`, for 127.0.0.1; with negative `days` one that
    has expired. ECDSA P-256, as most authorities issue them now."""
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if local:
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=10))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / "cert.pem", written(folder / "key.pem", key))
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return pair


def written(path: Path, key: PrivateKeyTypes) -> Path:
    """`path`, with the private key in it, for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pem(key))
    path.chmod(0o600)
    return path


def pem(key: PrivateKeyTypes) -> bytes:
    """PKCS #8, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def serving(pair: Pair) -> ssl.SSLContext:
    """A server's context that shows this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's context that knows this certificate and no other."""
    return ssl.create_default_context(cafile=str(certificate))


def contexts(folder: Path, name: str = "localhost", *, days: int = 2) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(the server's, one of a client that trusts just this) of a certificate made by `make`, where no file is asked
    for. It stands in a folder of its own; for 127.0.0.1 only where `name` is "localhost"."""
    pair = make(folder / f"tls-{name}-{days}", name, days=days, local=name == "localhost")
    return serving(pair), trusting(pair.certificate)
