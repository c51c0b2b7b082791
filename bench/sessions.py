"""What an idle SMTP session costs in memory, after one message: in clear and with STARTTLS, by the message's size.

Resident memory that SESSIONS of them add to what WARM have, without what as many messages of one session add (the store's
caches grow with each). Goals: 10 kB in clear, 60 kB with TLS.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

from bench import _load, _relay
from tests.fakes import certificates

SESSIONS, WARM = 500, 100
SIZES = (5_000, 50_000)
GOALS = {"clear": 10.0, "tls": 60.0}


def reply(peer: socket.socket) -> bytes:
    had = b""
    while not had.endswith(b"\n") or had.splitlines()[-1][3:4] == b"-":
        some = peer.recv(65_536)
        if not some:
            sys.exit(f"the relay closed the connection: {had!r}")
        had += some
    if had[:1] not in b"23":
        sys.exit(f"not taken: {had!r}")
    return had


def session(port: int, message: bytes, trust: ssl.SSLContext | None) -> socket.socket:
    """One that has sent its message, and stays."""
    peer = socket.create_connection(("127.0.0.1", port))
    reply(peer)
    hello = b"EHLO bench.example\r\n"
    peer.sendall(hello)
    reply(peer)
    if trust:
        peer.sendall(b"STARTTLS\r\n")
        reply(peer)
        peer = trust.wrap_socket(peer, server_hostname="localhost")
        peer.sendall(hello)
        reply(peer)
    send(peer, message)
    return peer


def send(peer: socket.socket, message: bytes) -> None:
    for command in (b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>", b"DATA", message + b"."):
        peer.sendall(command + b"\r\n")
        reply(peer)


def measure(folder: Path, kind: str, pem: certificates.Pair, sink: int, size: int) -> None:
    lines = [f'certificate = "{pem.certificate}"', f'key = "{pem.key}"'] if kind == "tls" else []
    trust = certificates.trusting(pem.certificate) if kind == "tls" else None
    message = _relay.newsletter(size)
    with contextlib.ExitStack() as stack:
        relay = _relay.start(stack, folder, sink, smtp="\n".join(lines))
        for _ in range(WARM):
            peer = stack.enter_context(session(relay.port, message, trust))
        time.sleep(1)
        warm, _ = _load.resident(relay.pid)
        for _ in range(SESSIONS):
            send(peer, message)
        time.sleep(1)
        before, _ = _load.resident(relay.pid)
        for _ in range(SESSIONS):
            stack.enter_context(session(relay.port, message, trust))
        time.sleep(1)
        after, _ = _load.resident(relay.pid)
    print(
        f"  {SESSIONS} idle sessions, {kind:5} after {size // 1000:2} kB each: {(after - before - (before - warm)) / SESSIONS / 1e3:6.1f} kB each"
        f"   goal {GOALS[kind]:g}",
        flush=True,
    )


def main() -> int:
    argparse.ArgumentParser(prog="python -m bench.sessions", description=__doc__).parse_args()
    _load.header()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator, pem = _load.generator(folder), certificates.make(folder)
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log")).port
        for kind in GOALS:
            for size in SIZES:
                measure(folder / f"{kind}-{size}", kind, pem, sink, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
