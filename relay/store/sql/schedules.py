"""The messages that are sent later. A lease is `next_at` moved ahead.

Owns: the statements about the table. Leaves to others: what is due and what may be cancelled (`decisions`), the octets
(`contents`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Sequence

from relay.store import Schedule, decisions
from relay.store.sql import contents
from relay.store.sql.program import Fixed, Program, added, along
from relay.store.tables import SCHEDULES

IS_OPEN = f"state IN ({', '.join(repr(state) for state in decisions.OPEN)})"
ADD = f"{added(SCHEDULES, 'DO NOTHING')} RETURNING 1"
ALL = f"SELECT {SCHEDULES.names()} FROM schedules"
ONE = f"{ALL} WHERE schedule_id = ? AND grant_id = ?"
OF_GRANT = [Fixed("grant_id", ":grant")]
NEWEST = along(ALL, OF_GRANT, {"schedule_id": ""})
OLDER = along(ALL, OF_GRANT, {"schedule_id": ":before"})
# Two statements, for each reads one end of the index. See `decisions.due`.
IS_OURS = "(state = 'scheduled' OR holder IN ('', ?))"
DUE = f"{ALL} WHERE {IS_OPEN} AND next_at <= ? AND {IS_OURS} ORDER BY next_at LIMIT ?"
ASTRAY = f"{ALL} WHERE {IS_OPEN} AND attempt > 0 AND next_at > ? AND {IS_OURS} ORDER BY next_at LIMIT ?"
RELEASE = f"UPDATE schedules SET holder = '' WHERE {IS_OPEN} AND next_at > 0 AND holder = ?"
LEASE = "UPDATE schedules SET attempt = ?, next_at = ? WHERE schedule_id = ?"
SETTLE = f"""
UPDATE schedules SET state = ?, next_at = ?, closed_at = ?, error = ?, handed = ?, holder = ?
WHERE schedule_id = ? AND attempt = ? AND {IS_OPEN} RETURNING 1
"""
NEXT_DUE = f"SELECT min(next_at) FROM schedules WHERE {IS_OPEN}"


def add(schedule: Schedule, octets: Sequence[bytes]) -> Program[bool]:
    if not (yield ADD, SCHEDULES.row(schedule.with_(next_at=schedule.send_at))):
        return False
    yield from contents.replace(schedule.schedule_id, octets)
    return True


def one(grant_id: str, schedule_id: str) -> Program[Schedule | None]:
    rows = yield ONE, (schedule_id, grant_id)
    return SCHEDULES.value(rows[0]) if rows else None


def listed(grant_id: str, limit: int, before: str) -> Program[list[Schedule]]:
    values = {"grant": grant_id, "limit": limit}
    rows = yield (OLDER, {**values, "before": before}) if before else (NEWEST, values)
    return list(map(SCHEDULES.value, rows))


def cancel(grant_id: str, schedule_id: str, now: float, notice: float) -> Program[bool]:
    found = yield from one(grant_id, schedule_id)
    if not found or not decisions.cancellable(found, now, notice):
        return False
    return (yield from settle(found.with_(state="cancelled", closed_at=now)))


def claim(now: float, limit: int, holder: str) -> Program[list[Schedule]]:
    due = yield DUE, (now, holder, limit)
    astray = yield ASTRAY, (now + decisions.LEASE, holder, limit - len(due))
    found = [decisions.leased(SCHEDULES.value(row), now) for row in (*due, *astray)]
    for schedule in found:
        yield LEASE, (schedule.attempt, schedule.next_at, schedule.schedule_id)
    return found


def settle(schedule: Schedule) -> Program[bool]:
    s = schedule
    if not (yield SETTLE, (s.state, s.next_at, s.closed_at, s.error, s.handed, s.holder, s.schedule_id, s.attempt)):
        return False
    if s.state != "scheduled":
        yield from contents.remove(s.schedule_id)
    return True


def release(holder: str) -> Program[None]:
    """That node will not come back: whoever has its spool now goes on."""
    yield RELEASE, (holder,)


def next_due() -> Program[float | None]:
    rows = yield NEXT_DUE, ()
    return None if rows[0][0] is None else float(rows[0][0])
