"""What a person asks of an entry that waits: try it now, or drop it.

Owns: how each is done to the files, and what can come of it. Blocking; call it off the loop. Leaves to others: who may ask
and what they are told (`commands.queue`, the API), the files (`disk`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from relay.spool import disk

Result = Literal["done", "missing", "busy"]  # busy: it is being sent right now


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


def drop(kept: disk.Disk, entry_id: str) -> Result:
    """Gone for good; nobody is told."""
    claim = kept.claim(entry_id) if kept.named(entry_id) else None
    if claim is None:
        return refused(kept, entry_id)
    try:
        claim.remove()
    finally:
        claim.release()
    return "done"


def refused(kept: disk.Disk, entry_id: str) -> Result:
    return "busy" if kept.named(entry_id) and kept.size(entry_id) else "missing"
