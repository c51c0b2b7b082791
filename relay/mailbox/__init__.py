"""The senders' mailboxes: new mail -> events.

Owns: one watcher per mailbox, its connection's life, the cursor. Leaves to others: what one message means
(`mailbox.reading`), how a mailbox is read (`mailbox.imap`, `mailbox.maildir`), counting and notifying (the store).

Nothing in a mailbox is changed: it is opened read-only and no message is marked as seen. The first time it begins at
the present; after that at the cursor, which the store moves in the same transaction as the event.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from relay import log, metrics
from relay import store as stores
from relay.config import Grant, Settings
from relay.core.model import Keys
from relay.mailbox import imap, maildir, reading
from relay.mailbox.source import Fetched, Refused, Unreachable

LOG = log.room("mailbox")

# Pauses in seconds: after a connection that failed or broke, and after credentials that were refused (asked too
# often, providers lock an account).
BROKEN: tuple[float, ...] = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
REFUSED: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
LOGINS = 50  # connections that are set up at once


class Box(Protocol):
    """A mailbox that can be read. `messages` is endless: it opens the mailbox, gives what came after the cursor,
    oldest first, and then waits for more. It raises `Refused` or `Unreachable`; whatever was held is let go when the
    iteration ends. A cursor says that all there is was given, and where the mailbox stands while it is waited on."""

    name: str

    def messages(self, cursor: stores.Cursor | None, since: float) -> AsyncGenerator[Fetched | stores.Cursor, None]: ...


@dataclass(slots=True)
class State:
    """How a watcher does: "starting", "watching", "unreachable", "refused", or "store" while the store takes nothing."""

    mailbox: str
    grant_id: str
    state: str = "starting"
    reason: str = ""


class Watcher:
    """Watches the mailboxes of all grants that have one. `states` says how each does."""

    def __init__(
        self,
        settings: Settings,
        store: stores.Store,
        keys: Callable[[], Keys],
        *,
        appended: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.store = store
        self.keys = keys
        self.appended = appended
        self.clock = clock
        self.dice = dice
        self.states: list[State] = []
        self._logins = asyncio.Semaphore(LOGINS)

    async def run(self) -> None:
        """Until cancelled; returns at once where no grant has a mailbox."""
        async with asyncio.TaskGroup() as tasks:
            for grant in self.settings.grants:
                if grant.mailbox:
                    tasks.create_task(self.watch(grant))

    async def watch(self, grant: Grant) -> None:
        """One mailbox, whatever breaks."""
        box = self.open(grant)
        state = State(box.name, grant.id)
        self.states.append(state)
        began, failures = self.clock(), 0
        while True:
            try:
                async for _ in self.follow(grant, box, state, began):
                    failures = 0
                pauses = BROKEN  # a mailbox that ends is a broken one
            except Refused as reason:
                pauses = REFUSED
                self.troubled(state, "refused", str(reason))
            except Unreachable as reason:
                pauses = BROKEN
                self.troubled(state, "unreachable", str(reason))
            except stores.Unavailable as reason:
                pauses = BROKEN
                self.troubled(state, "store", str(reason))
            except Exception as reason:
                pauses = BROKEN
                metrics.ERRORS.labels("mailbox").inc()
                state.state, state.reason = "unreachable", repr(reason)
                LOG.exception("mailbox_failed", grant=grant.id, mailbox=box.name)
            pause = pauses[min(failures, len(pauses) - 1)]
            failures += 1
            await asyncio.sleep(pause * (0.5 + self.dice()))

    def troubled(self, state: State, what: str, reason: str) -> None:
        """One line when a trouble begins or changes, not one per attempt."""
        if (state.state, state.reason) != (what, reason):
            LOG.warning(f"mailbox_{what}", grant=state.grant_id, mailbox=state.mailbox, reason=reason)
        state.state, state.reason = what, reason

    async def follow(self, grant: Grant, box: Box, state: State, began: float) -> AsyncIterator[None]:
        """Reads the mailbox from its cursor on; yields whenever it is up to date."""
        saved = await self.store.cursor(box.name)
        reader = reading.Reader(grant, self.settings.mailbox, self.store, self.keys)
        async with aclosing(box.messages(saved, began)) as messages:
            async for found in messages:
                if isinstance(found, Fetched):
                    if await self.keep(reader, found):
                        saved = found.cursor
                    continue
                if found != saved:
                    await self.store.save_cursor(found)
                    saved = found
                if state.state != "watching":
                    LOG.info("mailbox_watched", grant=grant.id, mailbox=box.name)
                    state.state, state.reason = "watching", ""
                yield

    async def keep(self, reader: reading.Reader, fetched: Fetched) -> bool:
        """Whether the cursor was stored: it goes with the last event of a message, in one transaction."""
        try:
            events = await reader.events(fetched, self.clock())
        except (Refused, Unreachable, stores.Unavailable, *imap.BROKEN):
            raise
        except Exception:  # one message that can't be read must not hide those after it
            metrics.ERRORS.labels("mailbox").inc()
            LOG.exception("message_skipped", mailbox=fetched.cursor.mailbox, uid=fetched.cursor.uid)
            return False
        for number, event in enumerate(events, 1):
            cursor = fetched.cursor if number == len(events) else None
            written = await self.store.append(event, cursor)
            if written is not None:
                LOG.info(event.type.replace(".", "_"), message_id=event.message_id, event_id=event.event_id)
                if self.appended is not None:
                    self.appended()
        return bool(events)

    def open(self, grant: Grant) -> Box:
        scheme, _, rest = grant.mailbox.partition(":")
        interval = self.settings.mailbox.poll_interval
        if scheme == "maildir":
            return maildir.Maildir(f"{grant.id} {grant.mailbox}", unquote(rest.removeprefix("//")), interval)
        parts = urlsplit(grant.mailbox)
        return imap.Imap(
            f"{grant.id} {scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} {unquote(parts.username or '')}",
            imap.Account(
                host=parts.hostname or "",
                port=parts.port or (993 if scheme == "imaps" else 143),
                tls="implicit" if scheme == "imaps" else "starttls",
                user=unquote(parts.username or grant.email),
                password=grant.mailbox_password,
                oauth2=grant.mailbox_oauth2,
                folder=unquote(parts.path.removeprefix("/")) or "INBOX",
            ),
            interval,
            self._logins,
            self.dice,
            tokens_in=self.settings.state_dir / "keys",
        )
