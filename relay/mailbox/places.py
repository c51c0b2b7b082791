"""Who holds a connection, and who is looked at in turn, where there are more mailboxes than connections.

Owns: that decision, for all mailboxes and for those of one account, and the turns. Leaves to others: connections
(`session`), how a mailbox is waited on (`imap`).

Those that come first hold one each. The rest share a tenth of the places: each is opened, looked at and left. An account
whose server says that it has too many connections is looked at in turn for a while, one folder after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

SHARE = 10  # of so many places, one is for turns


@dataclass(slots=True)
class Account:
    """`until`: its folders are looked at in turn until then, in Unix seconds."""

    held: int = 0
    until: float = 0.0
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


class Places:
    """`mailboxes` is how many there will be."""

    def __init__(self, mailboxes: int = 1, connections: int = 1, per_account: int = 1) -> None:
        self.turns = max(1, connections // SHARE)
        self.free = connections if mailboxes <= connections else connections - self.turns
        self.per_account = per_account
        self.pool = asyncio.Semaphore(self.turns)
        self.accounts: dict[tuple[str, str], Account] = {}

    def place(self, server: str, user: str) -> Place:
        account = self.accounts.setdefault((server, user), Account())
        holds = self.free > 0 and account.held < self.per_account
        if holds:
            self.free -= 1
            account.held += 1
        return Place(self.pool, account, holds)


@dataclass(frozen=True, slots=True)
class Place:
    """One mailbox's."""

    pool: asyncio.Semaphore
    account: Account
    holds: bool

    def visiting(self, now: float) -> bool:
        return not self.holds or now < self.account.until

    def crowded(self, until: float) -> None:
        self.account.until = until

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self.account.turn, self.pool:
            yield
