"""What a webhook endpoint sends is somebody else's choice: mail and pixels are answered at once while it does its worst."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

PATIENCE = 2.0  # seconds for an answer; without bounds the loop is away for some six at a time
ATTACK_SECONDS = 8.0  # for which each connection is kept busy, unless it is cut

ATTACKS = {
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
    "small chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: a=b\r\n"),
    "empty lines": (b"", b"\r\n"),
}


@contextmanager
def endpoint(head: bytes, again: bytes) -> Iterator[tuple[int, list[float]]]:
    """A server that answers so, on many connections at a time; its port, and when connections came."""
    came: list[float] = []
    piece = again * (262_144 // len(again))
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(ATTACK_SECONDS)
            connection.recv(65_536)
            connection.sendall(head)
            until = time.monotonic() + ATTACK_SECONDS
            while time.monotonic() < until:
                connection.sendall(piece)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                came.append(time.monotonic())
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1], came
    finally:
        listening.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_mail_and_pixels_go_on(tmp_path: Path, attack: str) -> None:
    with endpoint(*ATTACKS[attack]) as (port, came), hostile.sink() as upstream:
        hook = f"""
[[webhooks]]
url = "http://127.0.0.1:{port}/hook"
triggers = ["message.link_clicked"]
secret = "a-secret-of-sixteen-or-more"
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
"""
        ports = service.settings(tmp_path, upstream=upstream.port, more=hook)
        with service.running(tmp_path, ports) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            opens, clicks = hostile.tokens(upstream.taken[-1].content)
            with hostile.Http(relay.http) as reader:
                for _ in range(8):  # as many notifications as there are places in the endpoint's lane
                    assert reader.get(clicks[0])[0] == 302
            eventually(lambda: came)
            until = time.monotonic() + 4
            while time.monotonic() < until:
                with hostile.Smtp(relay.smtp) as client, hostile.Http(relay.http) as reader:
                    client.socket.settimeout(PATIENCE)
                    reader.socket.settimeout(PATIENCE)
                    assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
                    assert reader.get(opens[0])[0] == 200
            assert "Traceback" not in relay.log
