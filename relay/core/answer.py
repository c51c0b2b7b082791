"""What the client hears of a message, over the outcomes of all its recipients.

Owns: the reply, and what has to be on disk before it is said. Leaves to others: putting it there, and saying it.

    all refused                          the first refusal's 5xx
    none accepted, some put off          "spool": they are kept, then 250; "pass": the first 4xx
    some accepted, or in the spool       250; those put off are kept, those refused are reported to the reverse-path
    some put off, and not kept           452: the client keeps the message

A 250 says that the upstream answers for each recipient, or the spool does, or the sender was told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from relay.core import envelopes
from relay.core.model import Done, Later, Never, Outcome, Reply, Value

OnDefer = Literal["spool", "pass"]  # what a 4xx of the upstream means: kept and tried again, or handed to the client
Result = Literal["sent", "partly", "kept", "refused", "deferred"]


class Kept(Value, frozen=True):
    """The spool answers for the recipient: the copy is fsynced."""


class Unwritable(Value, frozen=True):
    """What should have been kept for the recipient, its copy or the report on it, is not: the disk did not take it."""

    reason: str


Fate = Outcome | Kept | Unwritable
KEPT = Kept()


class Answer(Value, frozen=True):
    """`reply` may be said once the recipients `keep` are kept and those in `report` are reported as failed; where the
    disk takes that not, `full` is the answer instead. Those `relayed` want to hear of success, and nobody else tells
    them. All are places in what was asked about. `taken`: somebody has the message already, whatever the client hears.
    `result` is for the log."""

    reply: Reply
    result: Result
    keep: tuple[int, ...] = ()
    report: tuple[int, ...] = ()
    relayed: tuple[int, ...] = ()
    taken: bool = False


def over(message_id: str, fates: Sequence[Fate], on_defer: OnDefer) -> Answer:
    """The answer for these recipients, in the submission's order; there is at least one. `on_defer` says what becomes of
    those put off where nobody has the message yet."""
    later: list[int] = []
    never: list[int] = []
    relayed: list[int] = []
    accepted, kept, unwritable, words = 0, 0, "", ""
    for place, fate in enumerate(fates):
        match fate:
            case Done(reply, unconfirmed):
                words = words or reply.text
                accepted += 1
                if unconfirmed:
                    relayed.append(place)
            case Later():
                later.append(place)
            case Never():
                never.append(place)
            case Kept():
                kept += 1
            case Unwritable(reason):
                unwritable = unwritable or reason or "unknown"
    taken = bool(accepted or kept)
    if unwritable:
        return full(unwritable, taken=taken)
    if not taken and (not later or on_defer == "pass"):
        return Answer(_reply(fates[(later or never)[0]]), "deferred" if later else "refused")
    result: Result = "sent" if accepted == len(fates) else "partly" if accepted else "kept"
    return Answer(_accepted(message_id, words), result, tuple(later), tuple(never), tuple(relayed), taken)


def full(reason: str, *, taken: bool = False) -> Answer:
    """What must be on disk can't be written."""
    return Answer(Reply(452, f"4.3.1 The message can't be kept now: {reason}"), "deferred", taken=taken)


def _reply(fate: Fate) -> Reply:
    assert isinstance(fate, Later | Never)
    return fate.reply


def _accepted(message_id: str, words: str) -> Reply:
    """250, in the upstream's words where it said some."""
    status = envelopes.ENHANCED.match(words)
    text = (words[len(status[0]) :] if status else words).strip() or "queued"
    return Reply(250, f"2.0.0 Ok {message_id} {text}")
