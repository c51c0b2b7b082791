"""Waiting for something that will be true soon: `until` in a test with an event loop, `eventually` in one without.

Both give the first true thing that they see, and fail when there is none in time. What must *not* happen is not proved
by waiting: look at what would have caused it, or drive the clock.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar, overload

T = TypeVar("T")
PAUSE = 0.01  # seconds between two looks


@overload
async def until(look: Callable[[], Coroutine[Any, Any, T | Literal[False] | None]], seconds: float = 20.0) -> T: ...
@overload
async def until(look: Callable[[], T | Literal[False] | None], seconds: float = 20.0) -> T: ...
async def until(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true thing that `look` gives; it may be a coroutine. The loop goes on in between."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {seconds} s")
        await asyncio.sleep(PAUSE)


def eventually(look: Callable[[], T | Literal[False] | None], seconds: float = 20.0, pause: float = PAUSE) -> T:
    """The first true thing that `look` gives. `pause`: for a look that costs much."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {seconds} s")
        time.sleep(pause)
    return found
