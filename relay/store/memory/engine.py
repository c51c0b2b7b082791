"""The store in memory, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from relay.store import Unavailable
from relay.store.memory.drafts import Drafts
from relay.store.memory.events import Events
from relay.store.memory.kept import Kept
from relay.store.memory.keys import Keys
from relay.store.memory.messages import Messages
from relay.store.memory.persons import Persons
from relay.store.memory.purging import Purging
from relay.store.memory.requests import Requests
from relay.store.memory.schedules import Schedules
from relay.store.memory.suppressions import SuppressedRecipients


class Memory(Events, Messages, Keys, Drafts, Schedules, Requests, Kept, Purging, Persons, SuppressedRecipients):
    """See `relay.store.contract.Store`."""

    def now(self) -> float:
        return self._clock()

    def watch(self, changed: Callable[[], None]) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def backup(self, path: Path) -> bool:
        raise Unavailable("a store in memory has no backup")

    async def check(self) -> None: ...
