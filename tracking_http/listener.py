"""An HTTP application on an address, with a limit on its connections.

Owns: the listening socket, how many connections there may be, in all and of one client, and the answer to those beyond.
Leaves to others: what is answered otherwise (the application), how long a connection may stay (the runner's options).

The whole world reaches the tracking server. Without a limit, its connections would use up the process's open files,
and mail could be neither accepted nor delivered. So it gets a share of them, and mail the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import http_exceptions, web
from aiohttp.log import server_logger

from relay import log
from relay.core import networks
from relay.workers import sharing
from tracking_http import ready

LOG = log.room("listener")

MAX = 8_000  # connections; an idle one costs some 25 kB
MIN = 8
WANTED_FILES = 16_384  # the soft limit of open files is raised to this, if it may be
SHARE = 4  # a listener gets one in so many open files
CLIENT_SHARE = 4  # and a client one in so many of the listener's connections
HANDSHAKE_SECONDS = 10.0
BACKLOG = 1024  # the kernel cuts it to net.core.somaxconn
IDLE = 75.0  # seconds that a connection may be without a request, where the runner's options say nothing
CLOSE_SECONDS = 5.0  # for requests under way when the service stops

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nCache-Control: no-store\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


def own(record: logging.LogRecord) -> bool:
    """Whether the record is about our own code. Bytes that are no HTTP are answered by 400; anybody can send them as
    often as they like, and aiohttp would log a traceback for each."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, http_exceptions.HttpProcessingError)


server_logger.addFilter(own)

Unreadable = Callable[[int, str], web.Response]
Quick = Callable[[bytes, "Counted"], None]


def answering(unreadable: Unreadable) -> type[web.RequestHandler]:
    """aiohttp's handler of a connection, whose answer to what it can't read is `unreadable`'s. It answers by itself: before
    there is a request, no middleware is asked."""

    class Handler(web.RequestHandler):
        __slots__ = ()

        def handle_error(self, request: Any, status: int = 500, exc: Any = None, message: Any = None) -> Any:
            super().handle_error(request, status, exc, message)  # it logs, or ends a connection that has an answer
            if not isinstance(exc, http_exceptions.HttpProcessingError):
                sentence = "This failed. The log says why."
            elif isinstance(exc, http_exceptions.LineTooLong):
                sentence = "The request line, or a header field, is too long."
            else:
                sentence = "This is no HTTP request that can be read."
            response = unreadable(status, sentence)
            response.force_close()
            return response

    return Handler


OCTETS = re.compile(rb"[\x80-\xff]")


def encoded(data: bytes) -> bytes:
    """With the octets above 127 of a request's target percent-encoded (RFC 3986 2.1), as browsers do it. Programs that do
    not are not refused for it: such a character may stand behind a link that is good."""
    line, end, rest = data.partition(b"\n")
    if line.isascii() or not line.startswith((b"GET /", b"HEAD /")):
        return data
    return OCTETS.sub(lambda octet: b"%%%02X" % octet[0][0], line) + end + rest


class Counted(asyncio.Protocol):
    """One connection: counted with those of its client; or turned away. Where the room has a quick way it goes there first: each
    request is answered (`answer`), until one is passed on; from then on the connection is aiohttp's. Without one it is
    from the beginning."""

    __slots__ = (
        "_behind",
        "_client",
        "_handler",
        "_loop",
        "_room",
        "_server",
        "_since",
        "_timer",
        "_transport",
        "asked",
        "peer",
    )

    def __init__(self, room: Listener, server: web.Server) -> None:
        self._room, self._server, self._client = room, server, ""
        self._handler: Any = None
        self._transport: Any = None  # while it is ours
        self._behind = b""  # what came behind a request that is not answered yet
        self._since = 0.0  # since when nothing was asked
        self._timer: asyncio.TimerHandle | None = None
        self.asked = False  # whether there is such a request
        self.peer = ""

    def connection_made(self, transport: Any) -> None:  # uvloop's transports have no class in common with asyncio's
        peer = transport.get_extra_info("peername")
        client = self._room.admitted(peer)
        if client is None:
            transport.write(FULL)
            transport.close()
            return
        self._client, self._transport = client, transport
        self._room.has(self)
        if self._room.quick is None:
            self._begin()
            return
        self.peer = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._loop = asyncio.get_running_loop()  # asking for it is a system call
        self._since = self._loop.time()
        self._timer = self._loop.call_later(self._room.idle, self._look)

    def _begin(self) -> None:
        """aiohttp's from now on."""
        transport = self._let_go()
        if transport is None:
            return
        self._handler = self._server()
        if self._room.kind is not None:
            self._handler.__class__ = self._room.kind  # there is no way to have aiohttp make one of another class
        self._handler.connection_made(transport)

    def _let_go(self) -> Any:
        transport, self._transport = self._transport, None
        self._room.has(self, no_more=True)
        if self._timer is not None:
            self._timer.cancel()
        return transport

    def connection_lost(self, reason: Exception | None) -> None:
        if self._handler is not None:
            self._room.left(self._client)
            self._handler.connection_lost(reason)
        elif self._let_go() is not None:
            self._room.left(self._client)

    def data_received(self, data: bytes) -> None:
        if self._handler is not None:
            self._handler.data_received(data if data.isascii() else encoded(data))
        elif self._transport is not None and self._room.quick is not None:
            if self.asked:
                self._behind += data
                self._transport.pause_reading()
                return
            self.asked = True
            self._room.quick(data, self)

    def answer(self, data: bytes) -> None:
        """These bytes, the connection stays open."""
        self.asked = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > ready.UNREAD:
            transport.abort()
        elif self._room.stopping:
            transport.close()
        else:
            self._since = self._loop.time()
            if self._behind:
                behind, self._behind = self._behind, b""
                transport.resume_reading()
                self.data_received(behind)

    def pass_on(self, data: bytes) -> None:
        """What was asked is for aiohttp."""
        self.asked = False
        transport, behind = self._transport, self._behind
        if transport is None or transport.is_closing():
            return
        self._begin()
        if behind:
            self._behind = b""
            transport.resume_reading()
        self.data_received(data + behind)

    def _look(self) -> None:
        """One timer, which moves on when it runs out: a timer for each request would cost more."""
        if self._transport is None:
            return
        left = self._room.idle if self.asked else self._since + self._room.idle - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._transport.close()

    def close(self, *, now: bool = False) -> None:
        """Once what is asked is answered, or now."""
        if self._transport is not None and (now or not self.asked):
            self._transport.close()

    def eof_received(self) -> bool | None:
        found: bool | None = self._handler.eof_received() if self._handler is not None else None
        return found

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()


