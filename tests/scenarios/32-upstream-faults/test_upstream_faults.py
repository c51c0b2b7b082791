"""An upstream that hangs, goes, answers nonsense, or whose certificate has expired: clients hear 250 within their
patience, the log says so once and plainly, and when it is well again all arrives without a hand, each message once where
nobody had it before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fakes import certificates
from tests.fakes import upstream as fake
from tests.scenarios import hostile, service

MESSAGES = 5
LETTERS = [hostile.letter("", f"X-Number: {n}") for n in range(MESSAGES)]


def warned(relay: service.Service) -> list[str]:
    return re.findall(r" (?:WARNING|ERROR) (?!config |app runs_as_root )(.*)", relay.log)


def send(relay: service.Service) -> None:
    with hostile.Smtp(relay.smtp) as client:
        for letter in LETTERS:
            assert client.mail(letter).startswith("250")


def arrived(upstream: fake.Upstream) -> list[str]:
    return sorted(re.findall(r"X-Number: (\d+)", b"".join(kept.content for kept in upstream.taken).decode()))


@pytest.mark.parametrize(
    ("point", "does", "said", "lines"),
    [
        ("connect", "drop", "does not answer", 1),
        ("connect", "reset", "does not answer", 1),
        ("banner", "garbage", "does not speak SMTP", 1),
        ("banner", "close:421 4.3.2 not now", "4.3.2 not now", 1),
        ("ehlo", "garbage", "does not speak SMTP", 1),
        ("mail", "garbage", "went away before the message: no SMTP reply", 0),
        ("data", "drop", "went away before the message", 0),
        ("body", "reset", "went away", 0),
        ("dot", "garbage", "before the upstream's reply: no SMTP reply", 0),
        ("dot", "drop", "before the upstream's reply: it closed the connection", 0),
        ("dot_half", "drop", "before the upstream's reply: it closed the connection", 0),
    ],
)
def test_it_goes_or_answers_nonsense(tmp_path: Path, point: str, does: str, said: str, lines: int) -> None:
    """Each message's own line says what was heard of it; an upstream that lets nobody in is one line for all."""
    with hostile.sink({point: does}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            send(relay)
            had = arrived(upstream)
            assert len(re.findall(f" (?:kept|handed_over) .*{re.escape(said)}", relay.log)) == MESSAGES
            assert len(warned(relay)) == lines
            assert relay.command("queue", "list").stdout.count(said[:20]) == MESSAGES
            upstream.script.clear()
            relay.command("queue", "retry", "--all")
            relay.emptied()
            assert arrived(upstream) == sorted([*had, *(str(n) for n in range(MESSAGES))])
            assert len({kept.content for kept in upstream.taken}) == MESSAGES
            assert len(warned(relay)) == lines
        assert "Traceback" not in relay.log


def test_it_hangs(tmp_path: Path) -> None:
    """Clients do not wait for it, a stop neither; what was under way then is sent by the next start. (The torture has the
    other points.)"""
    with hostile.sink({"dot": "hang"}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, out='patience = "500ms"')
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            send(relay)
            assert relay.log.count(" handed_over ") == MESSAGES
            assert relay.stop() == 0
        assert warned(relay) == []
        had = arrived(upstream)
        upstream.script.clear()
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            relay.emptied()
        assert arrived(upstream) == sorted([*had, *(str(n) for n in range(MESSAGES))])
        assert "Traceback" not in relay.log


def test_its_certificate_has_expired(tmp_path: Path) -> None:
    """Nothing is said to it, and when it has a new one all goes on."""
    old, new = certificates.make(tmp_path / "old", "old.test", days=-1), certificates.make(tmp_path / "new", "new.test")
    (tmp_path / "trusted").write_bytes(old[0].read_bytes() + new[0].read_bytes())  # both are for 127.0.0.1
    server = certificates.serving(old)
    with hostile.sink(starttls=server) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, out='tls = "required"')
        with service.running(
            tmp_path, ports, only="smtp,queue", env={"SSL_CERT_FILE": str(tmp_path / "trusted")}
        ) as relay:
            send(relay)
            (line,) = warned(relay)
            assert "is refused: it has expired" in line
            assert b"MAIL" not in upstream.raw
            server.load_cert_chain(*new)
            relay.command("queue", "retry", "--all")
            relay.emptied()
            assert len(arrived(upstream)) == MESSAGES
            assert all(kept.tls for kept in upstream.taken)
            assert len(warned(relay)) == 1
