"""What a store over a SQL database does for the APIs: their keys, drafts, what is sent later, calls that may be repeated.

Owns: which program is whose. Leaves to others: the programs.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.store import ApiKey, Draft, Request, Schedule, decisions
from relay.store.sql import contents as octets
from relay.store.sql import drafts, keys, requests, schedules
from relay.store.sql.running import Running


class Calls(Running):
    """See `relay.store.contract.Store`."""

    # -- keys of the API -----------------------------------------------------------------------------------------------

    async def add_api_key(self, key: ApiKey) -> None:
        await self.write(keys.add, key)

    async def api_keys(self) -> list[ApiKey]:
        return await self.read(keys.listed)

    async def find_api_key(self, digest: str) -> ApiKey | None:
        return await self.read(keys.of_digest, digest)

    async def revoke_api_key(self, name: str) -> bool:
        return await self.write(keys.revoke, name)

    async def use_api_key(self, digest: str, at: float) -> None:
        await self.write(keys.use, digest, at)

    # -- drafts --------------------------------------------------------------------------------------------------------

    async def save_draft(self, draft: Draft, contents: Sequence[bytes] | None = None) -> bool:
        mended: Draft = decisions.mended(draft)
        return await self.write(drafts.save, mended, contents)

    async def draft(self, grant_id: str, draft_id: str) -> Draft | None:
        return await self.read(drafts.one, grant_id, draft_id)

    async def drafts(self, grant_id: str, limit: int = 50, before: str = "") -> list[Draft]:
        return await self.read(drafts.listed, grant_id, limit, before)

    async def contents(self, owner_id: str) -> list[bytes]:
        return await self.read(octets.of, owner_id)

    async def remove_draft(self, grant_id: str, draft_id: str) -> bool:
        return await self.write(drafts.remove, grant_id, draft_id)

    # -- messages that are sent later ----------------------------------------------------------------------------------

    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool:
        mended: Schedule = decisions.mended(schedule)
        return await self.write(schedules.add, mended, contents)

    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None:
        return await self.read(schedules.one, grant_id, schedule_id)

    async def schedules(self, grant_id: str, limit: int = 50, before: str = "") -> list[Schedule]:
        return await self.read(schedules.listed, grant_id, limit, before)

    async def cancel_schedule(self, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
        return await self.write(schedules.cancel, grant_id, schedule_id, now, notice)

    async def claim_schedules(self, now: float, limit: int = 10, holder: str = "") -> list[Schedule]:
        return await self.write(schedules.claim, now, limit, holder)

    async def settle_schedule(self, schedule: Schedule) -> bool:
        return await self.write(schedules.settle, decisions.mended(schedule))

    async def next_schedule(self) -> float | None:
        return await self.read(schedules.next_due)

    # -- calls that may be repeated ------------------------------------------------------------------------------------

    async def begin_request(self, request: Request, oldest: float) -> Request | None:
        mended: Request = decisions.mended(request)
        return await self.write(requests.begin, mended, oldest)

    async def settle_request(self, request: Request) -> None:
        mended: Request = decisions.mended(request)
        await self.write(requests.settle, mended)

    async def drop_request(self, request_key: str) -> None:
        await self.write(requests.drop, request_key)
