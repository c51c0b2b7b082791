"""How fast logins may be tried.

Owns: the counts of failed logins per address, per login and per both, the growing pause, the lock. Pure but for its
clock, an argument. Who has logged in from an address before is locked out there by failures of that login alone:
otherwise a stranger could shut a user out by guessing, and one user of a webmail all others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

MEMORY = 900.0  # seconds after its last failure that a key is remembered
LOCK_PAIR = 10  # failures of one login from one address after which it is not tried from there
LOCK_ADDRESS = 30  # failures from one address, of whatever logins
LOCK_LOGIN = 30  # failures of one login, from wherever
FIRST_PAUSE = 0.25  # seconds before the answer to the first failure, doubled with each
LONGEST_PAUSE = 8.0
MAX_KEYS = 20_000  # remembered at most; the oldest go first


Key = tuple[str | None, str | None]  # address and login, None for any


class Throttle:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[Key, tuple[int, float]] = OrderedDict()
        self._friends: OrderedDict[Key, None] = OrderedDict()

    def locked(self, address: IPv4Address | IPv6Address | None, login: str) -> bool:
        place, name, pair = keys(address, login)
        if self._count(pair) >= LOCK_PAIR:
            return True
        return pair not in self._friends and (self._count(place) >= LOCK_ADDRESS or self._count(name) >= LOCK_LOGIN)

    def failed(self, address: IPv4Address | IPv6Address | None, login: str) -> float:
        """Counts a failure; the seconds to wait before the client hears of it."""
        now = self._clock()
        counts = []
        for key in keys(address, login):
            count = self._count(key) + 1
            self._failures[key] = (count, now)
            self._failures.move_to_end(key)
            counts.append(count)
        trim(self._failures)
        return float(min(FIRST_PAUSE * 2 ** min(max(counts) - 1, 10), LONGEST_PAUSE))

    def passed(self, address: IPv4Address | IPv6Address | None, login: str) -> None:
        """Forgets the login's failures. The address' stay: its owner may have one good login and guess at others."""
        _, name, pair = keys(address, login)
        self._failures.pop(name, None)
        self._failures.pop(pair, None)
        self._friends[pair] = None
        self._friends.move_to_end(pair)
        trim(self._friends)

    def _count(self, key: Key) -> int:
        count, last = self._failures.get(key, (0, 0.0))
        return count if count and self._clock() - last < MEMORY else 0


def keys(address: IPv4Address | IPv6Address | None, login: str) -> tuple[Key, Key, Key]:
    """Of the address, the login, and both. One customer has a whole IPv6 /64."""
    six = isinstance(address, IPv6Address)
    place = str(IPv6Network((address, 64), strict=False)) if six else str(address)
    return (place, None), (None, login), (place, login)


def trim(table: OrderedDict[Key, Any]) -> None:
    while len(table) > MAX_KEYS:
        table.popitem(last=False)
