"""The demo's upstream: an SMTP server that keeps what it gets in memory, as a mailbox provider would.

Owns: taking mail, its limits, the list. Leaves to others: reading a message (`display`), showing it (`pages`), what it was
before the relay changed it (`originals`).
Nothing is ever sent on. An address that begins with `bounce` is refused, to show a bounce.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP

LARGEST = 30_000_000  # octets of one message
MAX_MESSAGES, MAX_OCTETS = 200, 120_000_000  # kept; the oldest go
REFUSED = "bounce"


@dataclass(slots=True)
class Received:
    """One message as it came: `recipients` are the envelope's, `raw` its bytes with CRLF. `original` is what the client
    handed in, None where it did not come from this relay."""

    id: str
    reverse_path: str
    recipients: tuple[str, ...]
    raw: bytes
    at: float
    original: bytes | None = None
    seen: bool = False
    answered: bool = False


class Receiver(SMTP):
    """aiosmtpd's server, for lines as long as real mail has them."""

    line_length_limit = 65_536


class Inbox:
    """The server and the messages that it keeps, newest last."""

    def __init__(
        self,
        original: Callable[[bytes], bytes | None] = lambda raw: None,
        *,
        most: int = MAX_MESSAGES,
        octets: int = MAX_OCTETS,
    ) -> None:
        self.original, self.most, self.most_octets = original, most, octets
        self.messages: OrderedDict[str, Received] = OrderedDict()
        self.octets = 0
        self.server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens on a free port of 127.0.0.1, and returns it."""
        loop = asyncio.get_running_loop()

        def receiver() -> Any:
            return Receiver(
                self, data_size_limit=LARGEST, enable_SMTPUTF8=True, hostname="inbox.localhost", ident="demo", loop=loop
            )

        self.server = await loop.create_server(receiver, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self.server:
            self.server.close()

    def keep(self, message: Received) -> None:
        self.messages[message.id] = message
        self.octets += weight(message)
        while len(self.messages) > self.most or (self.octets > self.most_octets and len(self.messages) > 1):
            _, gone = self.messages.popitem(last=False)
            self.octets -= weight(gone)

    # -- aiosmtpd asks these -------------------------------------------------------------------------------------------

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.lower().startswith(REFUSED):
            return f"550 5.1.1 <{address}>: this address refuses mail, to show you a bounce"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        identifier = secrets.token_hex(8)
        raw = envelope.original_content or b""
        self.keep(
            Received(
                identifier,
                envelope.mail_from or "",
                tuple(envelope.rcpt_tos),
                raw,
                time.time(),
                self.original(raw),
            )
        )
        return f"250 2.0.0 Ok: kept as {identifier}"


def weight(message: Received) -> int:
    return len(message.raw) + len(message.original or b"")
