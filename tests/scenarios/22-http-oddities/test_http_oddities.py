"""The tracking server as the world meets it: requests that are no HTTP or two kinds of it, caches, forged addresses."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

Sent = tuple[service.Service, str, str]
TARGET = "https://example.com/page?a=1"


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("http")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports, only="smtp,queue,http,admin") as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            pixels, clicks = hostile.tokens(upstream.taken[0].content)
            yield relay, pixels[0], clicks[0]


def raw(port: int, data: bytes, patience: float = 0.3) -> bytes:
    """All that comes back until the server closes or waits for more: says nothing for so many seconds."""
    with hostile.Line(port) as line:
        line.socket.settimeout(patience)
        line.send(data)
        got = b""
        try:
            while chunk := line.socket.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionError):
            pass
        return got


# What one server takes for one request and another for two (CWE-444), and what is no HTTP at all.
ODD = [
    b"GET {o} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {c} HTTP/1.1\r\n\r\n",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
    b"GET {o} HTTP/1.1\r\nHost: x\r\n X-Folded: 1\r\n\r\n",
    b"GET {o} HTTP/1.1\nHost: x\n\n",
    b"GET {o} HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET  {o}  HTTP/1.1\r\nHost: x\r\n\r\n",
    b"G\x00T {o} HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET {o}\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nX-\xff: 1\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET {o} HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
    b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"TRACE {o} HTTP/1.1\r\nHost: x\r\nX-Secret: 1\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd[:60]))
def test_odd_requests_lead_nowhere_and_harm_nothing(sent: Sent, odd: bytes) -> None:
    relay, pixel, click = sent
    got = raw(relay.http, odd.replace(b"{o}", pixel.encode()).replace(b"{c}", click.encode()))
    assert b"Location" not in got
    assert b"Traceback" not in got
    assert b"X-Secret" not in got
    assert len(re.findall(rb"(?m)^HTTP/1\.[01] \d", got)) <= 1  # one request, one answer
    with hostile.Http(relay.http) as client:
        assert client.get(click)[1]["location"] == TARGET
    assert "Traceback" not in relay.log


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd[:60]))
def test_odd_requests_to_admin_are_one_request_or_none(sent: Sent, odd: bytes) -> None:
    relay, *_ = sent
    for path, after in ((b"/login", b"/live/messages"), (b"/live/messages", b"/login")):
        got = raw(relay.admin, odd.replace(b"{o}", path).replace(b"{c}", after).replace(b"Host: x", b"Host: 127.0.0.1"))
        assert len(re.findall(rb"(?m)^HTTP/1\.[01] \d", got)) <= 1
        assert b" 500 " not in got[:20]
        assert b"X-Secret" not in got
    with hostile.Http(relay.admin) as client:
        assert client.get("/healthz")[0] == 200
    assert "Traceback" not in relay.log
    assert hostile.metrics(relay.admin).get('trackrelay_errors_total{room="admin"}', 0) == 0


def test_methods_and_versions(sent: Sent) -> None:
    relay, pixel, click = sent
    with hostile.Http(relay.http) as client:
        status, fields, body = client.get(pixel, method="HEAD")
        assert (status, body) == (200, b"")
        assert fields["content-length"] == "43"
        assert client.get(click, method="HEAD")[1]["location"] == TARGET
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"):
            status, fields, _ = client.get(click, method=method)
            assert status in (400, 404, 405), method
            assert "location" not in fields
            if fields.get("connection") == "close" or status == 400:
                client = hostile.Http(relay.http)
    old = raw(relay.http, f"GET {click} HTTP/1.0\r\n\r\n".encode(), 20)
    assert old.startswith(b"HTTP/1.0 302") or old.startswith(b"HTTP/1.1 302")
    assert f"Location: {TARGET}".encode() in old
    absolute = raw(
        relay.http, f"GET http://t.example.test{click} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(), 20
    )
    assert f"Location: {TARGET}".encode() in absolute


def test_nothing_is_cached_and_no_range_is_cut(sent: Sent) -> None:
    relay, pixel, click = sent
    with hostile.Http(relay.http) as client:
        for path, status in ((pixel, 200), (click, 302)):
            for fields in (
                (),
                ("Range: bytes=0-0",),
                ("If-None-Match: *",),
                ("If-Modified-Since: Sun, 01 Jan 2040 00:00:00 GMT",),
            ):
                found, headers, body = client.get(path, *fields)
                assert found == status
                assert "no-store" in headers["cache-control"]
                assert "private" in headers["cache-control"]
                assert "etag" not in headers
                assert "set-cookie" not in headers
                assert len(body) == (43 if path == pixel else 0)


def test_a_host_that_was_forged_poisons_nothing(sent: Sent) -> None:
    """Links are made of the configuration alone, and pages name no host."""
    relay, _, click = sent
    with hostile.Http(relay.http) as client:
        client.send(f"GET {click} HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: evil.test\r\n\r\n".encode())
        status, fields, _ = client.answer()
        assert (status, fields["location"]) == (302, TARGET)
        client.send(b"GET / HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Proto: gopher\r\n\r\n")
        status, fields, body = client.answer()
        assert status == 200
        assert b"evil" not in body + json.dumps(fields).encode()


def test_who_it_was_is_what_a_proxy_of_ours_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    """X-Forwarded-For counts from a proxy in the list only, and of it the last address that is none of ours."""
    folder = tmp_path_factory.mktemp("proxies")
    with hostile.sink() as upstream:
        proxies = 'trusted_proxies = ["127.0.0.9/32", "10.0.0.0/8"]'
        ports = service.settings(folder, upstream=upstream.port, http=proxies)
        with service.running(folder, ports, only="smtp,queue,http") as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            pixel = hostile.tokens(upstream.taken[0].content)[0][0]
            for source, forwarded in (
                ("127.0.0.1", "203.0.113.1"),  # a client that lies
                ("127.0.0.9", "203.0.113.2"),
                ("127.0.0.9", "198.51.100.66, 203.0.113.3, 10.0.0.1"),
                ("127.0.0.9", "203.0.113.4, not an address"),
                ("127.0.0.9", "<script>, \x1b[2J"),
                ("127.0.0.9", "203.0.113.5:4711"),
            ):
                with hostile.Http(relay.http, source=source) as client:
                    assert client.get(pixel, f"X-Forwarded-For: {forwarded}")[0] in (200, 400)
            rows = eventually(lambda: len(rows := relay.events()) >= 5 and rows, pause=0.2)
    found = [row["ip"] for row in rows]
    assert found[:3] == ["127.0.0.1", "203.0.113.2", "203.0.113.3"]
    assert all("<" not in address and "\x1b" not in address for address in found)


def test_who_leaves_in_the_middle_is_no_fault_of_ours(sent: Sent) -> None:
    relay, pixel, _ = sent
    before = service.files(relay)
    for port, path in ((relay.admin, "/login"), (relay.http, pixel)):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        head += (
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        )
        for _ in range(3):
            with hostile.Line(port) as line:
                line.send(head.encode())
                assert line.read().startswith(b"HTTP/1.1 ")  # somebody has begun with it
                line.send(b"key=")
    eventually(lambda: service.files(relay) <= before)
    assert hostile.metrics(relay.admin).get('trackrelay_errors_total{room="admin"}', 0) == 0
    assert "Traceback" not in relay.log
