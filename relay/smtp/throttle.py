"""How fast logins may be tried.

Owns: the counts of failed logins per address and per login, the growing pause, the lock. Pure but for its clock, an
argument. Failures per login lock nobody out who has logged in from the same address before: otherwise a stranger
could shut a user out by guessing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

MEMORY = 900.0  # seconds after its last failure that a key is remembered
LOCK_ADDRESS = 10  # failures from one address after which none of its logins is tried
LOCK_LOGIN = 30  # failures of one login, from wherever
FIRST_PAUSE = 0.25  # seconds before the answer to the first failure, doubled with each
LONGEST_PAUSE = 8.0
MAX_KEYS = 20_000  # remembered at most; the oldest go first


class Throttle:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._friends: OrderedDict[tuple[str, str], None] = OrderedDict()

    def locked(self, address: IPv4Address | IPv6Address | None, login: str) -> bool:
        place = network(address)
        if self._count("a " + place) >= LOCK_ADDRESS:
            return True
        return self._count("l " + login) >= LOCK_LOGIN and (place, login) not in self._friends

    def failed(self, address: IPv4Address | IPv6Address | None, login: str) -> float:
        """Counts a failure; the seconds to wait before the client hears of it."""
        now = self._clock()
        counts = []
        for key in ("a " + network(address), "l " + login):
            count = self._count(key) + 1
            self._failures[key] = (count, now)
            self._failures.move_to_end(key)
            counts.append(count)
        trim(self._failures)
        return float(min(FIRST_PAUSE * 2 ** min(max(counts) - 1, 10), LONGEST_PAUSE))

    def passed(self, address: IPv4Address | IPv6Address | None, login: str) -> None:
        """Forgets the login's failures. The address' stay: its owner may have one good login and guess at others."""
        self._failures.pop("l " + login, None)
        self._friends[network(address), login] = None
        self._friends.move_to_end((network(address), login))
        trim(self._friends)

    def _count(self, key: str) -> int:
        count, last = self._failures.get(key, (0, 0.0))
        return count if count and self._clock() - last < MEMORY else 0


def network(address: IPv4Address | IPv6Address | None) -> str:
    """One customer has a whole IPv6 /64."""
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def trim(table: OrderedDict[str, tuple[int, float]] | OrderedDict[tuple[str, str], None]) -> None:
    while len(table) > MAX_KEYS:
        table.popitem(last=False)
