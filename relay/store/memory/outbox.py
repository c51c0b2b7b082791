"""What is owed to endpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from relay.core import tally
from relay.core.model import Delivery, Event, Settlement
from relay.store import Backlog, Notification, NotificationState, decisions
from relay.store.contract import NONE
from relay.store.memory.endpoints import Endpoints


class Outbox(Endpoints):
    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        due = [n for n in self._notifications.values() if n.state == "pending" and n.next_at <= now]
        fresh = sorted((n for n in due if not n.attempt), key=lambda n: (self._turns[n.delivery_id], n.delivery_id))
        again = sorted((n for n in due if n.attempt), key=lambda n: (n.next_at, n.delivery_id))
        lanes = [
            decisions.turns(
                [[n for n in queue if n.endpoint_id == e.endpoint_id] for queue in (fresh, again)],
                decisions.room(e.endpoint_id, busy, each, limit),
            )
            for e in self._live()
        ]
        found = [decisions.claimed(n) for n in decisions.turns(lanes, limit)]
        for delivery in found:
            self._change(delivery.delivery_id, attempt=delivery.attempt, next_at=now + decisions.LEASE)
        return found

    async def settle(self, delivery_id: int, settlement: Settlement, claim: int = 0) -> None:
        if n := self._notifications.get(delivery_id):
            overtaken = decisions.overtaken(settlement, claim, n.state, n.attempt)
            stays = {name: getattr(n, name) for name in decisions.settled(settlement)} if overtaken else {}
            self._change(delivery_id, **decisions.settled(settlement, n.attempts, stays))

    async def hasten(self, after: float, seconds: float) -> None:
        for n in self._notifications.values():
            if n.state == "pending" and n.next_at > after:
                self._change(n.delivery_id, next_at=max(after, n.next_at - seconds))

    async def next_due(self) -> float | None:
        live = {e.endpoint_id for e in self._live()}
        waiting = [n.next_at for n in self._notifications.values() if n.state == "pending" and n.endpoint_id in live]
        return min(waiting, default=None)

    async def notifications(
        self,
        *,
        endpoint_id: str = "",
        endpoint_ids: Sequence[str] | None = None,
        state: NotificationState | Literal[""] = "",
        event_id: str = "",
        message_id: str = "",
        before: int = 0,
        limit: int = 100,
    ) -> list[Notification]:
        chosen = decisions.chosen_endpoints(endpoint_id, endpoint_ids)
        return [
            n
            for n in reversed(self._notifications.values())
            if (chosen is None or n.endpoint_id in chosen)
            and state in ("", n.state)
            and event_id in ("", n.event_id)
            and message_id in ("", n.message_id)
            and (not before or n.delivery_id < before)
        ][:limit]

    async def notification(self, delivery_id: int) -> Notification | None:
        return self._notifications.get(delivery_id)

    async def backlog(self) -> list[Backlog]:
        found = []
        for endpoint_id in sorted({n.endpoint_id for n in self._notifications.values()}):
            own = [n for n in self._notifications.values() if n.endpoint_id == endpoint_id]
            number = {state: sum(n.state == state for n in own) for state in ("pending", "delivered", "dead")}
            oldest = min((n.first_at for n in own if n.state == "pending"), default=0.0)
            found.append(Backlog(endpoint_id, **number, oldest=oldest))
        return found

    async def replay(
        self,
        now: float,
        *,
        event_ids: Sequence[str] = (),
        delivery_ids: Sequence[int] = (),
        since: float | None = None,
        dead: bool = False,
        endpoint_id: str = "",
    ) -> int:
        again = [n for n in self._notifications.values() if dead and n.state == "dead"]
        again = [n for n in again if endpoint_id in ("", n.endpoint_id)]
        turns: dict[str, dict[int, float]] = defaultdict(dict)
        for n in again:
            index = self._by_id[n.event_id][0].recipient_index
            self._renew(n.delivery_id, now, decisions.turn(turns[n.message_id], index, now))
        these = [self._notifications[i] for i in dict.fromkeys(delivery_ids) if i in self._notifications]
        these = [n for n in these if endpoint_id in ("", n.endpoint_id)]
        for n in these:
            self._renew(n.delivery_id, now, now)
        count = len(again) + len(these)
        live = [e for e in self._live() if endpoint_id in ("", e.endpoint_id)]
        chosen = [e for e in self._events if e.event_id in event_ids or (since is not None and e.at >= since)]
        for owed in decisions.owed(live, chosen, defaultdict(tally.Facts), now):
            count += 1
            key = (owed[0].event_id, *owed[1:3])
            known = [n for n in self._notifications.values() if (n.event_id, n.endpoint_id, n.trigger) == key]
            if known:
                self._renew(known[0].delivery_id, now, owed[3])
            else:
                self._owe(owed, now)
        return count

    def _owe(self, owed: decisions.Owed, now: float) -> None:
        self._delivery_id += 1
        event, endpoint_id, trigger, self._turns[self._delivery_id], settle = owed
        self._notifications[self._delivery_id] = Notification(
            self._delivery_id, event.event_id, event.message_id, endpoint_id, trigger, "pending", 0, now, now + settle
        )

    def _cancel(self, event: Event, endpoint_id: str, trigger: str) -> None:
        """If it still waits."""
        for n in list(self._notifications.values()):
            key = (n.event_id, n.endpoint_id, n.trigger, n.state, n.attempt)
            if key == (event.event_id, endpoint_id, trigger, "pending", 0):
                del self._notifications[n.delivery_id]

    def _renew(self, delivery_id: int, now: float, turn: float) -> None:
        fields = decisions.renewed(now, turn)
        self._turns[delivery_id] = fields.pop("turn")
        self._change(delivery_id, **fields)

    def _change(self, delivery_id: int, **fields: object) -> None:
        self._notifications[delivery_id] = replace(self._notifications[delivery_id], **fields)  # type: ignore[arg-type]
