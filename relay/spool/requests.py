"""What a person asks of an entry that waits: try it now, or drop it.

Owns: how each is done to the files, and what can come of it. Blocking; call it off the loop. Leaves to others: who may ask
and what they are told (`commands.queue`, the API), the files (`disk`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from relay.core import queue
from relay.spool import disk
from relay.store import UpstreamReply

Refused = Literal["missing", "busy"]  # busy: it is being sent right now
Result = Literal["done"] | Refused


class Records(Protocol):
    """What is asked of a store here."""

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None: ...


def retry(kept: disk.Disk, entry_id: str, now: float) -> Result:
    """Due at once, whatever the schedule says. Raises `Unwritable`. `kept.wake` tells who sends."""
    claim = kept.claim(entry_id) if kept.named(entry_id) else None
    if claim is None:
        return refused(kept, entry_id)
    try:
        claim.save(msgspec.structs.replace(claim.entry, next_at=now))
    finally:
        claim.release()
    return "done"


def drop(kept: disk.Disk, entry_id: str, by: str) -> queue.Entry | Refused:
    """Gone for good: the entry as it was. No sender and no recipient is told; the log of who sends will say so, and `by`
    whom. `kept.wake` tells who sends."""
    claim = kept.claim(entry_id) if kept.named(entry_id) else None
    if claim is None:
        return refused(kept, entry_id)
    try:
        claim.drop(by)
    finally:
        claim.release()
    return claim.entry


async def record_dropped(records: Records, dropped: Sequence[queue.Entry]) -> None:
    """The messages say so at once, whether anybody sends now or not. Raises `store.Unavailable`."""
    await records.record_replies(
        [
            UpstreamReply(entry.message_id, (waiting.address,), "never", queue.given_up(disk.DROPPED, waiting.reply))
            for entry in dropped
            if entry.message_id and entry.kind == "mail"
            for waiting in entry.waiting
        ]
    )


def refused(kept: disk.Disk, entry_id: str) -> Refused:
    return "busy" if kept.named(entry_id) and kept.size(entry_id) else "missing"
