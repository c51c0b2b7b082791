"""Messages that are sent later."""

from __future__ import annotations

from collections.abc import Sequence

from relay.store import Schedule, decisions
from relay.store.memory.tables import Tables


class Schedules(Tables):
    async def add_schedule(self, schedule: Schedule, contents: Sequence[bytes]) -> bool:
        if schedule.schedule_id in self._schedules:
            return False
        self._schedules[schedule.schedule_id] = schedule.with_(next_at=schedule.send_at)
        self._contents[schedule.schedule_id] = list(contents)
        return True

    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None:
        found = self._schedules.get(schedule_id)
        return found if found and found.grant_id == grant_id else None

    async def schedules(self, grant_id: str, limit: int = 50, before: str = "") -> list[Schedule]:
        own = [s for s in self._schedules.values() if s.grant_id == grant_id]
        own = [s for s in own if not before or s.schedule_id < before]
        return sorted(own, key=lambda s: s.schedule_id, reverse=True)[:limit]

    async def cancel_schedule(self, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
        found = await self.schedule(grant_id, schedule_id)
        if not found or not decisions.cancellable(found, now, notice):
            return False
        return await self.settle_schedule(found.with_(state="cancelled", closed_at=now))

    async def claim_schedules(self, now: float, limit: int = 10, holder: str = "") -> list[Schedule]:
        ours = [s for s in self._open() if s.state == "scheduled" or s.holder in ("", holder)]
        waiting = sorted(ours, key=lambda s: (s.next_at, s.schedule_id))
        found = [decisions.leased(s, now) for s in waiting if decisions.due(s, now)][:limit]
        self._schedules |= {s.schedule_id: s for s in found}
        return found

    async def settle_schedule(self, schedule: Schedule) -> bool:
        known = self._schedules.get(schedule.schedule_id)
        if not known or known.attempt != schedule.attempt or known.state not in decisions.OPEN:
            return False
        self._schedules[schedule.schedule_id] = schedule.with_(fields=known.fields)
        if schedule.state != "scheduled":
            self._contents.pop(schedule.schedule_id, None)
        return True

    async def next_schedule(self) -> float | None:
        return min((s.next_at for s in self._open()), default=None)

    def _open(self) -> list[Schedule]:
        return [s for s in self._schedules.values() if s.state in decisions.OPEN]
