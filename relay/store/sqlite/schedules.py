"""The messages that are sent later, in SQLite. A lease is `next_at` moved ahead.

Owns: the statements about the table. Leaves to others: what is due and what may be cancelled (`decisions`), the octets
(`contents`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from relay.store import Schedule, decisions
from relay.store.sqlite import contents
from relay.store.tables import SCHEDULES

IS_OPEN = f"state IN ({', '.join(repr(state) for state in decisions.OPEN)})"
ADD = f"INSERT OR IGNORE INTO schedules ({SCHEDULES.names()}) VALUES ({', '.join('?' * len(SCHEDULES.columns))})"
ALL = f"SELECT {SCHEDULES.names()} FROM schedules"
ONE = f"{ALL} WHERE schedule_id = ? AND grant_id = ?"
NEWEST = f"{ALL} WHERE grant_id = ? ORDER BY schedule_id DESC LIMIT ?"
OLDER = f"{ALL} WHERE grant_id = ? AND schedule_id < ? ORDER BY schedule_id DESC LIMIT ?"
# Two statements, for each reads one end of the index. See `decisions.due`.
DUE = f"{ALL} WHERE {IS_OPEN} AND next_at <= ? ORDER BY next_at LIMIT ?"
ASTRAY = f"{ALL} WHERE {IS_OPEN} AND attempt > 0 AND next_at > ? ORDER BY next_at LIMIT ?"
LEASE = "UPDATE schedules SET attempt = ?, next_at = ? WHERE schedule_id = ?"
SETTLE = f"""
UPDATE schedules SET state = ?, next_at = ?, closed_at = ?, error = ?, handed = ?
WHERE schedule_id = ? AND attempt = ? AND {IS_OPEN}
"""
NEXT_DUE = f"SELECT min(next_at) FROM schedules WHERE {IS_OPEN}"


def add(db: sqlite3.Connection, schedule: Schedule, octets: Sequence[bytes]) -> bool:
    if not db.execute(ADD, SCHEDULES.row(schedule.with_(next_at=schedule.send_at))).rowcount:
        return False
    contents.replace(db, schedule.schedule_id, octets)
    return True


def one(db: sqlite3.Connection, grant_id: str, schedule_id: str) -> Schedule | None:
    row = db.execute(ONE, (schedule_id, grant_id)).fetchone()
    return SCHEDULES.value(row) if row else None


def listed(db: sqlite3.Connection, grant_id: str, limit: int, before: str) -> list[Schedule]:
    rows = db.execute(OLDER, (grant_id, before, limit)) if before else db.execute(NEWEST, (grant_id, limit))
    return list(map(SCHEDULES.value, rows))


def cancel(db: sqlite3.Connection, grant_id: str, schedule_id: str, now: float, notice: float) -> bool:
    found = one(db, grant_id, schedule_id)
    if not found or not decisions.cancellable(found, now, notice):
        return False
    return settle(db, found.with_(state="cancelled", closed_at=now))


def claim(db: sqlite3.Connection, now: float, limit: int) -> list[Schedule]:
    rows = db.execute(DUE, (now, limit)).fetchall()
    rows += db.execute(ASTRAY, (now + decisions.LEASE, limit - len(rows))).fetchall()
    found = [decisions.leased(SCHEDULES.value(row), now) for row in rows]
    db.executemany(LEASE, [(s.attempt, s.next_at, s.schedule_id) for s in found])
    return found


def settle(db: sqlite3.Connection, schedule: Schedule) -> bool:
    s = schedule
    changes = (s.state, s.next_at, s.closed_at, s.error, s.handed, s.schedule_id, s.attempt)
    if not db.execute(SETTLE, changes).rowcount:
        return False
    if s.state != "scheduled":
        contents.remove(db, s.schedule_id)
    return True


def next_due(db: sqlite3.Connection) -> float | None:
    row = db.execute(NEXT_DUE).fetchone()
    return None if row[0] is None else float(row[0])
