"""What the store in memory keeps, as dictionaries, and what every subject reads of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.core import counts, crowds, floods, tally
from relay.core.model import Endpoint, Event, Notice, Sent
from relay.core.nodes import Node
from relay.core.suppressions import Erasure, Suppression
from relay.store import ApiKey, Cursor, Draft, Notification, Request, Schedule
from relay.store.lists import Answer


@dataclass(slots=True)
class Message:
    """A message's own, also of one that was never recorded."""

    sent: Sent | None = None
    facts: tally.Facts = field(default_factory=tally.Facts)
    events: list[Event] = field(default_factory=list)


class Tables:
    """State only: each subject that follows adds its part of `relay.store.contract.Store`."""

    def __init__(self, *, limits: floods.Limits = floods.LIMITS, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self._messages: dict[str, Message] = defaultdict(Message)
        self._identifiers: dict[str, set[str]] = defaultdict(set)
        self._events: list[Event] = []  # by position
        self._by_id: dict[str, tuple[Event, Mapping[int, int]]] = {}  # with the clicks per link
        self._crowd = crowds.Crowd()
        self._digest: Callable[[str], str] | None = None
        self._position = 0
        self._counts: counts.Totals = {}
        self._seen: dict[str, dict[int, counts.Seen]] = defaultdict(dict)
        self._upto: str | None = None  # see sqlite.counts
        self._cursors: dict[str, Cursor] = {}
        self._leases: dict[str, tuple[str, float]] = {}  # holder, until
        self._nodes: dict[tuple[str, tuple[str, ...]], Node] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._notices: dict[str, Notice] = {}
        self._notifications: dict[int, Notification] = {}
        self._turns: dict[int, float] = {}  # per notification
        self._delivery_id = 0
        self._keys: dict[str, ApiKey] = {}
        self._drafts: dict[str, Draft] = {}
        self._schedules: dict[str, Schedule] = {}
        self._requests: dict[str, Request] = {}
        self._contents: dict[str, list[bytes]] = {}
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._suppressions: dict[tuple[str, str, str], Suppression] = {}  # digest, grant_id, reason
        self._erasures: dict[str, Erasure] = {}
        self._answers: dict[tuple[str, str], Answer] = {}

    def _sent(self, message_id: str) -> Sent | None:
        return self._messages[message_id].sent if message_id in self._messages else None
