"""Many that wait equally long for something: one timer for all of them, where asyncio's own timeout sets one for each.

Owns: who waits since when, and that what takes too long ends with TimeoutError. Leaves to others: what is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Patience:
    """`with patience.wait(): …` in a task: as `async with asyncio.timeout(seconds)`, at a fifth of its time. Of one thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: deque[Wait] = (
            deque()
        )  # the oldest first; those that are over are left out as they come to the front
        self.loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> Wait:
        return Wait(self)

    def _begin(self, wait: Wait, loop: asyncio.AbstractEventLoop) -> float:
        """When that one is over."""
        waiting = self._waiting
        if loop is not self.loop:
            self.loop, self._timer = loop, None
            waiting.clear()
        while waiting and waiting[0].task is None:
            waiting.popleft()
        waiting.append(wait)
        at = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(at, self._look, loop)
        return at

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self.loop:
            return
        now = loop.time()
        while self._waiting and (self._waiting[0].task is None or self._waiting[0].at <= now):
            self._waiting.popleft().end()
        self._timer = loop.call_at(self._waiting[0].at, self._look, loop) if self._waiting else None


class Wait:
    """One of them. Of the task that entered it."""

    __slots__ = ("_cancelling", "_ended", "_of", "at", "task")

    def __init__(self, of: Patience) -> None:
        self._of = of
        self._ended = False
        self._cancelling = 0
        self.at = 0.0
        self.task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        # The one that ran last: in Python 3.11 it is a system call to ask which runs.
        loop = self._of.loop
        task = asyncio.current_task(loop) if loop is not None else None
        if loop is None or task is None:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
        self.task = task
        assert task is not None
        self._cancelling = task.cancelling()
        self.at = self._of._begin(self, loop)

    def end(self) -> None:
        if self.task is not None:
            self._ended = True
            self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        # Whoever else cancelled the task meanwhile is not to be deprived of it.
        if self._ended and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
