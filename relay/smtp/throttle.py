"""How fast logins may be tried.

Owns: the counts of failed logins per client's network, per login and per both, the growing pause, the lock; the budget of
all together where an upstream is asked, and which logins are known to be good. Pure but for its
clock, an argument. Who has logged in from an address before is locked out there by failures of that login alone:
otherwise a stranger could shut a user out by guessing, and one user of a webmail all others. What is being tried counts
as failed until it is known: guesses made at the same time are no more than guesses made in turn. All of it holds for the
service, whichever of its processes a client comes to.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from relay.core import networks
from relay.workers import sharing

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
ALL = "*"  # who is tried at all, beside the keys of `keys_of`


class Throttle:
    """`clock` gives monotonic seconds."""

    def __init__(
        self, clock: Callable[[], float], allowed: Guesses = HERE, service: sharing.Shared = sharing.ALONE
    ) -> None:
        self._clock, self._allowed = clock, allowed
        self._trying: Counter[str] = Counter()
        self._tried = service.held("smtp.trying")
        self._failures, self._friends = service.latest("smtp.failures"), service.latest("smtp.friends")

    def locked(self, address: IPv4Address | IPv6Address | None, login: str) -> bool:
        return self._over(self._count, address, login)

    def full(self, address: IPv4Address | IPv6Address | None, login: str) -> bool:
        """Would it be locked if all failed that is being tried? Then it has to wait for that."""
        return self._over(lambda key: self._count(key) + self._trying[key] + self._tried.others(key), address, login)

    def _over(self, count: Callable[[str], int], address: IPv4Address | IPv6Address | None, login: str) -> bool:
        place, name, pair = keys_of(address, login)
        if count(pair) >= self._allowed.pair:
            return True
        over = count(place) >= self._allowed.address or count(name) >= self._allowed.login
        return over and self._friends.get(pair) is None

    @contextmanager
    def trying(self, address: IPv4Address | IPv6Address | None, login: str) -> Iterator[None]:
        """While a login is checked."""
        mine = keys_of(address, login)
        self._trying.update(mine)
        self._say(mine)
        try:
            yield
        finally:
            self._trying.subtract(mine)
            self._say(mine)
            for key in mine:
                if not self._trying[key]:
                    del self._trying[key]

    def _say(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            self._tried.hold(key, self._trying[key])

    def failed(self, address: IPv4Address | IPv6Address | None, login: str) -> float:
        """Counts a failure; the seconds to wait before the client hears of it."""
        now = self._clock()
        counts = []
        for key in keys_of(address, login):
            count = self._count(key) + 1
            self._failures.put(key, count, now)
            counts.append(count)
        return float(min(self._allowed.first_pause * 2 ** min(max(counts) - 1, 10), self._allowed.longest_pause))

    def passed(self, address: IPv4Address | IPv6Address | None, login: str) -> None:
        """Forgets the login's failures. The address' stay: its owner may have one good login and guess at others."""
        _, name, pair = keys_of(address, login)
        now = self._clock()
        for key in (name, pair):
            if self._failures.get(key) is not None:
                self._failures.put(key, 0, now)
        self._friends.put(pair, 1, now)

    def _count(self, key: str) -> int:
        told = self._failures.get(key)
        return int(told.value) if told and self._clock() - told.at < MEMORY else 0


class Budget:
    """Failed logins per hour over all clients, where somebody else counts them too: a bucket that holds `each` and drains
    evenly; 0 is no limit. What is being tried counts as failed until it is known. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], each: int, service: sharing.Shared = sharing.ALONE) -> None:
        self._clock, self._each = clock, each
        self._failed, self._trying = service.latest("smtp.budget"), 0
        self._tried = service.held("smtp.trying")

    def _left(self) -> float:
        told = self._failed.get(ALL)
        if told is None:
            return float(self._each)
        drained = max(0.0, self._clock() - told.at) * self._each / 3600
        return self._each - max(0.0, told.value - drained)

    @property
    def spent(self) -> bool:
        return bool(self._each) and self._left() < 1

    @property
    def full(self) -> bool:
        """Would it be spent if all failed that is being tried?"""
        return bool(self._each) and self._left() - self._trying - self._tried.others(ALL) < 1

    @contextmanager
    def trying(self) -> Iterator[None]:
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self._trying += more
        self._tried.hold(ALL, self._trying)

    def failed(self) -> None:
        if self._each:
            self._failed.put(ALL, self._each - self._left() + 1, self._clock())


class Known:
    """Logins with the password that was good last, as 48 bits of a digest by the service's own secret: who guesses them
    finds out whether a password is asked for while others have spent the budget, and nothing else."""

    def __init__(self, clock: Callable[[], float], service: sharing.Shared = sharing.ALONE) -> None:
        self._clock, self._secret, self._digests = clock, service.secret, service.latest("smtp.known")

    def _digest(self, login: str, password: str) -> int:
        text = f"{len(login)} {login}{password}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.digest(self._secret, text, "sha256")[:6], "big")

    def add(self, login: str, password: str) -> None:
        self._digests.put(login, self._digest(login, password), self._clock())

    def remove(self, login: str) -> None:
        self._digests.put(login, -1, self._clock())

    def has(self, login: str, password: str) -> bool:
        told = self._digests.get(login)
        return told is not None and told.value == self._digest(login, password)


def keys_of(address: IPv4Address | IPv6Address | None, login: str) -> tuple[str, str, str]:
    """Of the client's network, the login, and both. To many servers a login is the same in capitals."""
    name, place = spelt(login), networks.client(address)
    return f"from {place}", f"as {name}", f"from {place} as {name}"


def spelt(login: str) -> str:
    """A login in the one spelling by which it is counted."""
    return login.strip().casefold()
