"""What the short way reads of a request, aiohttp would read alike; what is unusual goes the long way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from tracking_http import heads

BROWSER = (
    b"GET /o/AbC_-9?tid=x HTTP/1.1\r\nHost: t.example.com\r\nUser-Agent:  Mozilla/5.0 (X11) \r\nAccept: */*\r\n"
    b"Connection: keep-alive\r\nREFERER: https://mail.example/\r\nVia: 1.1 x\r\n\r\n"
)


LINE = heads.line(f"({heads.ANY_PATH})")


def read(data: bytes) -> tuple[str, str, Mapping[str, str]] | None:
    """Path, query and fields."""
    line = LINE.match(data)
    fields = heads.fields(data[line.end() :]) if line and len(data) <= heads.LONGEST else None
    return None if line is None or fields is None else (line[1].decode(), (line[2] or b"").decode(), fields)


def test_a_browser() -> None:
    assert read(BROWSER) == (
        "/o/AbC_-9",
        "tid=x",
        {"user-agent": "Mozilla/5.0 (X11)", "referer": "https://mail.example/", "via": "1.1 x"},
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        BROWSER[:-2],
        BROWSER[:-1] + b"x",
        BROWSER + BROWSER,
        BROWSER + b"x",
        BROWSER.replace(b"GET", b"HEAD"),
        BROWSER.replace(b"HTTP/1.1", b"HTTP/1.0"),
        BROWSER.replace(b"GET /", b"GET  /"),
        BROWSER.replace(b"GET /", b"GET http://t.example.com/"),
        BROWSER.replace(b"?tid", b"#tid"),
        BROWSER.replace(b"keep-alive", b"close"),
        BROWSER.replace(b"keep-alive", b"keep-alive, Upgrade"),
        BROWSER.replace(b"Accept: */*", b"Content-Length: 0"),
        BROWSER.replace(b"Accept: */*", b"Transfer-Encoding: chunked"),
        BROWSER.replace(b"Accept: */*", b"Expect: 100-continue"),
        BROWSER.replace(b"Accept: */*", b"Accept : */*"),
        BROWSER.replace(b"Accept: */*", b" folded"),
        BROWSER.replace(b"Accept: */*", b"user-agent: another"),
        BROWSER.replace(b"Accept: */*", "Accept: ü".encode()),
        BROWSER.replace(b"Accept: */*", b"Accept: \0"),
        BROWSER.replace(b"\r\nAccept", b"\nAccept"),
        BROWSER.replace(b"Accept: */*", b"Accept: " + b"x" * heads.LONGEST),
        BROWSER.replace(b"Accept: */*", b"\r\n".join([b"Accept: */*"] * 65)),
        BROWSER.replace(b"Accept: */*", b"Host: another"),
        BROWSER.replace(b"Host", b"Hostess"),
        b"GET /o/x HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_unusual(data: bytes) -> None:
    assert read(data) is None


NAMES = st.sampled_from(
    [
        "Host",
        "user-agent",
        "Referer",
        "Via",
        "X-Forwarded-For",
        "Purpose",
        "Connection",
        "Accept",
        "Content-Length",
        "TE",
    ]
)
VALUES = st.one_of(
    st.sampled_from(["keep-alive", "close", "0", "", "gzip"]), st.text("\t ab\"(),:;\\'\x7f\x01é", max_size=12)
)
TARGETS = st.one_of(st.text('/ab?%#&="\\{^ é', max_size=12).map("/".__add__), st.just("http://x/y"))


@given(TARGETS, st.lists(st.tuples(NAMES, st.sampled_from([":", ": ", ":\t "]), VALUES), max_size=6))
def test_aiohttp_reads_alike(target: str, fields: list[tuple[str, str, str]]) -> None:
    lines = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in fields)
    data = f"GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
    found = read(data)
    if found is None:
        return
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
        ((message, _payload),), upgraded, rest = parser.feed_data(data)
    finally:
        loop.close()
    assert (upgraded, rest, message.should_close, message.chunked) == (False, b"", False, False)
    assert (message.method, message.url.raw_path, message.url.raw_query_string) == ("GET", *found[:2])
    assert found[2] == {name.lower(): value for name, value in message.headers.items() if name.lower() in heads.FIELDS}
