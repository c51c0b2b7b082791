"""What every engine decides alike. Pure; an engine reads rows, asks here, and writes what it is told.

Owns: what a batch of events makes of what is known of their messages, how a message finds its thread and its names,
which endpoints take notifications and whose turn it is, how a notification goes on, who hears of which node. Leaves to others: what counts
(`core.tally`), which endpoint asks for what (`core.payload`), rows, statements, transactions (the engines).
"""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from relay.core import crowds, floods, identifiers, nodes, payload, tally, urls
from relay.core.model import Delivery, Endpoint, EndpointStatus, Event, Notice, Sent, Settlement, Value, Verdict
from relay.store import Attempt, Notification, Schedule, UpstreamReply

T = TypeVar("T")
NONE: Mapping[int, int] = MappingProxyType({})
NOTHING: Mapping[str, Any] = MappingProxyType({})
LEASE = 120.0  # seconds that a claimed delivery is nobody else's
ATTEMPTS = 20  # at one notification that are kept
RECENTS = 50  # events that a history holds at most
TOLD: tuple[EndpointStatus, ...] = ("failing", "failed")  # of an endpoint, by mail
TURN = 1.0  # seconds by which a copy's next notification stands behind its last one in the queue
BARE_ID = 16  # characters from which an upstream's identifier without "@" may stand for any domain


# What may be asked by -> the dimension whose rows have it, and what of them is the key: "" is one for all. These are in
# the rows of any dimension that every message has, and of sending domains there are fewest.
DIMENSIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "": ("sending_domain", ""),
        "grant": ("sending_domain", "grant"),
        **{name: (name, name) for name in ("label", "sender", "sending_domain", "recipient_domain", "link_host")},
    }
)
PERIODS: Mapping[str, int] = MappingProxyType({"hour": 3600, "day": 86_400, "all": 1 << 40})  # seconds


def month_of(at: float) -> float:
    """When the month (UTC) of that moment begins; of one before 1970 or beyond all calendars, that one."""
    if not 0 <= at < 1e11:
        return at
    when = time.gmtime(at)
    return float(calendar.timegm((when.tm_year, when.tm_mon, 1, 0, 0, 0)))


# -- messages ----------------------------------------------------------------------------------------------------------


def names(sent: Sent) -> set[str]:
    """What an answer may name the message by, as far as it is known when it is recorded: its Message-ID, if that can be
    its own, and those that upstreams gave its copies."""
    found = {copy.upstream_id for copy in sent.copies if copy.upstream_id}
    if identifiers.unique(sent.internet_message_id, (sent.sender,)):
        found.add(sent.internet_message_id)
    return found


def spellings(identifier: str) -> tuple[str, str]:
    """How the identifier that an answer names may have been recorded. Some upstreams name in their reply only what
    stands before the "@" (Amazon SES): a long one is enough."""
    local = identifier.partition("@")[0]
    return identifier, local if len(local) >= BARE_ID else identifier


def shared(sent: Sent) -> frozenset[int]:
    """The recipient indexes that several envelope recipients share: a hit does not say whose it is."""
    if len(sent.copies) == 1:
        return frozenset()
    return frozenset(index for index, many in Counter(copy.index for copy in sent.copies).items() if many > 1)


class CopyReply(NamedTuple):
    """What one copy becomes. An `upstream_id` of "" leaves the one that is there."""

    message_id: str
    recipient: str
    state: str
    reply: str
    upstream_id: str


def last_replies(replies: Iterable[UpstreamReply]) -> list[CopyReply]:
    """Of two replies, oldest first, on one copy the later one holds; an identifier that only the first one named is
    kept."""
    last: dict[tuple[str, str], CopyReply] = {}
    for reply in replies:
        for recipient in reply.recipients:
            key = (reply.message_id, recipient)
            before = last.pop(key, None)
            upstream_id = reply.upstream_id or (before.upstream_id if before else "")
            last[key] = CopyReply(*key, reply.state, reply.reply, upstream_id)
    return list(last.values())


