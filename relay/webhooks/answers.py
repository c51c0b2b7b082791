"""What an endpoint may send for an answer: a status line that is believed, and no more behind it than so much.

Owns: the status, which is known once its line is here, whatever comes behind it; and the bounds. aiohttp reads whatever
comes: an endpoint that answers `100 Continue` without end keeps the event loop at it for seconds, in which no mail is
taken and no pixel answered; and where something behind the status line is too long or not well formed, it takes none of
it. So interim answers are counted and kept from it, bytes are looked at a slice at a time, and the whole has a size.
Leaves to others: the connection and how long an answer takes (aiohttp), what follows from it (`post`).
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

HEADER_END = b"\r\n\r\n"
SLICE = 1_024  # octets
MAX_INTERIM = 5  # 1xx before the final answer (RFC 9110 15.2); a server has little reason for one
MAX_OCTETS = 65_536  # of one answer: header sections, body, and how it is cut into chunks
MAX_LINE = 8_190  # octets of a header field, and of the status line
READING = 1.0  # seconds for what comes behind a status line

STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})(?: [^\n]*|\r)?\n")
HTTP = re.compile(rb"(?:H(?:T(?:T(?:P(?:/[^\n]{0,8190})?)?)?)?)?\Z")  # what may become a status line
BLANK = re.compile(rb"\r?\n\r?\n")
RETRY_AFTER = re.compile(rb"\nretry-after:[ \t]*([\x20-\x7e]{1,100}?)[ \t]*\r?\n", re.I)


class TooMuch(aiohttp.ClientConnectionError):
    """The answer passes a bound. The connection is closed."""


class Answered(Exception):
    """There was a status line, and behind it something that can't be read. `retry_after` is the field's value."""

    def __init__(self, status: int, retry_after: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.retry_after = status, retry_after


class Beginning:
    """An answer up to its final status line. `status` is 0 until that is here; `head` is from there on, as far as it was
    heard."""

    def __init__(self) -> None:
        self.status = self.interim = 0
        self.over = False  # nothing is held back any more
        self.head = bytearray()
        self._held = bytearray()

    def hear(self, data: bytes) -> bytes:
        """What aiohttp may see of it: the final answer, or what is none."""
        self._held += data
        at = 0
        while not self.over:
            while self._held[at : at + 1].isspace():  # RFC 9112 2.2: before a message
                at += 1
            found = STATUS.match(self._held, at)
            if found is None:
                self.over = HTTP.match(self._held, at) is None
                break
            code = int(found[1])
            if not 100 <= code < 200 or code == 101:
                self.status, self.over = code, True
                break
            end = BLANK.search(self._held, found.end() - 2)
            self.interim += end is not None
            if end is None or self.interim > MAX_INTERIM:
                break
            at = end.end()
        del self._held[:at]
        if not self.over:
            return b""
        final = bytes(self._held)
        self._held.clear()
        return final

    @property
    def retry_after(self) -> str:
        found = RETRY_AFTER.search(self.head)
        return found[1].decode("ascii") if found else ""


class BoundedAnswer(ResponseHandler):
    """aiohttp's side of one connection. What it overrides is held by a test (tests/shells/test_webhook_answers.py)."""

    _octets = 0
    _complete = False  # the header section is
    _late: asyncio.TimerHandle | None = None

    def set_response_params(self, **how: Any) -> None:
        """The next answer on this connection begins."""
        self.beginning = Beginning()
        self._octets = 0
        self._complete = False
        super().set_response_params(**how)

    def data_received(self, data: bytes) -> None:
        if not data:
            super().data_received(data)
            return
        if not self.beginning.over:
            size = len(data)
            data = self.beginning.hear(data)
            self._octets += size - len(data)
            if self.beginning.status:
                self._late = self._loop.call_later(READING, self._cut, "no end of its header section")
        at = 0
        while at < len(data) and not self._bounded():
            end = at + SLICE
            if not self._complete:  # up to the end of a header section: what is wrong behind it takes nothing from it
                found = data.find(HEADER_END, at, end)
                end = end if found < 0 else found + len(HEADER_END)
            piece = data[at:end]
            at += len(piece)
            self._octets += len(piece)
            if not self._complete:
                self.beginning.head += piece
            super().data_received(piece)
        self._bounded()

    def feed_data(self, data: Any, *size: Any) -> None:
        self._complete = True
        self._in_time()
        super().feed_data(data, *size)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _bounded(self) -> bool:
        """Is the connection over? It is once a bound is passed."""
        if self.transport is None or self.transport.is_closing():
            return True
        if self.beginning.interim > MAX_INTERIM:
            self._cut(f"{self.beginning.interim} interim answers")
        elif self._octets > MAX_OCTETS:
            self._cut(f"more than {MAX_OCTETS} octets")
        else:
            return False
        return True

    def _cut(self, what: str) -> None:
        self.set_exception(TooMuch(f"the endpoint answered with {what}"))
        if self.transport is not None:
            self.transport.abort()


class Response(aiohttp.ClientResponse):
    """An answer, of which the status is believed once its line is here."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        try:
            started = await super().start(connection)
        except (aiohttp.ClientError, OSError, TimeoutError):
            beginning: Beginning = connection.protocol.beginning
            if not beginning.status:
                raise
            raise Answered(beginning.status, beginning.retry_after) from None
        self._raw_cookie_headers = None  # nobody's here; aiohttp would log what is wrong with them
        return started


class Connector(aiohttp.TCPConnector):
    """Connections whose answers are bounded. Made on the event loop."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        made: type[ResponseHandler] = BoundedAnswer
        self._factory = functools.partial(made, loop=self._loop)
