"""A process that dies in the middle: one call of a room's neighbour is the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Died(BaseException):
    """The process: nothing after this happens."""


class Mortal:
    """Whatever it stands for, until so many of its calls were made; the last one is made, or is not."""

    def __init__(self, thing: Any, dies: Callable[[], bool], *, after: bool) -> None:
        self._thing, self._dies, self._after = thing, dies, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._thing, name)
        if not asyncio.iscoroutinefunction(real):
            return real

        async def call(*args: Any, **how: Any) -> Any:
            died = self._dies()
            if died and not self._after:
                raise Died
            result = await real(*args, **how)
            if died:
                raise Died
            return result

        return call
