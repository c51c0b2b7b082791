"""The IMAP client library, with bounds on what a server may answer.

Owns: these bounds. The library reads whatever a server announces: a literal of 3 GB, lines without end. Sizes are looked at
before they are read, and an answer as a whole has a size, a number of lines, and a time.
Leaves to others: what an answer means, and what follows from one that passes a bound (a broken connection: `session`).
"""

from __future__ import annotations

import time
from typing import Any

import imapclient
from imapclient import imap4, tls

MAX_OCTETS = 16_777_216  # of the answer to one command; a batch of header sections has less than half of it
MAX_LINES = 20_000  # of the answer to one command, or told while nothing was asked
PIECE = 65_536  # octets of a literal that are read at a time


class _Bounded:
    """Before a class of imaplib's: what it reads is counted, anew for each command. `seconds` is what an answer may take
    as a whole; word that comes in an IDLE may take as long as it likes."""

    _octets = _lines = 0

    def __init__(self, seconds: float, *arguments: Any) -> None:
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds
        super().__init__(*arguments)

    def _command(self, name: str, *arguments: Any) -> Any:
        self._octets = self._lines = 0
        self._deadline = float("inf") if name == "IDLE" else time.monotonic() + self.seconds
        return super()._command(name, *arguments)  # type: ignore[misc]

    def read(self: Any, size: int) -> bytes:
        if size > MAX_OCTETS:
            raise self.abort(f"the server announced a literal of {size} octets")
        pieces, left = [], size
        while left:
            piece = self.file.read1(min(left, PIECE))
            if not piece:
                raise self.abort("socket error: EOF")
            self._count(len(piece), 0)
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def readline(self: Any) -> bytes:
        line: bytes = self.file.readline(MAX_OCTETS + 1)
        self._count(len(line), 1)
        return line

    def _count(self: Any, octets: int, lines: int) -> None:
        self._octets += octets
        self._lines += lines
        if self._octets > MAX_OCTETS:
            raise self.abort(f"the server's answer has more than {MAX_OCTETS} octets")
        if self._lines > MAX_LINES:
            raise self.abort(f"the server's answer has more than {MAX_LINES} lines")
        if time.monotonic() > self._deadline:
            raise self.abort(f"the server's answer took more than {self.seconds:g} s")


class _Clear(_Bounded, imap4.IMAP4WithTimeout):  # type: ignore[misc]
    pass


class _Tls(_Bounded, tls.IMAP4_TLS):  # type: ignore[misc]
    pass


class Client(imapclient.IMAPClient):  # type: ignore[misc]
    """IMAPClient over bounded connections. What it overrides is held by a test (tests/shells/test_mailbox_hostile.py).
    `seconds` is what an answer may take as a whole."""

    def __init__(self, *arguments: Any, seconds: float, **how: Any) -> None:
        self._seconds = seconds
        super().__init__(*arguments, **how)

    def _create_IMAP4(self) -> Any:
        connect = getattr(self._timeout, "connect", None)
        if self.ssl:
            return _Tls(self._seconds, self.host, self.port, self.ssl_context, connect)
        return _Clear(self._seconds, self.host, self.port, connect)
