"""What a store over a SQL database does everything by: programs that read, programs that write, and values that are written
many at once.

Owns: what there is of each store besides its database. Leaves to others: which programs there are (`engine` and what it is put
together from), running them (the engines).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from relay.core import crowds, floods
from relay.store.lists import WALK
from relay.store.sql import counts, knowledge
from relay.store.sql.program import Program

P = ParamSpec("P")
T = TypeVar("T")


class Running(ABC):
    """The engines say how."""

    def __init__(self, limits: floods.Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._asking = knowledge.Asking()
        self._digest: knowledge.Digest | None = None
        self.walk = WALK  # rows of an index that a page of a list looks at
        self.step = counts.Step()
        self._crowd = crowds.Crowd()

    def now(self) -> float:
        return self._clock()

    @abstractmethod
    async def read(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...

    @abstractmethod
    async def write(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """All of it in one transaction, durable when it returns, or nothing. A program that is begun again has
        done nothing."""

    @abstractmethod
    def _bulk(self, value: Any, many: int = 1) -> Awaitable[Any]:
        """The same for a value of a class of `bulk`, which has so many in it, and its result."""