class Listener:
    """`how` are options of aiohttp's AppRunner. One client (an IPv4 address, an IPv6 /64) gets a fourth of the `most`
    connections, unless it is in one of the networks `behind`: a proxy, behind which are many. Those of all processes of the
    `service` count. `unreadable` makes the answer
    to what is no HTTP, of its status and a sentence; without it, that is aiohttp's. `quick` is called with the bytes that came on a
    connection, and answers them or passes them on (see `Counted`). `start` raises OSError if
    it can't listen on the address."""

    def __init__(
        self,
        application: web.Application,
        *,
        most: int | None = None,
        behind: Sequence[str] = (),
        unreadable: Unreadable | None = None,
        quick: Quick | None = None,
        service: sharing.Shared = sharing.ALONE,
        **how: Any,
    ) -> None:
        self.kind = answering(unreadable) if unreadable else None
        self.quick, self.idle = quick, float(how.get("keepalive_timeout", IDLE))
        self.stopping = False
        self._own: set[Counted] = set()  # the connections that are not aiohttp's
        self._left = asyncio.Event()  # by all of them
        self._runner = web.AppRunner(application, **{"access_log": None, "shutdown_timeout": CLOSE_SECONDS, **how})
        self._most = connections() if most is None else most
        self._behind = tuple(map(networks.network, behind))
        self._clients: Counter[str] = Counter()
        self._here = 0  # that were admitted, and have not left
        self._all, self._others = service.sum("http.connections"), service.held("http.clients")
        self._full = False
        self._listening: list[asyncio.Server] = []
        self.addresses: list[tuple[str, int]] = []

    async def start(
        self, host: str, port: int, context: ssl.SSLContext | None = None, *, inherited: Sequence[socket.socket] = ()
    ) -> None:
        """On one more address, by the sockets that are bound to it where there are such; what is allowed is for all of
        them together."""
        if self._runner.server is None:
            await self._runner.setup()
        server = self._runner.server
        assert server is not None
        places: list[dict[str, Any]] = [{"sock": each} for each in inherited]
        for place in places or [{"host": host, "port": port, "reuse_address": True}]:
            listening = await asyncio.get_running_loop().create_server(
                lambda: Counted(self, server), **place, ssl=context, backlog=BACKLOG,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None,
            )  # fmt: skip
            self._listening.append(listening)
            self.addresses += [each.getsockname()[:2] for each in listening.sockets]

    def admitted(self, peer: object) -> str | None:
        """The client of a new connection; None for one that is turned away. `left` follows."""
        address = networks.peer(str(peer[0])) if isinstance(peer, tuple) and peer else None
        client = "" if networks.within(address, self._behind) else networks.client(address)
        mine = self._clients[client] + self._others.others(client) if client else 0
        connections = self._here + self._all.others()
        full = connections >= self._most or mine >= max(1, self._most // CLIENT_SHARE)
        if full and not self._full:  # one line for each spell of trouble
            LOG.warning("full", listener=self.addresses, connections=connections, client=client or None, its=mine)
        self._full = full
        if full:
            return None
        self._count(client, 1)
        return client

    def has(self, connection: Counted, *, no_more: bool = False) -> None:
        """It is not aiohttp's."""
        if not no_more:
            self._own.add(connection)
            return
        self._own.discard(connection)
        if self.stopping and not self._own:
            self._left.set()

    def left(self, client: str) -> None:
        self._count(client, -1)

    def _count(self, client: str, more: int) -> None:
        self._here += more
        self._all.hold(self._here)
        if client:
            self._clients[client] += more
            self._others.hold(client, self._clients[client])
            if not self._clients[client]:
                del self._clients[client]

    async def stop(self) -> None:
        """Stops listening first, then ends what is under way."""
        for listening in self._listening:
            listening.close()
        self.stopping = True
        for each in [*self._own]:
            each.close()
        if self._own:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._left.wait()
        for each in [*self._own]:
            each.close(now=True)
        await self._runner.cleanup()


def connections() -> int:
    """How many connections one listener may have, by the limit of open files, which is raised first if it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < WANTED_FILES:
        lifted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lifted, hard))
            soft = lifted
    return MAX if soft == resource.RLIM_INFINITY else max(MIN, min(MAX, soft // SHARE))
