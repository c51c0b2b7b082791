"""A mailbox's server that sends without end: the log says which one, memory stays where it was, and mail and the other
mailboxes go on."""

from __future__ import annotations

import contextlib
import mailbox
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

MEGABYTES = 150  # that the process may hold at most; a literal of 3 GB is announced, and sent
ATTACKS = {
    "a literal of 3 GB": b"* 1 FETCH (X {3000000000}\r\n" + b"x" * 2_000_000,
    "lines without end": b"* 1 EXISTS\r\n" * 5_000,
    "a line without end": b"* SEARCH" + b" 8" * 1_000_000,
}
REPLY = (
    "From: b@example.test\r\nTo: a@example.test\r\nSubject: Re: hello\r\nMessage-ID: <reply@example.test>\r\n"
    "In-Reply-To: {}\r\n\r\nyes\r\n"
)


@contextmanager
def server(attack: bytes) -> Iterator[tuple[int, list[int]]]:
    """Greets and then says so to whoever connects, as long as they read; its port, and an entry per connection."""
    came: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def flood(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            connection.sendall(b"* OK ready\r\n")
            while True:
                connection.sendall(attack)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                came.append(len(came))
                threading.Thread(target=flood, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1], came
    finally:
        listening.close()


def peak(pid: int) -> int:
    """Megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_cut_and_named(tmp_path: Path, attack: str) -> None:
    inbox = mailbox.Maildir(tmp_path / "inbox")
    with server(ATTACKS[attack]) as (port, came), hostile.sink() as upstream:
        grants = f"""
[[grants]]
id = "hostile"
addresses = ["*@hostile.test"]
mailbox = "imap://me@127.0.0.1:{port}/INBOX"
mailbox_password = "secret"
[[grants]]
id = "good"
addresses = ["*@example.test"]
mailbox = "maildir:{tmp_path / "inbox"}"
[mailbox]
poll_interval = "1s"
"""
        ports = service.settings(tmp_path, upstream=upstream.port, more=grants)
        with service.running(tmp_path, ports) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            eventually(lambda: f"127.0.0.1:{port}: " in relay.log)
            eventually(lambda: len(came) >= 3)
            inbox.add(REPLY.format("<letter-1@example.test>").encode())
            eventually(lambda: "thread.replied" in relay.command("events", "--json").stdout, pause=0.3)
            assert peak(relay.process.pid) < MEGABYTES
            assert "Traceback" not in relay.log
            assert "secret" not in relay.log
