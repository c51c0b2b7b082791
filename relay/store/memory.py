"""The store in memory: for tests, and for a demonstration that leaves nothing behind.

Owns: keeping everything in dictionaries. Leaves to others: what every engine decides (`decisions`), being there tomorrow.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from relay.core import counts, floods, tally
from relay.core.model import Delivery, Endpoint, EndpointStatus, Event, History, Sent, Settlement, Verdict
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
    lists,
)
from relay.store.contract import NONE
from relay.store.lists import Answer, Events, Listed, Messages, Thread, Threads

T = TypeVar("T")


@dataclass(slots=True)
class Message:
    """A message's own, also of one that was never recorded."""

    sent: Sent | None = None
    facts: tally.Facts = field(default_factory=tally.Facts)
    events: list[Event] = field(default_factory=list)


def page(found: Sequence[T], limit: int, key: Callable[[T], tuple[float, object]]) -> Listed[T]:
    some = found[:limit]
    return Listed(some, key(some[-1]) if some and len(found) > limit else None)


class Memory:
    """See `relay.store.contract.Store`."""

    def __init__(self, *, limits: floods.Limits = floods.LIMITS, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self._messages: dict[str, Message] = defaultdict(Message)
        self._identifiers: dict[str, set[str]] = defaultdict(set)
        self._events: list[Event] = []  # by position
        self._by_id: dict[str, tuple[Event, Mapping[int, int]]] = {}  # with the clicks per link
        self._position = 0
        self._counts: counts.Totals = {}
        self._seen: dict[str, dict[int, counts.Seen]] = defaultdict(dict)
        self._upto: str | None = None  # see sqlite.counts
        self._cursors: dict[str, Cursor] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._notifications: dict[int, Notification] = {}
        self._turns: dict[int, float] = {}  # per notification
        self._delivery_id = 0
        self._keys: dict[str, ApiKey] = {}
        self._drafts: dict[str, Draft] = {}
        self._schedules: dict[str, Schedule] = {}
        self._requests: dict[str, Request] = {}
        self._contents: dict[str, list[bytes]] = {}
        self._answers: dict[tuple[str, str], Answer] = {}

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    # -- messages ------------------------------------------------------------------------------------------------------

    async def record_sent(self, sent: Sent) -> None:
        earlier = self._find(sent.references)
        thread_id = sent.thread_id or (earlier.thread_id if earlier else sent.message_id)
        self._count(sent.message_id, -1)
        self._messages[sent.message_id].sent = sent.with_(thread_id=thread_id)
        self._count(sent.message_id)
        for identifier in decisions.names(sent):
            self._identifiers[identifier].add(sent.message_id)

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        for reply in decisions.last_replies(replies):
            if (sent := self._sent(reply.message_id)) is None:
                continue
            copies = [
                c.with_(state=reply.state, reply=reply.reply, upstream_id=reply.upstream_id or c.upstream_id)
                if c.recipient == reply.recipient
                else c
                for c in sent.copies
            ]
            self._count(reply.message_id, -1)
            self._messages[reply.message_id].sent = sent.with_(copies=tuple(copies))
            self._count(reply.message_id)
        for named in replies:
            if named.upstream_id and self._sent(named.message_id):
                self._identifiers[named.upstream_id].add(named.message_id)

    async def sent(self, message_id: str) -> Sent | None:
        return self._sent(message_id)

    def _sent(self, message_id: str) -> Sent | None:
        return self._messages[message_id].sent if message_id in self._messages else None

    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None:
        return self._find(internet_ids, grant_id, recipients)

    def _find(self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()) -> Sent | None:
        for identifier in internet_ids:
            names = [name for name in decisions.spellings(identifier) if name in self._identifiers]
            named = [self._sent(key) for key in set().union(*(self._identifiers[name] for name in names))]
            if found := [sent for sent in named if sent and grant_id in ("", sent.grant_id)]:
                found = sorted(found, key=lambda sent: sent.message_id, reverse=True)[: decisions.MAX_NAMESAKES]
                meant = (s for s in found if any(c.recipient.lower() in recipients for c in s.copies))
                return next(meant, found[0])
        return None

    async def find_queued(self, queue_id: str) -> Sent | None:
        known = [m.sent for m in self._messages.values() if m.sent and queue_id and m.sent.queue_id == queue_id]
        return max(known, key=lambda sent: sent.message_id, default=None)

    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]:
        known = [m.sent for m in self._messages.values() if m.sent and grant_id in ("", m.sent.grant_id)]
        found = [sent for sent in known if before is None or sent.submitted_at < before]
        return sorted(found, key=lambda s: (s.submitted_at, s.message_id), reverse=True)[:limit]

    async def remove_message(self, message_id: str) -> bool:
        self._count(message_id, -1)
        message = self._messages.pop(message_id, None)
        for identifier, named in list(self._identifiers.items()):
            named.discard(message_id)
            if not named:
                del self._identifiers[identifier]
        self._events = [e for e in self._events if e.message_id != message_id]
        self._by_id = {key: found for key, found in self._by_id.items() if found[0].message_id != message_id}
        self._notifications = {key: n for key, n in self._notifications.items() if n.message_id != message_id}
        self._answers = {key: a for key, a in self._answers.items() if a.message_id != message_id}
        return message is not None

    # -- events --------------------------------------------------------------------------------------------------------

    async def append(
        self, event: Event, cursor: Cursor | None = None, answer: Answer | None = None
    ) -> Event | floods.Folded | None:
        if cursor is not None:
            self._cursors[cursor.mailbox] = cursor
        known = event.event_id in self._by_id, origin(self._sent(event.message_id), event)
        facts = {event.message_id: self._messages[event.message_id].facts}
        now = self._clock()
        done = decisions.append([event], [known], facts, self._position, self._live(), now, self._limits)
        for made, link_counts in zip(done.events, done.link_counts, strict=True):
            self._position = made.position
            self._events.append(made)
            self._by_id[made.event_id] = made, link_counts
            message = self._messages[made.message_id]
            message.events.append(made)
            if message.sent and self._counted(made.message_id):
                own = self._seen[made.message_id].setdefault(made.recipient_index, counts.unseen())
                counts.happened(self._counts, counts.about(message.sent), own, made)
        for owed in done.owed:
            self._owe(owed, now)
        if answer and done.events:
            self._keep(answer)
        return done.results[0]

    async def fold(self, folds: Sequence[floods.Fold]) -> None:
        for fold in folds:
            if fold.message_id in self._messages and self._messages[fold.message_id].events:
                tally.fold(self._messages[fold.message_id].facts, fold.token, fold.hits)

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
        found = [
            e
            for e in self._events[bisect_right(self._events, after, key=lambda e: e.position) :]
            if message_id in ("", e.message_id) and (not types or e.type in types) and grant_id in ("", e.grant_id)
        ]
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def history(self, event_id: str) -> History | None:
        if event_id not in self._by_id:
            return None
        event, counts = self._by_id[event_id]
        message = self._messages[event.message_id]
        counted = [e for e in message.events if e.counted and e.type == event.type and e.position <= event.position]
        recents, first_at = tuple(counted[-decisions.RECENTS :]), counted[0].at if counted else 0.0
        return History(event, message.sent, recents, decisions.link_counts(message.sent, event, counts), first_at)

    # -- counters ------------------------------------------------------------------------------------------------------

    def _counted(self, message_id: str) -> bool:
        return self._upto is None or message_id <= self._upto

    def _count(self, message_id: str, sign: int = 1) -> None:
        """Adds all that a message has in the counters, or takes it away."""
        sent = self._sent(message_id)
        if sent is None or not self._counted(message_id):
            return
        totals, seen = counts.message(sent, self._messages[message_id].events)
        counts.add(self._counts, totals, sign)
        if sign > 0:
            self._seen[message_id] = seen
        else:
            self._seen.pop(message_id, None)

    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None:
        if event_id not in self._by_id:
            return None
        old, link_counts = self._by_id[event_id]
        new = old.with_(verdict=verdict, reason=reason)
        self._count(old.message_id, -1)
        self._by_id[event_id] = new, link_counts
        for listed in (self._events, self._messages[old.message_id].events):
            listed[listed.index(old)] = new
        self._count(old.message_id)
        return new

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
        seconds, (dimension, column) = decisions.PERIODS[step], decisions.DIMENSIONS[by]
        found: dict[tuple[int, str], list[int]] = {}
        for (name, hour, grant, value), row in self._counts.items():
            if name == dimension and since // 3600 <= hour < -(-until // 3600) and grant_id in ("", grant) and any(row):
                at = (hour * 3600 + offset) // seconds * seconds - offset
                key = "" if not column else grant if column == "grant" else value
                sums = found.setdefault((at, key), [0] * len(counts.COUNTERS))
                for index, number in enumerate(row):
                    sums[index] += number
        rows = sorted((key, row) for key, row in found.items() if after is None or key > after)
        return [Aggregate(*key, dict(zip(counts.COUNTERS, row, strict=True))) for key, row in rows[:limit]]

    async def top_links(
        self, since: int, until: int, *, grant_id: str = "", limit: int = 20
    ) -> tuple[list[tuple[str, int]], int]:
        people, machines = counts.AT["clicks"], counts.AT["machine_clicks"]
        links: dict[str, int] = defaultdict(int)
        clicks = 0
        for (name, hour, grant, value), row in self._counts.items():
            if since // 3600 <= hour < -(-until // 3600) and grant_id in ("", grant):
                if name == "link":
                    links[value] += row[people] + row[machines]
                elif name == "label":
                    clicks += row[people] + row[machines]
        rows = sorted(((url, number) for url, number in links.items() if number), key=lambda r: (-r[1], r[0]))
        return rows[:limit], clicks

    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]:
        found = {}
        for message_id in message_ids:
            if rows := [row for row in self._seen.get(message_id, {}).values() if any(row)]:
                found[message_id] = Engagement(
                    sum(row[0] > 0 for row in rows),
                    sum(row[2] > 0 for row in rows),
                    sum(row[0] == 0 < row[1] for row in rows),
                    sum(row[2] == 0 < row[3] for row in rows),
                    *(sum(row[at] for row in rows) for at in range(4)),
                )
        return found

    async def begin_recount(self) -> int:
        self._counts, self._upto = {}, ""
        self._seen.clear()
        return sum(message.sent is not None for message in self._messages.values())

    async def recount(self) -> int | None:
        if self._upto is None:
            return None
        left = sorted(key for key, message in self._messages.items() if message.sent and key > str(self._upto))
        self._upto = left[0] if left else None
        if left:
            self._count(left[0])
        return len(left[:1])

    async def counting(self) -> bool:
        return self._upto is not None

    # -- lists ---------------------------------------------------------------------------------------------------------

    async def list_messages(self, asked: Messages, limit: int) -> Listed[Sent]:
        first = asked.before or (lists.ENDLESS, "")
        found = [
            m.sent
            for m in self._messages.values()
            if m.sent
            and (m.sent.submitted_at, m.sent.message_id) < first
            and lists.meets(m.sent, asked)
            and lists.copies_meet(m.sent, asked)
        ]
        found.sort(key=lambda s: (s.submitted_at, s.message_id), reverse=True)
        return page(found, limit, lambda s: (s.submitted_at, s.message_id))

    async def list_threads(self, asked: Threads, limit: int) -> Listed[Thread]:
        own = [m.sent for m in self._messages.values() if m.sent and m.sent.grant_id == asked.grant_id]
        moves = [(s.thread_id, (s.submitted_at, s.message_id)) for s in own]
        moves += [(a.thread_id, (a.at, a.answer_id)) for a in self._answers.values() if a.grant_id == asked.grant_id]
        last: dict[str, lists.Key] = {}
        for thread_id, key in moves:
            if key[0] < asked.seen:
                last[thread_id] = max(key, last.get(thread_id, key))
        first = min(asked.before or (lists.ENDLESS, ""), (asked.until, ""))
        order = sorted(((key, i) for i, key in last.items() if key < first and key[0] >= asked.since), reverse=True)
        found = []
        for key, thread_id in order:
            thread = self._thread(thread_id, asked.grant_id)
            sent = thread.messages if thread else ()
            if thread and any(lists.meets(s, asked.messages) and lists.copies_meet(s, asked.messages) for s in sent):
                found.append((key, thread))
        some = page(found, limit, lambda pair: pair[0])
        return Listed([thread for _, thread in some.items], some.after)

    async def list_events(self, asked: Events, limit: int) -> Listed[Event]:
        own = (m.sent for m in self._messages.values() if m.sent and asked.thread_id == m.sent.thread_id)
        of_thread = frozenset(s.message_id for s in own) if asked.thread_id else None
        found = [e for e in self._events if lists.event_meets(e, asked, of_thread, self._sent(e.message_id))]
        found.sort(key=lambda e: (e.at, e.position), reverse=True)
        return page(found, limit, lambda e: (e.at, e.position))

    async def thread(self, thread_id: str, grant_id: str) -> Thread | None:
        return self._thread(thread_id, grant_id)

    def _thread(self, thread_id: str, grant_id: str) -> Thread | None:
        own = [m.sent for m in self._messages.values() if m.sent]
        sent = sorted(
            (s for s in own if (s.thread_id, s.grant_id) == (thread_id, grant_id)),
            key=lambda s: (s.submitted_at, s.message_id),
        )
        answers = sorted(
            (a for a in self._answers.values() if (a.thread_id, a.grant_id) == (thread_id, grant_id)),
            key=lambda a: (a.at, a.answer_id),
        )
        if not sent:
            return None
        at = max(sent[-1].submitted_at, answers[-1].at if answers else 0.0)
        return Thread(thread_id, at, tuple(sent[-lists.MAX_THREAD :]), tuple(answers[-lists.MAX_THREAD :]))

    async def answer(self, answer_id: str, grant_id: str = "") -> Answer | None:
        own = (a for a in self._answers.values() if a.answer_id == answer_id and grant_id in ("", a.grant_id))
        return min(own, key=lambda a: a.grant_id, default=None)

    def _keep(self, answer: Answer) -> None:
        if sum(a.message_id == answer.message_id for a in self._answers.values()) < lists.MAX_ANSWERS:
            self._answers.setdefault((answer.answer_id, answer.grant_id), answer)

    # -- cursors of mailboxes ------------------------------------------------------------------------------------------

    async def cursor(self, mailbox: str) -> Cursor | None:
        return self._cursors.get(mailbox)

    async def save_cursor(self, cursor: Cursor) -> None:
        self._cursors[cursor.mailbox] = cursor

    # -- endpoints -----------------------------------------------------------------------------------------------------

    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None:
        for endpoint in decisions.synced(self._endpoints.values(), configured):
            self._endpoints[endpoint.endpoint_id] = endpoint

    async def endpoints(self) -> list[Endpoint]:
        return sorted(self._endpoints.values(), key=lambda e: e.endpoint_id)

    async def add_endpoint(self, endpoint: Endpoint) -> None:
        if endpoint.endpoint_id in self._endpoints:
            raise ValueError(f"an endpoint {endpoint.endpoint_id} exists")
        self._endpoints[endpoint.endpoint_id] = replace(endpoint, source="api")

    async def update_endpoint(self, endpoint: Endpoint) -> bool:
        if not self._is_of_api(endpoint.endpoint_id):
            return False
        self._endpoints[endpoint.endpoint_id] = replace(endpoint, source="api")
        return True

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        if not self._is_of_api(endpoint_id):
            return False
        del self._endpoints[endpoint_id]
        self._notifications = {
            key: n for key, n in self._notifications.items() if n.endpoint_id != endpoint_id or n.state == "delivered"
        }
        return True

    def _is_of_api(self, endpoint_id: str) -> bool:
        return endpoint_id in self._endpoints and self._endpoints[endpoint_id].source == "api"

    async def set_endpoint_status(
        self, endpoint_id: str, status: EndpointStatus, at: float, *, was: Sequence[EndpointStatus] = ()
    ) -> bool:
        known = self._endpoints.get(endpoint_id)
        if known is None or known.status == status or (was and known.status not in was):
            return False
        self._endpoints[endpoint_id] = replace(known, status=status, status_updated_at=at)
        return True

    def _live(self) -> list[Endpoint]:
        return [e for e in self._endpoints.values() if e.live]

    # -- the outbox ----------------------------------------------------------------------------------------------------

    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        due = [n for n in self._notifications.values() if n.state == "pending" and n.next_at <= now]
        fresh = sorted((n for n in due if not n.attempt), key=lambda n: (self._turns[n.delivery_id], n.delivery_id))
        again = sorted((n for n in due if n.attempt), key=lambda n: (n.next_at, n.delivery_id))
        lanes = [
            decisions.turns(
                [[n for n in queue if n.endpoint_id == e.endpoint_id] for queue in (fresh, again)],
                decisions.room(e.endpoint_id, busy, each, limit),
            )
            for e in self._live()
        ]
        found = [decisions.claimed(n) for n in decisions.turns(lanes, limit)]
        for delivery in found:
            self._change(delivery.delivery_id, attempt=delivery.attempt, next_at=now + decisions.LEASE)
        return found

    async def settle(self, delivery_id: int, settlement: Settlement) -> None:
        if delivery_id in self._notifications:
            self._change(delivery_id, **decisions.settled(settlement, self._notifications[delivery_id].attempts))

    async def hasten(self, after: float, seconds: float) -> None:
        for n in self._notifications.values():
            if n.state == "pending" and n.next_at > after:
                self._change(n.delivery_id, next_at=max(after, n.next_at - seconds))

    async def next_due(self) -> float | None:
        live = {e.endpoint_id for e in self._live()}
        waiting = [n.next_at for n in self._notifications.values() if n.state == "pending" and n.endpoint_id in live]
        return min(waiting, default=None)

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
        chosen = decisions.chosen_endpoints(endpoint_id, endpoint_ids)
        return [
            n
            for n in reversed(self._notifications.values())
            if (chosen is None or n.endpoint_id in chosen)
            and state in ("", n.state)
            and event_id in ("", n.event_id)
            and message_id in ("", n.message_id)
            and (not before or n.delivery_id < before)
        ][:limit]

    async def notification(self, delivery_id: int) -> Notification | None:
        return self._notifications.get(delivery_id)

    async def backlog(self) -> list[Backlog]:
        found = []
        for endpoint_id in sorted({n.endpoint_id for n in self._notifications.values()}):
            own = [n for n in self._notifications.values() if n.endpoint_id == endpoint_id]
            number = {state: sum(n.state == state for n in own) for state in ("pending", "delivered", "dead")}
            oldest = min((n.first_at for n in own if n.state == "pending"), default=0.0)
            found.append(Backlog(endpoint_id, **number, oldest=oldest))
        return found

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
        again = [n for n in self._notifications.values() if dead and n.state == "dead"]
        again = [n for n in again if endpoint_id in ("", n.endpoint_id)]
        turns: dict[str, dict[int, float]] = defaultdict(dict)
        for n in again:
            index = self._by_id[n.event_id][0].recipient_index
            self._renew(n.delivery_id, now, decisions.turn(turns[n.message_id], index, now))
        these = [self._notifications[i] for i in dict.fromkeys(delivery_ids) if i in self._notifications]
        these = [n for n in these if endpoint_id in ("", n.endpoint_id)]
        for n in these:
            self._renew(n.delivery_id, now, now)
        count = len(again) + len(these)
        live = [e for e in self._live() if endpoint_id in ("", e.endpoint_id)]
        chosen = [e for e in self._events if e.event_id in event_ids or (since is not None and e.at >= since)]
        for owed in decisions.owed(live, chosen, defaultdict(tally.Facts), now):
            count += 1
            key = (owed[0].event_id, *owed[1:3])
            known = [n for n in self._notifications.values() if (n.event_id, n.endpoint_id, n.trigger) == key]
            if known:
                self._renew(known[0].delivery_id, now, owed[3])
            else:
                self._owe(owed, now)
        return count

    def _owe(self, owed: decisions.Owed, now: float) -> None:
        self._delivery_id += 1
        event, endpoint_id, trigger, self._turns[self._delivery_id] = owed
        self._notifications[self._delivery_id] = Notification(
            self._delivery_id, event.event_id, event.message_id, endpoint_id, trigger, "pending", 0, now, now
        )

    def _renew(self, delivery_id: int, now: float, turn: float) -> None:
        fields = decisions.renewed(now, turn)
        self._turns[delivery_id] = fields.pop("turn")
        self._change(delivery_id, **fields)

    def _change(self, delivery_id: int, **fields: object) -> None:
        self._notifications[delivery_id] = replace(self._notifications[delivery_id], **fields)  # type: ignore[arg-type]

    # -- keys of the API -----------------------------------------------------------------------------------------------

    async def add_api_key(self, key: ApiKey) -> None:
        if key.name in self._keys:
            raise ValueError(f"a key named {key.name} exists")
        self._keys[key.name] = key

    async def api_keys(self) -> list[ApiKey]:
        return sorted(self._keys.values(), key=lambda k: (k.created_at, k.name))

    async def find_api_key(self, digest: str) -> ApiKey | None:
        return next((k for k in self._keys.values() if k.digest == digest), None)

    async def revoke_api_key(self, name: str) -> bool:
        return self._keys.pop(name, None) is not None

    async def use_api_key(self, digest: str, at: float) -> None:
        for key in self._keys.values():
            if key.digest == digest and key.last_used_at < at:
                self._keys[key.name] = replace(key, last_used_at=at)
                return

    # -- drafts --------------------------------------------------------------------------------------------------------

    async def save_draft(self, draft: Draft, contents: Sequence[bytes] | None = None) -> bool:
        known = self._drafts.get(draft.draft_id)
        if known and known.grant_id != draft.grant_id:
            return False
        self._drafts[draft.draft_id] = draft
        if contents is not None:
            self._contents[draft.draft_id] = list(contents)
        return True

    async def draft(self, grant_id: str, draft_id: str) -> Draft | None:
        found = self._drafts.get(draft_id)
        return found if found and found.grant_id == grant_id else None

    async def drafts(self, grant_id: str, limit: int = 50, before: str = "") -> list[Draft]:
        own = [d for d in self._drafts.values() if d.grant_id == grant_id and (not before or d.draft_id < before)]
        return sorted(own, key=lambda d: d.draft_id, reverse=True)[:limit]

    async def contents(self, owner_id: str) -> list[bytes]:
        return list(self._contents.get(owner_id, ()))

    async def remove_draft(self, grant_id: str, draft_id: str) -> bool:
        if await self.draft(grant_id, draft_id) is None:
            return False
        del self._drafts[draft_id]
        self._contents.pop(draft_id, None)
        return True

    # -- messages that are sent later ----------------------------------------------------------------------------------

    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool:
        if schedule.schedule_id in self._schedules:
            return False
        self._schedules[schedule.schedule_id] = schedule.with_(next_at=schedule.send_at)
        self._contents[schedule.schedule_id] = list(contents)
        return True

    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None:
        found = self._schedules.get(schedule_id)
        return found if found and found.grant_id == grant_id else None

    async def schedules(self, grant_id: str, limit: int = 50, before: str = "") -> list[Schedule]:
        own = [s for s in self._schedules.values() if s.grant_id == grant_id]
        own = [s for s in own if not before or s.schedule_id < before]
        return sorted(own, key=lambda s: s.schedule_id, reverse=True)[:limit]

    async def cancel_schedule(self, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
        found = await self.schedule(grant_id, schedule_id)
        if not found or not decisions.cancellable(found, now, notice):
            return False
        return await self.settle_schedule(found.with_(state="cancelled", closed_at=now))

    async def claim_schedules(self, now: float, limit: int = 10) -> list[Schedule]:
        waiting = sorted(self._open(), key=lambda s: (s.next_at, s.schedule_id))
        found = [decisions.leased(s, now) for s in waiting if decisions.due(s, now)][:limit]
        self._schedules |= {s.schedule_id: s for s in found}
        return found

    async def settle_schedule(self, schedule: Schedule) -> bool:
        known = self._schedules.get(schedule.schedule_id)
        if not known or known.attempt != schedule.attempt or known.state not in decisions.OPEN:
            return False
        self._schedules[schedule.schedule_id] = schedule.with_(fields=known.fields)
        if schedule.state != "scheduled":
            self._contents.pop(schedule.schedule_id, None)
        return True

    async def next_schedule(self) -> float | None:
        return min((s.next_at for s in self._open()), default=None)

    def _open(self) -> list[Schedule]:
        return [s for s in self._schedules.values() if s.state in decisions.OPEN]

    # -- calls that may be repeated ------------------------------------------------------------------------------------

    async def begin_request(self, request: Request, oldest: float) -> Request | None:
        self._requests = {key: known for key, known in self._requests.items() if known.at >= oldest}
        found = self._requests.get(request.request_key)
        if found is None:
            self._requests[request.request_key] = request
        return found

    async def settle_request(self, request: Request) -> None:
        known = self._requests.get(request.request_key)
        if known:
            self._requests[request.request_key] = known.with_(state=request.state, answer=request.answer)

    async def drop_request(self, request_key: str) -> None:
        self._requests.pop(request_key, None)

    # -- the whole -----------------------------------------------------------------------------------------------------

    async def backup(self, path: Path) -> None:
        raise Unavailable("a store in memory has no backup")

    async def check(self) -> None: ...


def origin(sent: Sent | None, event: Event) -> tally.Origin:
    if sent is None:
        return tally.UNKNOWN
    having = [c.recipient for c in sent.copies if c.index == event.recipient_index]
    sole = having[0] if len(having) == 1 else ""
    return tally.Origin(sent.grant_id, sent.submitted_at, sent.submitter_ip, sole, len(having) or 1)
