"""Errors in plain words: those that OpenSSL really makes, and the table of the system's."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl

import aiohttp
import aiosmtplib
import pytest

from relay import causes, certificates
from tests.fakes import certificates as made


def shaken(client: ssl.SSLContext, server: ssl.SSLContext | bytes, name: str) -> ssl.SSLError:
    """What a handshake ends in, in memory; `server` is one that speaks TLS, or octets that come in its place."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True) if isinstance(server, ssl.SSLContext) else None
    for _ in range(10):
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error
        if theirs is None:
            assert isinstance(server, bytes)
            to_client.write(server)
            continue
        with contextlib.suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
    raise AssertionError("the handshake ended well")


@pytest.mark.parametrize(
    ("days", "name", "trusted", "words"),
    [
        (-1, "mail.test", True, "it has expired; renew it there"),
        (30, "mail.test", True, "it is not valid yet; check this machine's clock"),
        (2, "other.test", True, "it is not for other.test; write the name that it is for into the URL"),
        (2, "192.0.2.7", True, "it is not for 192.0.2.7; write the name"),
        (2, "mail.test", False, "it is self-signed; use one of an authority that this machine trusts"),
    ],
)
def test_a_certificate_that_is_refused(tmp_path, days, name, trusted, words):
    pair = made.make(tmp_path, "mail.test", days=days)
    client = made.trusting(pair.certificate) if trusted else ssl.create_default_context()
    error = shaken(client, made.serving(pair), name)
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert causes.of(error).startswith(words)


@pytest.mark.parametrize(
    "octets", [b"220 mail.test ESMTP Postfix\r\n", b"* OK IMAP4rev1 ready\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
def test_tls_with_what_does_not_speak_it(octets):
    error = shaken(ssl.create_default_context(), octets, "mail.test")
    assert causes.of(error) == causes.NO_TLS


def test_tls_too_old(tmp_path):
    server = made.serving(made.make(tmp_path))
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    client = ssl.create_default_context()
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError) as refused:
        shaken(client, server, "localhost")
    assert "1.2 or newer" in causes.of(refused.value)


# -- certificates and keys of ours -------------------------------------------------------------------------------------


def spoiled(folder, how):
    pair, other = made.make(folder), made.make(folder / "other")
    shown, secret = pair.certificate.read_bytes(), pair.key.read_bytes()
    match how:
        case "another's key":
            pair.key.write_bytes(other.key.read_bytes())
        case "another kind of key":
            from cryptography.hazmat.primitives.asymmetric import rsa

            pair.key.write_bytes(made.pem(rsa.generate_private_key(65537, 2048)))
        case "the wrong way round":
            pair.certificate.write_bytes(secret)
            pair.key.write_bytes(shown)
        case "no certificate":
            pair.certificate.write_bytes(b"hello\n")
        case "empty":
            pair.certificate.write_bytes(b"")
        case "der":
            pair.certificate.write_bytes(ssl.PEM_cert_to_DER_cert(shown.decode()))
        case "no key":
            pair.key.write_bytes(shown)
        case "a damaged key":
            pair.key.write_bytes(secret[:60] + b"\n" + secret[90:])
        case "a damaged certificate":
            pair.certificate.write_bytes(shown[:90] + shown[120:])
        case "gone":
            pair.key.unlink()
        case "a folder":
            pair.key.unlink()
            pair.key.mkdir()
    return pair


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("another's key", causes.PAIR),
        ("another kind of key", causes.PAIR),
        ("the wrong way round", "certificate and key are the wrong way round; name each file where"),
        ("no certificate", "cert.pem holds no certificate: it is not in PEM form"),
        ("empty", "cert.pem holds no certificate: "),
        ("der", "cert.pem holds no certificate: it is not in PEM form"),
        ("no key", "key.pem holds no private key: it is not in PEM form"),
        ("a damaged key", "key.pem is damaged: "),
        ("a damaged certificate", "cert.pem is damaged: "),
        ("gone", "key.pem can't be read: there is no such file or folder; check the path"),
        ("a folder", "it is a folder, and a file is needed"),
    ],
)
def test_a_pair_that_cannot_be_used(tmp_path, how, words):
    pair = spoiled(tmp_path, how)
    with pytest.raises(certificates.Unusable) as refused:
        certificates.context(*pair)
    said = str(refused.value)
    assert said.startswith("the certificate can't be used: ")
    assert words in said
    assert said.endswith(f"({pair.certificate} and {pair.key})")


