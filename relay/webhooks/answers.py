"""What an endpoint may send for an answer: so much, and no more.

Owns: the bounds on it. aiohttp reads whatever comes: an endpoint that answers `100 Continue` without end keeps the event
loop at it for seconds, in which no mail is taken and no pixel answered. Here bytes are looked at a slice at a time,
interim answers are counted, and the whole has a size.
Leaves to others: the connection and what it says (aiohttp), what follows from an answer (`post`).
"""

from __future__ import annotations

import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

HEADER_END = b"\r\n\r\n"
SLICE = 1_024  # octets, which hold some forty interim answers
MAX_INTERIM = 5  # 1xx before the final answer (RFC 9110 15.2); a server has little reason for one
MAX_OCTETS = 65_536  # of one answer: header sections, body, and how it is cut into chunks
MAX_LINE = 8_190  # octets of a header field, and of the status line


class TooMuch(aiohttp.ClientConnectionError):
    """The answer passes a bound. The connection is closed."""


class BoundedAnswer(ResponseHandler):
    """aiohttp's side of one connection. What it overrides is held by a test (tests/shells/test_webhooks.py)."""

    _octets = _interim = 0
    _final = False

    def set_response_params(self, **how: Any) -> None:
        """The next answer on this connection begins."""
        self._octets = self._interim = 0
        self._final = False
        super().set_response_params(**how)

    def data_received(self, data: bytes) -> None:
        if not data:
            super().data_received(data)
        at = 0
        while at < len(data) and not self._cut():
            end = at + SLICE
            if not self._final:  # up to the end of a header section: what is wrong behind it takes nothing from it
                found = data.find(HEADER_END, at, end)
                end = end if found < 0 else found + len(HEADER_END)
            piece = data[at:end]
            at += len(piece)
            self._octets += len(piece)
            super().data_received(piece)
        self._cut()

    def feed_data(self, data: Any, *size: Any) -> None:
        if 100 <= data[0].code < 200:
            self._interim += 1
        else:
            self._final = True
        super().feed_data(data, *size)

    def _cut(self) -> bool:
        """Is the connection over? It is once a bound is passed."""
        if self.transport is None or self.transport.is_closing():
            return True
        if self._interim <= MAX_INTERIM and self._octets <= MAX_OCTETS:
            return False
        why = f"{self._interim} interim answers" if self._interim > MAX_INTERIM else f"more than {MAX_OCTETS} octets"
        self.set_exception(TooMuch(f"the endpoint answered with {why}"))
        self.transport.abort()
        return True


class Connector(aiohttp.TCPConnector):
    """Connections whose answers are bounded. Made on the event loop."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        made: type[ResponseHandler] = BoundedAnswer
        self._factory = functools.partial(made, loop=self._loop)
