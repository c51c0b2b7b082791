"""What a store over a SQL database does for webhooks: endpoints, and what they are owed.

Owns: which program is whose, and what is done in several transactions. Leaves to others: the programs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from relay.core.model import Delivery, Endpoint, EndpointStatus, Notice, Settlement
from relay.store import Backlog, Notification, NotificationState, decisions
from relay.store.contract import NONE
from relay.store.sql import endpoints, events, lists, notices, outbox
from relay.store.sql.running import Running


class Webhooks(Running):
    """See `relay.store.contract.Store`."""

    # -- endpoints -----------------------------------------------------------------------------------------------------

    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None:
        await self.write(endpoints.sync, configured)

    async def endpoints(self) -> list[Endpoint]:
        return await self.read(endpoints.listed)

    async def add_endpoint(self, endpoint: Endpoint) -> None:
        await self.write(endpoints.add, endpoint)

    async def update_endpoint(self, endpoint: Endpoint) -> bool:
        return await self.write(endpoints.update, endpoint)

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        removed = await self.write(endpoints.remove, endpoint_id)
        while removed and (await self.write(outbox.forgive, endpoint_id)) > 0:
            pass
        return removed

    async def set_endpoint_status(
        self,
        endpoint_id: str,
        status: EndpointStatus,
        at: float,
        *,
        was: Sequence[EndpointStatus] = (),
        error: str = "",
        since: float = 0.0,
    ) -> bool:
        error = decisions.mended(error)
        return await self.write(endpoints.set_status, endpoint_id, status, at, was, error, since)

    async def notices(self) -> list[Notice]:
        return await self.read(notices.listed)

    async def hand_notice(self, notice_id: str, entry: str) -> bool:
        return await self.write(notices.hand, notice_id, entry)

    async def remove_notice(self, notice_id: str) -> None:
        await self.write(notices.remove, notice_id)

    # -- the outbox ----------------------------------------------------------------------------------------------------

    async def claim_due(
        self, now: float, *, busy: Mapping[str, int] = NONE, each: int = 50, limit: int = 50
    ) -> list[Delivery]:
        return await self.write(outbox.claim, now, busy, each, limit)

    async def settle(self, delivery_id: int, settlement: Settlement, claim: int = 0) -> None:
        await self._bulk(outbox.Settle(delivery_id, settlement, claim))

    async def hasten(self, after: float, seconds: float) -> None:
        """In steps: very many may wait, and others write in between."""
        for endpoint_id in await self.read(outbox.owed_to):
            last = 0
            while some := await self.read(outbox.waiting, endpoint_id, last):
                last = some[-1][0]
                if late := [number for number, at in some if at > after]:
                    await self.write(outbox.hasten, late, after, seconds)

    async def next_due(self) -> float | None:
        return await self.read(outbox.next_due)

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
        which = outbox.Which(
            decisions.chosen_endpoints(endpoint_id, endpoint_ids), state, event_id, message_id, before or outbox.LAST
        )
        return await self.read(outbox.newest, which, limit)

    async def notification(self, delivery_id: int) -> Notification | None:
        return await self.read(outbox.one, delivery_id)

    async def backlog(self) -> list[Backlog]:
        return await self.read(outbox.backlog)

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
        count = await self._renew_dead(endpoint_id, now) if dead else 0
        count += await self.write(outbox.renew_these, delivery_ids, endpoint_id, now)
        some = await self.read(events.chosen, event_ids)
        count += await self.write(outbox.renew_of, some, endpoint_id, now)
        if since is not None:
            count += await self._renew_since(since, endpoint_id, now, set(event_ids))
        return count

    async def _renew_dead(self, endpoint_id: str, now: float) -> int:
        count = 0
        for one in [endpoint_id] if endpoint_id else await self.read(outbox.owed_to):
            last, renewed = 0, 1
            while renewed:
                renewed, last = await self.write(outbox.renew_dead, one, last, now)
                count += renewed
        return count

    async def _renew_since(self, since: float, endpoint_id: str, now: float, had: Collection[str]) -> int:
        """Of what was there when it began: what comes meanwhile is owed anyway."""
        count, last, behind = 0, await self.read(events.last), (since, 0)
        while found := await self.read(events.following, behind, outbox.STEP):
            some = [event for event in found if event.position <= last]
            if not some:
                break
            some = [event for event in some if event.event_id not in had]
            count += await self.write(outbox.renew_of, some, endpoint_id, now)
            behind = lists.mark(found[-1])
        return count
