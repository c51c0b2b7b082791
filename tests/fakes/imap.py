"""A scripted IMAP server with one empty folder, for what no real one does at will."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from contextlib import suppress

USUAL: Mapping[str, str] = {
    "CAPABILITY": "* CAPABILITY IMAP4rev1\r\n{tag} OK done",
    "EXAMINE": "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] set\r\n* OK [UIDNEXT 1] next\r\n{tag} OK [READ-ONLY] done",
    "UID SEARCH": "* SEARCH\r\n{tag} OK done",
    "STATUS": "* STATUS INBOX (UIDVALIDITY 1)\r\n{tag} OK done",
}


class Server:
    """`async with Server(...) as server` listens on 127.0.0.1, `server.port`. `answers` are by the beginning of a
    command, the longest that fits, with `{tag}` for the tag; "drop" closes the connection; what is not there is answered
    as an empty folder answers. `greeting` is the first line, "" for none. `heard` are the commands of all sessions, in
    order; of an AUTHENTICATE what was decoded."""

    def __init__(
        self,
        answers: Mapping[str, str] | None = None,
        *,
        greeting: str = "* OK ready",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers, self.greeting, self.tls = {**USUAL, **(answers or {})}, greeting, tls
        self.heard: list[str] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if self.greeting:
                writer.write(f"{self.greeting}\r\n".encode())
            while line := (await reader.readline()).decode():
                tag, _, command = line.strip().partition(" ")
                if command.startswith("AUTHENTICATE"):
                    writer.write(b"+ \r\n")
                    command = f"AUTHENTICATE {base64.b64decode(await reader.readline()).decode()}"
                self.heard.append(command)
                answer = self._answer(command)
                if answer == "drop":
                    break
                writer.write(answer.replace("{tag}", tag).encode() + b"\r\n")
                await writer.drain()
        writer.close()

    def _answer(self, command: str) -> str:
        matching = [start for start in self.answers if command.startswith(start)]
        return self.answers[max(matching, key=len)] if matching else "{tag} OK done"
