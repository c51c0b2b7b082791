"""A body is read where it is needed, and inflated nowhere: who sends one to the tracking server, or to admin without a
key, gets an answer and the end of the connection, and costs next to nothing."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

INFLATED = 50_000_000  # octets, of 50 kB
BOMB = zlib.compressobj(9, wbits=31)
GZIP = BOMB.compress(bytes(INFLATED)) + BOMB.flush()
DEFLATE = zlib.compress(bytes(INFLATED), 9)
TIMES = 40  # bombs per attack: two gigabytes, inflated
SECONDS = 2.0  # of processor time for all of an attack; inflating it takes several times as long

FRAMES = {
    "chunked": ("Transfer-Encoding: chunked", lambda bomb: b"%x\r\n%b\r\n" % (len(bomb), bomb)),
    "counted": (f"Content-Length: {TIMES * 60_000}", lambda bomb: bomb),
}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    folder = tmp_path_factory.mktemp("bodies")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, admin="open = false")
        with service.running(folder, ports) as running:
            with hostile.Smtp(running.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            opens, clicks = hostile.tokens(upstream.taken[-1].content)
            (folder / "paths").write_text(f"{opens[0]} {clicks[0]}")
            yield running


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def path(relay: service.Service, at: str) -> tuple[int, str]:
    opened, clicked = (relay.folder / "paths").read_text().split()
    return {
        "open": (relay.http, opened), "click": (relay.http, clicked), "nothing": (relay.http, "/x"),
        "page": (relay.http, "/"), "login": (relay.admin, "/login"), "api": (relay.admin, "/v3/webhooks"),
    }[at]  # fmt: skip


def attack(port: int, where: str, method: str, coding: str, frame: str) -> tuple[int, bool]:
    """The status of the answer, and whether the connection was closed before all was sent."""
    header, framed = FRAMES[frame]
    piece = framed(GZIP if coding == "gzip" else DEFLATE)
    with hostile.Http(port) as client:
        client.send(
            f"{method} {where} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Encoding: {coding}\r\n{header}\r\n\r\n".encode()
            + piece
        )
        status = client.answer()[0]
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(TIMES):
                client.socket.sendall(piece)
            client.socket.settimeout(5)
            return status, client.socket.recv(1) == b""
        return status, True


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("at", "method", "expected"),
    [
        ("open", "GET", 200), ("click", "GET", 302), ("nothing", "POST", 404), ("page", "GET", 200),
        ("login", "POST", 415), ("api", "POST", 415),
    ],
)  # fmt: skip
def test_a_compressed_body_costs_nothing(
    relay: service.Service, at: str, method: str, expected: int, coding: str, frame: str
) -> None:
    port, where = path(relay, at)
    before = processor_seconds(relay.process.pid)
    for _ in range(5):
        status, closed = attack(port, where, method, coding, frame)
        assert status == expected
        assert closed
    assert processor_seconds(relay.process.pid) - before < SECONDS


@pytest.mark.parametrize("at", ["open", "click", "page", "nothing"])
def test_what_follows_a_body_is_not_looked_at(relay: service.Service, at: str) -> None:
    """Also where the body is small and whole: who sends one here is no reader of mail."""
    port, where = path(relay, at)
    request = f"GET {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".encode()
    with hostile.Http(port) as client:
        client.send(request * 2)
        assert client.answer()[0] in (200, 302, 404)
        assert client.rest() == b""


def test_nobody_is_asked_for_a_body(relay: service.Service) -> None:
    port, where = path(relay, "open")
    with hostile.Http(port) as client:
        client.send(
            f"GET {where} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 300000000\r\n\r\n".encode()
        )
        assert client.answer()[0] == 200
        assert client.rest() == b""


def test_a_login_form_is_small(relay: service.Service) -> None:
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{relay.admin}\r\nOrigin: http://127.0.0.1:{relay.admin}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n"
    with hostile.Http(relay.admin) as client:
        client.send(f"{head}Content-Length: 3900000\r\n\r\n".encode() + b"key=" + b"x" * 100_000)
        assert client.answer()[0] == 413
        assert client.rest() == b""
    with hostile.Http(relay.admin) as client:
        client.send(f"{head}Content-Length: 9\r\n\r\nkey=wrong".encode())
        assert client.answer()[0] == 401


def test_a_login_form_that_drips_is_cut(relay: service.Service) -> None:
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{relay.admin}\r\nOrigin: http://127.0.0.1:{relay.admin}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4000\r\n\r\nkey="
    with hostile.Http(relay.admin) as client:
        client.send(head.encode())

        def dripped() -> bool:
            try:
                client.socket.sendall(b"x")
            except ConnectionError:
                return True
            client.socket.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                return client.socket.recv(4096)[9:12] in (b"408", b"")
            return False

        assert eventually(dripped, seconds=30)
