"""How far each mailbox was read, in SQLite."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from relay.store import Cursor
from relay.store.tables import CURSORS

SAVE = f"INSERT OR REPLACE INTO cursors ({CURSORS.names()}) VALUES ({', '.join('?' * len(CURSORS.columns))})"
ONE = f"SELECT {CURSORS.names()} FROM cursors WHERE mailbox = ?"


def save(db: sqlite3.Connection, cursors: Collection[Cursor]) -> None:
    if cursors:
        db.executemany(SAVE, map(CURSORS.row, cursors))


def one(db: sqlite3.Connection, mailbox: str) -> Cursor | None:
    row = db.execute(ONE, (mailbox,)).fetchone()
    return CURSORS.value(row) if row else None
