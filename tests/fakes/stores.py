"""A store that takes events only when the test lets it: for what happens while the real one can't."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relay import store as stores
from relay.core import floods
from relay.core.model import Event
from relay.store import lists


class MoodyStore:
    """Only `append` and `fold`. `mood`: "open" takes events; "unavailable" raises `Unavailable`; "locked" answers nothing until
    the mood changes (`be`); "broken" raises what no store should. `taken` holds the events, each id once, in order;
    `asked` counts the calls of `append`. What is in `folding` is not taken but folded until that time; `folds` holds what
    was handed over."""

    def __init__(self, mood: str = "open") -> None:
        self.taken: list[Event] = []
        self.asked = 0
        self.folding: dict[str, floods.Folded] = {}  # per token
        self.folds: list[floods.Fold] = []
        self._handed: set[tuple[str, int]] = set()
        self._mood = mood
        self._changed = asyncio.Event()

    def be(self, mood: str) -> None:
        self._mood = mood
        self._changed.set()
        self._changed = asyncio.Event()

    async def append(
        self, event: Event, cursor: stores.Cursor | None = None, answer: lists.Answer | None = None
    ) -> Event | floods.Folded | None:
        self.asked += 1
        while self._mood == "locked":
            await self._changed.wait()
        if self._mood == "unavailable":
            raise stores.Unavailable("told to be")
        if self._mood == "broken":
            raise RuntimeError("told to be")
        if floods.token(event) in self.folding:
            return self.folding[floods.token(event)]
        if any(event.event_id == other.event_id for other in self.taken):
            return None
        self.taken.append(event)
        return event

    async def append_all(self, events: Sequence[Event]) -> list[Event | floods.Folded | None]:
        return [await self.append(event) for event in events]

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        if self._mood != "open":
            raise stores.Unavailable("told to be")
        if (by, number) not in self._handed:
            self._handed.add((by, number))
            self.folds += folds
