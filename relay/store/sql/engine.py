"""The store over a SQL database, put together.

Owns: which program is whose, and what is done in several transactions. Leaves to others: the programs (one module per
subject), running them (the engines: `read`, `write` and `_bulk`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

from relay.core import crowds, floods
from relay.core.model import Delivery, Endpoint, EndpointStatus, Event, History, Notice, Sent, Settlement, Verdict
from relay.core.nodes import Node, Roll
from relay.core.persons import Person
from relay.core.suppressions import Erasure, Suppression
from relay.store import (
    Aggregate,
    ApiKey,
    Backlog,
    Cursor,
    Draft,
    Engagement,
    Erased,
    Notification,
    NotificationState,
    PersonMark,
    PersonPage,
    Purged,
    PurgeMark,
    Request,
    Schedule,
    UpstreamReply,
    decisions,
)
from relay.store.contract import NONE
from relay.store.lists import WALK, Answer, Events, Key, Listed, Messages, Place, Suppressions, Thread, Threads
from relay.store.sql import (
    answers,
    appending,
    copying,
    correcting,
    counts,
    cursors,
    drafts,
    endpoints,
    events,
    kept,
    keys,
    knowledge,
    lists,
    messages,
    nodes,
    notices,
    outbox,
    persons,
    purging,
    requests,
    schedules,
    suppressions,
    tallies,
)
from relay.store.sql import contents as octets
from relay.store.sql.program import Program, Row

P = ParamSpec("P")
T = TypeVar("T")
PROBE = "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"


class Bulk(NamedTuple):
    """How values of one class are written: many at once, giving a result each; one that failed made fit for another
    try; whether somebody waits for them."""

    write: Callable[[Sequence[Any]], Program[Sequence[Any]]]
    mend: Callable[[Any], Any]
    awaited: bool = True


def probe(now: float) -> Program[None]:
    yield PROBE, (now,)


class Engine(ABC):
    """What `relay.store.contract.Store` says of messages, events and all else that programs do."""

    def __init__(self, limits: floods.Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._asking = knowledge.Asking()
        self._digest: knowledge.Digest | None = None
        self.walk = WALK  # rows of an index that a page of a list looks at
        self.step = counts.Step()
        self._crowd = crowds.Crowd()

    @abstractmethod
    async def read(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...

    @abstractmethod
    async def write(self, program: Callable[P, Program[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """All of it in one transaction, durable when it returns, or nothing. A program that is begun again has
        done nothing."""

    @abstractmethod
    def _bulk(self, value: Any, many: int = 1) -> Awaitable[Any]:
        """The same for a value of a class of `bulk`, which has so many in it, and its result."""

    def bulk(self) -> dict[type, Bulk]:
        """In the order in which they are written in one transaction."""
        return {
            messages.Record: Bulk(messages.record, messages.Record.mended),
            messages.Replies: Bulk(messages.record_replies, messages.mended, awaited=False),
            appending.Hit: Bulk(self._hits, appending.mended),
            appending.Hits: Bulk(self._all_hits, appending.mended_all),
            outbox.Settle: Bulk(outbox.settle, outbox.mended),
        }

    def _hits(self, batch: Sequence[appending.Hit]) -> Program[list[Event | floods.Folded | None]]:
        return appending.append(batch, self._appending())

    def _all_hits(self, batch: Sequence[appending.Hits]) -> Program[list[list[Event | floods.Folded | None]]]:
        return appending.append_all(batch, self._appending())

    def _appending(self) -> appending.How:
        return appending.How(self._asking, self._clock(), self._limits, self._crowd, self._digest)

    def adding(self, table: copying.Copied, rows: Sequence[Row]) -> Program[None]:
        """Rows of another store, as they stand there."""
        return copying.add(table, rows)

    async def check(self) -> None:
        await self.write(probe, self._clock())

    # -- messages ------------------------------------------------------------------------------------------------------

    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        listed: Sequence[Suppression] = await self._bulk(messages.Record(sent, unless))
        return listed

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        await self._bulk(messages.Replies(tuple(replies)))

    async def sent(self, message_id: str) -> Sent | None:
        return await self.read(messages.one, message_id)

    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None:
        return await self.read(messages.find, internet_ids, grant_id, recipients)

    async def find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
        return await self.read(answers.find, internet_ids, grant_id)

    async def thread_root(self, thread_id: str, grant_id: str) -> Sent | None:
        return await self.read(messages.root, thread_id, grant_id)

    async def find_queued(self, queue_id: str) -> Sent | None:
        return await self.read(messages.queued, decisions.mended(queue_id))

    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]:
        return await self.read(messages.recent, limit, before, grant_id)

    async def remove_message(self, message_id: str) -> bool:
        return await self.write(messages.remove, message_id)

    # -- events --------------------------------------------------------------------------------------------------------

    def append(
        self, event: Event, cursor: Cursor | None = None, answer: Answer | None = None
    ) -> Awaitable[Event | floods.Folded | None]:
        return self._bulk(appending.Hit(event, cursor, answer))

    def append_all(self, events: Sequence[Event]) -> Awaitable[list[Event | floods.Folded | None]]:
        return self._bulk(appending.Hits(events), len(events))

    def heed_refusals(self, digest: knowledge.Digest) -> None:
        self._digest = digest

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        await self.write(tallies.fold, folds, by, number)

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
    ) -> list[Event]:
        return await self.read(events.listed, after, limit, newest, message_id, types)

    async def history(self, event_id: str) -> History | None:
        return await self.read(events.history, event_id)

    # -- counters ------------------------------------------------------------------------------------------------------

    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None:
        return await self.write(self.correction, event_id, verdict, reason, self._clock())

    def correction(self, event_id: str, verdict: Verdict, reason: str, now: float) -> Program[Event | None]:
        return correcting.correct(event_id, verdict, reason, now, self._asking)

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
        return await self.read(counts.listed, by, since, until, step, offset, grant_id, after, limit)

    async def top_links(
        self, since: int, until: int, *, grant_id: str = "", limit: int = 20
    ) -> tuple[list[tuple[str, int, int]], int]:
        return await self.read(counts.top_links, since, until, grant_id, limit)

    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]:
        return await self.read(counts.engagements, message_ids)

    async def begin_recount(self) -> None:
        await self.write(counts.begin)

    async def recount(self) -> int | None:
        return await self.write(messages.recount, self.step)

    async def counting(self) -> bool:
        return await self.read(counts.counting)

    # -- lists ---------------------------------------------------------------------------------------------------------

    async def list_messages(self, asked: Messages, limit: int) -> Listed[Sent]:
        return await self.read(lists.listed, asked, limit, self.walk)

    async def list_threads(self, asked: Threads, limit: int) -> Listed[Thread]:
        return await self.read(lists.threads, asked, limit, self.walk)

    async def list_events(self, asked: Events, limit: int) -> Listed[Event]:
        return await self.read(lists.events, asked, limit, self.walk)

    async def place_of_messages(self, grant_id: str, before: Key | None, offset: int, most: int) -> Place:
        return await self.read(lists.place_of_messages, grant_id, before, offset, most)

    async def place_of_events(self, asked: Events, offset: int, most: int) -> Place:
        return await self.read(lists.place_of_events, asked, offset, most)

    async def thread(self, thread_id: str, grant_id: str) -> Thread | None:
        return await self.read(lists.thread, thread_id, grant_id)

    async def answer(self, answer_id: str, grant_id: str = "") -> Answer | None:
        return await self.read(answers.one, answer_id, grant_id)

    # -- cursors of mailboxes ------------------------------------------------------------------------------------------

    async def cursor(self, mailbox: str) -> Cursor | None:
        return await self.read(cursors.one, mailbox)

    async def save_cursor(self, cursor: Cursor) -> None:
        await self.write(cursors.save, [cursor])

    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]:
        return await self.write(nodes.take, mailboxes, holder, seconds, self._clock())

    async def release_leases(self, holder: str) -> None:
        await self.write(nodes.release, holder)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    async def beat(self, node: Node) -> Roll:
        return await self.write(nodes.beat, node, self._clock())

    async def leave(self, node: Node) -> None:
        await self.write(nodes.leave, node, self._clock())

    async def remove_node(self, name: str) -> tuple[Node, ...]:
        return await self.write(nodes.remove, name, self._clock())

    async def nodes(self) -> Roll:
        return await self.read(nodes.listed, self._clock())

    # -- endpoints -----------------------------------------------------------------------------------------------------

    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None:
        await self.write(endpoints.sync, configured)

    async def endpoints(self) -> list[Endpoint]:
        return await self.read(endpoints.listed)

    async def add_endpoint(self, endpoint: Endpoint) -> None:
        await self.write(endpoints.add, endpoint)

    async def update_endpoint(self, endpoint: Endpoint) -> bool:
        return await self.write(endpoints.update, endpoint)

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        removed = await self.write(endpoints.remove, endpoint_id)
        while removed and (await self.write(outbox.forgive, endpoint_id)) > 0:
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
        return await self.write(endpoints.set_status, endpoint_id, status, at, was, error, since)

    async def notices(self) -> list[Notice]:
        return await self.read(notices.listed)

    async def hand_notice(self, notice_id: str, entry: str) -> bool:
        return await self.write(notices.hand, notice_id, entry)

    async def remove_notice(self, notice_id: str) -> None:
        await self.write(notices.remove, notice_id)

    # -- the outbox ----------------------------------------------------------------------------------------------------

    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        return await self.write(outbox.claim, now, busy, each, limit)

    async def settle(self, delivery_id: int, settlement: Settlement, claim: int = 0) -> None:
        await self._bulk(outbox.Settle(delivery_id, settlement, claim))

    async def hasten(self, after: float, seconds: float) -> None:
        """In steps: very many may wait, and others write in between."""
        for endpoint_id in await self.read(outbox.owed_to):
            last = 0
            while some := await self.read(outbox.waiting, endpoint_id, last):
                last = some[-1][0]
                if late := [number for number, at in some if at > after]:
                    await self.write(outbox.hasten, late, after, seconds)

    async def next_due(self) -> float | None:
        return await self.read(outbox.next_due)

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
        return await self.read(outbox.newest, which, limit)

    async def notification(self, delivery_id: int) -> Notification | None:
        return await self.read(outbox.one, delivery_id)

    async def backlog(self) -> list[Backlog]:
        return await self.read(outbox.backlog)

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
        count += await self.write(outbox.renew_these, delivery_ids, endpoint_id, now)
        some = await self.read(events.chosen, event_ids)
        count += await self.write(outbox.renew_of, some, endpoint_id, now)
        if since is not None:
            count += await self._renew_since(since, endpoint_id, now, set(event_ids))
        return count

    async def _renew_dead(self, endpoint_id: str, now: float) -> int:
        count = 0
        for one in [endpoint_id] if endpoint_id else await self.read(outbox.owed_to):
            last, renewed = 0, 1
            while renewed:
                renewed, last = await self.write(outbox.renew_dead, one, last, now)
                count += renewed
        return count

    async def _renew_since(self, since: float, endpoint_id: str, now: float, had: Collection[str]) -> int:
        """Of what was there when it began: what comes meanwhile is owed anyway."""
        count, last, behind = 0, await self.read(events.last), (since, 0)
        while found := await self.read(events.following, behind, outbox.STEP):
            some = [event for event in found if event.position <= last]
            if not some:
                break
            some = [event for event in some if event.event_id not in had]
            count += await self.write(outbox.renew_of, some, endpoint_id, now)
            behind = lists.mark(found[-1])
        return count

    # -- keys of the API -----------------------------------------------------------------------------------------------

    async def add_api_key(self, key: ApiKey) -> None:
        await self.write(keys.add, key)

    async def api_keys(self) -> list[ApiKey]:
        return await self.read(keys.listed)

    async def find_api_key(self, digest: str) -> ApiKey | None:
        return await self.read(keys.of_digest, digest)

    async def revoke_api_key(self, name: str) -> bool:
        return await self.write(keys.revoke, name)

    async def use_api_key(self, digest: str, at: float) -> None:
        await self.write(keys.use, digest, at)

    # -- drafts --------------------------------------------------------------------------------------------------------

    async def save_draft(self, draft: Draft, contents: Sequence[bytes] | None = None) -> bool:
        mended: Draft = decisions.mended(draft)
        return await self.write(drafts.save, mended, contents)

    async def draft(self, grant_id: str, draft_id: str) -> Draft | None:
        return await self.read(drafts.one, grant_id, draft_id)

    async def drafts(self, grant_id: str, limit: int = 50, before: str = "") -> list[Draft]:
        return await self.read(drafts.listed, grant_id, limit, before)

    async def contents(self, owner_id: str) -> list[bytes]:
        return await self.read(octets.of, owner_id)

    async def remove_draft(self, grant_id: str, draft_id: str) -> bool:
        return await self.write(drafts.remove, grant_id, draft_id)

    # -- messages that are sent later ----------------------------------------------------------------------------------

    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool:
        mended: Schedule = decisions.mended(schedule)
        return await self.write(schedules.add, mended, contents)

    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None:
        return await self.read(schedules.one, grant_id, schedule_id)

    async def schedules(self, grant_id: str, limit: int = 50, before: str = "") -> list[Schedule]:
        return await self.read(schedules.listed, grant_id, limit, before)

    async def cancel_schedule(self, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
        return await self.write(schedules.cancel, grant_id, schedule_id, now, notice)

    async def claim_schedules(self, now: float, limit: int = 10, holder: str = "") -> list[Schedule]:
        return await self.write(schedules.claim, now, limit, holder)

    async def settle_schedule(self, schedule: Schedule) -> bool:
        return await self.write(schedules.settle, decisions.mended(schedule))

    async def next_schedule(self) -> float | None:
        return await self.read(schedules.next_due)

    # -- calls that may be repeated ------------------------------------------------------------------------------------

    async def begin_request(self, request: Request, oldest: float) -> Request | None:
        mended: Request = decisions.mended(request)
        return await self.write(requests.begin, mended, oldest)

    async def settle_request(self, request: Request) -> None:
        mended: Request = decisions.mended(request)
        await self.write(requests.settle, mended)

    async def drop_request(self, request_key: str) -> None:
        await self.write(requests.drop, request_key)

    # -- what messages said ----------------------------------------------------------------------------------------------

    async def keep_message(self, message_id: str, at: float, octets: bytes, *, oldest: float, most: int) -> None:
        await self.write(kept.keep, message_id, at, octets, oldest, most)

    async def kept_message(self, message_id: str) -> bytes | None:
        return await self.read(kept.one, message_id)

    # -- recipients who are not tracked, or not written to -------------------------------------------------------------

    async def suppress(self, those: Sequence[Suppression]) -> int:
        return await self.write(suppressions.add, [decisions.mended(one) for one in those])

    async def suppressed(self, digests: Collection[str]) -> list[Suppression]:
        return await self.read(suppressions.of, digests)

    async def list_suppressions(self, asked: Suppressions, limit: int) -> list[Suppression]:
        return await self.read(suppressions.listed, asked, limit)

    async def unsuppress(self, those: Sequence[tuple[str, str, str]]) -> int:
        return await self.write(suppressions.remove, those)

    async def forget_suppressed(self, digests: Collection[str]) -> int:
        return await self.write(suppressions.forget, digests)

    async def ask_erasure(self, erasure: Erasure) -> bool:
        mended: Erasure = decisions.mended(erasure)
        return await self.write(suppressions.ask, mended)

    async def erasures(self, limit: int = 100, after: tuple[float, str] = (0.0, "")) -> list[Erasure]:
        return await self.read(suppressions.asked, limit, after)

    async def settle_erasure(self, digest: str) -> bool:
        return await self.write(suppressions.settle, digest)

    # -- what is too old -----------------------------------------------------------------------------------------------

    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
        return await self.write(purging.step, mark, before, most)

    async def cut_addresses(self, mark: PurgeMark, since: float, before: float, most: int) -> Purged:
        return await self.write(purging.cut, mark, since, before, most)

    async def oldest(self) -> float | None:
        return await self.read(purging.oldest)

    # -- one person ----------------------------------------------------------------------------------------------------

    async def messages_to(self, address: str, mark: tuple[float, str], limit: int) -> list[str]:
        return await self.read(persons.messages_to, decisions.mended(address), mark, limit)

    async def person_page(self, who: Person, mark: PersonMark) -> PersonPage:
        return await self.read(persons.page, who, mark)

    async def erase_person(self, who: Person, table: str, key: Sequence[Any]) -> Erased:
        return await self.write(persons.erase, who, table, key)

    async def erased_marks(self, message_ids: Sequence[str]) -> dict[str, list[int]]:
        return await self.read(persons.marks, message_ids)

    @abstractmethod
    async def overwrite(self, who: Person) -> str: ...
