"""The open connections to one upstream.

Owns: how many there are, who gets which (one that is logged in as a user carries that user's mail only), when an idle
one is left. Leaves to others: how one is opened (`connections`), what is sent
over it (`client`).
"""

from __future__ import annotations

import asyncio
import time

from relay import metrics
from relay.core import envelopes
from relay.core.model import Later
from relay.upstream import connections, failures, transaction, troubles

MAX_CONNECTIONS = 20  # of a service to one upstream
FEWEST_CONNECTIONS = 2  # of each of its processes
IDLE_SECONDS = 30.0  # servers close idle ones after minutes; a burst is over sooner

Credentials = tuple[str, str] | None


class Pool:
    """`places` is held by whoever uses a connection for mail. `name` is the upstream's, for metrics."""

    def __init__(
        self,
        connector: connections.Connector,
        *,
        name: str,
        max_connections: int = MAX_CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.connector, self.idle_seconds = connector, idle_seconds
        self.places = asyncio.Semaphore(max_connections)
        self.troubles = troubles.Troubles(name, str(connector.address))
        self._max = max_connections
        self._idle: dict[Credentials, list[connections.Connection]] = {}
        self._busy: set[connections.Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        metrics.follow(metrics.CONNECTIONS.labels(name, "idle"), lambda: sum(map(len, self._idle.values())))
        metrics.follow(metrics.CONNECTIONS.labels(name, "busy"), lambda: len(self._busy))

    async def open(self, credentials: Credentials) -> connections.Connection:
        """A new one. Raises `failures.CannotConnect`."""
        began = time.perf_counter()
        try:
            connection = await self.connector.open(credentials)
        except failures.CannotConnect as failure:
            if isinstance(failure.outcome, Later) and not failure.personal:
                self.troubles.cannot_connect(failure.trouble, ours=credentials is None)
            raise
        self.troubles.connected(ours=credentials is None)
        metrics.STAGE.labels("connect").observe(time.perf_counter() - began)
        return connection

    def take(self, credentials: Credentials) -> connections.Connection | None:
        """The idle one that was used last."""
        waiting = self._idle.get(credentials)
        while waiting:
            connection = waiting.pop()
            if not waiting:
                del self._idle[credentials]
            if connection.open:
                return connection
            connection.close()
        return None

    def give(self, credentials: Credentials, connection: connections.Connection) -> None:
        """It is idle from now on."""
        if self._closed:
            connection.close(politely=True)
        else:
            while sum(map(len, self._idle.values())) >= self._max:  # other users' sessions: the oldest goes
                self._drop(*next((who, waiting[0]) for who, waiting in self._idle.items()))
            self._idle.setdefault(credentials, []).append(connection)
            connection.idle_since = time.monotonic()
            if self._sweeper is None:  # one timer for all: most connections are taken again at once
                self._sweeper = asyncio.get_running_loop().call_later(self.idle_seconds, self._sweep)

    async def run(
        self,
        credentials: Credentials,
        connection: connections.Connection,
        lines: envelopes.Lines,
        content: bytes,
        times: transaction.Times,
    ) -> transaction.Result:
        """A transaction on a connection that was taken or opened; it is idle or closed afterwards."""
        self._busy.add(connection)
        reusable = False
        try:
            result = await connection.run(lines, content, times)
            reusable = result.reusable
            return result
        finally:  # cancelled as well: then the upstream may be inside the message, and the connection is closed
            self._busy.discard(connection)
            if reusable:
                self.give(credentials, connection)
            else:
                connection.close()

    def close(self) -> None:
        """Leaves the idle ones; those in use end with their transaction."""
        self._closed = True
        if self._sweeper:
            self._sweeper.cancel()
        for waiting in self._idle.values():
            for connection in waiting:
                connection.close(politely=True)
        self._idle.clear()

    def _sweep(self) -> None:
        """Leaves connections that nobody wanted for `idle_seconds`, and looks again when the next one is due."""
        self._sweeper = None
        now = time.monotonic()
        for credentials, waiting in list(self._idle.items()):
            for connection in list(waiting):
                if now - connection.idle_since >= self.idle_seconds or not connection.open:
                    self._drop(credentials, connection)
        oldest = min((c.idle_since for waiting in self._idle.values() for c in waiting), default=None)
        if oldest is not None:
            pause = max(0.01, oldest + self.idle_seconds - now)
            self._sweeper = asyncio.get_running_loop().call_later(pause, self._sweep)

    def _drop(self, credentials: Credentials, connection: connections.Connection) -> None:
        self._idle[credentials].remove(connection)
        if not self._idle[credentials]:
            del self._idle[credentials]
        connection.close(politely=True)
