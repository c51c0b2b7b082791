"""The octets of drafts and schedules, in SQLite.

Owns: the statements about the table. Leaves to others: when they come and go (their owners: `drafts`, `schedules`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

ADD = "INSERT INTO contents (owner_id, number, octets) VALUES (?, ?, ?)"
OF = "SELECT octets FROM contents WHERE owner_id = ? ORDER BY number"
REMOVE = "DELETE FROM contents WHERE owner_id = ?"


def replace(db: sqlite3.Connection, owner_id: str, contents: Sequence[bytes]) -> None:
    remove(db, owner_id)
    db.executemany(ADD, [(owner_id, number, octets) for number, octets in enumerate(contents)])


def of(db: sqlite3.Connection, owner_id: str) -> list[bytes]:
    return [octets for (octets,) in db.execute(OF, (owner_id,))]


def remove(db: sqlite3.Connection, owner_id: str) -> None:
    db.execute(REMOVE, (owner_id,))
