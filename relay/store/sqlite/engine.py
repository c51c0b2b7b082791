"""The store over one SQLite file, put together.

Owns: which statement is whose: `writer` gets what writes, `readers` what reads. Leaves to others: the statements (one
module per subject), transactions (`writer`), the file (`database`), the tables (`schema`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from relay.core import floods
from relay.core.model import Delivery, Endpoint, EndpointStatus, Event, History, Notice, Sent, Settlement, Verdict
from relay.store import (
    Aggregate,
    ApiKey,
    Backlog,
    Cursor,
    Draft,
    Engagement,
    Notification,
    NotificationState,
    Request,
    Schedule,
    Unavailable,
    UpstreamReply,
    decisions,
)
from relay.store.contract import NONE
from relay.store.lists import Answer, Events, Listed, Messages, Thread, Threads
from relay.store.sqlite import (
    answers,
    counts,
    cursors,
    database,
    drafts,
    endpoints,
    events,
    kept,
    keys,
    lists,
    messages,
    notices,
    outbox,
    requests,
    schedules,
)
from relay.store.sqlite import contents as octets
from relay.store.sqlite.readers import Readers
from relay.store.sqlite.writer import USUAL, Bulk, Times, Writer

T = TypeVar("T")
PROBE = "INSERT OR REPLACE INTO probe (id, at) VALUES (1, ?)"


class Sqlite:
    """See `relay.store.contract.Store`."""

    def __init__(
        self,
        path: Path,
        *,
        limits: floods.Limits = floods.LIMITS,
        clock: Callable[[], float] = time.time,
        times: Times = USUAL,
    ) -> None:
        self.path = path
        self._limits = limits
        self._clock = clock
        self._asking = events.Asking()
        self.readers = Readers(path)
        self.writer = Writer(
            path,
            {
                Sent: Bulk(messages.record, decisions.mended),
                messages.Replies: Bulk(messages.record_replies, messages.mended, awaited=False),
                events.Hit: Bulk(self._hits, events.mended),
            },
            times=times,
        )

    async def start(self) -> None:
        await self._write(lambda db: None)

    async def stop(self) -> None:
        await self.writer.stop()
        await self.readers.stop()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        done: T = await self.writer.submit(work)
        return done

    # -- messages ------------------------------------------------------------------------------------------------------

    async def record_sent(self, sent: Sent) -> None:
        await self.writer.submit(sent)

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        await self.writer.submit(messages.Replies(tuple(replies)))

    async def sent(self, message_id: str) -> Sent | None:
        return await self.readers.read(lambda db: messages.one(db, message_id))

    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None:
        return await self.readers.read(lambda db: messages.find(db, internet_ids, grant_id, recipients))

    async def find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
        return await self.readers.read(lambda db: answers.find(db, internet_ids, grant_id))

    async def thread_root(self, thread_id: str, grant_id: str) -> Sent | None:
        return await self.readers.read(lambda db: messages.root(db, thread_id, grant_id))

    async def find_queued(self, queue_id: str) -> Sent | None:
        return await self.readers.read(lambda db: messages.queued(db, decisions.mended(queue_id)))

    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]:
        return await self.readers.read(lambda db: messages.recent(db, limit, before, grant_id))

    async def remove_message(self, message_id: str) -> bool:
        return await self._write(lambda db: messages.remove(db, message_id))

    # -- events --------------------------------------------------------------------------------------------------------

    async def append(
        self, event: Event, cursor: Cursor | None = None, answer: Answer | None = None
    ) -> Event | floods.Folded | None:
        done: Event | floods.Folded | None = await self.writer.submit(events.Hit(event, cursor, answer))
        return done

    def _hits(self, db: sqlite3.Connection, batch: Sequence[events.Hit]) -> list[Event | floods.Folded | None]:
        return events.append(db, batch, self._asking, self._clock(), self._limits)

    async def fold(self, folds: Sequence[floods.Fold]) -> None:
        await self._write(lambda db: events.fold(db, folds))

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
        grant_id: str = "",
    ) -> list[Event]:
        def read(db: sqlite3.Connection) -> list[Event]:
            return events.listed(db, after, limit, newest=newest, message_id=message_id, types=types, grant_id=grant_id)

        return await self.readers.read(read)

    async def history(self, event_id: str) -> History | None:
        return await self.readers.read(lambda db: events.history(db, event_id))

    # -- counters ------------------------------------------------------------------------------------------------------

    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None:
        return await self._write(lambda db: events.correct(db, event_id, verdict, reason))

    async def aggregates(
        self,
        by: str,
        since: int,
        until: int,
        *,
        step: str = "day",
        offset: int = 0,
        grant_id: str = "",
        after: tuple[int, str] | None = None,
        limit: int = 1000,
    ) -> list[Aggregate]:
        return await self.readers.read(
            lambda db: counts.listed(db, by, since, until, step, offset, grant_id, after, limit)
        )

    async def top_links(
        self, since: int, until: int, *, grant_id: str = "", limit: int = 20
    ) -> tuple[list[tuple[str, int]], int]:
        return await self.readers.read(lambda db: counts.top_links(db, since, until, grant_id, limit))

    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]:
        return await self.readers.read(lambda db: counts.engagements(db, message_ids))

    async def begin_recount(self) -> int:
        return await self._write(counts.begin)

    async def recount(self) -> int | None:
        return await self._write(messages.recount)

    async def counting(self) -> bool:
        return await self.readers.read(lambda db: counts.upto(db) is not None)

    # -- lists ---------------------------------------------------------------------------------------------------------

    async def list_messages(self, asked: Messages, limit: int) -> Listed[Sent]:
        return await self.readers.read(lambda db: lists.listed(db, asked, limit))

    async def list_threads(self, asked: Threads, limit: int) -> Listed[Thread]:
        return await self.readers.read(lambda db: lists.threads(db, asked, limit))

    async def list_events(self, asked: Events, limit: int) -> Listed[Event]:
        return await self.readers.read(lambda db: lists.events(db, asked, limit))

    async def thread(self, thread_id: str, grant_id: str) -> Thread | None:
        return await self.readers.read(lambda db: lists.thread(db, thread_id, grant_id))

    async def answer(self, answer_id: str, grant_id: str = "") -> Answer | None:
        return await self.readers.read(lambda db: answers.answer(db, answer_id, grant_id))

    # -- cursors of mailboxes ------------------------------------------------------------------------------------------

    async def cursor(self, mailbox: str) -> Cursor | None:
        return await self.readers.read(lambda db: cursors.one(db, mailbox))

    async def save_cursor(self, cursor: Cursor) -> None:
        await self._write(lambda db: cursors.save(db, [cursor]))

    # -- endpoints -----------------------------------------------------------------------------------------------------

    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None:
        await self._write(lambda db: endpoints.sync(db, configured))

    async def endpoints(self) -> list[Endpoint]:
        return await self.readers.read(endpoints.listed)

    async def add_endpoint(self, endpoint: Endpoint) -> None:
        await self._write(lambda db: endpoints.add(db, endpoint))

    async def update_endpoint(self, endpoint: Endpoint) -> bool:
        return await self._write(lambda db: endpoints.update(db, endpoint))

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        def write(db: sqlite3.Connection) -> bool:
            return endpoints.remove(db, endpoint_id)

        removed = await self._write(write)
        while removed and (await self._write(lambda db: outbox.forgive(db, endpoint_id))) > 0:
            pass
        return removed

    async def set_endpoint_status(
        self,
        endpoint_id: str,
        status: EndpointStatus,
        at: float,
        *,
        was: Sequence[EndpointStatus] = (),
        error: str = "",
        since: float = 0.0,
    ) -> bool:
        error = decisions.mended(error)
        return await self._write(lambda db: endpoints.set_status(db, endpoint_id, status, at, was, error, since))

    async def notices(self) -> list[Notice]:
        return await self.readers.read(notices.listed)

    async def hand_notice(self, notice_id: str, entry: str) -> bool:
        return await self._write(lambda db: notices.hand(db, notice_id, entry))

    async def remove_notice(self, notice_id: str) -> None:
        await self._write(lambda db: notices.remove(db, notice_id))

    # -- the outbox ----------------------------------------------------------------------------------------------------

    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        return await self._write(lambda db: outbox.claim(db, now, busy, each, limit))

    async def settle(self, delivery_id: int, settlement: Settlement) -> None:
        await self._write(lambda db: outbox.settle(db, delivery_id, settlement))

    async def hasten(self, after: float, seconds: float) -> None:
        await self._write(lambda db: outbox.hasten(db, after, seconds))

    async def next_due(self) -> float | None:
        return await self.readers.read(outbox.next_due)

    async def notifications(
        self,
        *,
        endpoint_id: str = "",
        endpoint_ids: Sequence[str] | None = None,
        state: NotificationState | Literal[""] = "",
        event_id: str = "",
        message_id: str = "",
        before: int = 0,
        limit: int = 100,
    ) -> list[Notification]:
        which = outbox.Which(
            decisions.chosen_endpoints(endpoint_id, endpoint_ids), state, event_id, message_id, before or outbox.LAST
        )
        return await self.readers.read(lambda db: outbox.newest(db, which, limit))

    async def notification(self, delivery_id: int) -> Notification | None:
        return await self.readers.read(lambda db: outbox.one(db, delivery_id))

    async def backlog(self) -> list[Backlog]:
        return await self.readers.read(outbox.backlog)

    async def replay(
        self,
        now: float,
        *,
        event_ids: Sequence[str] = (),
        delivery_ids: Sequence[int] = (),
        since: float | None = None,
        dead: bool = False,
        endpoint_id: str = "",
    ) -> int:
        count = await self._renew_dead(endpoint_id, now) if dead else 0
        count += await self._write(lambda db: outbox.renew_these(db, delivery_ids, endpoint_id, now))
        count += await self._write(lambda db: outbox.renew_of(db, events.chosen(db, event_ids), endpoint_id, now))
        if since is not None:
            count += await self._renew_since(since, endpoint_id, now, set(event_ids))
        return count

    async def _renew_dead(self, endpoint_id: str, now: float) -> int:
        count = 0
        for one in [endpoint_id] if endpoint_id else await self.readers.read(outbox.owed_to):
            last, renewed = 0, 1
            while renewed:
                renew = partial(outbox.renew_dead, endpoint_id=one, after=last, now=now)
                renewed, last = await self._write(renew)
                count += renewed
        return count

    async def _renew_since(self, since: float, endpoint_id: str, now: float, had: Collection[str]) -> int:
        """Of what was there when it began: what comes meanwhile is owed anyway."""
        count, last = 0, await self.readers.read(events.last)
        following = partial(events.following, mark=(since, 0), limit=outbox.STEP)
        while found := await self.readers.read(following):
            some = [event for event in found if event.position <= last]
            if not some:
                break
            some = [event for event in some if event.event_id not in had]
            count += await self._write(partial(outbox.renew_of, events=some, endpoint_id=endpoint_id, now=now))
            following = partial(events.following, mark=lists.mark(found[-1]), limit=outbox.STEP)
        return count

    # -- keys of the API -----------------------------------------------------------------------------------------------

    async def add_api_key(self, key: ApiKey) -> None:
        await self._write(lambda db: keys.add(db, key))

    async def api_keys(self) -> list[ApiKey]:
        return await self.readers.read(keys.listed)

    async def find_api_key(self, digest: str) -> ApiKey | None:
        return await self.readers.read(lambda db: keys.of_digest(db, digest))

    async def revoke_api_key(self, name: str) -> bool:
        return await self._write(lambda db: keys.revoke(db, name))

    async def use_api_key(self, digest: str, at: float) -> None:
        await self._write(lambda db: keys.use(db, digest, at))

    # -- drafts --------------------------------------------------------------------------------------------------------

    async def save_draft(self, draft: Draft, contents: Sequence[bytes] | None = None) -> bool:
        mended: Draft = decisions.mended(draft)
        return await self._write(lambda db: drafts.save(db, mended, contents))

    async def draft(self, grant_id: str, draft_id: str) -> Draft | None:
        return await self.readers.read(lambda db: drafts.one(db, grant_id, draft_id))

    async def drafts(self, grant_id: str, limit: int = 50, before: str = "") -> list[Draft]:
        return await self.readers.read(lambda db: drafts.listed(db, grant_id, limit, before))

    async def contents(self, owner_id: str) -> list[bytes]:
        return await self.readers.read(lambda db: octets.of(db, owner_id))

    async def remove_draft(self, grant_id: str, draft_id: str) -> bool:
        return await self._write(lambda db: drafts.remove(db, grant_id, draft_id))

    # -- messages that are sent later ----------------------------------------------------------------------------------

    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool:
        mended: Schedule = decisions.mended(schedule)
        return await self._write(lambda db: schedules.add(db, mended, contents))

    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None:
        return await self.readers.read(lambda db: schedules.one(db, grant_id, schedule_id))

    async def schedules(self, grant_id: str, limit: int = 50, before: str = "") -> list[Schedule]:
        return await self.readers.read(lambda db: schedules.listed(db, grant_id, limit, before))

    async def cancel_schedule(self, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
        return await self._write(lambda db: schedules.cancel(db, grant_id, schedule_id, now, notice))

    async def claim_schedules(self, now: float, limit: int = 10) -> list[Schedule]:
        return await self._write(lambda db: schedules.claim(db, now, limit))

    async def settle_schedule(self, schedule: Schedule) -> bool:
        return await self._write(lambda db: schedules.settle(db, decisions.mended(schedule)))

    async def next_schedule(self) -> float | None:
        return await self.readers.read(schedules.next_due)

    # -- calls that may be repeated ------------------------------------------------------------------------------------

    async def begin_request(self, request: Request, oldest: float) -> Request | None:
        mended: Request = decisions.mended(request)
        return await self._write(lambda db: requests.begin(db, mended, oldest))

    async def settle_request(self, request: Request) -> None:
        mended: Request = decisions.mended(request)
        await self._write(lambda db: requests.settle(db, mended))

    async def drop_request(self, request_key: str) -> None:
        await self._write(lambda db: requests.drop(db, request_key))

    # -- what messages said ----------------------------------------------------------------------------------------------

    async def keep_message(self, message_id: str, at: float, octets: bytes, *, oldest: float, most: int) -> None:
        await self._write(lambda db: kept.keep(db, message_id, at, octets, oldest, most))

    async def kept_message(self, message_id: str) -> bytes | None:
        return await self.readers.read(lambda db: kept.one(db, message_id))

    # -- the whole -----------------------------------------------------------------------------------------------------

    async def backup(self, path: Path) -> None:
        try:
            await asyncio.to_thread(database.backup, self.path, path)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"backup of {self.path.name}: {error}") from error

    async def check(self) -> None:
        now = self._clock()
        await self._write(lambda db: db.execute(PROBE, (now,)) and None)
