"""Which mailboxes this node watches, where several share a store: each is watched by one at a time.

Owns: taking their leases and giving them back; watching begins and ends with them. Leaves to others: the watching
(`mailbox`), and that no cursor is moved by a node that lost its lease (the store).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Protocol

from relay import log
from relay import store as stores

LOG = log.room("mailbox")

Watching = Callable[[], Coroutine[Any, Any, None]]
HELD = 3  # times that a lease is longer than the time until it is taken again
END_SECONDS = 2.0  # for giving the leases back


class Records(Protocol):
    """What is asked of a store here."""

    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]: ...
    async def release_leases(self, holder: str) -> None: ...


async def watch(mailboxes: Mapping[str, Watching], records: Records, holder: str, *, every: float) -> None:
    """Until cancelled. `mailboxes` are what watches each, by its name. A node that comes back under the name that it had,
    `holder`, has its leases still."""
    running: dict[str, asyncio.Task[None]] = {}
    elsewhere: frozenset[str] = frozenset()
    try:
        while True:
            try:
                held = await records.take_leases(mailboxes.keys(), holder, HELD * every)
            except stores.Unavailable as reason:
                LOG.debug("leases_not_taken", reason=reason)
                # What is watched goes on, and finds out at its cursor. At the start that is how each says so.
                held = frozenset(running or mailboxes)
            for name in running.keys() - held:
                await _end([running.pop(name)])
            for name, watching in mailboxes.items():
                if name in held and name not in running:
                    running[name] = asyncio.create_task(watching(), name=f"mailbox {name}")
            others = mailboxes.keys() - held
            for name in sorted(others - elsewhere):
                LOG.info("mailbox_elsewhere", mailbox=name)
            elsewhere = frozenset(others)
            await _rest(running.values(), every)
    finally:
        await _end(running.values())
        with contextlib.suppress(stores.Unavailable, TimeoutError):  # they run out
            async with asyncio.timeout(END_SECONDS):
                await records.release_leases(holder)


async def _rest(running: Collection[asyncio.Task[None]], seconds: float) -> None:
    """None of them ends by itself; one that broke says how."""
    if not running:
        return await asyncio.sleep(seconds)
    ended, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        await task


async def _end(running: Collection[asyncio.Task[None]]) -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
