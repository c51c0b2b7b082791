"""One Postfix, in a chroot as Debian has it, with several services, set up as docs/postfix.md says; mail comes from
strangers, from whoever has logged in, from the machine's own programs, and ends in Dovecot. The milter listens at a unix
socket below Postfix' queue."""

import contextlib
import grp
import json
import re
import shutil
import smtplib
import sqlite3
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import peers
from tests.fakes import certificates
from tests.peers import dovecot, postfix
from tests.scenarios import blocks, hostile, milters, service
from tests.until import eventually

STRANGER, LISTED = "127.0.0.2", "127.0.0.9"
LARGEST = 300_000
# Ports stand for services: strangers' and logins', one with a name, one for whoever is on the way back from the relay.
SERVICES = """
127.0.0.1:PORT inet n - y - - smtpd
127.0.0.1:{login} inet n - y - - smtpd
    -o smtpd_tls_security_level=encrypt
    -o smtpd_sasl_auth_enable=yes
    -o smtpd_sasl_type=dovecot
    -o smtpd_sasl_path=private/auth
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{daemon} inet n - y - - smtpd
    -o milter_macro_daemon_name=ORIGINATING
127.0.0.1:{bare} inet n - y - - smtpd
    -o smtpd_milters=
127.0.0.1:{hasty} inet n - y - - smtpd
    -o smtpd_milters=inet:127.0.0.1:{milter}
pickup unix n - y 60 1 pickup
"""


@dataclass
class House:
    relay: service.Service
    server: postfix.Server
    mailboxes: dovecot.Dovecot
    socket: Path
    login: int
    daemon: int
    bare: int
    hasty: int  # asks a milter at the port `milter`, which a test may start
    milter: int
    trusted: Path

    def send(self, content: bytes, to: str, *, port: int = 0, source: str = STRANGER, password: str = "") -> None:
        with smtplib.SMTP("127.0.0.1", port or self.server.port, timeout=20, source_address=(source, 0)) as client:
            if password:
                context = ssl.create_default_context(cafile=str(self.trusted))
                context.check_hostname = False
                client.starttls(context=context)
                client.login("ann@example.test", password)
            client.sendmail("a@example.test", [to], content)

    def delivered(self, to: str, many: int = 1) -> list[bytes]:
        """What the recipient has, once there are so many, oldest first; without what Dovecot put on top."""

        def there() -> list[Path]:
            files = [path for path in (self.mailboxes.mail / to).rglob("new/*") if path.is_file()]
            return files if len(files) >= many else []

        found = eventually(there, 30)
        assert len(found) == many
        return [path.read_bytes() for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def queue_id(self, to: str) -> str:
        """Under which Postfix delivered it."""
        pattern = rf"lmtp\[\d+\]: (\w+): to=<{to}>.*status=sent"
        (found,) = eventually(lambda: set(re.findall(pattern, self.server.log())))
        return str(found)

    def shown(self, to: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.relay.command("messages", "show", "--json", self.queue_id(to)).stdout)
        return found


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    ports = {name: peers.free_port() for name in ("login", "daemon", "bare", "hasty", "milter")}
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="postfix-"))
        home, folder = Path(name), Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.chmod(0o755)
        queue = home / "queue"
        (queue / "private").mkdir(parents=True)
        shutil.chown(queue / "private", "postfix")
        (queue / "trackrelay").mkdir()
        mailboxes = stack.enter_context(
            dovecot.running(folder / "dovecot", {"ann@example.test": "secret"}, logins=queue / "private" / "auth")
        )
        main_cf, toml = milters.documented(1)
        table = milters.table(toml.replace("/var/spool/postfix", str(queue)))
        own = service.settings(
            folder,
            upstream=ports["bare"],
            tracking="links = true\nopens = true",
            smtp=f"max_message_size = {LARGEST}",
            more=f'{table}group = "postfix"\n'
            f'submitters = ["authenticated", "daemon:ORIGINATING", "{LISTED}/32", "127.0.0.1/32"]',
        )
        relay = stack.enter_context(service.running(folder, own))
        trusted, key = certificates.make(folder / "tls")
        server = stack.enter_context(
            postfix.running(
                home,
                transport=f"lmtp:inet:127.0.0.1:{mailboxes.lmtp_port}",
                settings=blocks.main_cf(main_cf) | {"message_size_limit": "1000000"},
                services=SERVICES.format(**ports),
                certificate=trusted,
                key=key,
            )
        )
        yield House(relay, server, mailboxes, queue / "trackrelay" / "milter.sock", trusted=trusted, **ports)


