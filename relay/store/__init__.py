"""What the program remembers: the values that go in and out beside those of `core.model`, and `open`, which chooses an
engine by URL.

Owns: these values, the errors, the URLs. Leaves to others: what an engine promises (`contract`), what all of them decide
alike (`decisions`), how a value is spelled in columns (`tables`), keeping it (`memory`; `sql` and below it `sqlite`). Nothing outside this
package knows which engine it has. A caller declares a Protocol of the few methods that it calls.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from relay.core import floods
from relay.core.model import Value
from relay.core.suppressions import Suppression
from relay.store import locator

if TYPE_CHECKING:
    from relay.core.nodes import Roll
    from relay.store.contract import Store

POSTGRESQL = ("postgresql:", "postgres:")
SQLITE = re.compile(r"sqlite:((?!//)[^?#]+|///[^?#]+)")


class Unavailable(Exception):
    """The store can't take this now: locked, full, gone. Nothing was done. Its text says why."""


class Migrating(Unavailable):
    """The store is being brought up to date for this program, which takes minutes where it holds very much."""

    def __init__(self) -> None:
        super().__init__("the database is being brought up to date for this version")


class Newer(Unavailable):
    """The store was written by a newer program. Its text says so; the program must not start."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a mailbox was read. `mailbox` names it (grant id and URL without secrets)."""

    mailbox: str
    uidvalidity: int = 0
    uid: int = 0  # the highest one seen; of a Maildir: a time
    seen: tuple[str, ...] = ()  # file names of a Maildir
    at: float = 0.0  # Unix seconds: what arrived before was dealt with; 0.0 where that is not known
    passed: tuple[str, ...] = ()  # the last messages that could not be read, a sentence each
    holder: str = ""  # who moves it: see `Store.take_leases`. Not kept


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


class Attempt(Value, frozen=True):
    """One attempt at a notification: when it ended, the HTTP status (0 for none), what was wrong, how long it took."""

    at: float
    status: int
    error: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of the outbox as it stands. `status` is the last attempt's HTTP status (0 for none). `attempts` are those
    that were made, oldest first, the last `decisions.ATTEMPTS` of them, also from before it was replayed."""

    delivery_id: int
    event_id: str
    message_id: str
    endpoint_id: str
    trigger: str
    state: NotificationState
    attempt: int
    first_at: float
    next_at: float
    settled_at: float = 0.0
    status: int = 0
    error: str = ""
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """How one endpoint stands: what waits (and since when: `oldest`, 0 for nothing), what arrived, what is dead."""

    endpoint_id: str
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    oldest: float = 0.0


class Aggregate(Value, frozen=True):
    """The counters (`core.counts.COUNTERS`) of one period and one value of what was asked by. `at` is when the period
    begins, in Unix seconds."""

    at: int
    key: str
    counters: Mapping[str, int]


class Engagement(Value, frozen=True):
    """What one message's recipients did: of how many copies an open, a click by people is known; of how many others
    only one by machines; and how many these were."""

    opened: int = 0
    clicked: int = 0
    machine_opened: int = 0
    machine_clicked: int = 0
    opens: int = 0
    machine_opens: int = 0
    clicks: int = 0
    machine_clicks: int = 0


class Draft(Value, frozen=True):
    """A message that is being written. `draft_id` sorts by time. `fields` are those of the API's request, without the
    octets of its attachments."""

    draft_id: str
    grant_id: str
    created_at: float
    updated_at: float
    fields: Mapping[str, Any] = {}


ScheduleState = Literal["scheduled", "handed", "sent", "failed", "cancelled"]


class Schedule(Value, frozen=True):
    """A message to be sent at `send_at`, by then as `message_id`. `fields` is what is said of it; the envelope and the
    octets are kept as its contents. It is "scheduled", then "handed" over to the spool, then closed. `next_at` is when
    something is to be done about it, or when the lease of who does it ends; `attempt` counts the claims. `holder` is the
    node in whose spool it is once it was handed over; "" is any."""

    schedule_id: str
    grant_id: str
    message_id: str
    send_at: float
    created_at: float
    fields: Mapping[str, Any] = {}
    state: ScheduleState = "scheduled"
    next_at: float = 0.0
    attempt: int = 0
    closed_at: float = 0.0
    error: str = ""
    handed: int = 0  # the attempt that handed it over
    holder: str = ""


RequestState = Literal["begun", "kept", "answered"]


class Request(Value, frozen=True):
    """A call that its client may repeat without harm: `request_key` names client and call, `digest` is of what it asked
    for. `message_id` is the message's that it makes, from before that begins. "begun": it may have left, or not; "kept":
    the spool answers for it; "answered" with `answer`."""

    request_key: str
    digest: str
    message_id: str
    at: float
    state: RequestState = "begun"
    answer: str = ""


class PurgeMark(NamedTuple):
    """How far a purge has come: what it looks at, and behind what. An engine's own."""

    stage: int = 0
    after: str = ""


