"""TLS of one connection, as far as the event loop leaves it to us.

Owns: when a handshake begins, and how much memory a connection keeps between two messages.
Leaves to others: TLS itself (the event loop's), the certificate (`relay.certificates`), when there is a handshake (`session`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from relay import allocator

PIECE = 16_384  # octets: as many as a TLS record has


class Begun:
    """A coroutine whose first step is taken at once, and the others by whoever awaits it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._rest = coroutine.__await__()
        self._first = next(self._rest)

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            yield self._first
        except BaseException:  # cancelled: it never goes on
            self._rest.close()
            raise
        return (yield from self._rest)


class Reads(asyncio.BufferedProtocol):
    """Between the socket and the event loop's TLS protocol, which gets a PIECE at a time. OpenSSL's buffer for what is not
    decrypted yet grows with the most that was in it, and never shrinks: 50 kB for a message of 50 kB that came at once."""

    __slots__ = ("_tls", "buffer_updated")

    def __init__(self, tls: Any) -> None:
        self._tls = tls
        self.buffer_updated = tls.buffer_updated  # type: ignore[method-assign]  # one call less a read

    def get_buffer(self, sizehint: int) -> memoryview:
        found: memoryview = self._tls.get_buffer(PIECE)
        return found[:PIECE]

    def rest(self) -> None:
        """Gives back the memory for reads, all of it: what is behind a PIECE may have been another's before. It has nothing
        in it now: each read is decrypted before the next."""
        allocator.give_back(self._tls.get_buffer(PIECE))

    def eof_received(self) -> bool | None:
        return self._tls.eof_received()  # type: ignore[no-any-return]

    def connection_lost(self, error: Exception | None) -> None:
        self._tls.connection_lost(error)

    def pause_writing(self) -> None:
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        self._tls.resume_writing()


def in_pieces(socket: Any, transport: Any) -> Reads | None:
    """What a connection reads by from now on, by its two transports: the one below TLS, and TLS. None where it reads as
    before, since its protocol takes no buffer."""
    below = socket.get_protocol()
    if not hasattr(below, "get_buffer"):
        return None
    reads = Reads(below)
    socket.set_protocol(reads)
    transport.set_read_buffer_limits(1, 0)  # a session that is behind reads no second piece, to wait undecrypted
    reads.rest()
    return reads
