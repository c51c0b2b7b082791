"""What a watched mailbox costs, and how soon an answer in it is told: hundreds of accounts of one Dovecot.

Each account's mailbox is watched by IDLE; then with fewer connections than mailboxes, so that most are opened in turn. Of
each, the relay's memory over what it has without any, per mailbox, and the time from LMTP's 250 to the event, over answers
to mailboxes at random. Needs Dovecot, and root, which starts it.
"""

from __future__ import annotations

import argparse
import random
import smtplib
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.peers import dovecot
from tests.scenarios import hostile, service
from tests.until import eventually

COUNTS = (1, 100, 300)
ANSWERS = 40
INTERVAL = 5  # seconds: poll_interval, of those that are opened in turn
GRANT = """
[[grants]]
id = "u{number}"
email = "u{number}@example.test"
addresses = ["u{number}@example.test"]
mailbox = "imap://u{number}%40example.test@127.0.0.1:{port}/INBOX"
mailbox_password = "secret"
"""


def offer(user: int) -> bytes:
    return (
        f"From: u{user}@example.test\r\nTo: ann@example.org\r\nMessage-ID: <offer.{user}@example.test>\r\n"
        "Subject: Offer\r\nX-Track: thread_replies\r\n\r\nHello.\r\n"
    ).encode()


def answer(user: int, number: int) -> bytes:
    return (
        f"From: ann@example.org\r\nTo: u{user}@example.test\r\nMessage-ID: <answer.{number}@example.org>\r\n"
        f"In-Reply-To: <offer.{user}@example.test>\r\nSubject: Re: Offer\r\n\r\nYes.\r\n"
    ).encode()


def memory(relay: service.Service) -> float:
    """Kilobytes."""
    return float(Path(f"/proc/{relay.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def measure(
    folder: Path, server: dovecot.Dovecot, count: int, connections: int, answers: int
) -> tuple[float, list[float], float]:
    """Kilobytes, seconds of each answer, and seconds from the start to all watched."""
    folder.mkdir()
    grants = "".join(GRANT.format(number=number, port=server.imap_port) for number in range(count))
    more = f'{grants}[mailbox]\npoll_interval = "{INTERVAL}s"\nmax_connections = {connections}\n'
    took: list[float] = []
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, more=more)
        began = time.monotonic()
        with service.running(folder, ports) as relay:
            eventually(lambda: relay.log.count("mailbox_watched") == count, 300, pause=0.1)
            ready = time.monotonic() - began
            users = sorted(random.Random(1).sample(range(count), min(count, answers)))
            with hostile.Smtp(relay.smtp) as client:
                for user in users:
                    reply = client.mail(offer(user), "ann@example.org", sender=f"u{user}@example.test")
                    if not reply.startswith("250"):
                        raise SystemExit(reply)
            with smtplib.LMTP("127.0.0.1", server.lmtp_port) as post:
                for number, user in enumerate(users):
                    post.sendmail("ann@example.org", [f"u{user}@example.test"], answer(user, number))
                    began, before = time.monotonic(), number
                    eventually(lambda: relay.log.count(" thread_replied ") > before, 120, pause=0.005)  # noqa: B023
                    took.append(time.monotonic() - began)
            return memory(relay), took, ready


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=list(COUNTS))
    parser.add_argument("--answers", type=int, default=ANSWERS)
    asked = parser.parse_args(arguments)
    most = max(asked.counts)
    users = {f"u{number}@example.test": "secret" for number in range(most)}
    with tempfile.TemporaryDirectory() as name, dovecot.running(Path(name) / "dovecot", users) as server:
        bare, _, _ = measure(Path(name) / "bare", server, 0, 200, 0)
        print(f"without a mailbox: {bare / 1024:.0f} MB")
        runs = [(count, count) for count in asked.counts] + [(most, max(2, most // 5))]
        for at, (count, connections) in enumerate(runs):
            kilobytes, took, ready = measure(Path(name) / f"run{at}", server, count, connections, asked.answers)
            print(
                f"{count} mailboxes, {connections} connections: all watched after {ready:.1f} s; "
                f"{(kilobytes - bare) / count:.0f} kB each; an answer is told after {statistics.median(took):.2f} s "
                f"(median), {max(took):.2f} s at the most"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
