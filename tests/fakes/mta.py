"""A mail server's side of the milter protocol, every packet of which is the test's.

async with await mta.connect(port) as server:
    await server.negotiate()
    answer = await server.message(content, "b@example.test")
"""

from __future__ import annotations

import asyncio
import re
import struct
from typing import Self

ACTIONS, STEPS = 0x1FF, 0x1FFFFF  # what Postfix 3.7 offers


def packet(command: bytes, *data: bytes) -> bytes:
    text = b"".join(data)
    return struct.pack("!I", 1 + len(text)) + command + text


def macros(command: bytes, **values: str) -> bytes:
    return packet(b"D", command, *(f"{k if len(k) == 1 else '{' + k + '}'}\0{v}\0".encode() for k, v in values.items()))


def connect_packet(address: str = "127.0.0.1") -> bytes:
    return packet(
        b"C", b"client.test\0", b"6" if ":" in address else b"4", struct.pack("!H", 4711), address.encode(), b"\0"
    )


def fields(content: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """(name, value with its leading space, lines ended by LF), and the body."""
    head, _, body = content.partition(b"\r\n\r\n")
    found = re.findall(rb"([^:\r\n]+):((?:[^\n]|\n[ \t])*)(?:\r\n|\Z)", head + b"\r\n")
    return [(name, value.removesuffix(b"\r").replace(b"\r\n", b"\n")) for name, value in found], body


class Server:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.steps = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))

    async def read(self) -> tuple[bytes, bytes]:
        """The next packet; (b"", b"") at the end of the connection."""
        try:
            (length,) = struct.unpack("!I", await self.reader.readexactly(4))
            data = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"", b""
        return data[:1], data[1:]

    async def negotiate(self, version: int = 6, actions: int = ACTIONS, steps: int = STEPS) -> tuple[int, int, int]:
        self.send(packet(b"O", struct.pack("!III", version, actions, steps)))
        command, data = await self.read()
        assert command == b"O", command
        found: tuple[int, int, int] = struct.unpack_from("!III", data)
        self.steps = found[2]
        return found

    async def step(self, command: bytes, *data: bytes, mute: int = 0) -> bytes:
        """One step, and its reply unless the filter said that there is none."""
        self.send(packet(command, *data))
        return b"" if self.steps & mute else (await self.read())[0]

    async def mail(self, *to: str, sender: str = "a@example.test", login: str = "", queue_id: str = "4dLxyz") -> bytes:
        """MAIL, and RCPT of each where the filter wants to see the message; MAIL's reply."""
        if login:
            self.send(macros(b"M", auth_authen=login))
        reply = await self.step(b"M", f"<{sender}>".encode(), b"\0SIZE=100\0")
        self.queue_id = queue_id
        for address in to if reply == b"c" else ():
            assert await self.step(b"R", f"<{address}>".encode(), b"\0", mute=0x8000) in (b"", b"c")
        return reply

    async def content(self, content: bytes, *, chunk: int = 65_535) -> None:
        """Fields and body."""
        found, body = fields(content)
        spaced = self.steps & 0x100000
        for name, value in found:
            await self.step(b"L", name, b"\0", value if spaced else value.removeprefix(b" "), b"\0", mute=0x80)
        if not self.steps & 0x40:
            await self.step(b"N", mute=0x40000)
        for at in range(0, len(body), chunk):
            await self.step(b"B", body[at : at + chunk], mute=0x80000)
            await self.writer.drain()

    async def end(self) -> list[tuple[bytes, bytes]]:
        """All packets of the answer, the last of which ends the message."""
        if self.queue_id:
            self.send(macros(b"E", i=self.queue_id))
        self.send(packet(b"E"))
        found = [await self.read()]
        while found[-1][0] not in (b"a", b"c", b"y", b"t", b"r", b"d", b""):
            found.append(await self.read())
        return found

    async def message(self, content: bytes, *to: str, **how: str) -> list[tuple[bytes, bytes]]:
        """A whole message of a client that is connected."""
        reply = await self.mail(*(to or ("b@example.test",)), **how)
        if reply != b"c":
            return [(reply, b"")]
        await self.content(content)
        return await self.end()


async def connect(port: int = 0, path: str = "") -> Server:
    opened = asyncio.open_unix_connection(path) if path else asyncio.open_connection("127.0.0.1", port)
    return Server(*await opened)


def applied(content: bytes, answer: list[tuple[bytes, bytes]], *, spaced: bool = True) -> bytes:
    """The message as a mail server makes it by that answer."""
    found, body = fields(content)
    space = b"" if spaced else b" "
    new: list[bytes] = []
    for command, data in answer[:-1]:
        if command == b"b":
            assert len(data) <= 65_535
            new.append(data)
            continue
        index = struct.unpack_from("!I", data)[0] if command in b"mi" else 0
        name, value, rest = (data[4:] if command in b"mi" else data).split(b"\0")
        assert rest == b""
        if command == b"h":
            found.append((name, space + value))
        elif command == b"i":
            found.insert(max(index, 1) - 1, (name, space + value))
        else:
            assert command == b"m", command
            places = [at for at, (other, _) in enumerate(found) if other.lower() == name.lower()]
            found[places[index - 1] : places[index - 1] + 1] = [(name, space + value)] if value else []
    head = b"".join(name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n" for name, value in found)
    return head + b"\r\n" + (b"".join(new) if any(command == b"b" for command, _ in answer) else body)
