"""What the spool keeps: on disk, and as this process knows it.

Owns: that an entry is on disk before anybody is promised anything, that what this process knows of the entries follows
the disk (other processes put and change some too), and that other processes hear of what is new.
Leaves to others: the files (`spool.disk`), when an entry is tried (`spool.sending`), what becomes of it
(`spool.settling`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from relay import causes
from relay.core import queue
from relay.spool import disk


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `look`: between looks at what other processes put or changed, and `look_at_all` whether they said so or
    not. `again`: until an entry that could not be had is asked for again. `write`: until what could not be written is
    tried to be again; doubles up to `again`. `end`: for attempts under way when the service stops."""

    look: float = 1.0
    look_at_all: float = 60.0
    again: float = 15.0
    write: float = 1.0
    end: float = 10.0


TIMES = Times()


class Keeping:
    """What is known is known while somebody here sends (`watch`); else the entries are other processes' to send."""

    def __init__(self, on_disk: disk.Disk, *, clock: Callable[[], float]) -> None:
        self._disk, self._clock = on_disk, clock
        self._known: dict[str, tuple[queue.Entry, int]] = {}  # id -> entry, when its state was written
        self._started = False
        self._told: Callable[[], None] | None = None
        self._woken = -1

    # -- keeping -------------------------------------------------------------------------------------------------------

    async def keep(self, entry: queue.Entry, content: bytes) -> disk.Claim:
        """The entry, on disk, and still its caller's. Raises `Unwritable`."""
        return await asyncio.to_thread(self._keep, entry, content)

    def _keep(self, entry: queue.Entry, content: bytes) -> disk.Claim:
        try:
            self.start()
        except OSError as reason:
            raise disk.Unwritable(causes.brief(reason)) from reason
        return self._disk.put(entry, content)

    def start(self) -> None:
        """Makes the folder, the first time. Blocks."""
        if not self._started:
            self._disk.start()
            self._started = True

    async def put(self, entry: queue.Entry, content: bytes) -> None:
        """The entry, on disk, for whoever sends. Raises `Unwritable`."""
        self.release(await self.keep(entry, content))

    async def hold(self, entry: queue.Entry, content: bytes) -> None:
        """A message that is no entry yet (`Disk.hold`). Raises `Unwritable`."""
        await asyncio.to_thread(self._hold, entry, content)

    def _hold(self, entry: queue.Entry, content: bytes) -> None:
        try:
            self.start()
        except OSError as reason:
            raise disk.Unwritable(causes.brief(reason)) from reason
        self._disk.hold(entry, content)

    async def admit(self, prefix: str) -> None:
        """What is held under such names is for whoever sends. Raises OSError."""
        for claim in await asyncio.to_thread(self._admit, prefix):
            self.release(claim)

    def _admit(self, prefix: str) -> list[disk.Claim]:
        claims = [self._disk.claim(name) for name in self._disk.admit(prefix)]
        return [claim for claim in claims if claim]  # another process may have taken one up already

    async def drop(self, prefix: str) -> None:
        await asyncio.to_thread(self._disk.drop, prefix)

    async def has(self, prefix: str) -> bool:
        return await asyncio.to_thread(self._disk.has, prefix)

    async def recipients_of(self, message_id: str) -> set[str]:
        return await asyncio.to_thread(self._recipients_of, message_id)

    def _recipients_of(self, message_id: str) -> set[str]:
        entries = map(self._disk.read, self._disk.scan())
        return {r.address for entry in entries if entry and entry.message_id == message_id for r in entry.waiting}

    def release(self, claim: disk.Claim, entry: queue.Entry | None = None) -> None:
        """Somebody is done with it for now. `entry` is its state where that is known better than it could be written."""
        entry = entry or claim.entry
        changed = self._disk.changed_at(entry.entry_id)  # while it is ours: what others write after that is news
        claim.release()
        if self._told is None:
            self._disk.wake()
            return
        self._known[entry.entry_id] = (entry, changed)
        self._told()

    async def remove(self, claim: disk.Claim) -> None:
        """It is done with for good."""
        await asyncio.to_thread(claim.remove)
        self._known.pop(claim.entry.entry_id, None)

    def claim(self, entry_id: str) -> disk.Claim | None:
        """The entry as its caller's own, if it is there and nobody else's. Blocks."""
        return self._disk.claim(entry_id)

    async def trouble(self) -> str:
        """Why nothing could be kept now, or ""."""
        return await asyncio.to_thread(self._disk.trouble)

    async def standing(self) -> tuple[int, float]:
        """How many entries there are, and when the oldest came; 0.0 where there is none."""
        if self._told is None:
            return await asyncio.to_thread(self._count)
        return len(self._known), min((entry.created_at for entry in self.entries()), default=0.0)

    def _count(self) -> tuple[int, float]:
        names = [*self._disk.scan()]
        read = (self._disk.read(name) for name in names)
        return len(names), next((entry.created_at for entry in read if entry), 0.0)

    # -- knowing -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watch(self, told: Callable[[], None]) -> Iterator[None]:
        """Meanwhile this process sends: `told` is called when an entry comes here or comes back, and other processes are
        not woken for it."""
        self._told, self._woken = told, -1
        try:
            yield
        finally:
            self._told = None
            self._known.clear()

    @property
    def count(self) -> int:
        return len(self._known)

    def entries(self) -> Iterator[queue.Entry]:
        """All that are known."""
        return (entry for entry, _ in self._known.values())

    def entry(self, entry_id: str) -> queue.Entry | None:
        known = self._known.get(entry_id)
        return known[0] if known else None

    def size(self, entry_id: str) -> int:
        """Octets on disk, 0 where it has gone."""
        return self._disk.size(entry_id)

    @property
    def touched(self) -> bool:
        """Has another process put or changed something since the last look?"""
        return self._disk.woken_at() != self._woken

    async def look(self, busy: Collection[str]) -> None:
        """What is on disk now: entries new to us, and those whose state somebody else changed. Those that are `busy`
        stay known. Raises OSError."""
        woken = self._disk.woken_at()
        known = {name: changed for name, (_, changed) in self._known.items()}
        found, news = await asyncio.to_thread(self._compare, known)
        self._known.update(news)
        for name in known.keys() - found - set(busy):
            self._known.pop(name, None)
        self._woken = woken

    async def notes(self) -> list[disk.Dropped]:
        """What operators dropped, each once."""
        return await asyncio.to_thread(self._disk.notes)

    def _compare(self, known: Mapping[str, int]) -> tuple[set[str], dict[str, tuple[queue.Entry, int]]]:
        self._disk.take_back()
        found, news = set(), {}
        for name in self._disk.scan():
            found.add(name)
            changed = self._disk.changed_at(name)
            if known.get(name) != changed:
                entry = self._disk.read(name)
                if entry:
                    news[name] = (entry, changed)
        return found, news

    def postpone(self, entry_id: str, seconds: float) -> None:
        """It is another's now, or gone, or could not be had: asked for again after so long, if it is there then."""
        entry, changed = self._known.pop(entry_id, (None, 0))
        if entry and self._disk.size(entry_id):
            self._known[entry_id] = (msgspec.structs.replace(entry, next_at=self._clock() + seconds), changed)

    def shift(self, seconds: float) -> None:
        """What waits waits for so many more; fewer, where that is negative."""
        now = self._clock()
        for name, (entry, changed) in self._known.items():
            if entry.next_at > now:
                self._known[name] = (msgspec.structs.replace(entry, next_at=entry.next_at + seconds), changed)