def again(sent: Sent, before: Sent) -> Sent:
    """A message that is recorded once more, since what sends it began anew: what is known of its copies stays."""
    known = {copy.recipient: copy for copy in before.copies if copy.state != "pending"}
    copies = tuple(
        copy.with_(state=old.state, reply=old.reply, upstream_id=old.upstream_id)
        if (old := known.get(copy.recipient))
        else copy
        for copy in sent.copies
    )
    return sent.with_(copies=copies)


# -- events ------------------------------------------------------------------------------------------------------------


MAX_LOOKED_AT = 200  # messages of one thread, or with one Message-ID, where one is looked for
MAX_NAMESAKES = 100  # messages with one Message-ID, of which the one is found that somebody was sent

# Plain tuples: of these there is one per hit.
Known = tuple[bool, tally.Origin]  # when an event comes: whether it is there already, and what its message says
# One notification: of which event, to which endpoint, by which trigger, its turn, and how long its verdict may still change.
Owed = tuple[Event, str, str, float, float]


class Correction(NamedTuple):
    """Of an event that was written before."""

    verdict: Verdict
    reason: str
    at: float


class Appended(NamedTuple):
    """What a batch comes to. `results` is for the callers; the rest is to be written: the new events that are kept, for
    each the clicks per link so far (empty but for a counted click), the facts of their messages, what is owed, and by id
    the older events whose verdict changes."""

    results: list[Event | floods.Folded | None]
    events: list[Event]
    link_counts: list[Mapping[int, int]]
    facts: dict[str, tally.Facts]
    owed: list[Owed]
    changes: dict[str, Correction]


def append(
    batch: Sequence[Event],
    known: Sequence[Known],
    facts: Mapping[str, tally.Facts],
    position: int,
    endpoints: Sequence[Endpoint],
    now: float,
    limits: floods.Limits = floods.LIMITS,
    crowd: crowds.Crowd | None = None,
) -> Appended:
    """The events, completed in order. `facts` has those of each message in the batch, and is moved on; `position` is
    the last one that was used; `endpoints` are the live ones."""
    results: list[Event | floods.Folded | None] = []
    events: list[Event] = []
    counts: list[Mapping[int, int]] = []
    moved: dict[str, tally.Facts] = {}
    fresh: dict[str, int] = {}  # which of `events`, or -1
    changes: dict[str, Correction] = {}
    crowd = crowd or crowds.Crowd()
    for event, (there, origin) in zip(batch, known, strict=True):
        event_id, message_id = event.event_id, event.message_id
        if there or event_id in fresh:
            results.append(None)
            continue
        fresh[event_id] = -1
        fact = facts[message_id]
        if (fact.erased or origin.refused is not None) and tally.unwanted(event, fact, origin):
            results.append(None)
            continue
        complete = tally.complete(event, fact, origin, position + 1, limits)
        results.append(complete)
        if isinstance(complete, floods.Folded):
            continue
        moved[message_id] = fact
        position += 1
        fresh[event_id] = len(events)
        events.append(complete)
        if event.type in tally.HITS:
            for change in tally.judge(event, complete, fact, origin, crowd):
                for one in change.ids:
                    if (at := fresh.get(one, -1)) >= 0:
                        events[at] = tally.corrected(events[at], change.verdict, change.reason, event.at)
                    else:
                        changes[one] = Correction(change.verdict, change.reason, event.at)
        clicked = complete.counted and complete.type == "message.link_clicked"
        counts.append(fact.links.copy() if clicked else NONE)
    return Appended(results, events, counts, moved, owed(endpoints, events, moved, now) if endpoints else [], changes)


def link_counts(sent: Sent | None, event: Event, counts: Mapping[int, int]) -> tuple[int, ...]:
    """Per link of the message how often it was clicked, as `Appended` had it of this click."""
    if event.type != "message.link_clicked":
        return ()
    links = max(len(sent.links) if sent else 0, event.link_index + 1, *(link + 1 for link in counts))
    return tuple(counts.get(link, 0) for link in range(links))


# -- endpoints and what they are owed ----------------------------------------------------------------------------------


