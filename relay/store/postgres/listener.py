"""Hears at once what other processes appended: LISTEN and NOTIFY.

Owns: one connection. It is a hint: whoever wants to miss nothing looks now and then as well. A pooler has no use for
LISTEN, so nothing is heard behind one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay import log, metrics
from relay.store import Unavailable
from relay.store.postgres.connections import Connector, broken

LOG = log.room("store")
CHANNEL = "trackrelay"
PAUSE = 5.0  # seconds between two attempts to connect
LOOK = 30.0  # seconds between two looks whether the connection is still there


class Listener:
    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._heard: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, heard: Callable[[], None]) -> None:
        self._heard.append(heard)
        if self._task is None and not self._connector.locator.pooler:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="store-listener")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:
                if not broken(error) and not isinstance(error, Unavailable):
                    metrics.ERRORS.labels("store").inc()
                    LOG.exception("listener_failed")
            await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        db = await self._connector.raw()
        try:
            await db.add_listener(CHANNEL, self._tell)
            self._tell()  # of what came before
            while True:
                await asyncio.sleep(LOOK)
                await db.execute("SELECT 1", timeout=LOOK)
        finally:
            db.terminate()

    def _tell(self, *_: object) -> None:
        for heard in self._heard:
            heard()
