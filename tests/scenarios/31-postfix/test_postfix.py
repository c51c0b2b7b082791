"""Real Postfix on both sides: a mail server that hands its mail to the relay as to its relayhost, over verified TLS, and
one that the relay hands it on to. What the last server says reaches the first one's queue in its class."""

import re
import smtplib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import certificates
from tests.peers import postfix
from tests.scenarios import hostile, service
from tests.until import eventually

MINUTE = 60.0  # seconds: queues of two mail servers wait and try again
USERS = [f"user{n}@example.test" for n in range(12)]


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def client_of(port: int, trusted: Path, readable: Path) -> dict[str, Any]:
    """Postfix drops its rights: what it trusts must be where it can read it."""
    copy = readable / "trusted.pem"
    copy.write_bytes(trusted.read_bytes())
    return {
        "transport": f"smtp:[localhost]:{port}",
        "settings": {
            "smtp_tls_security_level": "secure", "smtp_tls_secure_cert_match": "hostname",
            "smtp_tls_CAfile": str(copy), "smtp_tls_loglevel": "1", "smtputf8_enable": "yes",
        },
    }  # fmt: skip


def written(folder: Path, upstream: int, out: str = "") -> tuple[tuple[int, int, int], Path]:
    trusted, key = certificates.make(folder / "tls")
    ports = service.settings(
        folder, upstream=upstream, out=out, tracking="links = true",
        smtp=f'certificate = "{trusted}"\nkey = "{key}"',
    )  # fmt: skip
    return ports, trusted


def logged(server: postfix.Server, pattern: str) -> Callable[[], list[str]]:
    return lambda: re.findall(pattern, server.log())


def test_from_postfix_through_the_relay_to_postfix(tmp_path: Path, open_to_all: Path) -> None:
    with hostile.sink() as last, postfix.running(transport=f"smtp:[127.0.0.1]:{last.port}") as upstream:
        ports, trusted = written(tmp_path, upstream.port)
        with (
            service.running(tmp_path, ports, only="smtp,queue") as relay,
            postfix.running(**client_of(ports[0], trusted, open_to_all)) as first,
            smtplib.SMTP("127.0.0.1", first.port, timeout=20) as program,
        ):
            for n in range(0, len(USERS), 3):
                body = f"<html><body>Grüße {n} <a href='https://example.com/{n}'>x</a>\r\n.dot</body></html>"
                program.sendmail(
                    "a@example.test", USERS[n : n + 3], hostile.letter(body),
                    ["BODY=8BITMIME", "RET=HDRS", f"ENVID=mail+3D{n}"], ["NOTIFY=FAILURE,DELAY"],
                )  # fmt: skip
            eventually(lambda: len(last.taken) == len(USERS))
            eventually(lambda: len(logged(first, r"status=sent \(250 2\.0\.0 Ok")()) == len(USERS))
            assert "Verified TLS connection established to localhost" in first.log()
            eventually(lambda: "queued as" in relay.log)
    assert sorted(r for kept in last.taken for r in kept.recipients) == sorted(USERS)
    tracked = [hostile.tokens(kept.content)[1] for kept in last.taken]
    assert len({link for links in tracked for link in links}) == len(USERS)  # each copy has its own
    for kept in last.taken:
        assert "Grüße".encode() in kept.content
        assert b"\r\n.dot</body>" in kept.content
        assert re.search(r" ENVID=mail\+3D\d RET=HDRS", kept.commands[0])
        assert any("NOTIFY=FAILURE,DELAY" in command for command in kept.commands)


@pytest.mark.parametrize("on_defer", ["pass", "spool"])
def test_what_the_last_server_says_reaches_the_first(tmp_path: Path, open_to_all: Path, on_defer: str) -> None:
    """Refused for good: the first one's to bounce. Put off: the first one keeps it with `pass`, the relay with the spool;
    either way it arrives once."""
    met: set[str] = set()

    def script(command: str) -> str | None:
        if "<gone@" in command:
            return "550 5.1.1 nobody of that name"
        if "<late@" in command and len(met) < 1:
            met.add(command)
            return "450 4.2.0 come back"
        return None

    with hostile.sink({"rcpt": script, "rcpt2": script}) as last:
        ports, trusted = written(tmp_path, last.port, f'on_defer = "{on_defer}"')
        with (
            service.running(tmp_path, ports, only="smtp,queue") as relay,
            postfix.running(**client_of(ports[0], trusted, open_to_all)) as first,
            smtplib.SMTP("127.0.0.1", first.port, timeout=20) as program,
        ):
            for to in ("gone", "late", "there"):
                program.sendmail("a@example.test", [f"{to}@example.test"], hostile.letter())
            eventually(
                logged(first, r"to=<gone@.*dsn=5\.1\.1, status=bounced \(.*550 5\.1\.1 nobody of that name"), MINUTE
            )
            eventually(logged(first, r"to=<there@.*status=sent"), MINUTE)
            if on_defer == "pass":
                eventually(logged(first, r"to=<late@.*dsn=4\.2\.0, status=deferred \(.*450 4\.2\.0 come back"), MINUTE)
            eventually(logged(first, r"to=<late@.*status=sent"), MINUTE)
            if on_defer == "spool":
                relay.command("queue", "retry", "--all")
            eventually(
                lambda: (
                    {r for kept in last.taken for r in kept.recipients} >= {"late@example.test", "there@example.test"}
                )
            )
            bounces = eventually(lambda: [k for k in last.taken if k.reverse_path == ""])
            assert relay.command("queue", "list").stdout == "nothing waits\n"
    arrived = [r for kept in last.taken if kept.reverse_path for r in kept.recipients]
    assert sorted(arrived) == ["late@example.test", "there@example.test"]
    assert [kept.recipients for kept in bounces] == [["a@example.test"]]  # Postfix's, through the relay
    assert b"Final-Recipient: rfc822; gone@example.test" in bounces[0].content