def owed(live: Sequence[Endpoint], events: Iterable[Event], facts: Mapping[str, tally.Facts], now: float) -> list[Owed]:
    """`facts` has those of the events' messages, and is moved on."""
    found: list[Owed] = []
    for event in events:
        hit = event.type in tally.HITS
        asked = [
            (endpoint.endpoint_id, name, endpoint.settle if hit else 0.0)
            for endpoint in live
            for name in payload.triggers(endpoint, event)
        ]
        if asked:
            at = turn(facts[event.message_id].turns, event.recipient_index, now) if hit else now
            found += [(event, endpoint_id, name, at, settle) for endpoint_id, name, settle in asked]
    return found


def reconsidered(
    live: Sequence[Endpoint], old: Event, new: Event, turns: dict[int, float], now: float
) -> tuple[list[Owed], list[tuple[str, str]]]:
    """What is owed of an event since its verdict changed, and which notifications (endpoint, trigger) of it are not owed
    any more, if they still wait."""
    more: list[Owed] = []
    less: list[tuple[str, str]] = []
    for endpoint in live:
        before, after = payload.triggers(endpoint, old), payload.triggers(endpoint, new)
        less += [(endpoint.endpoint_id, name) for name in before if name not in after]
        more += [
            (new, endpoint.endpoint_id, name, turn(turns, new.recipient_index, now), endpoint.settle)
            for name in after
            if name not in before
        ]
    return more, less


def turn(turns: dict[int, float], recipient_index: int, now: float) -> float:
    """The time by which a first attempt queues at an endpoint: now, or a TURN behind the last one of the same copy, if that
    is later. So many of one copy hold up none of another (the virtual clock of L. Zhang, 1990); with nobody else in
    the queue they go at once all the same. `turns` are those of a message, and are moved on."""
    at = max(now, turns.get(recipient_index, 0.0))
    if len(turns) >= 8:
        for index in [index for index, then in turns.items() if then < now]:
            del turns[index]
    turns[recipient_index] = round(at + TURN, 2)
    return at


def synced(known: Iterable[Endpoint], configured: Sequence[Endpoint]) -> list[Endpoint]:
    """Those that change where `configured` is what the configuration has now."""
    left = {endpoint.endpoint_id: endpoint for endpoint in known}
    changed = []
    for endpoint in configured:
        old = left.pop(endpoint.endpoint_id, None)
        new = replace(endpoint, source="config", secret="", url=urls.masked(endpoint.url))
        if old is None or old.status == "gone" or unchanging(old) != unchanging(new):
            made = (old and old.created_at) or new.created_at
            changed.append(replace(new, created_at=made, status_updated_at=new.updated_at))
        elif new.created_at and not old.created_at:  # known since before this was kept
            known_since = new.created_at
            since = old.status_updated_at or known_since
            changed.append(replace(old, created_at=known_since, updated_at=known_since, status_updated_at=since))
    return changed + [replace(old, status="gone") for old in left.values() if old.source == "config"]


def notice(endpoint: Endpoint, status: EndpointStatus, at: float, error: str, since: float) -> Notice | None:
    """What is to be told of the endpoint whose status becomes this one; None where nobody is to hear it."""
    if status not in TOLD or not endpoint.notify:
        return None
    return Notice(
        f"{endpoint.endpoint_id}.{status}.{at:.3f}", endpoint.endpoint_id, status, at, since or at, error, endpoint.notify,
        endpoint.url, endpoint.description, endpoint.registry,
    )  # fmt: skip


def unchanging(endpoint: Endpoint) -> Endpoint:
    """Without what the configuration does not say."""
    return replace(endpoint, status="active", created_at=0.0, updated_at=0.0, status_updated_at=0.0)


def room(endpoint_id: str, busy: Mapping[str, int], each: int, limit: int) -> int:
    """How many of this endpoint's deliveries may be claimed."""
    return max(0, min(limit, each - busy.get(endpoint_id, 0)))


def turns(lanes: Iterable[Sequence[T]], limit: int) -> list[T]:
    """Of what is due per endpoint: the first of each, then the second of each."""
    return [one for turn in zip_longest(*lanes) for one in turn if one is not None][:limit]


def claimed(notification: Notification) -> Delivery:
    """The attempt that begins with its claim, and is counted by it."""
    n = notification
    return Delivery(n.delivery_id, n.event_id, n.endpoint_id, n.attempt + 1, n.first_at, n.trigger)


