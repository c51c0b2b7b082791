"""A store that takes events only when the test lets it: for what happens while the real one can't."""

from __future__ import annotations

import asyncio

from relay import store as stores
from relay.core.model import Event


class MoodyStore:
    """Only `append`. `mood`: "open" takes events; "unavailable" raises `Unavailable`; "locked" answers nothing until
    the mood changes (`be`); "broken" raises what no store should. `taken` holds the events, each id once, in order;
    `asked` counts the calls."""

    def __init__(self, mood: str = "open") -> None:
        self.taken: list[Event] = []
        self.asked = 0
        self._mood = mood
        self._changed = asyncio.Event()

    def be(self, mood: str) -> None:
        self._mood = mood
        self._changed.set()
        self._changed = asyncio.Event()

    async def append(self, event: Event, cursor: stores.Cursor | None = None) -> Event | None:
        self.asked += 1
        while self._mood == "locked":
            await self._changed.wait()
        if self._mood == "unavailable":
            raise stores.Unavailable("told to be")
        if self._mood == "broken":
            raise RuntimeError("told to be")
        if any(event.event_id == other.event_id for other in self.taken):
            return None
        self.taken.append(event)
        return event
