"""What systemd gives the service, so that it needs no right of its own: listening sockets, and secrets."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import certificates
from tests.scenarios import hostile
from tests.scenarios.units import CONFIG, LONG, Relay
from tests.until import eventually

pytestmark = pytest.mark.timeout(600)  # each waits for several starts; a hung one is caught by the steps' own bounds

SMTP = """
listen = ["[::]:25", "[::]:587"]
listen_tls = ["[::]:465"]
certificate = "secrets/cert.pem"
key = "secrets/key.pem"
allow = ["127.0.0.0/8", "192.0.2.0/24"]
"""
HTTP = """
listen = "[::]:443"
certificate = "tls/cert.pem"
key = "tls/key.pem"
"""
HOLD = "/run/hold"  # while it is there, the service does not get on with its start


@pytest.fixture
def trusted(relay: Relay, tmp_path: Path) -> ssl.SSLContext:
    """The relay listens on low ports, with a certificate that this context knows."""
    pair = certificates.make(tmp_path)
    for folder in ("secrets", "tls"):
        for path in pair:
            relay.machine.write(f"/etc/trackrelay/{folder}/{path.name}", path.read_text(), 0o600)
        relay.run("chown", "-R", "trackrelay:", f"/etc/trackrelay/{folder}")
    relay.settings(smtp=SMTP, http=HTTP)
    return certificates.trusting(pair.certificate)


def greeted(relay: Relay, port: int, tls: ssl.SSLContext | None = None) -> None:
    """A client connects, and hears a greeting, however long the start takes."""
    with waiting(relay, port) as client:
        if tls:
            client.secure(tls)
        assert client.reply().startswith("220")


@contextlib.contextmanager
def waiting(relay: Relay, port: int) -> Iterator[hostile.Smtp]:
    """A client that is connected, and has heard nothing yet."""
    line = relay.inside(hostile.Line, port)
    client = hostile.Smtp.__new__(hostile.Smtp)
    client.socket, client.file = line.socket, line.file
    client.socket.settimeout(LONG)
    with client:
        yield client


def answers(relay: Relay, port: int, tls: ssl.SSLContext) -> None:
    """A web client hears that there is no such page."""
    client = relay.inside(hostile.Http, port)
    with client:
        client.socket.settimeout(LONG)
        client.secure(tls)
        assert client.get("/o/none")[0] in (200, 404)


def powers(relay: Relay, unit: str) -> set[str]:
    """The capabilities that its process has, or may get."""
    status = relay.run("cat", f"/proc/{relay.machine.main_pid(unit)}/status").stdout
    return set(re.findall(r"^Cap(?:Prm|Eff|Bnd|Amb):\s*(\w+)$", status, re.M))


@contextlib.contextmanager
def held(relay: Relay, unit: str) -> Iterator[None]:
    """Its start does not get on within."""
    relay.run("touch", HOLD)
    try:
        yield
    finally:
        relay.run("rm", HOLD)


WAITS = f"[Service]\nExecStartPre=/bin/sh -c 'while [ -e {HOLD} ]; do sleep 0.1; done'\n"


def test_a_connection_starts_the_service_which_has_no_capability(relay: Relay, trusted: ssl.SSLContext) -> None:
    """25, 465, 587 and 443; and who comes while it restarts, or after it was killed, is answered."""
    relay.drop_in("trackrelay.service", WAITS)
    relay.run("systemctl", "enable", "--quiet", "--now", "trackrelay.socket")
    told = relay.run("runuser", "-u", "trackrelay", "--", "trackrelay", "check", "--config", CONFIG, code=None).stdout
    assert "systemd listens on [::]:587 for the service (trackrelay.socket)" in told
    assert relay.machine.state("trackrelay") == "inactive"
    greeted(relay, 587)
    greeted(relay, 25)
    greeted(relay, 465, trusted)
    answers(relay, 443, trusted)
    assert powers(relay, "trackrelay") == {"0" * 16}
    assert relay.get(8081, "/readyz")[0] == 200

    for blow in (["restart", "--no-block"], ["kill", "--signal=KILL"], ["stop"]):
        before = relay.machine.main_pid("trackrelay")
        with held(relay, "trackrelay"):
            relay.run("systemctl", *blow, "trackrelay")
            relay.gone(before)
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(waiting(relay, port)) for port in (25, 587, 587)]
                web = stack.enter_context(relay.inside(hostile.Http, 443))
                relay.run("rm", HOLD)
                for client in clients:
                    assert client.reply().startswith("220"), blow
                    assert client.ask("EHLO client.example.test").startswith("250")
                web.socket.settimeout(LONG)
                web.secure(trusted)
                assert web.get("/o/none")[0] in (200, 404)
            relay.run("touch", HOLD)


@pytest.mark.parametrize("each", [1, 2])
def test_several_processes_share_the_sockets(relay: Relay, trusted: ssl.SSLContext, each: int) -> None:
    """One socket that all take from, or as many as there are processes; nobody waits on one that is nobody's."""
    relay.settings(smtp=SMTP + "workers = 2\n", http=HTTP + "workers = 2\n")
    lines = ["ListenStream=", *(f"ListenStream={port}" for port in (25, 587, 465, 443) for _ in range(each))]
    relay.drop_in("trackrelay.socket", "[Socket]\nReusePort=yes\n" + "\n".join(lines) + "\n")
    relay.run("systemctl", "start", "trackrelay.socket")
    for _ in range(12):
        greeted(relay, 587)
    greeted(relay, 465, trusted)
    for _ in range(6):
        answers(relay, 443, trusted)
    assert "smtp-2" in relay.run("ps", "-eo", "comm").stdout
    relay.run("systemctl", "restart", "trackrelay")
    greeted(relay, 25)
    relay.kill("STOP")  # the supervisor hangs, its processes do not: they still answer
    greeted(relay, 587)
    relay.kill("CONT")


