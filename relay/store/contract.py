"""What every engine of the store does. One suite (tests/store) holds each of them to it.

Owns: the promises. Whoever wires (`app`, the commands, `store.open`) names a `Store`; other rooms declare a Protocol with
the methods that they call.

An engine never blocks the event loop. A method that raises `Unavailable` has done nothing, unless it says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from relay.core import floods
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
)
from relay.store.lists import Answer, Events, Key, Listed, Messages, Place, Suppressions, Thread, Threads

NONE: Mapping[str, int] = MappingProxyType({})


class Store(Protocol):
    async def start(self) -> None:
        """Opens it, and brings an older one up to date. Raises `Newer`, or `Unavailable`: the store can be used all
        the same, each call tries again."""

    def now(self) -> float:
        """Seconds since 1970 by the clock that all go by who share the store: what is due is due by it."""

    def watch(self, changed: Callable[[], None]) -> None:
        """`changed` is called, on the event loop, once another process may have appended something. A hint, for who looks
        now and then anyway: an engine that hears nothing of others never calls it."""

    async def stop(self) -> None:
        """Commits what has queued and closes."""

    # -- messages
    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        """Durable when it returns, unless somebody of the digests `unless` is on the list of suppressed recipients: then
        nothing was recorded, and these entries are returned. Finds `thread_id` through `sent.references`, be it a message or a kept answer of the
        same grant that they name, or makes a new one. Of a message that is recorded again the states of its copies stay."""

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        """What the upstream said, oldest first, all in one transaction. Replies on messages that are not there are left
        out."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None:
        """The message recorded under the first of these Message-IDs that is known: ours or the upstream's. With
        `grant_id` messages of other grants are not there. Of several it is the newest; if one of these `recipients` (in
        lower case) was sent one of the last 100, the newest of those."""

    async def find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
        """What is kept of the answer with the first of these Message-IDs that is known, in that grant."""

    async def thread_root(self, thread_id: str, grant_id: str) -> Sent | None:
        """The first message of the grant's thread of whose copies one has `thread_replies`."""

    async def find_queued(self, queue_id: str) -> Sent | None:
        """The message that a mail server has, or had, under this name in its queue. Such names are used again: of
        several messages the newest."""

    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]:
        """Newest first; `before` is a `submitted_at`."""

    async def remove_message(self, message_id: str) -> bool:
        """All that is known of it goes in one transaction: the message, its copies and identifiers, its events, and the
        notifications of them. False where there was nothing. An event that comes later is one of an unknown
        message."""

    # -- events
    def append(
        self, event: Event, cursor: Cursor | None = None, answer: Answer | None = None
    ) -> Awaitable[Event | floods.Folded | None]:
        """In one transaction: the event as `core.tally` completes it, its notifications, the mailbox cursor, what is kept
        of the answer that it is about (of MAX_ANSWERS to a message at most). Durable when it returns. None where an event of that `event_id` is there already (the cursor is moved all the same);
        `Folded` where it was a hit too many: nothing is written, and whoever is told so counts it (`fold`). What it shows of earlier hits (`core.neighbours`)
        is corrected in the same transaction: see `correct`."""

    def append_all(self, events: Sequence[Event]) -> Awaitable[Sequence[Event | floods.Folded | None]]:
        """As `append` of each, in order, all in one transaction: nothing was done where it raises."""

    def heed_refusals(self, digest: Callable[[str], str]) -> None:
        """From now on `append` keeps no hit of somebody who was on the list for a refusal when it was made, on a copy of
        their own: it gives None. `digest` makes of an address what it is known by there (see `core.suppressions`). It may be
        called in any thread."""

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        """These were only counted, and are to be said by the next event of their token that is kept. Of messages that have no
        event they are left out. `by` names who counted, and `number`, from 1 up, says which of its hands-over this is: the
        same one again, after an outcome that nobody knows, changes nothing."""

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
    ) -> list[Event]:
        """Those with `position` > `after`, ascending; with `newest` the last `limit` of them, still ascending. Of one
        message also those of some `types` alone.

        `position` is a cursor, also while several processes append: once an event was seen, none with a lower position
        appears any more. Whoever asks again with the highest position that it has seen misses nothing. A position is
        never used twice, and may be left out."""

    async def history(self, event_id: str) -> History | None:
        """As it was when the event was appended, whatever came since: a notification that is made again says the
        same. Only verdicts are those of now."""

    # -- counters
    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None:
        """The event with another verdict: its `counted` stays, and the counters are as if it had had this verdict from
        the first. An event `message.verdict_changed` says so to who follows, what is owed of it to endpoints that want
        some verdicts only is owed or, where it still waits, owed no more. Where it has this
        verdict already nothing changes, the reason neither. None where there is no such event."""

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
        """The counters of the hours (UTC) from that of `since` to before `until`, in periods of `step` (of
        `decisions.PERIODS`), `by` one of `decisions.DIMENSIONS`; by period, then key. Days begin `offset` seconds, whole
        hours, before those of UTC. `after` is (`at`, `key`) of the last one had. Periods without anything are left out."""

    async def top_links(
        self, since: int, until: int, *, grant_id: str = "", limit: int = 20
    ) -> tuple[list[tuple[str, int, int]], int]:
        """The pages (see `core.pages`) that links with the most clicks lead to, in the days (UTC) from that of `since` to that
        before `until`: of each the number, and how many of them are machines'. And the number of all."""

    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]:
        """Of these messages, those of which an open or a click is known."""

    async def begin_recount(self) -> None:
        """From now on each `recount` first empties the counters, but for hours (of links: days) before the oldest message,
        then counts anew."""

    async def recount(self) -> int | None:
        """Goes on with counting what was there before, in one small transaction: so many messages further, 0 while it
        empties; None where all is counted. Meanwhile the counters grow towards what they will be; messages and events come
        as ever, and nothing is counted twice."""

    async def counting(self) -> bool:
        """Whether something is still to be counted."""

    # -- lists: see `relay.store.lists`
    async def list_messages(self, asked: Messages, limit: int) -> Listed[Sent]: ...
    async def list_threads(self, asked: Threads, limit: int) -> Listed[Thread]:
        """By last activity. A thread is a grant's where it has a message of it, and only those are in it."""

    async def list_events(self, asked: Events, limit: int) -> Listed[Event]:
        """By `at`, which is no cursor for what comes: whoever follows asks `events`."""

    async def place_of_messages(self, grant_id: str, before: Key | None, offset: int, most: int) -> Place:
        """Of all the messages of a grant ("" for all) behind that key: where a page begins that has `offset` of them before it."""

    async def place_of_events(self, asked: Events, offset: int, most: int) -> Place:
        """The same. Of `asked` only `grant_id`, `types`, `message_id`, `since` and `before` count."""

    async def thread(self, thread_id: str, grant_id: str) -> Thread | None: ...
    async def answer(self, answer_id: str, grant_id: str = "") -> Answer | None: ...

    # -- cursors of mailboxes
    async def cursor(self, mailbox: str) -> Cursor | None: ...
    async def save_cursor(self, cursor: Cursor) -> None: ...

    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]:
        """Those of the mailboxes that are `holder`'s from now on, for `seconds` of the store's clock: all but those whose
        lease another has. While it has, no cursor is moved but by it, neither by `append` nor by `save_cursor`:
        of others' the event is written, and the cursor left. A lease that ran out holds until another takes it."""

    async def release_leases(self, holder: str) -> None:
        """All that are `holder`'s."""

    # -- nodes: see `relay.core.nodes`. What they say is of no use in another store, and is not copied there
    async def beat(self, node: Node) -> Roll:
        """The node is there, by the store's clock, and says this. All nodes, with this; those that are gone without mail
        are forgotten after `nodes.FORGET`."""

    async def leave(self, node: Node) -> None:
        """It stops: what is still in its spool stays known. Nothing, where another `process` has its place."""

    async def nodes(self) -> Roll: ...
    async def remove_node(self, name: str) -> tuple[Node, ...]:
        """Forgets those of that name that do not run, and gives them as they were."""

    # -- endpoints
    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None:
        """Those of the configuration: others with source "config" become status "gone". One that was shut (a 410) stays
        shut until its settings change: each start would wake it otherwise. Those of the API are left alone."""

    async def endpoints(self) -> list[Endpoint]: ...
    async def add_endpoint(self, endpoint: Endpoint) -> None:
        """One of the API. ValueError where that `endpoint_id` is there."""

    async def update_endpoint(self, endpoint: Endpoint) -> bool:
        """The endpoint as it is from now on. False where the API has none of that `endpoint_id`."""

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        """With what it is still owed, and its dead notifications; of very many those go after it, in steps. False where
        the API has none of that id."""

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
        """Since `at`. With `was` only if its status is one of these: of several processes that see it fail, one has said
        so. False where nothing changed. Where somebody wants to hear by mail that it fails (`decisions.notice`), a notice
        is due with it, in the same transaction: after this `error`, its attempts having failed `since`."""

    async def notices(self) -> list[Notice]:
        """What is still to be told, oldest first."""

    async def hand_notice(self, notice_id: str, entry: str) -> bool:
        """It has this `entry`. False where it has one, or is gone: somebody else did it."""

    async def remove_notice(self, notice_id: str) -> None: ...

    # -- the outbox
    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        """Due deliveries, at most `limit` and fairly over the endpoints; of one endpoint at most `each`, less what
        `busy` says that it has under way: first attempts and others in turn, and of the first attempts those of many
        copies before many of one. Each attempt is counted and leased for `decisions.LEASE` in the same
        transaction: a process that dies gives it back by the clock."""

    async def settle(self, delivery_id: int, settlement: Settlement, claim: int = 0) -> None:
        """How the attempt of this number ended. Where its lease had run out and somebody else went on, that holds: only that
        it was delivered counts all the same, and is final. 0 is any attempt."""

    async def next_due(self) -> float | None:
        """When the next delivery is due or a lease ends; None where nothing waits."""

    async def hasten(self, after: float, seconds: float) -> None:
        """What is due later than `after` is due `seconds` earlier, but not before `after`: the clock was set back."""

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
        """The newest of the outbox, newest first: of one endpoint, of several, of an event or a message. `before` is a
        `delivery_id`. Each is found by an index."""

    async def notification(self, delivery_id: int) -> Notification | None: ...

    async def backlog(self) -> list[Backlog]: ...
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
        """Makes due again, with the whole schedule before them: of these events, these very ones, of all events since a
        time, or all dead ones; at one endpoint or all. An active endpoint that never was owed one of these events, but asks for
        such, gets it now. The number of notifications. Very many are made due in steps, so that others write in between:
        after an `Unavailable` some may be due already, and to ask again does no harm."""

    # -- keys of the API
    async def add_api_key(self, key: ApiKey) -> None:
        """ValueError where one of that name is there."""

    async def api_keys(self) -> list[ApiKey]:
        """Oldest first."""

    async def find_api_key(self, digest: str) -> ApiKey | None: ...
    async def revoke_api_key(self, name: str) -> bool: ...
    async def use_api_key(self, digest: str, at: float) -> None:
        """`last_used_at` is `at`, where it was earlier. A key that is not there stays so."""

    # -- drafts
    async def save_draft(self, draft: Draft, contents: Sequence[bytes] | None = None) -> bool:
        """The draft as it is from now on, with the octets of its attachments; None leaves those that are there. False
        where it is another grant's: nothing was done."""

    async def draft(self, grant_id: str, draft_id: str) -> Draft | None: ...
    async def drafts(self, grant_id: str, limit: int = 50, before: str = "") -> list[Draft]:
        """Newest first; `before` is a `draft_id`."""

    async def contents(self, owner_id: str) -> list[bytes]:
        """What is kept with a draft or a schedule, in order; nothing where it is gone."""

    async def remove_draft(self, grant_id: str, draft_id: str) -> bool:
        """With its contents. False where the grant has none of that id."""

    # -- messages that are sent later
    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool:
        """Durable when it returns; due at `send_at`. False where one of that id is there: nothing was done."""

    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None: ...
    async def schedules(self, grant_id: str, limit: int = 50, before: str = "") -> list[Schedule]:
        """Newest first; `before` is a `schedule_id`."""

    async def cancel_schedule(self, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
        """False where there is none, where it is not "scheduled", where it was claimed, and where it is due within
        `notice` seconds. Its contents are gone then."""

    async def claim_schedules(self, now: float, limit: int = 10, holder: str = "") -> list[Schedule]:
        """What is due: for each the claim is counted and leased for `decisions.LEASE` in the same transaction. A process
        that dies gives it back by the clock; one that was set back makes it wait no longer than a lease. Of what was handed
        over only what `holder` has, or nobody in particular."""

    async def settle_schedule(self, schedule: Schedule) -> bool:
        """`state`, `next_at`, `closed_at`, `error`, `handed`, `holder` as they are from now on. False, and nothing was done, where the claim
        is not the last one (`attempt`): somebody else has it. The contents go with the state "scheduled"."""

    async def next_schedule(self) -> float | None:
        """When there is something to claim; None where nothing waits."""

    # -- calls that may be repeated
    async def begin_request(self, request: Request, oldest: float) -> Request | None:
        """None where there was none of that key: it is there now, durable. Else the one that is there, and nothing was
        done. Those from before `oldest` are none, and go."""

    async def settle_request(self, request: Request) -> None:
        """`state` and `answer` as they are from now on, where it is there."""

    async def drop_request(self, request_key: str) -> None:
        """It was never made."""

    # -- what messages said
    async def keep_message(self, message_id: str, at: float, octets: bytes, *, oldest: float, most: int) -> None:
        """The octets of a message. Those kept before `oldest` go; and the first ones, where there are more than `most`
        octets in all."""

    async def kept_message(self, message_id: str) -> bytes | None: ...

    # -- recipients who are not tracked, or not written to: see `relay.core.suppressions`
    async def suppress(self, those: Sequence[Suppression]) -> int:
        """All of them or none, durable when it returns; the number of those that are new. One of the same `digest`,
        `grant_id` and `reason` that is there stays as it is."""

    async def suppressed(self, digests: Collection[str]) -> list[Suppression]:
        """All entries of these mailboxes, in any order; with what any process wrote before."""

    async def list_suppressions(self, asked: Suppressions, limit: int) -> list[Suppression]:
        """Newest first."""

    async def unsuppress(self, those: Sequence[tuple[str, str, str]]) -> int:
        """Those of this (`digest`, `grant_id`, `reason`) go, all at once. The number of those that were there."""

    async def forget_suppressed(self, digests: Collection[str]) -> int:
        """Address and note of these mailboxes' entries go, and the entries stay: they go on being found by their digest.
        How many there are."""

    async def ask_erasure(self, erasure: Erasure) -> bool:
        """Durable when it returns. False where one of that `digest` is there: it stays as it is."""

    async def erasures(self, limit: int = 100, after: tuple[float, str] = (0.0, "")) -> list[Erasure]:
        """What was asked for and not settled, oldest first; behind the `at` and `digest` of one."""

    async def settle_erasure(self, digest: str) -> bool:
        """It was done, or is not to be. False where there is none."""

    # -- what is too old
    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
        """A step in one small transaction: of what is older than `before` some `most` rows go, from `mark` on. An event goes by
        its own age, with its notifications; a message by its own, with all that hangs on it but younger events; drafts
        that were not touched since, messages sent later that were closed before. Counters stay, and while `counting`
        nothing goes. To begin anew at any time does no harm."""

    async def cut_addresses(self, mark: PurgeMark, since: float, before: float, most: int) -> Purged:
        """The same for `ip` and `user_agent` of hits, and `submitter_ip` of messages, from `since` on: they become ""."""

    async def oldest(self) -> float | None:
        """When the oldest message was submitted; None where there is none."""

    # -- one person
    async def messages_to(self, address: str, mark: tuple[float, str], limit: int) -> list[str]:
        """The messages of which a copy went to just this address, in any case: behind (`submitted_at`, `message_id`)."""

    async def person_page(self, who: Person, mark: PersonMark) -> PersonPage:
        """A walk through all that is kept, a page at a time: what names the person in any column."""

    async def erase_person(self, who: Person, table: str, key: Sequence[Any]) -> Erased:
        """What becomes of a row that such a page had, in one transaction. What is the person's own goes: a message that
        went to nobody else, with all that hangs on it; hits of their copies, what they answered. Of the rest the address
        goes. Counters stay; later hits of their copies are not kept. To ask again does no harm."""

    async def erased_marks(self, message_ids: Sequence[str]) -> dict[str, list[int]]:
        """Of each of these messages that has some the recipient indexes of those who were erased."""

    async def overwrite(self, who: Person) -> str:
        """What was erased goes from the files of the store too, as far as the engine can: what it can't, in a sentence."""

    # -- the whole
    async def backup(self, path: Path) -> bool:
        """A consistent copy, made while others write. False where that is for the database's own tools: nothing was done."""

    async def check(self) -> None:
        """Raises `Unavailable` where a write would fail now."""
