"""What counts: an event as it was seen -> the event as it is remembered, or only a number.

Owns: sequence and ordinal per message, repeats, HEAD, the sender's own hits and replies, and what must be known about
a message for that (`Facts`). Leaves to others: who may have fetched it (`classify`), how many hits have room (`floods`),
who is told (`payload.triggers`).

All events are counted, which also means notified and listed in `recents`, except these:
- a hit by another method than GET;
- a hit from the public address that submitted the message, within a day: its verdict becomes "self";
- an open of the same token within a minute of the last one counted;
- a click on the same link by the same client (address and user agent) within two seconds of the last one counted;
- a click on a link that is blocked;
- whoever follows the canary, which is no link of the message's;
- an event that says so itself: its `data["notify"]` is false, as for a sender's own reply.

Every event is stored, except hits beyond what their token or copy has room for, and all but the first few that are not
counted. These are folded: the next event of the token that is stored says how many they were, in `data["folded"]`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from relay.core import classify, crowds, floods, neighbours, networks
from relay.core.floods import Folded
from relay.core.model import Event, Value, Verdict

REPEAT = 60.0  # seconds after a counted open in which another open of the same token is no new one
TWICE = 2.0  # seconds after a counted click in which another one by the same client is no new one
MAX_FOLDED = 64  # tokens of one message whose folded hits are told apart
MAX_HANDED = 16  # of those who count hits of one message, as many are known by their last hand-over
FOLDED = "folded"  # data["folded"]: how many hits of this token were only counted before this one
OWN = 86_400.0  # seconds after the submission in which its address is taken for the sender's
HITS = ("message.opened", "message.link_clicked", "message.canary_followed")
MARKS: dict[str, neighbours.Kind] = {HITS[0]: "open", HITS[1]: "click", HITS[2]: "canary"}
MAILED = frozenset(  # what was seen in a mailbox
    (
        "thread.replied",
        "message.auto_replied",
        "message.read_receipt",
        "message.bounce_detected",
        "message.delayed",
        "message.complained",
    )
)
VARIANT = "89ab" * 4  # of a UUID: the upper two bits of this digit are 10 (RFC 9562 4.1)
WHO = "who"  # data["who"]: `neighbours.Identity` of a hit, and what is known of its network; never stored
TRANSIENT = "peer"  # data["peer"]: the whole address of a hit whose `ip` was cut for privacy; never stored


class Facts(msgspec.Struct, array_like=True, gc=False):
    """What has been counted for one message. `complete` updates it in place; a store keeps it with the message.

    `counts` is per event type, `links` per link index, and `opened` the time of the last counted open per recipient
    index, as long as it matters. So is `clicked`, per link and client. `levels` are the message's buckets, once it has so many
    events that they matter; `folded` is per token, and under "" what is too much to tell apart. `turns` is per recipient
    index: behind which time the next notification of its hits queues. `erased` are the recipient indexes of those who were
    erased: of them nothing is kept any more. `marks` are per recipient index too: see `neighbours`. `handed` is per name of
    one who counted hits: which hand-over was the last."""

    sequence: int = 0
    counts: dict[str, int] = {}
    links: dict[int, int] = {}
    opened: dict[int, float] = {}
    clicked: dict[int, float] = {}
    levels: dict[str, floods.Level] = {}
    folded: dict[str, int] = {}
    turns: dict[int, float] = {}
    erased: list[int] = []
    marks: dict[int, list[neighbours.Mark]] = {}
    handed: dict[str, int] = {}


class Origin(Value, frozen=True, gc=False):
    """What an event takes from its recorded message. `recipient` is the envelope recipient with the event's recipient
    index, or "" if several share the copy: so many as `recipients` says."""

    grant_id: str = "default"
    submitted_at: float = 0.0
    submitter_ip: str = ""
    recipient: str = ""
    recipients: int = 1
    links: int = 0  # that a copy has; 0 where that was not asked
    refused: float | None = None  # since when the recipient does not want to be tracked


UNKNOWN = Origin()  # the message's row is gone: the event has only what its token says


def complete(
    event: Event, facts: Facts, origin: Origin = UNKNOWN, position: int = 0, limits: floods.Limits = floods.LIMITS
) -> Event | Folded:
    """The event with its lower half filled in, by which `facts` is updated; or folded, which changes nothing."""
    kind, verdict, reason, data = event.type, event.verdict, event.reason, event.data
    counted = True
    if kind in HITS:
        everyone, again = True, 0.0  # who else is not counted for the same cause, and when that ends, if it does
        verdict, reason = by_origin(event, origin)
        if event.method != "GET" or reason == classify.BLOCKED or kind == "message.canary_followed":
            counted = False
        elif verdict == "self":
            counted = everyone = False
        elif kind == "message.opened":
            again = repeated(event, facts)
            counted = not again
        else:
            again = clicked_again(event, facts)
            counted = everyone = not again
        # While there are few events, all have room, and nothing more has to be remembered of a message.
        if facts.sequence >= limits.token // floods.FEW and limits != (0, 0):
            pause = floods.take(facts.levels, event, limits, counted=counted, recipients=origin.recipients)
            if pause:
                until = event.at + pause
                return Folded(min(until, again) if again else until, everyone)
        if counted:
            remember(event, facts)
        if len(data) == 1 and WHO in data:
            data = {}
        elif TRANSIENT in data or WHO in data:
            data = {k: v for k, v in data.items() if k not in (TRANSIENT, WHO)}
        if facts.folded:
            data = told(facts, floods.token(event), data)
    elif kind in MAILED:
        origin = origin.with_(recipient="")  # whom it is about was decided; where it is nobody, so it stays
        counted = data.get("notify") is not False
    facts.sequence += 1
    ordinal = -1
    if counted:
        ordinal = facts.counts.get(kind, 0)
        facts.counts[kind] = ordinal + 1
        if kind == "message.link_clicked":
            facts.links[event.link_index] = facts.links.get(event.link_index, 0) + 1
    # By position: `with_` takes twice as long, and every hit comes through here.
    return Event(
        event.event_id, kind, event.message_id, event.at, event.recipient_index,
        event.recipient or origin.recipient, event.link_index, event.url, event.method, event.ip, event.user_agent,
        event.referer, verdict, reason, data, event.grant_id or origin.grant_id, facts.sequence, counted, ordinal, position,
    )  # fmt: skip


def by_origin(event: Event, origin: Origin) -> tuple[Verdict, str]:
    """The verdict and its reason, once it is known who sent the message, and when."""
    if origin.submitter_ip and own(event.data.get(TRANSIENT) or event.ip, event.at, origin):
        return "self", "submitter_address"
    if event.type == "message.opened":
        return event.verdict, event.reason
    network = event.data[WHO][2] if WHO in event.data and event.type == "message.link_clicked" else ""
    if network and classify.late(event.verdict, network, event.at - origin.submitted_at):
        return classify.CLOUD
    if event.type == "message.canary_followed" and event.verdict in neighbours.PEOPLE:
        return neighbours.FOLLOWED
    return event.verdict, event.reason


def judge(event: Event, made: Event, facts: Facts, origin: Origin, crowd: crowds.Crowd) -> list[neighbours.Change]:
    """What a hit changes, itself included. `event` is it as it was seen, `made` as it is remembered. Those of a copy that
    several share say nothing of each other."""
    who = event.data.get(WHO)
    if who is None or made.verdict == "self" or made.reason == classify.BLOCKED or origin.recipients > 1:
        return []
    if event.recipient_index in facts.erased:
        return []
    index = event.recipient_index
    marks = facts.marks.get(index)
    if marks is None:
        if len(facts.marks) >= 8:
            oldest = event.at - neighbours.DAY
            facts.marks = {i: marks for i, marks in facts.marks.items() if marks and marks[-1].at >= oldest}
        marks = facts.marks[index] = []
    mark = neighbours.Mark(
        [event.event_id], event.at, MARKS[event.type], event.link_index, who[0], who[1],
        made.verdict, event.method,
    )  # fmt: skip
    copy = neighbours.Copy(origin.links, origin.submitted_at or None) if marks else neighbours.NO_COPY
    return crowds.judge(marks, crowd, mark, copy, (event.message_id, index))


def changed(old: Event, new: Event, at: float, facts: Facts, position: int) -> Event:
    """The event that says that a verdict changed: one of its own, since what was seen of an event stays."""
    facts.sequence += 1
    ordinal = facts.counts.get("message.verdict_changed", 0)
    facts.counts["message.verdict_changed"] = ordinal + 1
    data = {"event_id": old.event_id, "event_type": old.type, "event_at": old.at, "from": old.verdict}
    name = f"{old.event_id} {old.verdict} {new.verdict} {at}".encode()
    return Event(
        event_id(at, hashlib.blake2b(name, digest_size=10).digest()), "message.verdict_changed", old.message_id, at,
        old.recipient_index, old.recipient, old.link_index, old.url, "", verdict=new.verdict, reason=new.reason, data=data,
        grant_id=old.grant_id, sequence=facts.sequence, counted=True, ordinal=ordinal, position=position,
        first_verdict=new.first_verdict,
    )  # fmt: skip


def corrected(event: Event, verdict: Verdict, reason: str, at: float) -> Event:
    """The event with another verdict; what it was at first stays."""
    return event.with_(
        verdict=verdict, reason=reason, first_verdict=event.first_verdict or event.verdict, changed_at=at
    )


def fold(facts: Facts, folds: Iterable[floods.Fold], by: str, number: int) -> bool:
    """So many hits of tokens were only counted, by whoever has that name, whose hand-over of that number this is. False
    where it has come before: nobody who hands over can always know."""
    if facts.handed.get(by, 0) >= number:
        return False
    facts.handed.pop(by, None)
    facts.handed[by] = number
    if len(facts.handed) > MAX_HANDED:
        del facts.handed[next(iter(facts.handed))]
    for _, token, hits in folds:
        facts.folded[token] = facts.folded.get(token, 0) + hits
    if len(facts.folded) > MAX_FOLDED:
        facts.folded = {"": sum(facts.folded.values())}
    return True


def unwanted(event: Event, facts: Facts, origin: Origin) -> bool:
    """Whether it is a hit of somebody who was erased, or who did not want to be tracked any more when it was made."""
    if event.type not in HITS:
        return False
    refused = origin.refused is not None and event.at >= origin.refused
    return refused or event.recipient_index in facts.erased


def erase(facts: Facts, indexes: Collection[int]) -> None:
    """Of these recipient indexes nothing is kept any more, and nothing is known of who clicked just now."""
    facts.erased = sorted({*facts.erased, *indexes})
    facts.clicked = {}
    for index in indexes:
        facts.opened.pop(index, None)
        facts.turns.pop(index, None)
        facts.marks.pop(index, None)


def told(facts: Facts, token: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` with what was folded of the token. It is said once."""
    hits = facts.folded.pop(token, 0) + facts.folded.pop("", 0)
    return {**data, FOLDED: hits} if hits else data


