"""Numbers of 5,000 digits, wherever one can be written: an answer, no error, and what comes after is as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service

DIGITS = {"nines": "9" * 5_000, "zeros": "0" * 5_000, "padded": "0" * 5_000 + "65"}
Sent = tuple[service.Service, Upstream]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    folder: Path = tmp_path_factory.mktemp("numbers")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports) as running:
            yield running, upstream


@pytest.mark.parametrize("digits", DIGITS.values(), ids=DIGITS)
def test_in_mail(relay: Sent, digits: str) -> None:
    running, upstream = relay
    body = (
        f"<p>&#{digits}; &#x{digits}; &#{digits}</p><a href='https://a.example/&#{digits};?&#x{digits}'>one</a>"
        f"<a href='https://b.example:{digits}/'>two</a><a href='https://example.com/page?a=1'>three</a>"
    )
    short = [f"References: <{digits[:900]}@x>", "X-Track: all"]
    with hostile.Smtp(running.smtp) as client:
        assert client.ask(f"MAIL FROM:<a@example.test> SIZE={digits[:400]}")[:3] in ("250", "501", "552")
        assert client.ask("RSET").startswith("250")
        assert client.mail(hostile.letter(body, *short)).startswith("250")
    taken = upstream.taken[-1].content
    assert hostile.tokens(taken)[1], "the message is tracked all the same"
    assert "Traceback" not in running.log
    assert hostile.metrics(running.admin).get('trackrelay_errors_total{room="smtp"}', 0) == 0


@pytest.mark.parametrize("digits", DIGITS.values(), ids=DIGITS)
def test_in_requests(relay: Sent, digits: str) -> None:
    running, _ = relay
    for port in (running.http, running.admin):
        for request in (
            f"GET / HTTP/1.1\r\nHost: x:{digits}\r\n\r\n",
            f"GET http://x:{digits}/ HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {digits}\r\n\r\n",
            f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {digits}\r\n\r\n",
            f"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{digits}\r\nx\r\n0\r\n\r\n",
            f"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{'f' * 5_000}\r\nx\r\n",
            f"GET /live/messages?limit={digits} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            f"GET /live/messages?before={digits} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            f"GET /live/events?after={digits} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
            f"GET /o/{digits} HTTP/1.{digits}\r\nHost: x\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes={digits}-{digits}\r\nIf-Modified-Since: {digits}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.{digits}\r\nCookie: a={digits}; Max-Age={digits}\r\n\r\n",
        ):
            with hostile.Http(port) as client:
                client.send(request.encode())
                status = client.answer()[0]
                assert status not in (0, 500), request[:80]
    assert "Traceback" not in running.log
    assert hostile.metrics(running.admin).get('trackrelay_errors_total{room="admin"}', 0) == 0
