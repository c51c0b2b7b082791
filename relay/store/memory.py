"""The store in memory: for tests, and for a demonstration that leaves nothing behind.

Owns: the same rules as the SQLite store, in dictionaries. Leaves to others: being there tomorrow.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from relay.core import payload, tally
from relay.core.model import Delivery, Endpoint, Event, History, Sent, Settlement
from relay.store import (
    BARE_ID,
    LEASE,
    NONE,
    RECENTS,
    ApiKey,
    Backlog,
    Cursor,
    Notification,
    NotificationState,
    Unavailable,
    UpstreamReply,
)

LIVE = ("active", "failing")


@dataclass(slots=True)
class Message:
    """A message's own, also of one that was never recorded."""

    sent: Sent | None = None
    facts: tally.Facts = field(default_factory=tally.Facts)
    events: list[Event] = field(default_factory=list)


class Memory:
    """See `relay.store.Store`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._messages: dict[str, Message] = defaultdict(Message)
        self._identifiers: dict[str, set[str]] = defaultdict(set)
        self._events: list[Event] = []
        self._by_id: dict[str, Event] = {}
        self._cursors: dict[str, Cursor] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._notifications: list[Notification] = []
        self._keys: dict[str, ApiKey] = {}

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    # -- mail ----------------------------------------------------------------------------------------------------------

    async def record_sent(self, sent: Sent) -> None:
        earlier = self._named(sent.references)
        known = self._messages[earlier].sent if earlier else None
        thread_id = sent.thread_id or (known.thread_id if known else "") or sent.message_id
        self._messages[sent.message_id].sent = sent.with_(thread_id=thread_id)
        for identifier in {sent.internet_message_id, *(c.upstream_id for c in sent.copies)} - {""}:
            self._identifiers[identifier].add(sent.message_id)

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        for reply in replies:
            message = self._messages[reply.message_id]
            if message.sent is None:
                continue
            copies = [
                c.with_(state=reply.state, reply=reply.reply, upstream_id=reply.upstream_id or c.upstream_id)
                if c.recipient in reply.recipients
                else c
                for c in message.sent.copies
            ]
            message.sent = message.sent.with_(copies=tuple(copies))
            if reply.upstream_id:
                self._identifiers[reply.upstream_id].add(reply.message_id)

    async def sent(self, message_id: str) -> Sent | None:
        return self._messages[message_id].sent if message_id in self._messages else None

    async def find_sent(self, internet_ids: Sequence[str]) -> Sent | None:
        return await self.sent(self._named(internet_ids))

    def _named(self, internet_ids: Sequence[str]) -> str:
        for identifier in internet_ids:
            local = identifier.partition("@")[0]
            names = {identifier, local if len(local) >= BARE_ID else identifier}
            if found := set().union(*(self._identifiers[name] for name in names if name in self._identifiers)):
                return max(found)
        return ""

    async def recent_sent(self, limit: int = 50, before: float | None = None) -> list[Sent]:
        found = [m.sent for m in self._messages.values() if m.sent and (before is None or m.sent.submitted_at < before)]
        return sorted(found, key=lambda s: (s.submitted_at, s.message_id), reverse=True)[:limit]

    # -- events --------------------------------------------------------------------------------------------------------

    async def append(self, event: Event, cursor: Cursor | None = None) -> Event | None:
        if cursor is not None:
            self._cursors[cursor.mailbox] = cursor
        if event.event_id in self._by_id:
            return None
        message = self._messages[event.message_id]
        done = tally.complete(event, message.facts, origin(message.sent, event), len(self._events) + 1)
        self._events.append(done)
        self._by_id[done.event_id] = done
        message.events.append(done)
        for endpoint in self._live():
            for trigger in payload.triggers(endpoint, done):
                self._owe(done, endpoint, trigger, self._clock())
        return done

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
        found = [
            e
            for e in self._events[after:]
            if message_id in ("", e.message_id) and (not types or e.type in types) and grant_id in ("", e.grant_id)
        ]
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def history(self, event_id: str) -> History | None:
        event = self._by_id.get(event_id)
        if event is None:
            return None
        message = self._messages[event.message_id]
        counted = [e for e in message.events if e.counted and e.type == event.type and e.position <= event.position]
        counts: tuple[int, ...] = ()
        if event.type == "message.link_clicked":
            links = max(len(message.sent.links) if message.sent else 0, event.link_index + 1)
            counts = tuple(sum(e.link_index == link for e in counted) for link in range(links))
        first = counted[0].at if counted else 0.0
        return History(event, message.sent, tuple(counted[-RECENTS:]), counts, first)

    async def cursor(self, mailbox: str) -> Cursor | None:
        return self._cursors.get(mailbox)

    async def save_cursor(self, cursor: Cursor) -> None:
        self._cursors[cursor.mailbox] = cursor

    # -- webhooks ------------------------------------------------------------------------------------------------------

    async def sync_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        configured = {e.endpoint_id for e in endpoints}
        for old in list(self._endpoints.values()):
            if old.source == "config" and old.endpoint_id not in configured:
                self._endpoints[old.endpoint_id] = replace(old, status="gone")
        for endpoint in endpoints:
            new = replace(endpoint, source="config", secret="")
            known = self._endpoints.get(endpoint.endpoint_id)
            if known and known.status != "gone" and replace(known, status="active") == replace(new, status="active"):
                continue
            self._endpoints[endpoint.endpoint_id] = new

    async def endpoints(self) -> list[Endpoint]:
        return sorted(self._endpoints.values(), key=lambda e: e.endpoint_id)

    async def set_endpoint_status(self, endpoint_id: str, status: str) -> None:
        if endpoint_id in self._endpoints:
            self._endpoints[endpoint_id] = replace(self._endpoints[endpoint_id], status=status)  # type: ignore[arg-type]

    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        due = sorted(
            (x for x in self._notifications if x.state == "pending" and x.next_at <= now),
            key=lambda x: (x.next_at, x.delivery_id),
        )
        lanes = [
            [x for x in due if x.endpoint_id == e.endpoint_id][: max(0, each - busy.get(e.endpoint_id, 0))]
            for e in self._live()
        ]
        found = [x for turn in zip_longest(*lanes) for x in turn if x is not None][:limit]
        for x in found:
            self._notifications[x.delivery_id - 1] = replace(x, attempt=x.attempt + 1, next_at=now + LEASE)
        return [Delivery(x.delivery_id, x.event_id, x.endpoint_id, x.attempt + 1, x.first_at, x.trigger) for x in found]

    async def settle(self, delivery_id: int, settlement: Settlement) -> None:
        s = settlement
        self._notifications[delivery_id - 1] = replace(
            self._notifications[delivery_id - 1],
            state="pending" if s.state == "retry" else s.state,
            next_at=s.next_at,
            settled_at=s.at,
            status=s.status,
            error=s.error,
        )

    async def hasten(self, after: float, seconds: float) -> None:
        for i, x in enumerate(self._notifications):
            if x.state == "pending" and x.next_at > after:
                self._notifications[i] = replace(x, next_at=max(after, x.next_at - seconds))

    async def next_due(self) -> float | None:
        live = {e.endpoint_id for e in self._live()}
        return min(
            (x.next_at for x in self._notifications if x.state == "pending" and x.endpoint_id in live), default=None
        )

    async def notifications(
        self, *, endpoint_id: str = "", state: NotificationState | Literal[""] = "", limit: int = 100
    ) -> list[Notification]:
        found = [x for x in self._notifications if endpoint_id in ("", x.endpoint_id) and state in ("", x.state)]
        return found[::-1][:limit]

    async def backlog(self) -> list[Backlog]:
        found = []
        for endpoint_id in sorted({x.endpoint_id for x in self._notifications}):
            own = [x for x in self._notifications if x.endpoint_id == endpoint_id]
            number = {state: sum(x.state == state for x in own) for state in ("pending", "delivered", "dead")}
            oldest = min((x.first_at for x in own if x.state == "pending"), default=0.0)
            found.append(Backlog(endpoint_id, **number, oldest=oldest))
        return found

    async def replay(
        self,
        now: float,
        *,
        event_ids: Sequence[str] = (),
        since: float | None = None,
        dead: bool = False,
        endpoint_id: str = "",
    ) -> int:
        count = 0
        for x in self._notifications:
            if dead and x.state == "dead" and endpoint_id in ("", x.endpoint_id):
                self._again(x, now)
                count += 1
        for event in self._events:
            if event.event_id in event_ids or (since is not None and event.at >= since):
                count += self._owed_again(event, endpoint_id, now)
        return count

    def _owed_again(self, event: Event, endpoint_id: str, now: float) -> int:
        count = 0
        for endpoint in self._live():
            if endpoint_id not in ("", endpoint.endpoint_id):
                continue
            for trigger in payload.triggers(endpoint, event):
                count += 1
                key = (event.event_id, endpoint.endpoint_id, trigger)
                known = [x for x in self._notifications if (x.event_id, x.endpoint_id, x.trigger) == key]
                if known:
                    self._again(known[0], now)
                else:
                    self._owe(event, endpoint, trigger, now)
        return count

    def _live(self) -> list[Endpoint]:
        return [e for e in self._endpoints.values() if e.status in LIVE]

    def _owe(self, event: Event, endpoint: Endpoint, trigger: str, now: float) -> None:
        number, message_id = len(self._notifications) + 1, event.message_id
        self._notifications.append(
            Notification(
                number, event.event_id, message_id, endpoint.endpoint_id, trigger, "pending", 0, now, now, 0.0, 0, ""
            )
        )

    def _again(self, x: Notification, now: float) -> None:
        self._notifications[x.delivery_id - 1] = replace(
            x, state="pending", attempt=0, next_at=now, settled_at=0.0, status=0, error=""
        )

    # -- keys of the API -----------------------------------------------------------------------------------------------

    async def add_api_key(self, key: ApiKey) -> None:
        if key.name in self._keys:
            raise ValueError(f"a key named {key.name} exists")
        self._keys[key.name] = key

    async def api_keys(self) -> list[ApiKey]:
        return sorted(self._keys.values(), key=lambda k: (k.created_at, k.name))

    async def find_api_key(self, digest: str) -> ApiKey | None:
        return next((k for k in self._keys.values() if k.digest == digest), None)

    async def revoke_api_key(self, name: str) -> bool:
        return self._keys.pop(name, None) is not None

    # -- the whole -----------------------------------------------------------------------------------------------------

    async def backup(self, path: Path) -> None:
        raise Unavailable("a store in memory has no backup")

    async def check(self) -> None: ...


def origin(sent: Sent | None, event: Event) -> tally.Origin:
    if sent is None:
        return tally.UNKNOWN
    sharing = [c.recipient for c in sent.copies if c.index == event.recipient_index]
    recipient = sharing[0] if len(sharing) == 1 else ""
    return tally.Origin(sent.grant_id, sent.submitted_at, sent.submitter_ip, recipient)
