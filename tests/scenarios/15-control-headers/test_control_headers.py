"""No control header and no Bcc leaves, whatever way a message takes: tracked, untouched, signed, over a limit, in
several copies, kept and sent after a crash, returned in a report."""

import email
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests import oracle
from tests.fakes import certificates
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

CANARY = "canary-label-77"
# However they are written (RFC 5322 2.2: names in any case; 2.2.3: folded; RFC 2047: encoded words).
HEADERS = [
    "X-Track: opens, links", f"x-track-label: {CANARY}", "X-TRACK-OPENS: yes", "X-Track-Links:\r\n yes",
    'x-Track-Options: {"opens": true,\r\n\t"links": true}', "X-Track-Exclude: nobody@example.test",
    "Bcc: hidden@example.test,\r\n hidden2@example.test", "BCC: hidden3@example.test",
    "Resent-Bcc: hidden4@example.test",
]  # fmt: skip
UNKNOWN = f"X-Track-Unknown: {CANARY}\r\nX-Track-: {CANARY}\r\nX-Track-Opens : perhaps\r\nX-Track-Links\t: no"
HTML = '<html><body><a href="https://example.com/">x</a></body></html>'


def message(content_type: str, body: str, *, fields: str = "") -> bytes:
    """With each control header before, between and after the other fields."""
    lines = [*HEADERS, "From: a@example.test", "To: b@example.test", *HEADERS, "Subject: x", "MIME-Version: 1.0"]
    return "\r\n".join(
        [*lines, *filter(None, [fields]), f"Content-Type: {content_type}", *HEADERS, "", body, ""]
    ).encode()


def multipart(kind: str, *parts: str) -> tuple[str, str]:
    return f'multipart/{kind}; boundary="B"', "".join(f"--B\r\n{part}\r\n" for part in parts) + "--B--"


MESSAGES = {
    "html": message("text/html", HTML),
    "invalid": message("text/html", HTML, fields=UNKNOWN),
    "text": message("text/plain", "Hello"),
    "signed": message(*multipart("signed", f"Content-Type: text/html\r\n\r\n{HTML}", "Content-Type: a/b\r\n\r\nx")),
    "encrypted": message(*multipart("encrypted", "Content-Type: a/b\r\n\r\nx")),
    "pgp": message("text/html", "-----BEGIN PGP MESSAGE-----"),
    "bad charset": message("text/html; charset=utf-99", HTML),
    "too deep": message(*multipart("mixed", *[f'Content-Type: multipart/mixed; boundary="{i}"\r\n\r\n--{i}' for i in range(300)])),
    "too many parts": message(*multipart("mixed", *["\r\nx"] * 3000)),
    "too many headers": message("text/html", HTML, fields="\r\n".join(f"X-N{i}: {i}" for i in range(3000))),
    "a long header": message("text/html", HTML, fields="X-Long: " + "x" * 60_000),
    "a megabyte of header": message("text/html", HTML, fields="\r\n".join("X-Long: " + "x" * 60_000 for _ in range(20))),
    "auto reply": message("text/html", HTML, fields="Auto-Submitted: auto-replied"),
    "broken": message("text/html", HTML, fields="this is no header field"),
    "broken first": b"this is no header field\r\n" + message("text/html", HTML),
    "no body": message("text/html", HTML).partition(b"\r\n\r\n")[0] + b"\r\n",
    "no end": message("text/html", HTML).partition(b"\r\n\r\n")[0] + b"\r\nX-Track: all\r\n",
    "mbox": b"From a@example.test Thu Jan  1 00:00:00 2026\r\n" + message("text/html", HTML),
    "eight bits": message("text/html", HTML, fields="X-\u00fc: \u00fc"),
}  # fmt: skip
Peers = tuple[service.Service, Upstream]


