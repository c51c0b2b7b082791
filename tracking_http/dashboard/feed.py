"""Tells every open page what happens, by Server-Sent Events.

Owns: one look at the store for all pages together, the frames, the queues and their limits. Leaves to others: the
HTTP (`pages`), what a frame contains (`shape`).

A frame is `event` (one stored event; its id is the mark of the event's position, so that a browser that reconnects can
say how far it was), `message` (a message as the list shows it now) or `reset` (too much was missed: read the list again).
While a page is open, the store is asked a few times a second, so events of other processes show too; otherwise it is
never asked. A page that reads too slowly loses its queue and gets `reset`: it costs no memory and delays nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from relay import log, metrics
from relay.core.model import Event, Sent
from relay.store import Engagement, lists
from tracking_http.dashboard import marks, shape

LOG = log.room("feed")

LOOK_SECONDS = 0.3
SOON = 0.05  # the least that is between two looks
STANDS_SECONDS = 1.0  # after which a page's key is asked for again, before a frame and by the clock
BEAT_SECONDS = 15.0  # between comments, by which proxies keep the connection and a lost page is noticed
PAGES = 64  # open at once
WAITING = 500  # frames that may wait for one page
AT_ONCE = 200  # events per look
REPLAY = 1_000  # events that a page may have missed when it reconnects
LATE = 3_600.0  # seconds by which an event that a grant's page missed may have come after others of its time
RECENT = 40  # messages that are watched for changes without an event
PER_MESSAGE = 1_000  # events of one message from which its states are made


async def always() -> bool:
    return True


class Full(Exception):
    """Too many pages are open for another one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`grant` is the owner of the mail; "" is nobody's, or everybody's. `position` is 0 except for an `event`."""

    kind: str
    data: Any
    grant: str = ""
    position: int = 0

    def encode(self, mark: str = "") -> bytes:
        """The frame as it goes over the wire (HTML Standard 9.2.6), with the mark of its position. JSON has no line break
        outside of `\\n`."""
        text = json.dumps(self.data, ensure_ascii=True, separators=(",", ":"))
        head = f"id: {mark}\n" if mark else ""
        return f"{head}event: {self.kind}\ndata: {text}\n\n".encode("ascii")


RESET = Frame("reset", {})


@dataclass(eq=False, slots=True)
class Page:
    """One open page. `grant` is the owner of the mail that it may see ("" means everybody's); `gone` tells whether the
    page was closed."""

    grant: str
    gone: Callable[[], bool]
    frames: asyncio.Queue[Frame | None] = field(default_factory=lambda: asyncio.Queue(WAITING))

    def put(self, frame: Frame | None) -> None:
        if frame and self.grant and frame.grant != self.grant:
            return  # also what is nobody's, such as an event of an unknown message
        if self.frames.full():
            while not self.frames.empty():
                self.frames.get_nowait()
            self.frames.put_nowait(RESET)
        self.frames.put_nowait(frame)


class Reads(Protocol):
    """What is asked of a store here."""

    async def events(
        self, after: int = 0, limit: int = 100, *, newest: bool = False, message_id: str = ""
    ) -> list[Event]: ...
    async def list_events(self, asked: lists.Events, limit: int) -> lists.Listed[Event]: ...
    async def sent(self, message_id: str) -> Sent | None: ...
    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]: ...
    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]: ...


class Known(NamedTuple):
    """A message as it stands: the newest of its events, ascending, and what is counted of all."""

    sent: Sent
    events: list[Event]
    did: Engagement

    def summary(self) -> Frame:
        return Frame("message", shape.summary(self.sent, self.events, self.did), self.sent.grant_id)


class Feed:
    """Looks and tells. `close` ends every page's stream, for a clean stop."""

    def __init__(
        self,
        known: Reads,
        *,
        look: float = LOOK_SECONDS,
        beat: float = BEAT_SECONDS,
        again: float = STANDS_SECONDS,
        pages: int = PAGES,
        replay: int = REPLAY,
    ) -> None:
        self.store, self.look, self.beat, self.limit, self.replay = known, look, beat, pages, replay
        self.again = again
        self.marks = marks.Marks()
        self.pages: set[Page] = set()
        self.position = 0
        self.recent: dict[str, Sent] = {}
        self.task: asyncio.Task[None] | None = None
        self.heard = asyncio.Event()
        self.closed = False

    async def watch(
        self,
        after: int | None,
        grant: str,
        gone: Callable[[], bool] = lambda: False,
        stands: Callable[[], Awaitable[bool]] = always,
    ) -> AsyncGenerator[Frame | None, None]:
        """Frames after that position (None: from now on; `marks.NONE`: nobody knows), or None after `beat` seconds without
        one. `gone` tells
        whether the page has left already, `stands` whether it may still see this: where not, the frames end. Raises
        `Full` and `store.Unavailable` before the first frame."""
        if len(self.pages) >= self.limit:
            self.pages = {page for page in self.pages if not page.gone()}
        if len(self.pages) >= self.limit or self.closed:
            raise Full
        page = Page(grant, gone)
        self.pages.add(page)
        try:
            await self.begin()
            last = await self.newest()
            lost = after is not None and not 0 <= after <= last  # another store than the one that this page knows
            seen = self.position if after is None else last if lost else after
            if lost:
                yield RESET
            async for frame in self.missed(seen, grant):
                seen = max(seen, frame.position)
                yield frame
            yield None  # now the page knows that it is connected
            clock = asyncio.get_running_loop().time
            said = asked = clock()
            while not self.closed:
                kept: Frame | None = None
                late = False
                try:
                    async with asyncio.timeout(min(self.again, self.beat)):
                        kept = await page.frames.get()
                except TimeoutError:
                    late = True
                if clock() - asked >= self.again:
                    if not await stands():
                        return
                    asked = clock()
                if late:
                    if clock() - said >= self.beat:
                        said = clock()
                        yield None
                    continue
                if kept is None:
                    return
                said = clock()
                if kept.position == 0 or kept.position > seen:
                    yield kept
        finally:
            self.pages.discard(page)

    async def begin(self) -> None:
        """Starts looking with the first page, from the newest event on."""
        if self.task and not self.task.done():
            return
        position = await self.newest()
        recent = await self.store.recent_sent(RECENT)
        if self.task and not self.task.done():  # another page was faster
            return
        self.position = position
        self.recent = {sent.message_id: sent for sent in recent}
        self.task = asyncio.create_task(self.run(), name="feed")

    async def newest(self) -> int:
        """The position of the newest event."""
        found = await self.store.events(newest=True, limit=1)
        return found[-1].position if found else 0

    async def missed(self, after: int, grant: str) -> AsyncIterator[Frame]:
        """What happened between `after` and now, for a page that reconnects."""
        if grant:
            found, more = await self.later(after, grant)
        else:
            found = await self.store.events(after, self.replay + 1)
            more = len(found) > self.replay
        changed = dict.fromkeys(event.message_id for event in found)
        if more or len(changed) > RECENT:
            yield RESET
            return
        known = {message_id: await self.message(message_id) for message_id in changed}
        for event in found:
            yield event_frame(event, known[event.message_id])
        for message in known.values():
            if message:
                yield message.summary()

    async def later(self, after: int, grant: str) -> tuple[list[Event], bool]:
        """The events of a grant behind that position, found by their time; and whether there are more."""
        last = await self.store.events(after - 1, 1) if after else []
        asked = lists.Events(grant_id=grant, since=last[0].at - LATE if last else 0.0)
        found = await self.store.list_events(asked, self.replay)
        events = sorted((e for e in found.items if e.position > after), key=lambda event: event.position)
        return events, found.after is not None

    async def recent_events(self, grant: str, limit: int) -> list[Event]:
        """The newest ones, ascending by position."""
        if not grant:
            return await self.store.events(newest=True, limit=limit)
        found = await self.store.list_events(lists.Events(grant_id=grant), limit)
        return sorted(found.items, key=lambda event: event.position)

    async def run(self) -> None:
        """Looks until no page is open."""
        failed = False
        while self.pages and not self.closed:
            try:
                more = await self.step()
                failed = False
            except Exception as reason:  # the edge of the feed: the store will come back
                more = False
                if not failed:
                    metrics.ERRORS.labels("feed").inc()
                    LOG.warning("no_look", reason=str(reason) or type(reason).__name__)
                failed = True
            if not more:
                await self.rest(self.look * (10 if failed else 1))

    async def rest(self, seconds: float) -> None:
        """Until then, or until another process has appended something; a while in any case."""
        soon = min(SOON, seconds)
        await asyncio.sleep(soon)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - soon):
                await self.heard.wait()
        self.heard.clear()

    def wake(self) -> None:
        self.heard.set()

    async def step(self) -> bool:
        """One look. True if there is more to see at once."""
        events = await self.store.events(self.position, AT_ONCE)
        recent = {sent.message_id: sent for sent in await self.store.recent_sent(RECENT)}
        changed = [i for i, sent in recent.items() if self.recent.get(i) != sent]
        ids = [*reversed(changed), *(e.message_id for e in events)]
        ids = list(dict.fromkeys(ids))
        frames = []
        if len(events) == AT_ONCE:  # the pages of their grants read the list again, those of others hear nothing of it
            many = dict.fromkeys(event.grant_id for event in events)
            frames += [Frame("reset", {}, grant) for grant in many]
            ids = [i for i in reversed(changed) if recent[i].grant_id not in many]
        known = {message_id: await self.message(message_id, recent.get(message_id)) for message_id in ids}
        frames = [event_frame(event, known.get(event.message_id)) for event in events] + frames
        frames += [message.summary() for message in known.values() if message]
        self.recent = recent
        if events:
            self.position = events[-1].position
        self.tell(frames)
        return len(events) == AT_ONCE

    async def message(self, message_id: str, sent: Sent | None = None) -> Known | None:
        found = sent or await self.store.sent(message_id)
        if found is None:
            return None
        events = await self.store.events(limit=PER_MESSAGE, newest=True, message_id=message_id)
        did = await self.store.engagements([message_id])
        return Known(found, events, did.get(message_id, shape.NOBODY))

    def tell(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            for page in self.pages:
                page.put(frame)

    async def close(self) -> None:
        self.closed = True
        for page in self.pages:
            page.put(None)
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


def event_frame(event: Event, known: Known | None) -> Frame:
    sent, begun = (known.sent, shape.firsts(known.events)) if known else (None, frozenset())
    return Frame("event", shape.line(event, sent, begun), event.grant_id, event.position)
