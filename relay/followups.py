"""The sender writes again in a thread of theirs: known when it is sent, whatever folders of their mailbox are read.

Owns: the event of it, once its message was accepted. Leaves to others: which message it goes on from (`relay.replies`), the
same seen in a mailbox (`mailbox.reading`), which makes the same event.

Only where `[mailbox] notify_self` asks for it, and beside the mail: nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from relay import log, metrics, replies
from relay.core import floods
from relay.core import replies as core
from relay.core.addresses import Mailbox
from relay.core.model import Event, Sent

LOG = log.room("followups")

MAX_WAITING = 10_000  # messages
PAUSES = (0.2, 1.0, 5.0, 30.0, 120.0)  # seconds between looks at what became of a message; then it is on its way
ACCEPTED = ("done", "later", "handed")


class Store(replies.SentMail, Protocol):
    """What is asked of a store here."""

    def append(self, event: Event) -> Awaitable[Event | floods.Folded | None]: ...


class FollowUps:
    """`appended` is called when an event was stored. Whoever makes it calls `close`."""

    def __init__(
        self, store: Store, *, appended: Callable[[], None] = lambda: None, pauses: tuple[float, ...] = PAUSES
    ) -> None:
        self.store, self.appended, self.pauses = store, appended, pauses
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def recorded(self, sent: Sent) -> None:
        """A message was recorded, and is about to leave."""
        if not sent.references or len(self._tasks) >= MAX_WAITING:
            return
        task = asyncio.create_task(self._follow(sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What waits is looked at a last time."""
        self._closing.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    async def _follow(self, sent: Sent) -> None:
        try:
            found = await replies.told(self.store, sent.grant_id, sent.references, 1, sent.sender)
            if found is None or found[0].match.sent.message_id == sent.message_id:
                return
            if await self._left(sent.message_id) and await self.store.append(event(sent, *found)):
                self.appended()
        except Exception:  # the edge: mail goes on
            metrics.ERRORS.labels("followups").inc()
            LOG.exception("follow_up_not_recorded", message_id=sent.message_id)

    async def _left(self, message_id: str) -> bool:
        """Whether it was accepted, or may still be."""
        for pause in self.pauses:
            try:
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            except TimeoutError:
                pass
            now = await self.store.sent(message_id)
            states = {copy.state for copy in now.copies} if now else {"never"}
            if states & set(ACCEPTED):
                return True
            if states == {"never"}:
                return False
            if self._closing.is_set():
                break
        return True


def event(sent: Sent, answer: core.Answered, root: Sent) -> Event:
    written = core.Written(
        Mailbox("", sent.sender),
        sent.internet_message_id or sent.message_id,
        sent.message_id,
        sent.internet_message_id,
        sent.subject,
        own=True,
    )
    return core.event(answer, root, written, sent.submitted_at, notify=True, more={})
