"""One message in is one message out, whatever stands in it: only CRLF.CRLF ends a message, and nothing that was said
in clear counts after the handshake. The upstream here keeps every octet that it got."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import certificates
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service

SECOND = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nboo\r\n"
# What some server or other took for the end of a message: CVE-2023-51764 to -51766, CVE-2024-27305 and their kin.
ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r", b"\r\r\n.\r\r\n",
    b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n..\r\n",
]  # fmt: skip
Peers = tuple[service.Service, Upstream, ssl.SSLContext]


@pytest.fixture(scope="module", params=["normalize", "reject"])
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory, setting: str) -> Iterator[Peers]:
    folder = tmp_path_factory.mktemp("smuggling")
    certificate, key = certificates.make(folder)
    with hostile.sink() as upstream:
        smtp = f'certificate = "{certificate}"\nkey = "{key}"\nbare_newline = "{setting}"'
        ports = service.settings(folder, upstream=upstream.port, smtp=smtp)
        with service.running(folder, ports, only="smtp,queue") as relay:
            yield relay, upstream, certificates.trusting(certificate)


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("asks", [b"", b"X-Track: all\r\n"], ids=["plain", "tracked"])
def test_one_message_stays_one(peers: Peers, setting: str, end: bytes, asks: bytes) -> None:
    relay, upstream, _ = peers
    before, octets = len(upstream.taken), len(upstream.raw)
    lines = len(upstream.lines)
    with hostile.Smtp(relay.smtp) as client:
        client.envelope("b@example.test")
        client.send(asks + b"Subject: one\r\n\r\nbody" + end + SECOND + b"\r\n.\r\n")
        answer = client.reply()
        assert client.ask("NOOP").startswith("250")  # nothing between was taken for a command
    bare = end.replace(b"\r\n", b"")
    whole = b"\r" not in bare and (b"\n" not in bare or setting == "normalize")
    assert answer.startswith("250 2.0.0" if whole else "550 5.6.0"), answer
    assert len(upstream.taken) == before + (1 if whole else 0)
    assert b"evil@x.test" not in b"".join(line.encode() for line in upstream.lines[lines:])
    if whole:
        assert upstream.taken[-1].recipients == ["b@example.test"]
        sent = bytes(upstream.raw[octets:])
        assert sent.count(b"\r\n.\r\n") == 1  # dots are doubled again on the way out


def test_no_header_line_is_made_of_a_bare_cr(peers: Peers) -> None:
    relay, upstream, _ = peers
    before = len(upstream.taken)
    with hostile.Smtp(relay.smtp) as client:
        for subject in (b"a\rBcc: injected@x.test", b"a\n\rBcc: injected@x.test", b"a\r\r\nBcc: injected@x.test"):
            client.envelope()
            client.send(b"Subject: " + subject + b"\r\n\r\nbody\r\n.\r\n")
            assert client.reply().startswith("550 5.6.0")
        assert client.mail(b"Subject: good\r\n\r\nbody\r\n").startswith("250")
    assert len(upstream.taken) == before + 1


def test_what_was_said_in_clear_is_forgotten_after_the_handshake(peers: Peers) -> None:
    """CVE-2011-0411, CVE-2024-34083: commands that came with STARTTLS are not taken for the secured session's."""
    relay, _, trust = peers
    with hostile.Smtp(relay.smtp) as client:
        client.send(b"STARTTLS\r\nEHLO injected.example\r\nMAIL FROM:<evil@x.test>\r\n")
        assert client.reply().startswith("220 ")
        client.secure(trust)
        assert client.ask("RCPT TO:<victim@y.test>").startswith("503")  # there was no MAIL
        assert client.ask("MAIL FROM:<a@example.test>").startswith("503")  # nor an EHLO
        assert "STARTTLS" not in client.ask("EHLO client.example.test")


def test_what_the_upstream_said_in_clear_is_forgotten_after_the_handshake(tmp_path: Path) -> None:
    """An upstream, or who stands between, that sends capabilities along with its 220: no login follows from them."""
    pair = certificates.make(tmp_path)
    context = certificates.serving(pair)
    injected = "220 2.0.0 ready\n250-scripted.example\n250-PIPELINING\n250 AUTH PLAIN"
    with hostile.sink({"starttls": injected}, starttls=context, users={"me": "canary-word"}) as upstream:
        ports = service.settings(
            tmp_path,
            upstream=f"smtp://me@localhost:{upstream.port}",
            out='tls = "required"\npassword = "env:WORD"\non_defer = "pass"',
        )
        env = {"WORD": "canary-word", "SSL_CERT_FILE": str(pair.certificate)}
        with (
            service.running(tmp_path, ports, only="smtp,queue", env=env) as relay,
            hostile.Smtp(relay.smtp) as client,
        ):
            assert client.mail(hostile.letter()).startswith(("250", "451"))
    said = [line.split(" ")[0] for line in upstream.lines]
    assert said[:2] == ["EHLO", "STARTTLS"]
    assert "AUTH" not in said or said[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"], said
    assert all(kept.tls for kept in upstream.taken)
