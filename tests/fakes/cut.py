"""A way to a server that is cut at the moment that a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

When = Literal["", "before", "after"]


class Way:
    """Hands octets on between a client and a server on 127.0.0.1. What the client sends is looked at: at the octets `at`
    the connection is cut, `before` the server has them, or `after` it has answered them, which the client never hears."""

    def __init__(self, server: int) -> None:
        self.server = server
        self.at = b""
        self.when: When = ""
        self.cuts = 0
        self.port = 0
        self.shut = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.shut:
            writer.close()
            return
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.server)
        back = asyncio.ensure_future(self.back(theirs, writer))
        self._tasks.add(back)
        try:
            while data := await reader.read(65536):
                cut = self.when if self.at in data else ""
                if cut == "after":
                    back.cancel()
                    await asyncio.wait({back})
                if cut != "before":
                    ours.write(data)
                if cut == "after":
                    await theirs.read(65536)
                if cut:
                    self.when, self.cuts = "", self.cuts + 1
                    break
        except ConnectionError:
            pass
        finally:
            back.cancel()
            for one in (writer, ours):
                one.transport.abort()

    async def back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        if not self.when:
            writer.close()


@contextlib.asynccontextmanager
async def way(server: int) -> AsyncIterator[Way]:
    made = Way(server)
    listener = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listener.close()
