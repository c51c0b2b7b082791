"""What the scenarios of risks share: an upstream that answers while the test blocks, clients that send exactly the
bytes they are given, and what the program left on disk."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from tests.fakes.upstream import Upstream

WAIT = 15.0  # seconds that a client here waits for an answer


@contextlib.contextmanager
def elsewhere() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """An event loop in a thread of its own: the peers of a test that blocks. Gives a function that runs a coroutine
    there and returns its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(WAIT)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT)


@contextlib.contextmanager
def sink(script: Any = None, **how: Any) -> Iterator[Upstream]:
    """A running scripted upstream (`tests.fakes.upstream`). Look at `taken`: what is in `kept` gets there after the 250
    was sent, which is too late for another thread."""
    with elsewhere() as run:
        upstream = Upstream(script, **how)
        run(upstream.start())
        try:
            yield upstream
        finally:
            run(upstream.stop())


class Line:
    """A connection whose every octet is the test's. `source` is the client's own address."""

    def __init__(self, port: int, *, source: str = "", host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), WAIT, (source, 0) if source else None)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, most: int = 65_536) -> bytes:
        """What has come, or what comes next; b"" at the end."""
        try:
            return self.file.read1(most)
        except ConnectionError:
            return b""

    def rest(self) -> bytes:
        """All up to the end of the connection."""
        try:
            return self.file.read()
        except ConnectionError:
            return b""

    def secure(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        """The handshake; of SMTP after the 220."""
        self.file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self.file = self.socket.makefile("rb")


class Smtp(Line):
    """An SMTP client; the greeting is read."""

    def __init__(self, port: int, *, hello: str = "client.example.test", **how: Any) -> None:
        super().__init__(port, **how)
        self.greeting = self.reply()
        if hello:
            self.hello = self.ask(f"EHLO {hello}")

    def reply(self) -> str:
        """One whole reply, its lines joined by "\\n"; "" at the end of the connection."""
        lines = []
        while True:
            try:
                line = self.file.readline().decode("utf-8", "replace")
            except ConnectionError:
                line = ""
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, line: str | bytes) -> str:
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def envelope(self, *recipients: str, sender: str = "a@example.test", options: str = "") -> None:
        assert self.ask(f"MAIL FROM:<{sender}>{options}").startswith("250")
        for recipient in recipients or ("b@example.test",):
            assert self.ask(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.ask("DATA").startswith("354")

    def mail(self, content: bytes, *recipients: str, **how: Any) -> str:
        """A whole transaction; the answer to the final dot."""
        self.envelope(*recipients, **how)
        self.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
        return self.reply()

    def login(self, user: str, password: str) -> str:
        return self.ask("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())


class Http(Line):
    """An HTTP client over one connection that stays open."""

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, header fields in lower case, body. (0, {}, b"") at the end of the connection."""
        try:
            line = self.file.readline()
        except ConnectionError:
            line = b""
        if not line:
            return 0, {}, b""
        fields: dict[str, str] = {}
        while (field := self.file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = field.decode("latin-1").partition(":")
            assert name.lower() not in fields or name.lower() == "set-cookie", f"{name} comes twice"
            fields[name.lower()] = value.strip()
        return int(line.split()[1]), fields, self.file.read(int(fields.get("content-length", 0)))

    def get(self, path: str | bytes, *fields: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        target = path.encode("latin-1") if isinstance(path, str) else path
        head = "".join(f"{field}\r\n" for field in ("Host: t.example.test", *fields)).encode("latin-1")
        self.send(method.encode() + b" " + target + b" HTTP/1.1\r\n" + head + b"\r\n")
        status, found, body = self.answer() if method != "HEAD" else self._head()
        return status, found, body

    def _head(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.file.readline().split()[1])
        fields = {}
        while (field := self.file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = field.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        return status, fields, b""


def letter(body: str = "", *fields: str, to: str = "b@example.test") -> bytes:
    """A message with an HTML body, its lines ended by CRLF. `fields` are further header lines."""
    html = body or '<html><body><p>Hello <a href="https://example.com/page?a=1">there</a></p></body></html>'
    lines = [
        "From: A <a@example.test>", f"To: {to}", "Subject: A letter", "Message-ID: <letter-1@example.test>",
        "Date: Thu, 01 Jan 2026 00:00:00 +0000", *fields, "MIME-Version: 1.0",
        "Content-Type: text/html; charset=utf-8", "", html, "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def tokens(content: bytes) -> tuple[list[str], list[str]]:
    """The paths of the pixels and of the tracked links in a message."""
    plain = content.replace(b"=\r\n", b"").decode("utf-8", "replace")
    return re.findall(r"(/o/[\w-]+)", plain), re.findall(r"(/c/[\w-]+)", plain)


def metrics(port: int) -> dict[str, float]:
    """The counters of /metrics, by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def found_in(folder: Path, secret: bytes) -> list[str]:
    """The files under the folder in which these octets stand."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if secret in path.read_bytes()]
