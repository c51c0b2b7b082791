"""The columns of each table, once: from them come the lists of names in statements, and values become rows and back.

Owns: which column holds which field of a value, and how it is spelled there. Leaves to others: the tables themselves (the
engines' migrations; a test compares), and everything of an engine: a field is text, a number or JSON as text here.

A new column is one line here and one step among the migrations of each engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import astuple

from relay.core.model import Endpoint, Event, Notice, Sent, SentCopy
from relay.core.nodes import Node
from relay.core.suppressions import Erasure, Suppression
from relay.store import ApiKey, Attempt, Cursor, Draft, Notification, Request, Schedule, packing
from relay.store.lists import Answer

T = TypeVar("T")
Row = Sequence[Any]
Convert = Callable[[Any], Any]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Column(NamedTuple):
    """`field` is the value's, where it has another name than the column."""

    name: str
    write: Convert | None = None
    read: Convert | None = None
    field: str = ""


def json(value: object) -> str:
    return _encode(value).decode()


def plain(*names: str) -> list[Column]:
    return [Column(name) for name in names]


def flags(*names: str) -> list[Column]:
    return [Column(name, None, bool) for name in names]


def lists(*names: str) -> list[Column]:
    return [
        Column(name, lambda value: json(value) if value else "[]", lambda text: tuple(_decode(text))) for name in names
    ]


def objects(*names: str) -> list[Column]:
    return [Column(name, lambda value: json(value) if value else "{}", _decode) for name in names]


def sparse(*names: str) -> list[Column]:
    """Objects that are empty mostly: no text then."""
    return [
        Column(n, lambda value: json(value) if value else "", lambda text: _decode(text) if text else {}) for n in names
    ]


def attempts(text: str) -> tuple[Attempt, ...]:
    return tuple(Attempt(*one) for one in _decode(text)) if text else ()


def attempts_text(attempts: Sequence[Attempt]) -> str:
    return json([(a.at, a.status, a.error, a.milliseconds) for a in attempts]) if attempts else ""


