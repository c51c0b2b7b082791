"""What one client, one address and all together may use.

Owns: the numbers, with their reasons, and the counters of connections, of bytes in flight and of messages per minute.
Leaves to others: what is said to a client that passes one.
"""

from __future__ import annotations

import resource
from collections import Counter, OrderedDict

MAX_CONNECTIONS = 1000  # a connection costs some 20 kB, with TLS 160; the file limit of the process may lower it
PER_ADDRESS = 200  # an office behind one address; a connection that waits costs others nothing
RESERVED_FILES = 48  # listeners, database, spool, logs, mailboxes

MAX_RECIPIENTS = 1000  # ten times what RFC 5321 4.5.3.1.8 asks for
MAX_LINE = 65_536  # octets; long lines are real mail, and ten times RFC 5321's limit is common
MAX_HOPS = 50  # Received fields, RFC 5321 6.3 asks for at least 100 or a configured limit: loops end sooner
MAX_HEADER = 1 << 20  # octets that are searched for Received fields

COMMAND_TIMEOUT = 300.0  # seconds without a whole command, RFC 5321 4.5.3.2.7
STRANGER_TIMEOUT = 60.0  # the same for those who may not submit yet
BLOCK_TIMEOUT = 180.0  # seconds without a byte of DATA, RFC 5321 4.5.3.2.5
SLOW_START = 120.0  # seconds that a message may take whatever its size …
SLOWEST = 1_000  # … and octets per second beyond that: slower is no line but a held place
WITHOUT_MESSAGE = 1800.0  # seconds a session may last without a message
STRANGER_STAY = 180.0  # the same for those who may not submit yet: a login comes at once
HANDSHAKE_TIMEOUT = 30.0  # seconds for TLS
SAY_SECONDS = 60.0  # between two lines about clients that are turned away; a metric counts them all
LAST_CALL = 5.0  # seconds that a message may still take to arrive once the service stops

MAX_ERRORS = 20  # refused commands in a row of one session, between two accepted messages
MAX_IDLE_COMMANDS = 200  # commands other than MAIL, RCPT and DATA between two messages
STRANGER_TALK = 20  # the same for those who may not submit yet
IN_FLIGHT = 1 << 30  # octets of messages being received or delivered; beyond it 452 and the client tries again


def connections() -> int:
    """How many connections there may be: each may need a second file, the one to the upstream. Lifts the soft limit
    of open files towards the hard one first: the usual 1,024 would do for 488."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + RESERVED_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return (
        MAX_CONNECTIONS
        if soft == resource.RLIM_INFINITY
        else max(4, min(MAX_CONNECTIONS, (soft - RESERVED_FILES) // 2))
    )


class Places:
    """Counts connections, in all and per address. Loopback is bounded by the whole alone."""

    def __init__(self, total: int, each: int = PER_ADDRESS) -> None:
        self.total, self.each = total, each
        self.taken = 0
        self.by_address: Counter[str] = Counter()

    def take(self, address: str, *, loopback: bool) -> str | None:
        """None and a place is taken, or why not."""
        if self.taken >= self.total:
            return "4.3.2 Too many connections, try again later"
        if not loopback and self.by_address[address] >= self.each:
            return "4.7.0 Too many connections from your address, try again later"
        self.taken += 1
        self.by_address[address] += 1
        return None

    def leave(self, address: str) -> None:
        self.taken -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]


class Flight:
    """Octets of the messages that are being received or delivered."""

    def __init__(self, limit: int = IN_FLIGHT) -> None:
        self.limit, self.used = limit, 0

    def room(self, octets: int) -> bool:
        return self.used + octets <= self.limit

    def add(self, octets: int) -> None:
        self.used += octets


class Rates:
    """Messages per minute of each client: a bucket that holds `each` and fills evenly. `each` 0 is no limit."""

    MOST = 10_000  # clients that are remembered

    def __init__(self, each: int) -> None:
        self.each = each
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> what is left, when that was

    def take(self, client: str, now: float) -> bool:
        """May this client begin another message? `now` is a monotonic time in seconds."""
        if not self.each:
            return True
        left, at = self._buckets.pop(client, (float(self.each), now))
        left = min(float(self.each), left + (now - at) * self.each / 60)
        self._buckets[client] = (left - 1, now) if left >= 1 else (left, now)
        while len(self._buckets) > self.MOST:  # the one that was quiet for longest: its bucket is the fullest
            self._buckets.popitem(last=False)
        return left >= 1
