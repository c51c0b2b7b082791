"""Nobody between us and the upstream gets a password: where STARTTLS is hidden or the certificate is not the
upstream's, mail waits and no octet of AUTH is sent."""

import base64
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import certificates
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service

WORD = "canary-word-4711"


def serving(folder: Path, name: str, days: int = 2) -> tuple[ssl.SSLContext, Path]:
    """The context of a server with a certificate for `name`, and the certificate."""
    pair = certificates.make(folder, name, days=days)
    return certificates.serving(pair), pair.certificate


def hides_starttls(folder: Path) -> tuple[Upstream, Path]:
    return Upstream(users={"me": WORD}), serving(folder, "localhost")[1]


def refuses_starttls(folder: Path) -> tuple[Upstream, Path]:
    context, certificate = serving(folder, "localhost")
    return Upstream({"starttls": "454 4.7.0 not now"}, starttls=context, users={"me": WORD}), certificate


def is_self_signed(folder: Path) -> tuple[Upstream, Path]:
    context, _ = serving(folder / "theirs", "localhost")
    return Upstream(starttls=context, users={"me": WORD}), serving(folder, "localhost")[1]


def has_a_wrong_name(folder: Path) -> tuple[Upstream, Path]:
    context, certificate = serving(folder, "another.example")
    return Upstream(starttls=context, users={"me": WORD}), certificate


def has_expired(folder: Path) -> tuple[Upstream, Path]:
    context, certificate = serving(folder, "localhost", days=-1)
    return Upstream(starttls=context, users={"me": WORD}), certificate


def speaks_no_tls(folder: Path) -> tuple[Upstream, Path]:
    return Upstream(users={"me": WORD}), serving(folder, "localhost")[1]


@pytest.mark.parametrize(
    ("make", "scheme", "auth"),
    [
        (hides_starttls, "smtp", "ours"), (refuses_starttls, "smtp", "ours"), (is_self_signed, "smtp", "ours"),
        (has_a_wrong_name, "smtp", "ours"), (has_expired, "smtp", "ours"), (speaks_no_tls, "smtps", "ours"),
        (hides_starttls, "smtp", "theirs"), (is_self_signed, "smtp", "theirs"),
    ],
)  # fmt: skip
def test_no_password_leaves(
    tmp_path: Path, make: Callable[[Path], tuple[Upstream, Path]], scheme: str, auth: str
) -> None:
    with hostile.elsewhere() as run:
        upstream, trusted = make(tmp_path)
        run(upstream.start())
        user, lines = ("me@", 'password = "env:WORD"\n') if auth == "ours" else ("", "")
        ports = service.settings(
            tmp_path,
            upstream=f"{scheme}://{user}localhost:{upstream.port}",
            out=lines + 'tls = "required"\non_defer = "pass"',
            smtp='auth = "upstream"' if auth == "theirs" else "",
        )
        env = {"WORD": WORD, "SSL_CERT_FILE": str(trusted)}
        with service.running(tmp_path, ports, only="smtp,queue", env=env) as relay, hostile.Smtp(relay.smtp) as client:
            if auth == "theirs":
                assert client.login("me", WORD).startswith("454 4.7.0")
            answer = client.mail(hostile.letter())
        run(upstream.stop())
    assert answer.startswith("451 4."), answer
    assert upstream.taken == []
    heard = bytes(upstream.raw)
    assert b"AUTH" not in heard
    assert b"MAIL" not in heard  # where TLS is required the mail waits as well
    assert WORD.encode() not in heard
    assert base64.b64encode(f"\0me\0{WORD}".encode()) not in heard
    assert WORD not in relay.log
