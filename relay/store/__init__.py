"""What the program remembers. This file is the interface; `sqlite` and `memory` implement it, one contract suite
(tests/store) runs over both. `open` chooses by URL.

A store never blocks the event loop. A method that raises `Unavailable` has done nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from relay.core.model import Delivery, Endpoint, Event, History, Sent, Settlement, Value

NONE: Mapping[str, int] = MappingProxyType({})
LEASE = 120.0  # seconds that a claimed delivery is nobody else's
RECENTS = 50  # events that a history holds at most
BARE_ID = 16  # characters from which an upstream's identifier without "@" may stand for any domain


class Unavailable(Exception):
    """The store can't take this now: locked, full, gone. Its text says why."""


class Newer(Unavailable):
    """The store was written by a newer program. Its text says so; the program must not start."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a mailbox was read. `mailbox` names it (grant id and URL without secrets)."""

    mailbox: str
    uidvalidity: int = 0
    uid: int = 0  # the highest one seen; of a Maildir: unused
    seen: tuple[str, ...] = ()  # file names of a Maildir


class UpstreamReply(Value, frozen=True):
    """The upstream's last reply for these envelope recipients of a submission. `upstream_id` is the message identifier
    that it named, without brackets, or ""."""

    message_id: str
    recipients: tuple[str, ...]
    state: Literal["pending", "done", "later", "never"]
    reply: str
    upstream_id: str = ""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the admin API. Only the SHA-256 of the key itself is kept (`digest`, lower-case hex)."""

    name: str
    digest: str = field(repr=False)
    scopes: tuple[str, ...]
    grant: str = ""  # "" is all grants
    created_at: float = 0.0
    last_used_at: float = 0.0


NotificationState = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of the outbox as it stands, for people. `status` is the last attempt's HTTP status (0 for none)."""

    delivery_id: int
    event_id: str
    message_id: str
    endpoint_id: str
    trigger: str
    state: NotificationState
    attempt: int
    first_at: float
    next_at: float
    settled_at: float
    status: int
    error: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How one endpoint stands: what waits (and since when: `oldest`, 0 for nothing), what arrived, what is dead."""

    endpoint_id: str
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    oldest: float = 0.0


class Store(Protocol):
    async def start(self) -> None:
        """Opens it, and brings an older one up to date. Raises `Newer`, or `Unavailable`: the store can be used all
        the same, each call tries again."""

    async def stop(self) -> None:
        """Commits what has queued and closes."""

    # -- mail
    async def record_sent(self, sent: Sent) -> None:
        """Durable when it returns. Finds `thread_id` through `sent.references`, or makes a new one."""

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        """What the upstream said, oldest first, all in one transaction. Replies on messages that are not there are left
        out."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def find_sent(self, internet_ids: Sequence[str]) -> Sent | None:
        """The message recorded under the first of these Message-IDs that is known: ours or the upstream's."""

    async def recent_sent(self, limit: int = 50, before: float | None = None) -> list[Sent]:
        """Newest first; `before` is a `submitted_at`."""

    # -- events
    async def append(self, event: Event, cursor: Cursor | None = None) -> Event | None:
        """In one transaction: the event as `core.tally` completes it, its outbox rows, the mailbox cursor. Durable
        when it returns. None where an event of that `event_id` is there already (the cursor is moved all the same)."""

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
        grant_id: str = "",
    ) -> list[Event]:
        """Those with `position` > `after`, ascending; with `newest` the last `limit` of them, still ascending."""

    async def history(self, event_id: str) -> History | None: ...
    async def cursor(self, mailbox: str) -> Cursor | None: ...
    async def save_cursor(self, cursor: Cursor) -> None: ...

    # -- webhooks
    async def sync_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Those of the configuration: others with source "config" become status "gone"."""

    async def endpoints(self) -> list[Endpoint]: ...
    async def set_endpoint_status(self, endpoint_id: str, status: str) -> None: ...
    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        """Due deliveries, at most `limit` and fairly over the endpoints; of one endpoint at most `each`, less what
        `busy` says that it has under way. Each attempt is counted and leased for LEASE in the same transaction: a
        process that dies gives it back by the clock."""

    async def settle(self, delivery_id: int, settlement: Settlement) -> None: ...
    async def next_due(self) -> float | None:
        """When the next delivery is due or a lease ends; None where nothing waits."""

    async def hasten(self, after: float, seconds: float) -> None:
        """What is due later than `after` is due `seconds` earlier, but not before `after`: the clock was set back."""

    async def notifications(
        self, *, endpoint_id: str = "", state: NotificationState | Literal[""] = "", limit: int = 100
    ) -> list[Notification]:
        """The newest of the outbox, newest first."""

    async def backlog(self) -> list[Backlog]: ...
    async def replay(
        self,
        now: float,
        *,
        event_ids: Sequence[str] = (),
        since: float | None = None,
        dead: bool = False,
        endpoint_id: str = "",
    ) -> int:
        """Makes due again, with the whole schedule before them: of these events, of all events since a time, or all
        dead ones; at one endpoint or all. An active endpoint that never was owed one of these events, but asks for
        such, gets it now. The number of notifications."""

    # -- keys of the API
    async def add_api_key(self, key: ApiKey) -> None: ...
    async def api_keys(self) -> list[ApiKey]: ...
    async def find_api_key(self, digest: str) -> ApiKey | None: ...
    async def revoke_api_key(self, name: str) -> bool: ...

    # -- the whole
    async def backup(self, path: Path) -> None:
        """A consistent copy, made while others write."""

    async def check(self) -> None:
        """Raises `Unavailable` where a write would fail now."""


def open(url: str, state_dir: Path) -> Store:
    """The store at `url`: "sqlite:PATH" (relative to `state_dir`) or "memory:". Nothing is touched before `start`."""
    scheme, _, rest = url.partition(":")
    match scheme:
        case "sqlite":
            from relay.store.sqlite import Sqlite

            return Sqlite(state_dir / (rest.removeprefix("//") or "trackrelay.db"))
        case "memory":
            from relay.store.memory import Memory

            return Memory()
    raise ValueError(f"store.url: {scheme}: is not a kind of store; sqlite:PATH is one")
