"""Answers whose bytes are prepared in advance.

Owns: writing such an answer without aiohttp's own preparation, which costs more than the rest of a hit.
Leaves to others: what is answered.

They fit only a GET over HTTP/1.1, without a body, on a connection that stays open. `fits` says whether that is so; any other request
needs an ordinary response.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from aiohttp import HttpVersion11, web

UNREAD = 65_536  # octets that a client may leave unread before it is cut off


class Ready(web.StreamResponse):
    """An answer with these bytes: status line, header section and body. It can be given to many requests."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> Any:
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        transport.write(self.data)
        if transport.get_write_buffer_size() > UNREAD:
            transport.abort()

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything has been written."""


def fits(request: web.BaseRequest) -> bool:
    return (
        request.method == "GET" and request.keep_alive and request.version == HttpVersion11 and not request.body_exists
    )


class Form:
    """Answers with one status and header section, and the Date of now, as bytes."""

    def __init__(self, status: str, fields: Mapping[str, str], body: bytes = b"") -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._head = f"HTTP/1.1 {status}\r\n{lines}".encode("ascii")
        self._tail = b"\r\n\r\n" + body
        self._second = 0
        self._dated = self._same = b""

    def same(self) -> bytes:
        """The answer that is the same for everybody."""
        self._date()
        return self._same

    def with_location(self, target: str) -> bytes:
        self._date()
        return b"%b\r\nLocation: %b%b" % (self._dated, target.encode("ascii"), self._tail)

    def _date(self) -> None:
        now = int(time.time())
        if now != self._second:  # RFC 9110 6.6.1
            self._second = now
            self._dated = self._head + b"Date: " + formatdate(now, usegmt=True).encode("ascii")
            self._same = self._dated + self._tail