# -- the system --------------------------------------------------------------------------------------------------------


def refused_by_asyncio():
    """Both addresses of localhost in one error, as asyncio has it."""
    return OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 1)"
    )


def wrapped(error):
    outer = aiosmtplib.SMTPConnectError("Error connecting to localhost on port 1")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "connection refused: nothing listens there; check"),
        (refused_by_asyncio(), "connection refused: nothing listens there; check"),
        (wrapped(refused_by_asyncio()), "connection refused: nothing listens there; check"),
        (ExceptionGroup("all", [OSError(errno.ENETUNREACH, "x")]), "there is no route to that address; check"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "the other side cut the connection; check"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name is not known in DNS; check"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the name can't be looked up now; check"),
        (TimeoutError(), "no answer in time; check"),
        (TimeoutError("timed out"), "no answer in time; check"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; make room"),
        (OSError(errno.EROFS, "x"), "the disk may not be written to"),
        (IsADirectoryError(errno.EISDIR, "x"), "it is a folder, and a file is needed; check"),
        (NotADirectoryError(errno.ENOTDIR, "x"), "a part of the path is a file, and no folder; check"),
        (OSError(errno.EMFILE, "x"), "this process has too many files open; raise LimitNOFILE"),
        (ssl.SSLError(1, "[SSL: KEY_VALUES_MISMATCH] x"), "[SSL: KEY_VALUES_MISMATCH] x"),  # made by nobody: no reason
        (OSError("something\n else."), "something else"),
        (ValueError(), "ValueError"),
    ],
)  # fmt: skip
def test_what_the_system_says(error, words):
    assert causes.of(error).startswith(words)


def test_what_a_listener_hears():
    assert causes.of(PermissionError(errno.EACCES, "x"), listening=True).startswith("ports below 1024 are for root; ")
    assert causes.of(OSError(errno.EADDRINUSE, "x"), listening=True).startswith("another program listens there; ")
    assert causes.of(OSError(errno.EADDRNOTAVAIL, "x"), listening=True).startswith(
        "this machine has no such address now; "
    )


def test_who_may_not(monkeypatch):
    error = PermissionError(errno.EACCES, "Permission denied", "/etc/trackrelay/relay.toml")
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    assert causes.at(error).startswith(
        "/etc/trackrelay/relay.toml: permission denied to the user nobody; run this as root or as the service's user"
    )
    monkeypatch.setattr("os.geteuid", lambda: 424_242)
    assert "permission denied to the user 424242; " in causes.of(error)


async def test_what_aiohttp_wraps(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError) as refused:
                await session.get(f"http://127.0.0.1:{nobody.getsockname()[1]}/")
    assert causes.of(refused.value).startswith("connection refused: nothing listens there; ")


@pytest.mark.parametrize("words", [*causes.SYSTEM.values(), *causes.LISTENING.values(), *causes.NAMES.values(),
                                   *causes.TLS.values(), *causes.CERTIFICATE.values()])  # fmt: skip
def test_a_sentence_is_short_and_says_what_to_do(words):
    """In the log a value has 200 characters, and more than the sentence is in it."""
    assert len(words) <= 160, len(words)
    assert words[0].islower() or words[:4].isupper()
    assert not words.endswith(".")
    if words not in (causes.CLIENT, causes.SYSTEM[errno.EEXIST]):
        assert "; " in words
