"""An SMTP client that sends exactly the bytes it is given and reads replies, every wait with a limit; and the transport
of one that is not on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

WAIT = 30.0


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> str:
        """One whole reply, its lines joined by "\\n"; "" at the end of the connection."""
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), WAIT)).decode()
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def ask(self, line: bytes | str) -> str:
        await self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def closed(self) -> bool:
        """Whether the other side closes without another word."""
        try:
            return await asyncio.wait_for(self.reader.read(), WAIT) == b""
        except ConnectionError:
            return True

    async def greet(self) -> str:
        assert (await self.reply()).startswith("220 ")
        return await self.ask("EHLO client.example")

    async def envelope(self, *recipients: str) -> None:
        assert (await self.ask("MAIL FROM:<a@example.com>")).startswith("250")
        for recipient in recipients or ("b@example.com",):
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250")

    async def mail(self, content: bytes) -> str:
        """A whole transaction; `content` is sent as it is, the final dot line after it."""
        await self.envelope()
        assert (await self.ask("DATA")).startswith("354")
        await self.send(content + b".\r\n")
        return await self.reply()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context, server_hostname="localhost")


@contextlib.asynccontextmanager
async def connect(
    address: tuple[str, int], *, context: ssl.SSLContext | None = None, source: str | None = None
) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(
        *address, ssl=context, server_hostname="localhost" if context else None,
        local_addr=(source, 0) if source else None,
    )  # fmt: skip
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


class Transport(asyncio.Transport):
    """A connection of a client at `peer`, wherever that is, without a network. `written` is what it was sent."""

    def __init__(self, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer})
        self.written = bytearray()
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    abort = close