def is_tracked(content: bytes) -> bool:
    pixels, links = hostile.tokens(content)
    assert (len(pixels), len(links)) in ((0, 0), (1, 1))
    return bool(pixels)


def lines(content: bytes) -> bytes:
    """As a Maildir has it."""
    return content.replace(b"\r\n", b"\n")


def without_trace(content: bytes) -> bytes:
    """Without the fields that servers put on top, from the first that the sender wrote."""
    return content[content.index(b"From: A") :]


def test_the_socket_is_open_to_the_mail_server_alone(house: House) -> None:
    found = house.socket.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == grp.getgrnam("postfix").gr_gid
    house.send(hostile.letter(), "socket@example.test", source=LISTED)
    assert is_tracked(house.delivered("socket@example.test")[0])
    house.socket.chmod(0o600)
    try:
        house.send(hostile.letter(), "closed@example.test", source=LISTED)
        assert not is_tracked(house.delivered("closed@example.test")[0])
    finally:
        house.socket.chmod(0o660)


def test_a_login_is_tracked_and_a_stranger_is_not(house: House) -> None:
    """By the same Postfix, from the same address."""
    content = hostile.letter("", "X-Track-Label: spring")
    house.send(content, "in@example.test")
    house.send(content, "out@example.test", port=house.login, password="secret")
    (incoming,) = house.delivered("in@example.test")
    assert incoming.endswith(lines(content))
    (outgoing,) = house.delivered("out@example.test")
    assert is_tracked(outgoing)
    assert b"X-Track" not in outgoing
    shown = house.shown("out@example.test")
    assert (shown["login"], shown["submitter_ip"], shown["label"]) == ("ann@example.test", STRANGER, "spring")
    house.relay.command("messages", "show", house.queue_id("in@example.test"), code=1)


def test_a_service_and_a_network_are_submitters(house: House) -> None:
    house.send(hostile.letter(), "daemon@example.test", port=house.daemon)
    house.send(hostile.letter(), "listed@example.test", source=LISTED)
    for to, daemon, address in (("daemon", "ORIGINATING", STRANGER), ("listed", "postfix.test", LISTED)):
        assert is_tracked(house.delivered(f"{to}@example.test")[0])
        shown = house.shown(f"{to}@example.test")
        assert (shown["daemon"], shown["submitter_ip"], shown["login"]) == (daemon, address, "")