def settled(
    settlement: Settlement, before: Sequence[Attempt] = (), stays: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """The fields of a notification after an attempt that ended so. `before` are those before it; `stays` is how it stands
    where it is to stay so."""
    s = settlement
    state = "pending" if s.state == "retry" else s.state
    attempts = (*before, Attempt(round(s.at, 3), s.status, s.error, s.milliseconds))[-ATTEMPTS:]
    fields = {"state": state, "next_at": s.next_at, "settled_at": s.at, "status": s.status, "error": s.error}
    return {**fields, **stays, "attempts": attempts}


def overtaken(settlement: Settlement, claim: int, state: str, attempt: int) -> bool:
    """Whether somebody else went on with a notification of which this was the attempt number `claim`, since its lease had
    run out: what came of it changes nothing then, but that what was delivered is delivered. 0 is any attempt."""
    if not claim:
        return False
    return state == "delivered" or (claim != attempt and settlement.state != "delivered")


def chosen_endpoints(endpoint_id: str, endpoint_ids: Sequence[str] | None) -> Sequence[str] | None:
    """Of which endpoints; None for all."""
    if not endpoint_id:
        return endpoint_ids
    return [endpoint_id] if endpoint_ids is None or endpoint_id in endpoint_ids else []


def renewed(now: float, turn: float) -> dict[str, Any]:
    """The fields of a notification that is made again, with the whole schedule before it."""
    return {"state": "pending", "attempt": 0, "next_at": now, "settled_at": 0.0, "status": 0, "error": "", "turn": turn}


# -- messages that are sent later --------------------------------------------------------------------------------------

OPEN = ("scheduled", "handed")  # the states in which something is still to be done


def cancellable(schedule: Schedule, now: float, notice: float) -> bool:
    return schedule.state == "scheduled" and not schedule.attempt and schedule.send_at - notice > now


def due(schedule: Schedule, now: float) -> bool:
    """A claim's own time that is further away than a lease was written before the clock was set back."""
    return schedule.next_at <= now or (schedule.attempt > 0 and schedule.next_at > now + LEASE)


def leased(schedule: Schedule, now: float) -> Schedule:
    """The claim that begins now."""
    return schedule.with_(attempt=schedule.attempt + 1, next_at=now + LEASE)


# -- nodes -------------------------------------------------------------------------------------------------------------


def called(before: nodes.Roll, node: nodes.Node) -> nodes.Roll:
    """What a node that said `node` hears."""
    key = node.name, node.roles
    others = [one for one in before.nodes if (one.name, one.roles) != key]
    kept = [one for one in others if one.queue or one.at >= before.now - nodes.FORGET]
    was = next((one for one in before.nodes if (one.name, one.roles) == key), None)
    all_of_them = sorted((*kept, node.with_(at=before.now)), key=lambda one: (one.name, one.roles))
    return nodes.Roll(before.now, tuple(all_of_them), was)


def left(before: nodes.Roll, node: nodes.Node) -> nodes.Node | None:
    """The node as it stopped. None where another process has its place by now."""
    was = next((one for one in before.nodes if (one.name, one.roles) == (node.name, node.roles)), None)
    if was is None or was.process != node.process:
        return None
    return node.with_(at=before.now, stopped=True)


def removable(before: nodes.Roll, name: str) -> tuple[nodes.Node, ...]:
    return tuple(one for one in before.nodes if one.name == name and not nodes.alive(one, before.now))


def nothing_left(before: nodes.Roll, removed: Sequence[nodes.Node]) -> bool:
    """Of that machine nobody runs: what was its own is anybody's."""
    names = {node.name for node in removed}
    return bool(removed) and not any(node.name in names for node in before.nodes if node not in removed)


def leased_to_another(by: str, until: float, holder: str, now: float, seconds: float) -> bool:
    """A lease that ends later than one that is taken now was taken by another clock: it is void."""
    return by != holder and now < until <= now + seconds


# -- text --------------------------------------------------------------------------------------------------------------


def mended(value: Any) -> Any:
    """The value with text that any database takes: half a surrogate pair is "?"."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {mended(k): mended(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(mended(v) for v in value)
    if isinstance(value, Value):
        return type(value)(*(mended(getattr(value, name)) for name in value.__struct_fields__))
    return value