class Purged(NamedTuple):
    """What one step took away or cut, in rows by table, and where the next step begins; None where all is done."""

    rows: Mapping[str, int]
    next: PurgeMark | None


class PersonMark(NamedTuple):
    """How far a walk for one person has come: in which table, behind which key. An engine's own."""

    table: int = 0
    after: tuple[Any, ...] | None = None


class PersonRow(NamedTuple):
    """A row that names a person: its table, its key, its columns by name."""

    table: str
    key: tuple[Any, ...]
    row: Mapping[str, Any]


class PersonPage(NamedTuple):
    """Of `looked` rows of a table those that name the person; where the walk goes on, None at its end."""

    table: str
    found: Sequence[PersonRow]
    looked: int
    next: PersonMark | None


class Erased(NamedTuple):
    """What an erasure changed, in rows by table; what it left, and why: "" for nothing."""

    rows: Mapping[str, int]
    left: str = ""


def open(url: str, state_dir: Path, limits: floods.Limits = floods.LIMITS, *, password: str = "") -> Store:
    """The store at `url`: "sqlite:FILE" (relative to `state_dir`), "postgresql://…" or "memory:". Nothing is touched before
    `start`. `limits` says how many hits are kept. Raises ValueError, whose text says what `url` should be."""
    if url == "memory:":
        from relay.store.memory import Memory

        return Memory(limits=limits)
    if url.startswith(POSTGRESQL):
        from relay.store.postgres import Postgres

        return Postgres(locator.read(url), password, limits=limits)
    from relay.store.sqlite import Sqlite

    return Sqlite(sqlite_file(url, state_dir), limits=limits)


async def examine(url: str, state_dir: Path, password: str = "") -> str:
    """What a start would find, in a sentence. Only looks, also while a service is at work. Raises `Unavailable`, whose
    text says why a start would fail."""
    if url.startswith(POSTGRESQL):
        from relay.store.postgres import looking

        return await looking.examine(locator.read(url), password)
    from relay.store.sqlite import schema

    return schema.examine(sqlite_file(url, state_dir))


async def passed_over(url: str, state_dir: Path, mailbox: str, password: str = "") -> tuple[str, ...]:
    """What could not be read in that mailbox (`Cursor.passed`). Only looks, as `examine`; () where the file has no such
    thing yet. Raises `Unavailable`."""
    if url.startswith(POSTGRESQL):
        from relay.store.postgres import looking

        return await looking.passed_over(locator.read(url), mailbox, password)
    from relay.store.sqlite import schema

    return schema.passed_over(sqlite_file(url, state_dir), mailbox)


async def roll(url: str, state_dir: Path, password: str = "") -> Roll:
    """Who shares the store, as `Store.nodes`. Only looks, as `examine`; nobody where it has no such thing yet. Raises
    `Unavailable`."""
    if url.startswith(POSTGRESQL):
        from relay.store.postgres import looking

        return await looking.roll(locator.read(url), password)
    from relay.store.sqlite import schema

    return schema.roll(sqlite_file(url, state_dir))


async def suppressed(url: str, state_dir: Path, digests: Collection[str], password: str = "") -> Sequence[Suppression]:
    """The entries of these mailboxes. Only looks, as `passed_over`."""
    if url.startswith(POSTGRESQL):
        from relay.store.postgres import looking

        return await looking.suppressed(locator.read(url), digests, password)
    from relay.store.sqlite import schema

    return schema.suppressed(sqlite_file(url, state_dir), digests)


def sqlite_file(url: str, state_dir: Path) -> Path:
    if wrong := misspelled(url):
        raise ValueError(wrong)
    return state_dir / url.removeprefix("sqlite:").removeprefix("//")


def misspelled(url: str) -> str:
    """Why this is no URL of a store that outlives the process; "" where it is one."""
    if url.startswith(POSTGRESQL):
        try:
            locator.read(url)
        except ValueError as wrong:
            return str(wrong)
        return ""
    if not SQLITE.fullmatch(url):
        return (
            f'"{url[:60]}" is neither "sqlite:FILE", such as "sqlite:trackrelay.db" or "sqlite:/srv/relay.db", nor a '
            f"URL such as {locator.EXAMPLE}"
        )
    return ""
