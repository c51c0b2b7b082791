"""The IMAP client library, with bounds on what a server may answer, and an IDLE that hears every word.

Owns: these bounds. The library reads whatever a server announces: a literal of 3 GB, lines without end. Sizes are looked at
before they are read, and an answer as a whole has a size, a number of lines, and a time. And waiting: the library's IDLE
does not look at what came in one packet with the answer before, and takes word before its "+" for an error.
Leaves to others: what an answer means, and what follows from one that passes a bound (a broken connection: `session`).
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Any

import imapclient
from imapclient import exceptions, imap4, tls

MAX_OCTETS = 16_777_216  # of the answer to one command; a batch of header sections has less than half of it
MAX_LINES = 20_000  # of the answer to one command, or told while nothing was asked
PIECE = 65_536  # octets of a literal that are read at a time
# Seconds: a connection on which nothing comes is asked for a sign of life, so that one that died silently ends.
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4))
TOLD = ("EXISTS", "RECENT", "EXPUNGE", "FETCH", "SEARCH")  # what the library keeps of them belongs to one command


class _Bounded:
    """Before a class of imaplib's: what it reads is counted, anew for each command. `seconds` is what an answer may take
    as a whole; word that comes in an IDLE may take as long as it likes. `word`: an EXISTS came, in whatever answer."""

    _octets = _lines = 0
    word = False

    def __init__(self, seconds: float, *arguments: Any) -> None:
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds
        super().__init__(*arguments)

    def _create_socket(self, *arguments: Any, **how: Any) -> Any:
        made = super()._create_socket(*arguments, **how)  # type: ignore[misc]
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return made

    def _append_untagged(self, kind: str, data: Any) -> None:
        self.word = self.word or kind == "EXISTS"
        super()._append_untagged(kind, data)  # type: ignore[misc]

    def _command(self, name: str, *arguments: Any) -> Any:
        self.begin()
        return super()._command(name, *arguments)  # type: ignore[misc]

    def begin(self: Any) -> None:
        """A command is sent now."""
        for kind in TOLD:
            self.untagged_responses.pop(kind, None)
        self._octets = self._lines = 0
        self._deadline = time.monotonic() + self.seconds

    def ready(self: Any, seconds: float) -> bool:
        """Whether there is something to read within that time."""
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        while True:
            before = self.sock.gettimeout()
            self.sock.settimeout(0)
            try:
                if self.file.peek(1):  # what is there already, also within a TLS record
                    return True
                nothing = False
            except ssl.SSLWantReadError:
                nothing = True
            finally:
                self.sock.settimeout(before)
            left = until - time.monotonic()
            if left <= 0:
                return False
            if poll.poll(left * 1000) and not (nothing and isinstance(self.sock, ssl.SSLSocket)):
                return True

    def await_word(self: Any, seconds: float) -> None:
        """RFC 2177: returns when word came, or that time is over. Raises `IMAPClientError` where the server has no IDLE,
        after all, and `abort` where the connection breaks."""
        tag = self._command("IDLE")
        self._deadline = float("inf")
        while self._get_response() is not None:
            if self.tagged_commands[tag]:
                kind, data = self._command_complete("IDLE", tag)
                raise exceptions.IMAPClientError(f"IDLE: {kind} {data[0]!r}")
        until = time.monotonic() + seconds
        while not self.word:
            if not self.ready(max(0.0, until - time.monotonic())):
                break
            self._get_response()
            self._check_bye()
            if self.tagged_commands[tag]:  # it ended by itself
                self._command_complete("IDLE", tag)
                return
        self._deadline = time.monotonic() + self.seconds
        self.send(b"DONE\r\n")
        kind, data = self._command_complete("IDLE", tag)
        if kind != "OK":
            raise exceptions.IMAPClientError(f"IDLE: {kind} {data[0]!r}")

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
        self.normalise_times = False  # INTERNALDATE with its zone, in place of a local time
        connect = getattr(self._timeout, "connect", None)
        if self.ssl:
            return _Tls(self._seconds, self.host, self.port, self.ssl_context, connect)
        return _Clear(self._seconds, self.host, self.port, connect)

    @property
    def word(self) -> bool:
        """Whether an EXISTS came since it was taken, in whatever answer."""
        return bool(self._imap.word)

    def take_word(self) -> None:
        self._imap.word = False

    def wait(self, seconds: float) -> None:
        """See `_Bounded.await_word`."""
        self._imap.await_word(seconds)

    def _raw_command(self, *arguments: Any, **how: Any) -> Any:
        self._imap.begin()
        return super()._raw_command(*arguments, **how)

    def login(self, user: str, password: str) -> None:
        """LOGIN with quoted strings; with literals where these can't hold it (RFC 9051 6.2.3, 4.3). Raises `LoginError`."""
        connection = self._imap
        if (user + password).isascii():
            super().login(connection._quote(user), password)
            return
        try:
            tag = connection._command("LOGIN", f"{{{len(user.encode())}}}")
            for text, after in ((user, f" {{{len(password.encode())}}}"), (password, "")):
                while connection._get_response() is not None:
                    if connection.tagged_commands[tag]:
                        break
                if connection.tagged_commands[tag]:
                    break
                connection.send(text.encode() + after.encode() + b"\r\n")
            kind, data = connection._command_complete("LOGIN", tag)
            self._checkok("login", kind, data)
        except exceptions.IMAPClientError as reason:
            raise exceptions.LoginError(str(reason)) from reason
        connection.state = "AUTH"
