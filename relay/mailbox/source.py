"""What travels inside the mailbox room: a message that was fetched, and the two ways in which a mailbox fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay.store import Cursor

LONGEST_HEADERS = 131_072  # octets that are fetched of a header section
LONGEST_MESSAGE = 1_048_576  # octets that are fetched of a message whose body is needed


class Refused(Exception):
    """The mailbox does not let us in: wrong credentials, no such folder. Its text says why, without a secret."""


class Unreachable(Exception):
    """No connection, or one that broke. Its text says why."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One message: its header section (and perhaps more), where the mailbox stands once it is dealt with, when it
    arrived (Unix seconds, 0.0 where that is not known), and the way to its whole, as far as it is read."""

    head: bytes
    cursor: Cursor
    arrived: float
    whole: Callable[[], Awaitable[bytes]]
