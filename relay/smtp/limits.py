"""What one client, one address and all together may use.

Owns: the numbers, with their reasons, and the counters of connections, of bytes in flight and of messages per minute. They
hold for the service: what its other processes have counts too (`workers.board`).
Leaves to others: what is said to a client that passes one.
"""

from __future__ import annotations

import resource
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.workers import sharing

MAX_CONNECTIONS = 1000  # a connection costs some 8 kB, with TLS 52; the file limit of the process may lower it
RESERVED_FILES = 48  # listeners, database, spool, logs, mailboxes
MAX_LINE = 65_536  # octets; long lines are real mail, and ten times RFC 5321's limit is common
MAX_HOPS = 50  # Received fields, RFC 5321 6.3 asks for at least 100 or a configured limit: loops end sooner
MAX_UNKNOWN = 5  # commands of a session that there are not: then it ends
MAX_HEADER = 1 << 20  # octets that are searched for Received fields
STOPPING = "4.3.2 This server is stopping, try again later"


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients are held to. A stranger is who may not submit yet. Times are seconds."""

    connections: int = MAX_CONNECTIONS
    per_address: int = 200  # an office behind one address; a connection that waits costs others nothing
    recipients: int = 1000  # ten times what RFC 5321 4.5.3.1.8 asks for
    in_flight: int = 1_000_000_000  # octets of messages being received or delivered; the settings' `max_in_flight`

    command_seconds: float = 300.0  # without a whole command, RFC 5321 4.5.3.2.7
    stranger_command_seconds: float = 60.0
    block_seconds: float = 180.0  # without a byte of DATA, RFC 5321 4.5.3.2.5
    slow_start: float = 120.0  # that a message may take whatever its size …
    slowest: int = 1_000  # … and octets per second beyond that: slower is no line but a held place
    session_seconds: float = 1800.0  # that a session may last without a message
    stranger_seconds: float = 180.0  # a login comes at once
    handshake_seconds: float = 30.0  # for TLS
    look_seconds: float = 5.0  # between two looks whether the logins of open sessions still stand
    last_call: float = 5.0  # that a message may still take to arrive once the service stops
    say_seconds: float = 60.0  # between two lines about clients that are turned away; a metric counts them all

    errors: int = 20  # refused commands in a row of one session, between two accepted messages
    idle_commands: int = 200  # commands other than MAIL, RCPT and DATA between two messages
    stranger_commands: int = 20


def connections(wished: int = MAX_CONNECTIONS) -> int:
    """How many connections there may be: each may need a second file, the one to the upstream. Lifts the soft limit
    of open files towards the hard one first: the usual 1,024 would do for 488."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * wished + RESERVED_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wished if soft == resource.RLIM_INFINITY else max(4, min(wished, (soft - RESERVED_FILES) // 2))


Holder = TypeVar("Holder")


class Places(Generic[Holder]):
    """Who is here: in all no more than `total`, and `each` per client's network (`networks.client`), of which none gets
    more than a fourth of all. Loopback is bounded by the whole alone."""

    def __init__(self, total: int, each: int, service: sharing.Shared = sharing.ALONE) -> None:
        self._total, self._each = total, min(each, max(1, total // 4))
        self._all, self._addresses = service.sum("smtp.connections"), service.held("smtp.addresses")
        self._holders: dict[Holder, str] = {}  # and their addresses
        self._by_address: Counter[str] = Counter()
        self._said = float("-inf")
        self.closed = False

    def __len__(self) -> int:
        return len(self._holders)

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._holders

    def __iter__(self) -> Iterator[Holder]:
        """Those who are here now; they may leave meanwhile."""
        return iter(tuple(self._holders))

    def take(self, holder: Holder, address: str, *, loopback: bool) -> str | None:
        """None and the place is taken, or why not."""
        if self.closed:
            return STOPPING
        if len(self._holders) + self._all.others() >= self._total:
            return "4.3.2 Too many connections, try again later"
        if not loopback and self._full(address):
            return "4.7.0 Too many connections from your address, try again later"
        self._add(holder, address)
        return None

    def move(self, holder: Holder, address: str, *, loopback: bool) -> str | None:
        """None and its place is counted at this address, or why not: then it stays as it was."""
        before = self._holders[holder]
        if address != before and not loopback and self._full(address):
            return "4.7.0 Too many connections from your address, try again later"
        self.leave(holder)
        self._add(holder, address)
        return None

    def leave(self, holder: Holder) -> bool:
        """False where it has none."""
        address = self._holders.pop(holder, None)
        if address is None:
            return False
        self._by_address[address] -= 1
        self._say(address)
        if not self._by_address[address]:
            del self._by_address[address]
        return True

    def _full(self, address: str) -> bool:
        mine = self._by_address[address]
        return mine >= self._each or mine + self._addresses.others(address) >= self._each

    def _add(self, holder: Holder, address: str) -> None:
        self._holders[holder] = address
        self._by_address[address] += 1
        self._say(address)

    def _say(self, address: str) -> None:
        self._all.hold(len(self._holders))
        self._addresses.hold(address, self._by_address[address])

    def close(self) -> None:
        """Nobody gets a place any more."""
        self.closed = True

    def worth_saying(self, now: float, seconds: float) -> bool:
        """Whether a line about a client that was turned away is due: there is one in so many seconds. They come and go
        while it is full, so there is no time of trouble that begins and ends."""
        due = now - self._said >= seconds
        if due:
            self._said = now
        return due


class Flight:
    """Octets of the messages that are being received or delivered."""

    def __init__(self, limit: int, service: sharing.Shared = sharing.ALONE) -> None:
        self._limit, self.used = limit, 0
        self._all = service.sum("smtp.in_flight")

    def room(self, octets: int = 0) -> bool:
        """For so many more?"""
        return self.used + octets + self._all.others() <= self._limit

    def add(self, octets: int) -> None:
        self.used += octets
        self._all.hold(self.used)


class Rates:
    """Messages per minute of each client: a bucket that holds `each` and drains evenly. `each` 0 is no limit."""

    def __init__(self, each: int, service: sharing.Shared = sharing.ALONE) -> None:
        self._each = each
        self._buckets = service.latest("smtp.rates")  # client -> what is in it

    def take(self, client: str, now: float) -> bool:
        """May this client begin another message? `now` is a monotonic time in seconds."""
        if not self._each:
            return True
        told = self._buckets.get(client)
        used = max(0.0, told.value - max(0.0, now - told.at) * self._each / 60) if told else 0.0
        allowed = used <= self._each - 1 + 1e-9
        # Also one that gets nothing: who is remembered are those that were heard of last.
        self._buckets.put(client, used + 1 if allowed else used, max(now, told.at) if told else now)
        return allowed


class Remembered:
    """Of which clients something was said already: the last `clients` of them."""

    def __init__(self, *, clients: int = 10_000) -> None:
        self._clients = clients
        self._known: OrderedDict[str, None] = OrderedDict()

    def add(self, client: str) -> bool:
        """Whether it is new."""
        new = client not in self._known
        self._known[client] = None
        self._known.move_to_end(client)
        while len(self._known) > self._clients:  # the one that was quiet for longest
            self._known.popitem(last=False)
        return new
