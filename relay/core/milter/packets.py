"""Packets of the milter protocol: a length of four octets, which counts what follows; a command of one; its data.

Owns: that form, the numbers of commands, actions and steps, the replies as bytes. Leaves to others: what a command means
when (`session`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

VERSIONS = (2, 6)  # the oldest and the newest that are spoken here
MAX_PACKET = 1 << 20  # octets of data: the most that any version negotiates (SMFIP_MDS_1M); ours is 65,535
CHUNK = 65_535  # octets of a body in one packet to the mail server (MILTER_CHUNK_SIZE)

# From the mail server (SMFIC_*).
ABORT, BODY, CONNECT, MACRO, BODY_END, HELO, QUIT_NEXT, HEADER = b"A", b"B", b"C", b"D", b"E", b"H", b"K", b"L"
MAIL, HEADERS_END, NEGOTIATE, QUIT, RECIPIENT, DATA, UNKNOWN = b"M", b"N", b"O", b"Q", b"R", b"T", b"U"

# What a filter may do (SMFIF_*).
ADD_HEADERS, CHANGE_BODY, CHANGE_HEADERS = 0x01, 0x02, 0x10

# Which steps the mail server leaves out, for which it waits for no reply, and how it sends a field (SMFIP_*).
NO_HELO, NO_HEADERS_END, NO_UNKNOWN, NO_DATA = 0x02, 0x40, 0x100, 0x200
MUTE_HEADER, MUTE_CONNECT, MUTE_HELO, MUTE_RECIPIENT = 0x80, 0x1000, 0x2000, 0x8000
MUTE_DATA, MUTE_UNKNOWN, MUTE_HEADERS_END, MUTE_BODY = 0x10000, 0x20000, 0x40000, 0x80000
LEADING_SPACE = 0x100000

LENGTH = struct.Struct("!I")
HEAD = struct.Struct("!Ic")
OFFER = struct.Struct("!III")

Packet = tuple[bytes, bytes]  # the command and its data


class Malformed(ValueError):
    """That is no packet of the protocol, and nothing after it can be read."""


class Reader:
    """Octets in any pieces -> packets. Keeps what is not a whole packet yet, at most `MAX_PACKET` and a piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # put together once there is a whole packet: a body comes in many
        self._held = 0
        self._needed = 4  # octets, until there is something to be read

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Raises `Malformed` where no packet has that length; those before it were given."""
        if self._pieces:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return
            data = b"".join(self._pieces)
        at, end, self._needed = 0, len(data), 4
        try:
            while end - at >= 4:
                (length,) = LENGTH.unpack_from(data, at)
                if not 0 < length <= MAX_PACKET + 1:
                    raise Malformed(f"a packet of {length} octets")
                if end - at < 4 + length:
                    self._needed = 4 + length
                    break
                start, at = at + 5, at + 4 + length
                yield data[start - 1 : start], data[start:at]
        finally:
            self._pieces, self._held = [data[at:]] if at < end else [], end - at


def packet(command: bytes, *data: bytes) -> bytes:
    return HEAD.pack(1 + sum(map(len, data)), command) + b"".join(data)


CONTINUE = packet(b"c")
ACCEPT = packet(b"a")


def negotiated(version: int, actions: int, steps: int) -> bytes:
    """Macros are not asked for (SMFIR_SETSYMLIST): those that are needed are sent by default, and what an operator set
    stays."""
    return packet(NEGOTIATE, OFFER.pack(version, actions, steps))


def reply(code: int, text: str) -> bytes:
    """An SMTP reply of one line for the client. In libmilter a percent sign is doubled, since the text is a format."""
    line = f"{code} {text}".encode("ascii", "replace").replace(b"\0", b"?").replace(b"%", b"%%")
    return packet(b"y", b" ".join(line.split())[:900], b"\0")


def insert_header(index: int, name: str, value: bytes) -> bytes:
    return packet(b"i", LENGTH.pack(index), name.encode(), b"\0", value, b"\0")


def add_header(name: str, value: bytes) -> bytes:
    return packet(b"h", name.encode(), b"\0", value, b"\0")


def change_header(index: int, name: str, value: bytes) -> bytes:
    """The `index`th field of that name, from 1. Without a value it goes."""
    return packet(b"m", LENGTH.pack(index), name.encode(), b"\0", value, b"\0")


def replace_body(body: bytes) -> Iterator[bytes]:
    """At least one packet: an empty body replaces one too."""
    for start in range(0, len(body) or 1, CHUNK):
        yield packet(b"b", body[start : start + CHUNK])


def strings(data: bytes) -> list[bytes]:
    """The strings of a packet, each of which ends in NUL; the last may lack it."""
    return data.removesuffix(b"\0").split(b"\0")


def macros(data: bytes) -> dict[str, str]:
    """The values by their names, without the braces of longer ones; before them stands the command that they belong to."""
    return {text(name).strip("{}"): text(value) for name, value in pairs(strings(data[1:]))}


def pairs(found: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(found[::2], found[1::2], strict=False)


def text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
