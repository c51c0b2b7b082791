"""DATA read in bulk: whole chunks up to CRLF.CRLF, and what a message's bytes may be.

Owns: the end of DATA, size and pace, and the check of line endings, line length and hops. Only CRLF.CRLF ends a
message (RFC 5321 4.1.1.4): any other sequence is part of it. So nothing can be smuggled in as a second message. A bare
LF becomes CRLF, or has the message refused; a bare CR always does: none becomes a header line at the next hop.
Leaves to others: the commands, dots and line ends (`core.octets`), and all meaning of the bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from relay import event_loop
from relay.core import envelopes, octets
from relay.core.model import Reply
from relay.smtp import limits

END = b"\r\n.\r\n"
DOT = b"\r\n."
CHUNK = 1 << 18


class Gone(ConnectionError):
    """The client went away, or was too slow, before the message was whole."""


class TooSlow(Gone):
    """Slower than `Limits.slowest`; the connection must be closed."""


class Endless(Gone):
    """Far over the size limit and still no end in sight; the connection must be closed."""


async def read(
    reader: asyncio.StreamReader,
    *,
    limit: int,
    flight: limits.Flight,
    pace: limits.Limits,
    tick: Callable[[float], None],
    mended: Callable[[], None] | None = None,
) -> bytes | Reply:
    """The message, of at most `limit` octets, with its dots taken out, or the refusal when all of it has been read. Its
    octets are added to `flight` until then; those of a message returned stay there, for the caller to take off. `pace`
    says how slow it may come, and `tick(seconds)` is called at each chunk to set the timer of the connection anew.
    `mended()` is called where bare LFs were made CRLF; without it they are refused. Raises `Gone`."""
    held, seen, size, refusal = bytearray(b"\r\n"), 0, 0, None  # that CRLF ends DATA's own line: "." may come first
    dotted = False  # a line before the end begins with a dot
    began, counted = time.monotonic(), 0
    try:
        while True:
            chunk = await reader.read(CHUNK)
            if not chunk:
                raise Gone
            size += len(chunk)
            held += chunk
            at = held.find(END if dotted else DOT, seen)
            if at >= 0 and not held.startswith(END, at):
                dotted = len(held) - at >= len(END)  # else it may be the beginning of the end
                at = held.find(END, at) if dotted else -1
            if at >= 0:
                break
            if refusal is None:
                flight.add(len(chunk))
                counted += len(chunk)
                refusal = too_much(size, limit, flight)
            if refusal:
                del held[:-4]
                flight.add(-counted)
                counted = 0
            seen = max(0, len(held) - 4)
            keep_up(time.monotonic() - began, size, limit, pace)
            tick(pace.block_seconds)
        rest = held[at + 5 :]
        if rest:  # pipelined: it belongs to the next command
            reader._buffer[:0] = rest  # type: ignore[attr-defined]
        if refusal:
            return refusal
        if at > limit:  # `at` is the length: two octets before it, and two of the end belong to it
            return too_large(limit)
        if not flight.room(at - counted):
            return crowded()
        content = bytes(memoryview(held)[2 : at + 2])
        del held, chunk, rest
        found = await understood(content, limit, lambda size: flight.room(size - counted), mended, dotted=dotted)
        del content
        if isinstance(found, bytes):
            flight.add(len(found) - counted)
            counted = 0
        return found
    finally:
        flight.add(-counted)


def too_much(size: int, limit: int, flight: limits.Flight) -> Reply | None:
    if size > limit + CHUNK:  # the chunk may hold the end and more
        return too_large(limit)
    return None if flight.room() else crowded()


def keep_up(elapsed: float, size: int, limit: int, pace: limits.Limits) -> None:
    """Raises where the message takes too long, or has no end in sight."""
    if elapsed > pace.slow_start + size / pace.slowest:
        raise TooSlow
    if size > 2 * limit + 16 * CHUNK:
        raise Endless


def too_large(limit: int) -> Reply:
    return Reply(552, f"5.3.4 The message is larger than {limit} octets")


def crowded() -> Reply:
    return Reply(452, "4.3.1 Too much mail at once, try again later")


def no_line_end(content: bytes) -> Reply:
    name, line = octets.bare(content)
    return Reply(550, f"5.6.0 Line {line} of the message has a bare {name}: only CR LF may end a line")


async def understood(
    content: bytes, limit: int, room: Callable[[int], bool], mended: Callable[[], None] | None, *, dotted: bool
) -> bytes | Reply:
    """The message that a client means by these octets, or the refusal. `room` says whether it may be that large; `dotted`
    whether a line of it begins with a dot."""
    if envelopes.whole(content):
        content = octets.undotted(content) if dotted else content
    else:
        feeds = octets.line_feeds(content) if mended else None
        if mended is None or feeds is None:
            return no_line_end(content)
        if len(content) + feeds > limit:
            return too_large(limit)
        if not room(len(content) + feeds):
            return crowded()
        large = len(content) > event_loop.LARGEST
        content = await asyncio.to_thread(octets.normalized, content) if large else octets.normalized(content)
        mended()
    return judge(content) or content


def judge(content: bytes) -> Reply | None:
    """Why this message, whose lines end in CRLF, can't be handed on; None when it can."""
    if len(content) > limits.MAX_LINE:
        line = long_line(content)
        if line:
            return Reply(550, f"5.6.0 Line {line} of the message is longer than {limits.MAX_LINE} octets")
    if hops(content) > limits.MAX_HOPS:
        return Reply(554, f"5.4.6 More than {limits.MAX_HOPS} Received fields: mail loop")
    return None


def long_line(content: bytes) -> int:
    """The number of the first line over the limit, 0 for none."""
    at = 0
    while len(content) - at > limits.MAX_LINE:
        end = content.rfind(b"\n", at, at + limits.MAX_LINE + 2)
        if end < 0:
            return 1 + content.count(b"\n", 0, at)
        at = end + 1
    return 0


def hops(content: bytes) -> int:
    """The number of Received fields (RFC 5321 6.3)."""
    end = content.find(b"\r\n\r\n", 0, limits.MAX_HEADER)
    header = content[: end if end >= 0 else limits.MAX_HEADER].lower()
    return header.count(b"\r\nreceived:") + header.startswith(b"received:")
