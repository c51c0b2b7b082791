"""The connections that read.

Owns: these connections; one that failed is made again. Leaves to others: what is read, whether the tables are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from relay.store import Unavailable
from relay.store.postgres.connections import PLANNED, Connector, Session, broken, cause, hopeless, late
from relay.store.postgres.programs import run
from relay.store.postgres.turns import LIMITED, SETTINGS
from relay.store.sql.program import Program

T = TypeVar("T")
CONNECTIONS = 4
READ_ONLY = f"BEGIN READ ONLY{PLANNED}{LIMITED}"


class Readers:
    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._pooled = bool(connector.locator.pooler)
        self._idle: list[Session] = []
        self._places = asyncio.Semaphore(CONNECTIONS)

    async def read(self, program: Callable[[], Program[T]]) -> T:
        async with self._places:
            careful = False
            while True:
                known = bool(self._idle)
                session = self._idle.pop() if known else await self._connected()
                try:
                    result = await self._reading(session, program(), careful)
                except BaseException as error:
                    session.drop()
                    if not isinstance(error, Exception):
                        raise
                    if broken(error) or hopeless(error):
                        if known and not hopeless(error) and not late(error):
                            continue  # it may have been lost long ago
                        raise self._unavailable(error) from error
                    if careful:
                        raise
                    careful = True  # text that the database refuses, or a mistake, which shows again
                else:
                    self._idle.append(session)
                    return result

    async def _connected(self) -> Session:
        """Raises `Unavailable`."""
        session = await self._connector.reading()
        try:
            if not self._pooled:
                await session.execute(SETTINGS)
        except BaseException as error:
            session.drop()
            if isinstance(error, Exception) and (broken(error) or hopeless(error)):
                raise self._unavailable(error) from error
            raise
        return session

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"{self._connector.locator.shown}: {cause(error)}")

    async def _reading(self, session: Session, program: Program[T], careful: bool) -> T:
        if not self._pooled:
            return await run(session, program, careful=careful)
        await session.execute(READ_ONLY)
        result = await run(session, program, careful=careful)
        await session.execute("COMMIT")
        return result

    async def stop(self) -> None:
        while self._idle:
            await self._idle.pop().close()
