"""The senders' mailboxes: new mail -> events.

Owns: one watcher per mailbox, when it is tried again, the cursor. Leaves to others: which node watches it
(`mailbox.leases`), what one message means (`mailbox.reading`, `mailbox.matching`), how a mailbox is read (`mailbox.imap`,
`mailbox.maildir`), counting and notifying (the store).

Nothing in a mailbox is changed: it is opened read-only and no message is marked as seen. The first time it begins at
the present; after that at the cursor, which the store moves in the same transaction as the event.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from relay import credentials, log, metrics, oauth, replies, suppressing
from relay import store as stores
from relay.config import Grant, Settings
from relay.core import floods, networks
from relay.core.model import Event, Keys
from relay.mailbox import imap, leases, maildir, reading, session
from relay.mailbox.places import Places
from relay.mailbox.source import (
    CredentialsRefused,
    Fetched,
    LoginRefused,
    PassedOver,
    Source,
    Times,
    Unfetched,
    Unreachable,
)
from relay.store import lists

LOG = log.room("mailbox")

MAX_LOGINS = 50  # connections that are set up at once
PROGRESS = 1_000  # messages without an event after which the cursor is stored


class Store(replies.SentMail, credentials.Records, leases.Records, Protocol):
    """What is asked of a store here."""

    async def cursor(self, mailbox: str) -> stores.Cursor | None: ...
    async def save_cursor(self, cursor: stores.Cursor) -> None: ...
    def append(
        self, event: Event, cursor: stores.Cursor | None = None, answer: lists.Answer | None = None
    ) -> Awaitable[Event | floods.Folded | None]: ...


@dataclass(slots=True)
class State:
    """How a watcher does: "starting", "watching", "unreachable", "refused", or "store" while the store takes nothing."""

    mailbox: str
    grant_id: str
    state: str = "starting"
    reason: str = ""
    told: str = ""  # the trouble that the log has, until it is over


class Watcher:
    """Watches the mailboxes of all grants that have one, but for those that another node watches. `states` says how each
    does. `holder` is this node's name."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Callable[[], Keys],
        *,
        holder: str = "",
        appended: Callable[[], None] | None = None,
        heard: suppressing.Heard = suppressing.unheard,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        times: Times | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.store = store
        self.keys = keys
        self.holder = holder
        self.appended = appended
        self.heard = heard
        self.clock = clock
        self.jitter = jitter
        self.times = times or Times()
        self.sleep = sleep
        self.states: list[State] = []
        self._logins = asyncio.Semaphore(MAX_LOGINS)
        self._refusing: dict[str, set[str]] = {}  # grant -> its mailboxes whose login is refused
        self._credentials = credentials.Credentials(store, appended=appended, clock=clock)
        watched = [url for grant in settings.grants for url in grant.mailbox if not url.startswith("maildir:")]
        of = settings.mailbox
        self._places = Places(len(watched), of.max_connections, of.max_connections_per_account)

    async def run(self) -> None:
        """Until cancelled; returns at once where no grant has a mailbox."""
        for kind in metrics.MAILBOX_TROUBLES:
            metrics.follow(metrics.MAILBOX_TROUBLE.labels(kind), partial(self.troubles, kind))
        mailboxes = {
            named(grant, url): partial(self.watch, grant, url)
            for grant in self.settings.grants
            for url in grant.mailbox
        }
        if mailboxes:
            await leases.watch(mailboxes, self.store, self.holder, every=self.times.leases)

    def troubles(self, kind: str) -> int:
        """How many of its mailboxes are in that state."""
        return sum(state.state == kind for state in self.states)

    async def watch(self, grant: Grant, url: str) -> None:
        """One mailbox, whatever breaks."""
        source = open_source(
            grant, url, self.settings, times=self.times, logins=self._logins, jitter=self.jitter, clock=self.clock,
            sleep=self.sleep, places=self._places,
        )  # fmt: skip
        state = State(source.name, grant.id)
        self.states.append(state)
        try:
            await self.follow_on(grant, source, state)
        finally:
            self.states.remove(state)

    async def follow_on(self, grant: Grant, source: Source, state: State) -> None:
        """Follows the mailbox, and after each trouble again."""
        began, failures, unfetched = self.clock(), 0, 0
        while True:
            try:
                async for lasting in self.follow(grant, source, state, began):
                    unfetched = 0
                    if lasting:
                        failures = 0
                pauses = self.times.broken  # a mailbox that ends is a broken one
            except CredentialsRefused as reason:
                pauses = self.times.refused
                self.troubled(state, "refused", str(reason))
                self._refusing.setdefault(grant.id, set()).add(source.name)
                await self.tell(self._credentials.refused(grant.id, "mailbox", str(reason)))
            except LoginRefused as reason:
                pauses = self.times.refused
                self.troubled(state, "refused", str(reason))
            except Unfetched as reason:  # what comes of it is said once, at the end
                LOG.debug("message_not_fetched", grant=grant.id, mailbox=source.name, reason=reason)
                await self.sleep(self.pause(self.times.unfetched, unfetched))
                unfetched += 1
                continue
            except Unreachable as reason:
                pauses = self.times.broken
                self.troubled(state, "unreachable", str(reason))
            except stores.Unavailable as reason:
                pauses = self.times.broken
                self.troubled(state, "store", str(reason))
            except Exception as reason:
                pauses = self.times.broken
                metrics.ERRORS.labels("mailbox").inc()
                if state.told != "failed":
                    LOG.exception("mailbox_failed", grant=grant.id, mailbox=source.name)
                state.state, state.reason, state.told = "unreachable", repr(reason), "failed"
            pause = self.pause(pauses, failures)
            failures += 1
            await self.sleep(pause)

    def pause(self, pauses: tuple[float, ...], failures: int) -> float:
        """Half of it at the least: many mailboxes do not come back at one moment."""
        return pauses[min(failures, len(pauses) - 1)] * (0.5 + self.jitter() / 2)

    def troubled(self, state: State, what: Literal["refused", "unreachable", "store"], reason: str) -> None:
        """One line when a trouble begins or becomes another, not one per attempt. It is over when the mailbox was up to
        date and went on to be."""
        if state.told != what:
            fields = {"grant": state.grant_id, "mailbox": state.mailbox, "reason": reason}
            match what:
                case "refused":
                    LOG.warning("mailbox_refused", **fields)
                case "unreachable":
                    LOG.warning("mailbox_unreachable", **fields)
                case "store":
                    LOG.warning("mailbox_store_unavailable", **fields)
        state.state, state.reason, state.told = what, reason, what

    async def works(self, grant: Grant, source: Source) -> None:
        """A grant's credentials work where none of its mailboxes refuses them."""
        refusing = self._refusing.setdefault(grant.id, set())
        refusing.discard(source.name)
        if not refusing and isinstance(source, imap.Imap):
            await self.tell(self._credentials.accepted(grant.id, "mailbox"))

    async def tell(self, telling: Awaitable[None]) -> None:
        """What the credentials do, to the store. One that takes nothing is told at the next login."""
        try:
            await telling
        except stores.Unavailable as reason:
            LOG.debug("credentials_not_told", reason=reason)

    async def follow(self, grant: Grant, source: Source, state: State, began: float) -> AsyncIterator[bool]:
        """Reads the mailbox from its cursor on; yields whenever it is up to date, and whether it was before, in between
        which something was waited for."""
        saved = await self.store.cursor(source.name)
        reader = reading.Reader(grant, self.settings.mailbox, self.store, self.keys)
        unsaved, lasting = 0, False
        async with aclosing(source.messages(saved, began)) as messages:
            async for found in messages:
                if isinstance(found, Fetched):
                    unsaved += 1
                    if await self.record(reader, found):
                        saved, unsaved = found.cursor, 0
                    elif unsaved >= PROGRESS:
                        await self.save(found.cursor)
                        saved, unsaved = found.cursor, 0
                    continue
                if isinstance(found, PassedOver):
                    await self.save(found.cursor)
                    saved, unsaved = found.cursor, 0
                    metrics.PASSED_OVER.inc()
                    LOG.error(
                        "message_passed_over", grant=grant.id, mailbox=source.name, uid=found.uid, reason=found.reason
                    )
                    continue
                if found != saved:
                    await self.save(found)
                    saved, unsaved = found, 0
                await self.works(grant, source)
                if state.state == "starting" or (state.told and lasting):
                    LOG.info("mailbox_watched", grant=grant.id, mailbox=source.name)
                    state.told = ""
                state.state, state.reason = "watching", ""
                yield lasting
                lasting = True

    async def save(self, cursor: stores.Cursor) -> None:
        await self.store.save_cursor(replace(cursor, holder=self.holder))

    async def record(self, reader: reading.Reader, fetched: Fetched) -> bool:
        """Whether the cursor was stored: it goes with the last event of a message, in one transaction."""
        try:
            events = await reader.events(fetched, self.clock())
        except (LoginRefused, Unreachable, stores.Unavailable):
            raise
        except Exception:  # one message that can't be read must not hide those after it
            metrics.ERRORS.labels("mailbox").inc()
            LOG.exception("message_skipped", mailbox=fetched.cursor.mailbox, uid=fetched.cursor.uid)
            return False
        for number, event in enumerate(events, 1):
            cursor = replace(fetched.cursor, holder=self.holder) if number == len(events) else None
            answer = await reader.kept(fetched, event) if event.type in reading.ANSWERS else None
            if answer is not None and answer.excerpt:
                event = event.with_(data={**event.data, "excerpt": answer.excerpt})
            heard = await self.heard(event)
            written = await self.store.append(heard or event, cursor, answer)
            if written is not None:
                LOG.info(event.type.replace(".", "_"), message_id=event.message_id, event_id=event.event_id)
                if self.appended is not None:
                    self.appended()
        return bool(events)


