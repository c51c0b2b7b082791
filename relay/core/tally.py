"""What counts: an event as it was seen -> the event as it is remembered.

Owns: sequence and ordinal per message, repeats, HEAD, the sender's own hits and replies, and what must be known about
a message for that (`Facts`). Leaves to others: who may have fetched it (`classify`), who is told (`payload.triggers`).

Every event is stored. All are counted, which also means notified and listed in `recents`, except these:
- a hit by another method than GET;
- a hit from the public address that submitted the message, within a day: its verdict becomes "self";
- an open of the same token within a minute of the last one counted (a click is never a repeat);
- a click on a link that is blocked;
- an event that says so itself: its `data["notify"]` is false, as for a sender's own reply.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from relay.core import classify, networks
from relay.core.model import Event, Verdict

REPEAT = 60.0  # seconds after a counted open in which another open of the same token is no new one
OWN = 86_400.0  # seconds after the submission in which its address is taken for the sender's
HITS = ("message.opened", "message.link_clicked")
TRANSIENT = "peer"  # data["peer"]: the whole address of a hit whose `ip` was cut for privacy; never stored


class Facts(msgspec.Struct, array_like=True):
    """What has been counted for one message. `complete` updates it in place; a store keeps it with the message.

    `counts` is per event type, `links` per link index, and `opened` the time of the last counted open per recipient
    index, as long as it matters."""

    sequence: int = 0
    counts: dict[str, int] = {}
    links: dict[int, int] = {}
    opened: dict[int, float] = {}


class Origin(NamedTuple):
    """What an event takes from its recorded message. `recipient` is the envelope recipient with the event's recipient
    index, or "" if several share the copy."""

    grant_id: str = "default"
    submitted_at: float = 0.0
    submitter_ip: str = ""
    recipient: str = ""


UNKNOWN = Origin()  # the message's row is gone: the event has only what its token says


def complete(event: Event, facts: Facts, origin: Origin = UNKNOWN, position: int = 0) -> Event:
    """The event with its lower half filled in. `facts` is updated by it."""
    kind, verdict, reason, data = event.type, event.verdict, event.reason, event.data
    counted = True
    if kind in HITS:
        if event.method != "GET" or reason == classify.BLOCKED:
            counted = False
        if own(data.get(TRANSIENT) or event.ip, event.at, origin):
            verdict, reason, counted = "self", "submitter_address", False
        if verdict == "self":
            counted = False
        if kind == "message.opened" and counted:
            counted = not repeated(event, facts)
        if TRANSIENT in data:
            data = {k: v for k, v in data.items() if k != TRANSIENT}
    elif data.get("notify") is False:
        counted = False
    facts.sequence += 1
    ordinal = -1
    if counted:
        ordinal = facts.counts.get(kind, 0)
        facts.counts[kind] = ordinal + 1
        if kind == "message.link_clicked":
            facts.links[event.link_index] = facts.links.get(event.link_index, 0) + 1
    return made(event, origin, verdict, reason, data, facts.sequence, counted, ordinal, position)


def event_id(now: float, random_bytes: bytes) -> str:
    """A UUID for a hit: of version 7 (RFC 9562 5.7), whose first 48 bits are the time in milliseconds, so that a
    store's index grows at one end only (1.5 times as many hits per second as with random ones). `random_bytes` is 10
    bytes."""
    text = (
        f"{int(now * 1000):012x}7{random_bytes.hex()[1:4]}{0x80 | random_bytes[2] & 0x3F:02x}{random_bytes[3:].hex()}"
    )
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def repeated(event: Event, facts: Facts) -> bool:
    """Was this open counted already? If not, its time is remembered."""
    last = facts.opened.get(event.recipient_index)
    # In either order: a journal hands in old events after newer ones.
    if last is not None and abs(event.at - last) < REPEAT:
        return True
    if len(facts.opened) > 8:
        for index in [i for i, at in facts.opened.items() if at < event.at - REPEAT]:
            del facts.opened[index]
    facts.opened[event.recipient_index] = event.at if last is None else max(last, event.at)
    return False


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


def made(
    event: Event,
    origin: Origin,
    verdict: Verdict,
    reason: str,
    data: object,
    sequence: int,
    counted: bool,
    ordinal: int,
    position: int,
) -> Event:
    # By position: `with_` takes twice as long, and every hit comes through here.
    return Event(
        event.event_id, event.type, event.message_id, event.at, event.recipient_index,
        event.recipient or origin.recipient, event.link_index, event.url, event.method, event.ip, event.user_agent,
        event.referer, verdict, reason, data, event.grant_id or origin.grant_id, sequence, counted, ordinal, position,  # type: ignore[arg-type]
    )  # fmt: skip