def test_mail_of_programs(house: House) -> None:
    """By the command sendmail: Postfix names the client 127.0.0.1 to the milter, and no login."""
    content = lines(hostile.letter("", "Bcc: hidden@example.test", to="program@example.test"))
    command = ["/usr/sbin/sendmail", "-C", str(house.server.folder / "etc"), "-f", "a@example.test", "-t", "-i"]
    done = subprocess.run(command, input=content, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    (open_copy,), (hidden,) = house.delivered("program@example.test"), house.delivered("hidden@example.test")
    assert is_tracked(open_copy)
    assert hostile.tokens(open_copy) == hostile.tokens(hidden)
    assert b"\nBcc:" not in open_copy + hidden
    shown = house.shown("program@example.test")
    assert (shown["submitter_ip"], shown["login"], shown["daemon"]) == ("127.0.0.1", "", "postfix.test")


def test_what_arrives_is_what_arrives_by_smtp(house: House) -> None:
    """But for trace fields and tokens."""
    content = hostile.letter(
        "", "X-Track-Label: spring", "X-Long: " + "word " * 30 + "\r\n\tfolded", "Bcc: c@example.test"
    )
    house.send(content, "milter@example.test", source=LISTED)
    house.send(content, "smtp@example.test", port=house.relay.smtp, source=LISTED)
    arrived = [house.delivered(f"{door}@example.test")[0] for door in ("milter", "smtp")]
    assert all(map(is_tracked, arrived))
    alike = {re.sub(rb"/([oc])/[\w-]+", rb"/\1/", without_trace(each)) for each in arrived}
    assert len(alike) == 1


def test_the_relay_and_the_milter_on_one_way(house: House, tmp_path: Path) -> None:
    """The relay's upstream is a Postfix that asks the milter, both with the same token keys: the second pass changes
    nothing."""
    ports = service.settings(
        tmp_path,
        upstream=house.server.port,
        tracking="links = true\nopens = true",
        url=f"http://127.0.0.1:{house.relay.http}",
    )
    (tmp_path / "var").mkdir(mode=0o700)
    shutil.copytree(house.relay.folder / "var" / "keys", tmp_path / "var" / "keys")
    with service.running(tmp_path, ports, only="smtp,queue") as first:
        house.send(hostile.letter(), "twice@example.test", port=ports[0], source="127.0.0.1")
        (arrived,) = house.delivered("twice@example.test")
        assert is_tracked(arrived)
        of_relay = json.loads(first.command("messages", "show", "--json", "<letter-1@example.test>").stdout)
    of_milter = house.shown("twice@example.test")
    assert of_milter["internet_message_id"] == of_relay["internet_message_id"]
    assert (of_relay["opens"], of_relay["links_tracked"]) == (True, True)
    assert (of_milter["opens"], of_milter["links_tracked"]) == (False, False)


def left_a_trace(relay: service.Service, name: str, reason: str) -> None:
    """Counted, and logged with the queue identifier."""
    assert re.search(rf" untracked reason={reason} queue_id={name} ", relay.log)
    counted = hostile.metrics(relay.admin)
    assert counted[f'trackrelay_untracked_total{{reason="{reason}"}}'] == 1
    assert counted['trackrelay_milter_messages_total{answer="failed"}'] == 1


def test_what_is_too_large_goes_on_and_leaves_a_trace(house: House) -> None:
    """Without its control headers."""
    large = hostile.letter("<p>" + "word \r\n" * (LARGEST // 6) + "</p>", "X-Track: all")
    house.send(large, "large@example.test", source=LISTED)
    (arrived,) = house.delivered("large@example.test")
    assert without_trace(arrived) == lines(large).replace(b"X-Track: all\n", b"")
    left_a_trace(house.relay, house.queue_id("large@example.test"), "limit_size")
    shown = house.shown("large@example.test")
    assert (shown["subject"], shown["reason"], shown["links_tracked"]) == ("A letter", "limit_size", False)


def test_what_is_too_late_goes_on_and_leaves_a_trace(house: House, tmp_path: Path) -> None:
    """Another process holds the store."""
    more = f'[milter]\nlisten = "inet:127.0.0.1:{house.milter}"\ndeadline = "1s"\nsubmitters = ["{LISTED}/32"]'
    ports = service.settings(tmp_path, upstream="", tracking="links = true", more=more)
    with (
        service.running(tmp_path, ports, only="milter,admin") as late,
        contextlib.closing(sqlite3.connect(tmp_path / "var" / "trackrelay.db", isolation_level=None)) as held,
    ):
        held.execute("BEGIN IMMEDIATE")
        house.send(hostile.letter("", "X-Track: all"), "late@example.test", port=house.hasty, source=LISTED)
        held.execute("ROLLBACK")
        (arrived,) = house.delivered("late@example.test")
        assert without_trace(arrived) == lines(hostile.letter())
        left_a_trace(late, house.queue_id("late@example.test"), "limit_time")
