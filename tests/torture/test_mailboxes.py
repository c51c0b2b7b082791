"""Mailboxes of a real Dovecot: answers in pairs a tenth of a second apart, kills while they arrive, a folder that is large
when it is met first, and one that is made anew.

No answer may be lost, none may be told twice, and none may wait for the next one. The bounded form is 20 pairs, 2 kills and
3,000 messages; with TORTURE=1 it is 200 pairs, 10 kills and 300,000 messages. It prints how long each took.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import torture
from tests.peers import dovecot
from tests.scenarios import hostile, service
from tests.until import eventually

PAIRS = 200 if torture.FULL else 20
KILLS = 10 if torture.FULL else 2
LARGE = 300_000 if torture.FULL else 3_000
APART = 0.1  # seconds between the two of a pair
# Seconds. One that waits for the next answer or for IDLE to be renewed, after four minutes, is not there after WITHIN.
LATE, WITHIN = 5.0, 60
MEGABYTES = 40  # that a large folder may add to the process
USER = "sales@example.test"
GRANT = """
[[grants]]
id = "sales"
email = "sales@example.test"
addresses = ["sales@example.test"]
mailbox = "imap://sales%40example.test@127.0.0.1:{port}/INBOX"
mailbox_password = "secret"
"""
OFFER = (
    b"From: sales@example.test\r\nTo: ann@example.org\r\nMessage-ID: <offer@example.test>\r\nSubject: Offer\r\n"
    b"X-Track: thread_replies\r\n\r\nHello.\r\n"
)


def answer(number: int, body: str = "Yes.") -> bytes:
    return (
        f"From: Ann <ann@example.org>\r\nTo: sales@example.test\r\nMessage-ID: <answer.{number}@example.org>\r\n"
        f"In-Reply-To: <offer@example.test>\r\nSubject: Re: Offer\r\n\r\n{body}\r\n"
    ).encode()


def other(number: int) -> bytes:
    return (
        f"From: list@example.org\r\nTo: sales@example.test\r\nMessage-ID: <news.{number}@example.org>\r\n"
        f"Subject: News {number}\r\n\r\nNothing.\r\n"
    ).encode()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dovecot.Dovecot]:
    with dovecot.running(tmp_path_factory.mktemp("dovecot"), {USER: "secret"}) as running:
        yield running


@pytest.fixture
def ports(tmp_path: Path, server: dovecot.Dovecot) -> Iterator[tuple[int, int, int]]:
    with hostile.sink() as upstream:
        yield service.settings(tmp_path, upstream=upstream.port, more=GRANT.format(port=server.imap_port))


@contextlib.contextmanager
def watched(folder: Path, ports: tuple[int, int, int], *, offer: bool = True) -> Iterator[service.Service]:
    with service.running(folder, ports) as relay:
        if offer:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(OFFER, "ann@example.org", sender=USER).startswith("250")
        eventually(lambda: "mailbox_watched" in relay.log, 120)
        yield relay


def answers(relay: service.Service) -> list[str]:
    """Of those that are told, the local part of the Message-ID, in their order."""
    return [e["data"]["reply_internet_id"].partition("@")[0] for e in relay.events() if e["type"] == "thread.replied"]


def told(relay: service.Service) -> int:
    return relay.log.count(" thread_replied ")


def memory(relay: service.Service, what: str) -> float:
    """Megabytes."""
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def test_none_of_a_pair_waits_for_the_next(
    tmp_path: Path, server: dovecot.Dovecot, ports: tuple[int, int, int]
) -> None:
    with watched(tmp_path, ports) as relay, smtplib.LMTP("127.0.0.1", server.lmtp_port) as client:
        slowest = 0.0
        for pair in range(PAIRS):
            client.sendmail("ann@example.org", [USER], answer(2 * pair))
            time.sleep(APART)  # that is the pair
            client.sendmail("ann@example.org", [USER], answer(2 * pair + 1))
            began = time.monotonic()
            eventually(lambda: told(relay) >= 2 * pair + 2, WITHIN)  # noqa: B023
            slowest = max(slowest, time.monotonic() - began)
        print(f"\n{PAIRS} pairs, the slowest told after {slowest:.2f} s")
        assert slowest < LATE or not torture.FULL
        assert sorted(answers(relay)) == sorted(f"answer.{n}" for n in range(2 * PAIRS))


def test_kills_lose_none_and_tell_none_twice(
    tmp_path: Path, server: dovecot.Dovecot, ports: tuple[int, int, int]
) -> None:
    sent, ended = [0], threading.Event()

    def deliver() -> None:
        with smtplib.LMTP("127.0.0.1", server.lmtp_port) as client:
            while not ended.wait(0.05):
                client.sendmail("ann@example.org", [USER], answer(sent[0]))
                sent[0] += 1

    with watched(tmp_path, ports):
        pass
    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        for _ in range(KILLS):
            with contextlib.suppress(AssertionError), service.running(tmp_path, ports) as relay:
                before = told(relay)
                eventually(lambda: told(relay) >= before + 7, 60)  # noqa: B023
                relay.kill()
    finally:
        ended.set()
        thread.join()
    with watched(tmp_path, ports, offer=False) as relay:
        expected = sorted(f"answer.{n}" for n in range(sent[0]))
        eventually(lambda: sorted(answers(relay)) == expected, 60, pause=0.3)
    print(f"\n{KILLS} kills, {sent[0]} answers, none lost, none twice")


def test_a_large_folder(tmp_path: Path, server: dovecot.Dovecot, ports: tuple[int, int, int]) -> None:
    """At the first start its mail is not asked for. Made anew, it is read from the cursor's date on."""
    fill(server, LARGE)
    began = time.monotonic()
    with watched(tmp_path, ports) as relay:
        ready = time.monotonic() - began
        server.deliver(USER, answer(1))
        eventually(lambda: told(relay) == 1, 60)
        first = memory(relay, "VmHWM")
    renumber(server)
    began = time.monotonic()
    with watched(tmp_path, ports, offer=False) as relay:
        again = time.monotonic() - began
        server.deliver(USER, answer(2))
        eventually(lambda: told(relay) == 2, 120)
        assert sorted(answers(relay)) == ["answer.1", "answer.2"]
        second = memory(relay, "VmHWM")
    with watched(tmp_path, ports, offer=False) as relay:
        bare = memory(relay, "VmHWM")
    print(
        f"\n{LARGE} messages: watched {ready:.1f} s after the start, peak {first:.0f} MB; with a new UIDVALIDITY "
        f"{again:.1f} s, peak {second:.0f} MB; a start with nothing new {bare:.0f} MB"
    )
    assert max(first, second) < bare + MEGABYTES


def fill(server: dovecot.Dovecot, count: int) -> None:
    """Old mail, in the user's Maildir, as it stood there before the relay came; Dovecot reads it in once, and that is not
    measured."""
    folder = server.mail / USER / "cur"
    for part in ("cur", "new", "tmp"):
        (server.mail / USER / part).mkdir(parents=True, exist_ok=True)
    old = time.time() - 90 * 86_400
    for number in range(count):
        path = folder / f"{int(old)}.M{number}P1.host:2,S"
        path.write_bytes(other(number))
        os.utime(path, (old, old))
    for path in [server.mail / USER, *(server.mail / USER).rglob("*")]:
        os.chown(path, 65534, 65534)
    counted(server)


def counted(server: dovecot.Dovecot) -> int:
    import imapclient

    client: Any = imapclient.IMAPClient("127.0.0.1", server.imap_port, ssl=False)
    client.login(USER, "secret")
    found = client.select_folder("INBOX", readonly=True)
    client.logout()
    return int(found[b"EXISTS"])


def renumber(server: dovecot.Dovecot) -> None:
    """Another UIDVALIDITY, as after a move to another machine."""
    server.stop()
    for path in (server.mail / USER).glob("dovecot*"):
        path.unlink()
    server.start()
    counted(server)
