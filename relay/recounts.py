"""Counts what the counters lack, beside the service: after an upgrade, or a rebuild that ended early.

Owns: when, and how gently. Leaves to others: what is counted (`core.counts`), that nothing is counted twice (`store`).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from relay import log, store

LOG = log.room("counts")

PAUSE = 0.02  # seconds between two steps, of about as long each: mail and hits go first
LOOK = 60.0  # seconds between two looks


class Counts(Protocol):
    """What is asked of a store here."""

    async def counting(self) -> bool: ...
    async def recount(self) -> int | None: ...


async def run(known: Counts, *, pause: float = PAUSE, look: float = LOOK) -> None:
    """Until it is cancelled. A store that is away is asked again later."""
    while True:
        try:
            if await known.counting():
                await fill(known, pause)
        except store.Unavailable as reason:
            LOG.warning("not_counted", reason=str(reason))
        await asyncio.sleep(look)


async def fill(known: Counts, pause: float) -> None:
    done = 0
    LOG.info("counting")
    while (more := await known.recount()) is not None:
        done += more
        await asyncio.sleep(pause)
    LOG.info("counted", messages=done)
