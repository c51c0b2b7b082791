"""What is still to be told by mail of endpoints that fail, in SQLite.

Owns: the statements about the table. Leaves to others: what is to be told (`decisions`), telling it (`relay.notices`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3

from relay.core.model import Notice
from relay.store.tables import NOTICES

ADD = f"INSERT OR IGNORE INTO notices ({NOTICES.names()}) VALUES ({', '.join('?' * len(NOTICES.columns))})"
ALL = f"SELECT {NOTICES.names()} FROM notices ORDER BY at, notice_id"
HAND = "UPDATE notices SET entry = ? WHERE notice_id = ? AND entry = ''"
REMOVE = "DELETE FROM notices WHERE notice_id = ?"


def add(db: sqlite3.Connection, notice: Notice | None) -> None:
    if notice is not None:
        db.execute(ADD, NOTICES.row(notice))


def listed(db: sqlite3.Connection) -> list[Notice]:
    return list(map(NOTICES.value, db.execute(ALL)))


def hand(db: sqlite3.Connection, notice_id: str, entry: str) -> bool:
    return db.execute(HAND, (entry, notice_id)).rowcount > 0


def remove(db: sqlite3.Connection, notice_id: str) -> None:
    db.execute(REMOVE, (notice_id,))
