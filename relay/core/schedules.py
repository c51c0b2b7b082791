"""Messages that are sent later: when one may be, what is said of it, and what has become of it.

Owns: the shortest and the longest time ahead, the words for a schedule's state, the outcome of one that was handed over,
its event. Leaves to others: keeping it (`store`), sending it (`relay.schedules`), how a notification tells it (`payload`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from relay.core import queue
from relay.core.model import Event, EventType, Sent

SHORTEST, LONGEST = 60.0, 30 * 86_400.0  # seconds ahead that a message may be sent
NOTICE = 10.0  # seconds before that, until which it can be cancelled
FIRST_LOOK, LAST_LOOK = 1.0, 60.0  # seconds after it was handed over, and between two later looks
NAMESPACE = uuid.UUID("b0a5a3b2-7f0f-4c4b-9d34-3a1c2f0f6d55")

# Nylas' words.
WORDS: Mapping[str, tuple[str, str]] = {
    "scheduled": ("pending", "schedule send awaiting send at time"),
    "handed": ("pending", "schedule send awaiting delivery"),
    "sent": ("success", "schedule send succeeded"),
    "failed": ("failed", "schedule send failed"),
    "cancelled": ("cancelled", "schedule send cancelled"),
}


def refusal(send_at: float, now: float) -> str:
    """Why a message can't be sent then, as a sentence; "" where it can."""
    if send_at < now + SHORTEST:
        return "send_at: must be at least one minute ahead."
    if send_at > now + LONGEST:
        return "send_at: must be at most 30 days ahead."
    return ""


def entry_names(schedule_id: str, send_at: float, attempt: int | None = None) -> str:
    """How the names of the spool's entries begin that one attempt makes of a schedule, or that all make: they sort by
    time as others do."""
    names = queue.entry_id(send_at, hashlib.blake2b(schedule_id.encode(), digest_size=8).digest())
    return names if attempt is None else f"{names}{attempt % 0x10000:04x}"


def pause(looks: int) -> float:
    """Seconds until the next look at one that was handed over, after so many."""
    return float(min(LAST_LOOK, FIRST_LOOK * 2 ** min(looks, 10)))


def reason_of_failure(sent: Sent | None, bounces: Iterable[Event]) -> str:
    """Of a message that the spool is done with: the words of the last server where nobody got it, else "". Who was given
    up has a bounce; without one, the last word may be missing where a process died right after it, and what left the
    spool then was delivered."""
    words = {event.recipient: event.reason for event in bounces}
    copies = sent.copies if sent else ()
    words |= {copy.recipient: copy.reply for copy in copies if copy.state == "never"}
    return next(iter(words.values()), "") if copies and all(copy.recipient in words for copy in copies) else ""


def event(
    message_id: str,
    at: float,
    grant_id: str,
    fields: Mapping[str, Any],
    reason: str = "",
) -> Event:
    """How it ended: with a `reason`, as a failure. Told twice, it is written once."""
    kind: EventType = "message.send_failed" if reason else "message.send_success"
    data = {**fields, "reason": reason, "code": code(reason)} if reason else fields
    return Event(
        str(uuid.uuid5(NAMESPACE, f"{message_id} {kind}")), kind, message_id, at, reason=reason, data=data,
        grant_id=grant_id,
    )  # fmt: skip


def code(reply: str) -> int:
    """The code at the beginning of an SMTP reply; 550 for other words."""
    first = reply[:3]
    return int(first) if first.isdigit() and first.isascii() and len(first) == 3 else 550
