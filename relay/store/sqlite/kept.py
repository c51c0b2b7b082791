"""What messages said, in SQLite.

Owns: the statements about the table, and what goes to make place. Leaves to others: whether anything is kept.
"""

from __future__ import annotations

import sqlite3

LAST = "SELECT start + length(octets) FROM kept ORDER BY start DESC LIMIT 1"
ADD = "INSERT OR REPLACE INTO kept (message_id, at, start, octets) VALUES (?, ?, ?, ?)"
OLD = "DELETE FROM kept WHERE at < ?"
BEYOND = "DELETE FROM kept WHERE start < ?"
ONE = "SELECT octets FROM kept WHERE message_id = ?"


def keep(db: sqlite3.Connection, message_id: str, at: float, octets: bytes, oldest: float, most: int) -> None:
    last = db.execute(LAST).fetchone()
    start = last[0] if last else 0
    db.execute(ADD, (message_id, at, start, octets))
    db.execute(OLD, (oldest,))
    db.execute(BEYOND, (start + len(octets) - most,))


def one(db: sqlite3.Connection, message_id: str) -> bytes | None:
    row = db.execute(ONE, (message_id,)).fetchone()
    return row[0] if row else None