def leaks(content: bytes) -> list[str]:
    """What of the control headers and of Bcc is in the header section as any reader may see it: up to the first empty
    line, and where lines that are no field stand in between."""
    head = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0].lower()
    words = (rb"\r\n\s*x-track", rb"\r\n\s*(resent-)?bcc", CANARY.encode(), rb"hidden\d?@")
    return [str(word) for word in words if re.search(word, b"\r\n" + head)]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    folder = tmp_path_factory.mktemp("headers")
    certificates.written(folder / "dkim.pem", ed25519.Ed25519PrivateKey.generate())
    dkim = f'[[dkim]]\ndomain = "example.test"\nselector = "s"\nkey = "{folder}/dkim.pem"\n'
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, more=dkim)
        with service.running(folder, ports, only="smtp,queue,http,admin") as relay:
            yield relay, upstream


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("sender", ["a@example.test", ""], ids=["sender", "null"])
def test_none_leaves(peers: Peers, name: str, sender: str) -> None:
    relay, upstream = peers
    before = len(upstream.taken)
    with hostile.Smtp(relay.smtp) as client:
        answer = client.mail(MESSAGES[name], "b@example.test", "c@example.test", "hidden@example.test", sender=sender)
    assert answer.startswith("250"), answer
    copies = upstream.taken[before:]
    assert sorted(r for kept in copies for r in kept.recipients) == [
        "b@example.test", "c@example.test", "hidden@example.test",
    ]  # fmt: skip
    for kept in copies:
        assert leaks(kept.content) == []
        assert b"\nFrom:" in b"\n" + kept.content  # and the others are there
    if name == "html":
        assert all((b"/c/" in kept.content) == (sender != "") for kept in copies)
        assert all(oracle.below_trace(kept.content).startswith(b"DKIM-Signature:") for kept in copies)


def test_none_leaves_on_the_way_through_the_spool(tmp_path: Path) -> None:
    """Put off, killed, started again, refused for good: the message, what is on disk, and the report are clean."""
    script = {"dot": ["451 4.3.0 later", None], "rcpt": lambda c: "550 5.1.1 no" if "gone@" in c else None}
    with hostile.sink(script) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,queue") as relay, hostile.Smtp(relay.smtp) as client:
            answer = client.mail(MESSAGES["html"], "b@example.test", "gone@example.test", sender="me@example.test")
            assert answer.startswith("250")
            relay.kill()
        kept = list((tmp_path / "var" / "spool").glob("*.msg"))
        assert kept
        for path in kept:
            envelope, _, content = path.read_bytes().partition(b"\n")
            assert leaks(content) == []
            assert CANARY.encode() not in envelope
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            relay.command("queue", "retry", "--all")
            eventually(lambda: len(upstream.taken) == 2)
            relay.emptied()
    sent = {kept.recipients[0]: kept for kept in upstream.taken}
    assert set(sent) == {"b@example.test", "me@example.test"}
    for one in sent.values():
        assert leaks(one.content) == []
    report = sent["me@example.test"]
    assert report.reverse_path == ""
    assert email.message_from_bytes(report.content).get_content_type() == "multipart/report"
    whole = report.content.lower()
    assert b"x-track" not in whole  # nor in the message that it brings back
    assert b"hidden" not in whole
    assert CANARY.encode() not in whole


def test_none_leaves_when_tracking_fails(tmp_path: Path) -> None:
    """The store gone, the way that fails open: the original without its control headers."""
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            database = tmp_path / "var" / "trackrelay.db"
            for path in database.parent.glob("trackrelay.db*"):
                path.unlink()
            database.mkdir()
            with hostile.Smtp(relay.smtp) as client:

                def untracked() -> bool:
                    assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
                    return b"/c/" not in upstream.taken[-1].content

                eventually(untracked)  # the store looks once a second whether its file is still there
                upstream.taken.clear()
                for content in MESSAGES.values():
                    assert client.mail(content).startswith("250")
            database.rmdir()
    assert len(upstream.taken) == len(MESSAGES)
    for kept in upstream.taken:
        assert leaks(kept.content) == []
        assert b"/c/" not in kept.content