class Table(Generic[T]):
    """The table `name`, a row of which is a value of `made`. `columns` stand in the order of its fields; the first one
    is never NULL. `beside` are columns that the value has not, `flags` those that are true or false."""

    def __init__(
        self, name: str, made: Callable[..., T], columns: Sequence[Column], beside: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.columns = (*(column.name for column in columns), *beside)
        self.flags = frozenset(column.name for column in columns if column.read is bool)
        self._own = len(columns)
        self._made = made
        self._fields = [column.field or column.name for column in columns]
        self._writes = [(at, column.write) for at, column in enumerate(columns) if column.write]
        self._reads = [(at, column.read) for at, column in enumerate(columns) if column.read]
        # Where the columns are just the fields, an event is made, and taken apart, in a fifth of the time.
        self._exact = self._fields == fields(made)
        self._get: Callable[[Any], tuple[Any, ...]] = (
            astuple if self._exact and hasattr(made, "__struct_fields__") else attrgetter(*self._fields)
        )

    def names(self, of: str = "", *, beside: bool = False) -> str:
        """The columns of the value for a statement, or all; as those of the table that is called `of` there."""
        found = self.columns if beside else self.columns[: self._own]
        return ", ".join(f'{of}."{name}"' if of else f'"{name}"' for name in found)

    def row(self, value: T, *beside: object) -> list[Any]:
        """In the order of all the columns."""
        found = list(self._get(value))
        found += beside
        for at, write in self._writes:
            found[at] = write(found[at])
        return found

    def value(self, row: Row, **elsewhere: object) -> T:
        """Of the columns of the value, in order; `elsewhere` are the fields that are kept in other tables."""
        found = list(row)
        for at, read in self._reads:
            found[at] = read(found[at])
        if self._exact:
            return self._made(*found)
        return self._made(**dict(zip(self._fields, found, strict=True)), **elsewhere)


def fields(made: Any) -> list[str]:
    return (
        [f.name for f in dataclasses.fields(made)] if dataclasses.is_dataclass(made) else list(made.__struct_fields__)
    )


MESSAGES = Table(
    "messages",
    Sent,
    [
        *plain("message_id", "grant_id", "internet_message_id", "submitted_at", "sender", "reverse_path"),
        *lists("to", "cc"),
        *plain("subject", "label"),
        *objects("metadata"),
        *plain("submitter_ip", "size"),
        *flags("opens", "links_tracked", "thread_replies"),
        *plain("reason"),
        Column("links", packing.links, packing.read_links),
        *lists("references"),
        *plain("thread_id"),
        Column("explanation", packing.explanation, packing.read_explanation),
        *plain("login", "queue_id", "daemon"),
    ],
    beside=("sender_domain",),
)
# `position` among the message's copies, `at` its `submitted_at`; `sole` is false where several share `idx`, the recipient index of their tokens.
COPIES = Table(
    "copies",
    SentCopy,
    [
        *plain("recipient"),
        Column("idx", field="index"),
        *flags("tracked"),
        *plain("reason", "state", "reply", "upstream_id"),
        *flags("thread_replies"),
    ],
    beside=("message_id", "position", "sole", "at"),
)
# `link_counts`: of a counted click the clicks so far per link, as JSON.
EVENTS = Table(
    "events",
    Event,
    [
        *plain("event_id", "type", "message_id", "at", "recipient_index", "recipient", "link_index", "url", "method"),
        *plain("ip", "user_agent", "referer", "verdict", "reason"),
        *sparse("data"),
        *plain("grant_id", "sequence"),
        *flags("counted"),
        *plain("ordinal", "position", "first_verdict", "changed_at"),
    ],
    beside=("link_counts",),
)
CURSORS = Table(
    "cursors", Cursor, [*plain("mailbox", "uidvalidity", "uid"), *lists("seen"), *plain("at"), *lists("passed")]
)
ENDPOINTS = Table(
    "endpoints",
    Endpoint,
    [
        *plain("endpoint_id", "url"),
        *lists("triggers"),
        *plain("secret"),
        *lists("verdicts"),
        *plain("format", "source", "status", "registry", "grant_id", "description"),
        *lists("notify"),
        *flags("compressed"),
        *plain("created_at", "updated_at", "status_updated_at", "previous_secret", "rotated_at", "settle"),
    ],
)
# `position` is that of the event, which has `event_id` and `message_id`; `turn` is what the first attempts queue by.
DELIVERIES = Table(
    "deliveries",
    Notification,
    [
        *plain("delivery_id", "endpoint_id", "trigger", "state", "attempt", "first_at", "next_at", "settled_at"),
        *plain("status", "error"),
        Column("attempts", attempts_text, attempts),
    ],
    beside=("position", "turn"),
)
API_KEYS = Table(
    "api_keys",
    ApiKey,
    [*plain("name", "digest"), *lists("scopes"), *plain("grant", "created_at", "last_used_at")],
)
DRAFTS = Table("drafts", Draft, [*plain("draft_id", "grant_id", "created_at", "updated_at"), *objects("fields")])
SCHEDULES = Table(
    "schedules",
    Schedule,
    [
        *plain("schedule_id", "grant_id", "message_id", "send_at", "created_at"),
        *objects("fields"),
        *plain("state", "next_at", "attempt", "closed_at", "error", "handed", "holder"),
    ],
)
NOTICES = Table(
    "notices",
    Notice,
    [
        *plain("notice_id", "endpoint_id", "status", "at", "since", "error"),
        *lists("to"),
        *plain("url", "description", "registry", "entry"),
    ],
)
REQUESTS = Table("requests", Request, plain("request_key", "digest", "message_id", "at", "state", "answer"))
ANSWERS = Table(
    "answers",
    Answer,
    [
        *plain(
            "answer_id", "grant_id", "message_id", "thread_id", "at", "internet_message_id", "sender", "sender_name"
        ),
        *lists("to", "cc"),
        *plain("subject", "date"),
        *lists("references"),
        *plain("excerpt", "size"),
        *flags("automatic"),
    ],
)
NODES = Table(
    "nodes",
    Node,
    [
        *plain("name"),
        *lists("roles"),
        *plain("process", "version", "started_at", "at", "queue", "oldest"),
        *objects("keys"),
        *plain("signs"),
        *objects("endpoints"),
        *flags("stopped"),
    ],
)
SUPPRESSIONS = Table(
    "suppressions",
    Suppression,
    plain("digest", "grant_id", "reason", "recipient", "since", "source", "event_id", "note"),
)
ERASURES = Table("erasures", Erasure, plain("digest", "recipient", "at", "message_id"))
ALL: tuple[Table[Any], ...] = (
    MESSAGES, COPIES, EVENTS, CURSORS, ENDPOINTS, DELIVERIES, API_KEYS, DRAFTS, SCHEDULES,
    REQUESTS, ANSWERS, NOTICES, NODES, SUPPRESSIONS, ERASURES,
)  # fmt: skip