def test_the_roles_apart_have_sockets_too(relay: Relay, trusted: ssl.SSLContext) -> None:
    relay.run("systemctl", "enable", "--quiet", "--now", "trackrelay-smtp.socket", "trackrelay-http.socket")
    greeted(relay, 25)
    answers(relay, 443, trusted)
    for unit in ("trackrelay-smtp", "trackrelay-http"):
        relay.becomes("active", unit)
        assert powers(relay, unit) == {"0" * 16}


def test_a_socket_that_is_nobodys_is_said_and_ends_the_tries(relay: Relay) -> None:
    """With the usual settings nothing listens on 25."""
    relay.drop_in("trackrelay.socket", "[Socket]\nTriggerLimitBurst=2\n")
    relay.run("systemctl", "start", "trackrelay.socket")
    with waiting(relay, 25):
        relay.becomes("failed", "trackrelay.socket")
    assert (
        "systemd passes the socket [::]:25 (trackrelay.socket), and nothing in /etc/trackrelay/relay.toml"
        in relay.journal()
    )
    eventually(lambda: relay.machine.show("trackrelay", "ExecMainStatus")["ExecMainStatus"] == "2", LONG, pause=0.2)


def test_a_secret_that_only_root_can_read(relay: Relay) -> None:
    """LoadCredential= brings it to the service; commands by hand do without, and `check` says how it gets it."""
    relay.machine.write("/etc/trackrelay/secrets/upstream", "horse battery\n", 0o600)
    relay.drop_in("trackrelay.service", "[Service]\nLoadCredential=upstream:/etc/trackrelay/secrets/upstream\n")
    with relay.upstream(users={"jane": "horse battery"}) as upstream:
        relay.settings(
            upstream=f"jane@127.0.0.1:{upstream.port}", out='password_file = "$CREDENTIALS_DIRECTORY/upstream"'
        )
        relay.start("trackrelay")
        assert relay.mail().startswith("250")
        assert upstream.taken[0].login == "jane"
        assert "b@example.test" in relay.command("messages", "list")
        assert relay.command("queue", "list") == "nothing waits\n"
        told = relay.run("trackrelay", "check", "--config", CONFIG, code=2).stderr
        assert "upstream.password_file: $CREDENTIALS_DIRECTORY is not set" in told
        advised = re.findall(r"systemd-run .*$", told, re.M)[0]
        done = relay.run("sh", "-c", f"{advised} --config {CONFIG}", code=None)
        assert "took the login jane" in done.stdout, done.stdout + done.stderr
