"""Clients that come in crowds and say next to nothing: mail goes on, whoever they are, also with few files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.scenarios import hostile, service
from tests.until import eventually

FEW = ("prlimit", "--nofile=64:64")


@contextlib.contextmanager
def crowd(port: int, size: int, begin: bytes) -> Iterator[list[hostile.Line]]:
    """That many connections on which somebody has begun to say something."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(size):
            found.append(stack.enter_context(hostile.Line(port)))
            with contextlib.suppress(ConnectionError):
                found[-1].send(begin)
        yield found


def click(port: int, path: str) -> int:
    with hostile.Http(port) as client:
        with contextlib.suppress(ConnectionError):
            return client.get(path)[0]
        return 0


def test_a_crowd_at_the_tracking_server_does_not_stop_mail(tmp_path: Path) -> None:
    """It is open to the world: its connections get a share of the files, and mail keeps the rest."""
    letter = hostile.letter("", "X-Track: all")
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, prefix=FEW) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(letter).startswith("250")
            link = hostile.tokens(upstream.taken[0].content)[1][0]
            with crowd(relay.http, 150, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "):
                with hostile.Line(relay.http) as late:
                    assert late.rest().startswith(b"HTTP/1.1 503 ")  # it is told, and not left to wait
                assert service.files(relay) < 50
                for _ in range(5):
                    with hostile.Smtp(relay.smtp) as client:
                        assert client.mail(letter).startswith("250")
                assert len(upstream.taken) == 6
                assert b"/c/" in upstream.taken[-1].content
            eventually(lambda: click(relay.http, link) == 302)
            assert relay.log.count("listener full") == 1
            assert "Traceback" not in relay.log


def test_a_crowd_of_smtp_clients_leaves_files_for_the_upstream(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, prefix=FEW) as relay:
            with hostile.Smtp(relay.smtp) as early:
                with crowd(relay.smtp, 60, b"") as slow:
                    assert slow[-1].rest().startswith(b"421 4.3.2 ")
                    assert early.mail(hostile.letter()).startswith("250")  # who is in, finishes
                assert len(upstream.taken) == 1

            def again() -> bool:
                with hostile.Smtp(relay.smtp, hello="") as late:
                    return late.greeting.startswith("220") and late.ask("EHLO x").startswith("250")

            eventually(again)
        assert relay.log.count(" smtp full ") == 1
        assert "Traceback" not in relay.log


def test_three_hundred_slow_clients_and_a_good_one(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with (
            service.running(tmp_path, ports) as relay,
            crowd(relay.smtp, 100, b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\nSubject: "),
            crowd(relay.smtp, 100, b"EHL"),
            crowd(relay.http, 100, b"GET /o/x HTTP/1.1\r\nX-"),
        ):
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            assert click(relay.http, hostile.tokens(upstream.taken[0].content)[1][0]) == 302
            assert relay.stop() == 0  # and none of them holds up the end
        assert len(upstream.taken) == 1