def event_id(now: float, random_bytes: bytes) -> str:
    """A UUID for a hit: of version 7 (RFC 9562 5.7), whose first 48 bits are the time in milliseconds, so that a
    store's index grows at one end only (1.5 times as many hits per second as with random ones). `random_bytes` is 10
    bytes."""
    time, drawn = f"{int(now * 1000):012x}", random_bytes.hex()
    return f"{time[:8]}-{time[8:]}-7{drawn[1:4]}-{VARIANT[random_bytes[2] >> 4]}{drawn[5:8]}-{drawn[8:20]}"


def repeated(event: Event, facts: Facts) -> float:
    """Until when an open of this token was counted already; 0.0 if it was not."""
    last = facts.opened.get(event.recipient_index)
    # In either order: a journal hands in old events after newer ones.
    return last + REPEAT if last is not None and abs(event.at - last) < REPEAT else 0.0


def clicked_again(event: Event, facts: Facts) -> float:
    """Until when a click on this link by this client was counted already; 0.0 if it was not. A client without an address
    is not known again."""
    last = facts.clicked.get(client(event)) if facts.clicked else None
    return last + TWICE if last is not None and abs(event.at - last) < TWICE else 0.0


def client(event: Event) -> int:
    """Who clicked what, in 32 bits."""
    address = event.data.get(TRANSIENT) or event.ip
    text = f"{event.recipient_index} {event.link_index} {address} {event.user_agent}"
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def remember(event: Event, facts: Facts) -> None:
    """When it was counted, so that a repeat is known for one."""
    if event.type == "message.opened":
        times, key, seconds = facts.opened, event.recipient_index, REPEAT
    elif event.ip or event.data.get(TRANSIENT):
        times, key, seconds = facts.clicked, client(event), TWICE
    else:
        return
    if len(times) >= 8:
        for old in [old for old, at in times.items() if at < event.at - seconds]:
            del times[old]
    last = times.get(key)
    times[key] = event.at if last is None or last < event.at else last


def own(ip: str, at: float, origin: Origin) -> bool:
    """Is `ip` the public address that submitted the message, within a day? A loopback, private or reserved address
    never is, since many people share those."""
    theirs = origin.submitter_ip
    if not ip or not theirs or at - origin.submitted_at > OWN:
        return False
    if ip != theirs and ":" not in ip and ":" not in theirs:
        return False  # the common case, two IPv4 addresses, needs no parsing
    address = public(ip)
    return address is not None and address == public(theirs)


def public(text: str) -> str | None:
    """The address in one spelling (an IPv4-mapped one as IPv4), or None if it is no address or not public."""
    address = networks.peer(text)
    return str(address) if address is not None and networks.public(address) else None
