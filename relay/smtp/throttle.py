"""How fast logins may be tried.

Owns: the counts of failed logins per client's network, per login and per both, the growing pause, the lock; the budget of
all together where an upstream is asked, and which logins are known to be good. Pure but for its
clock, an argument. Who has logged in from an address before is locked out there by failures of that login alone:
otherwise a stranger could shut a user out by guessing, and one user of a webmail all others. What is being tried counts
as failed until it is known: guesses made at the same time are no more than guesses made in turn.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from relay.core import networks

MEMORY = 900.0  # seconds after its last failure that a key is remembered


class Guesses(NamedTuple):
    """Failures after which a login is not tried, and what each costs until then."""

    pair: int  # of one login from one address
    address: int  # from one address, of whatever logins
    login: int  # of one login, from wherever
    first_pause: float = 0.25  # seconds before the answer to the first failure, doubled with each
    longest_pause: float = 8.0


HERE = Guesses(10, 30, 30)  # where nobody but us counts
ELSEWHERE = Guesses(5, 15, 8)  # below the ten at which providers lock an account: a stranger must not lock a user's
MAX_KEYS = 20_000  # remembered at most; the oldest go first

Key = tuple[str | None, str | None]  # address and login, None for any


class Throttle:
    """`clock` gives monotonic seconds; at most `keys` are remembered of each kind."""

    def __init__(self, clock: Callable[[], float], allowed: Guesses = HERE, *, keys: int = MAX_KEYS) -> None:
        self._clock, self._allowed, self._keys = clock, allowed, keys
        self._trying: Counter[Key] = Counter()
        self._failures: OrderedDict[Key, tuple[int, float]] = OrderedDict()
        self._friends: OrderedDict[Key, None] = OrderedDict()

    def locked(self, address: IPv4Address | IPv6Address | None, login: str) -> bool:
        return self._over(self._count, address, login)

    def full(self, address: IPv4Address | IPv6Address | None, login: str) -> bool:
        """Would it be locked if all failed that is being tried? Then it has to wait for that."""
        return self._over(lambda key: self._count(key) + self._trying[key], address, login)

    def _over(self, count: Callable[[Key], int], address: IPv4Address | IPv6Address | None, login: str) -> bool:
        place, name, pair = keys_of(address, login)
        if count(pair) >= self._allowed.pair:
            return True
        return pair not in self._friends and (
            count(place) >= self._allowed.address or count(name) >= self._allowed.login
        )

    @contextmanager
    def trying(self, address: IPv4Address | IPv6Address | None, login: str) -> Iterator[None]:
        """While a login is checked."""
        mine = keys_of(address, login)
        self._trying.update(mine)
        try:
            yield
        finally:
            self._trying.subtract(mine)
            for key in mine:
                if not self._trying[key]:
                    del self._trying[key]

    def failed(self, address: IPv4Address | IPv6Address | None, login: str) -> float:
        """Counts a failure; the seconds to wait before the client hears of it."""
        now = self._clock()
        counts = []
        for key in keys_of(address, login):
            count = self._count(key) + 1
            self._failures[key] = (count, now)
            self._failures.move_to_end(key)
            counts.append(count)
        self._trim(self._failures)
        return float(min(self._allowed.first_pause * 2 ** min(max(counts) - 1, 10), self._allowed.longest_pause))

    def passed(self, address: IPv4Address | IPv6Address | None, login: str) -> None:
        """Forgets the login's failures. The address' stay: its owner may have one good login and guess at others."""
        _, name, pair = keys_of(address, login)
        self._failures.pop(name, None)
        self._failures.pop(pair, None)
        self._friends[pair] = None
        self._friends.move_to_end(pair)
        self._trim(self._friends)

    def _trim(self, table: OrderedDict[Key, Any]) -> None:
        while len(table) > self._keys:
            table.popitem(last=False)

    def _count(self, key: Key) -> int:
        count, last = self._failures.get(key, (0, 0.0))
        return count if count and self._clock() - last < MEMORY else 0


class Budget:
    """Failed logins per hour over all clients, where somebody else counts them too: a bucket that holds `each` and fills
    evenly; 0 is no limit. What is being tried counts as failed until it is known. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], each: int) -> None:
        self._clock, self._each = clock, each
        self._left, self._at, self._trying = float(each), clock(), 0

    def _now(self) -> float:
        now = self._clock()
        self._left = min(float(self._each), self._left + (now - self._at) * self._each / 3600)
        self._at = now
        return self._left

    @property
    def spent(self) -> bool:
        return bool(self._each) and self._now() < 1

    @property
    def full(self) -> bool:
        """Would it be spent if all failed that is being tried?"""
        return bool(self._each) and self._now() - self._trying < 1

    @contextmanager
    def trying(self) -> Iterator[None]:
        self._trying += 1
        try:
            yield
        finally:
            self._trying -= 1

    def failed(self) -> None:
        if self._each:
            self._left = self._now() - 1


class Known:
    """Logins with the password that was good last, as digests by a key of this process. At most `keys`; the oldest go."""

    def __init__(self, *, keys: int = MAX_KEYS) -> None:
        self._secret, self._keys = secrets.token_bytes(32), keys
        self._digests: OrderedDict[str, bytes] = OrderedDict()

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._secret, password.encode("utf-8", "surrogatepass"), "sha256")

    def add(self, login: str, password: str) -> None:
        self._digests[login] = self._digest(password)
        self._digests.move_to_end(login)
        while len(self._digests) > self._keys:
            self._digests.popitem(last=False)

    def remove(self, login: str) -> None:
        self._digests.pop(login, None)

    def has(self, login: str, password: str) -> bool:
        return hmac.compare_digest(self._digests.get(login, b""), self._digest(password))


def keys_of(address: IPv4Address | IPv6Address | None, login: str) -> tuple[Key, Key, Key]:
    """Of the client's network, the login, and both. To many servers a login is the same in capitals."""
    name, place = spelt(login), networks.client(address)
    return (place, None), (None, name), (place, name)


def spelt(login: str) -> str:
    """A login in the one spelling by which it is counted."""
    return login.strip().casefold()
