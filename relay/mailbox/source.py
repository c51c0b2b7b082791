"""A mailbox as its watcher sees it, whichever way it is read.

Owns: what can be asked of a mailbox (`Source`), what comes out of it, the two ways in which it fails, the times.
Leaves to others: how it is read (`imap`, `maildir`), what a message means (`reading`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from relay.store import Cursor

LONGEST_HEADERS = 131_072  # octets that are fetched of a header section
LONGEST_MESSAGE = 1_048_576  # octets that are fetched of a message whose body is needed


class LoginRefused(Exception):
    """The mailbox does not let us in: wrong credentials, no such folder, no right to read it. Its text says where and
    why, without a secret."""


class CredentialsRefused(LoginRefused):
    """The login itself was refused for good."""


class Unreachable(Exception):
    """No connection, or one that broke, or a server that does not do it now. Its text says where and why."""


class Crowded(Unreachable):
    """The server has too many connections of this account."""


class Unfetched(Unreachable):
    """One message could not be fetched; the next connection tries it on its own."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `connect` is for a connection, `answer` for each piece of a server's answer, `whole_answer` for all of
    it. `idle` is the range from which the length of an IDLE is drawn: routers on the way forget a silent connection
    within minutes, servers may hang up after 30 (RFC 2177 3). A first connection later than `late`
    looks back for what arrived meanwhile. `broken` are the pauses after a connection that failed or broke, `refused`
    those after a refusal: asked too often, providers lock an account. `unfetched` are those before a message is tried
    again, `noisy` those after word of nothing new, again and again. Where waiting for word, or as many connections as
    there are folders, went wrong, a mailbox is looked at from time to time for as long as `visits`. `leases` are between two
    times that the mailboxes' leases are taken."""

    connect: float = 30.0
    answer: float = 60.0
    whole_answer: float = 300.0
    idle: tuple[float, float] = (240.0, 290.0)
    late: float = 60.0
    broken: tuple[float, ...] = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
    unfetched: tuple[float, ...] = (2.0, 4.0, 8.0)
    noisy: tuple[float, ...] = (0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
    visits: float = 3600.0
    leases: float = 10.0
    refused: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)


async def unknown() -> frozenset[str] | None:
    return None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One message: its header section (and perhaps more), where the mailbox stands once it is dealt with, when it
    arrived (Unix seconds, 0.0 where that is not known), the way to its whole, as far as it is read, and to the content types
    of its parts (None where they are not known for less than the whole)."""

    head: bytes
    cursor: Cursor
    arrived: float
    whole: Callable[[], Awaitable[bytes]]
    kinds: Callable[[], Awaitable[frozenset[str] | None]] = unknown


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A message that could not be read, on several connections on which others could. `cursor` is behind it."""

    uid: int
    reason: str
    cursor: Cursor


class Source(Protocol):
    """A mailbox that can be read. `name` is its key in the store. Whatever was held is let go at the end, and both
    methods raise `LoginRefused` or `Unreachable`."""

    name: str

    def messages(self, cursor: Cursor | None, since: float) -> AsyncGenerator[Fetched | PassedOver | Cursor, None]:
        """Endless: opens the mailbox, gives what came after the cursor, oldest first, and then waits for more. A cursor
        says that all there is was given, and where the mailbox stands while it is waited on. Without one it begins at
        the present, and that was `since` (Unix seconds)."""
        ...

    async def probe(self) -> str:
        """Opens the mailbox as `messages` does and leaves it: a sentence on what was found."""
        ...
