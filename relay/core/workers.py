"""Which processes a service has, and when one that died starts again.

Owns: how many there are, which roles each has, the pauses. Leaves to others: the processes themselves (`workers`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

DIVIDED = ("smtp", "http")  # the roles that several processes can have
MAIN = "main"  # the process of all others
MAX = 64  # processes of a role

STEADY = 60.0  # seconds that a process lives at least, where its death is one by itself
FIRST_PAUSE = 1.0  # seconds
MAX_PAUSE = 60.0


class Part(NamedTuple):
    """A process of the service. The one that `leads` does what the service does once. `slot` is its number, from 0."""

    name: str
    roles: frozenset[str]
    slot: int
    leads: bool


def count(wanted: int | Literal["auto"], processors: int) -> int:
    return min(MAX, processors) if wanted == "auto" else wanted


def parts(roles: Collection[str], counts: dict[str, int]) -> tuple[Part, ...]:
    """What `roles` come to, with so many processes of smtp and http; one part where one process does. A role of one
    process has no process of its own: it is with the rest."""
    divided = [role for role in DIVIDED if role in roles and counts.get(role, 1) > 1]
    rest = frozenset(roles) - set(divided)
    named = [(MAIN, rest)] if rest else []
    for role in divided:
        named += [(f"{role}-{number}", frozenset({role})) for number in range(1, counts[role] + 1)]
    return tuple(Part(name, own, slot, slot == 0) for slot, (name, own) in enumerate(named))


def pause(short: int, lived: float) -> tuple[int, float]:
    """After a death: how many lives in a row were short now, of which there were `short` before, and how long to wait. One
    that dies is replaced at once; one that dies again and again waits twice as long each time."""
    short = 1 if lived >= STEADY else short + 1
    if short == 1:
        return short, 0.0
    return short, min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(short - 2, 16))