def named(grant: Grant, url: str) -> str:
    """One of the grant's mailboxes: its URL without secrets."""
    scheme, _, _ = url.partition(":")
    if scheme == "maildir":
        return f"{grant.id} {url}"
    parts = urlsplit(url)
    return f"{grant.id} {scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} {networks.server(url).login}"


def open_source(
    grant: Grant,
    url: str,
    settings: Settings,
    *,
    times: Times | None = None,
    logins: asyncio.Semaphore | None = None,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    places: Places | None = None,
) -> Source:
    """One of the grant's mailboxes, by the kind of its URL. Nothing is connected to yet; `logins` bounds how many are at
    once, `places` how many there are."""
    scheme, _, rest = url.partition(":")
    interval = settings.mailbox.poll_interval
    if scheme == "maildir":
        return maildir.Maildir(named(grant, url), unquote(rest.removeprefix("//")), interval)
    parts, server = urlsplit(url), networks.server(url)
    return imap.Imap(
        named(grant, url),
        session.Account(
            host=server.host,
            port=server.port,
            tls="implicit" if server.scheme == "imaps" else "starttls",
            user=server.login or grant.email,
            password=grant.mailbox_password,
            oauth2=grant.mailbox_oauth2,
            folder=unquote(parts.path.removeprefix("/")) or "INBOX",
        ),
        interval,
        times=times or Times(),
        logins=logins or asyncio.Semaphore(MAX_LOGINS),
        jitter=jitter,
        tokens_in=oauth.folder_in(settings.state_dir),
        clock=clock,
        sleep=sleep,
        places=places,
    )
