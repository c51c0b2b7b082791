"""The calls that may be repeated, in SQLite."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3

from relay.store import Request
from relay.store.tables import REQUESTS

FORGET = "DELETE FROM requests WHERE at < ?"
ADD = f"INSERT OR IGNORE INTO requests ({REQUESTS.names()}) VALUES ({', '.join('?' * len(REQUESTS.columns))})"
ONE = f"SELECT {REQUESTS.names()} FROM requests WHERE request_key = ?"
SETTLE = "UPDATE requests SET state = ?, answer = ? WHERE request_key = ?"
DROP = "DELETE FROM requests WHERE request_key = ?"


def begin(db: sqlite3.Connection, request: Request, oldest: float) -> Request | None:
    db.execute(FORGET, (oldest,))
    if db.execute(ADD, REQUESTS.row(request)).rowcount:
        return None
    return REQUESTS.value(db.execute(ONE, (request.request_key,)).fetchone())


def settle(db: sqlite3.Connection, request: Request) -> None:
    db.execute(SETTLE, (request.state, request.answer, request.request_key))


def drop(db: sqlite3.Connection, request_key: str) -> None:
    db.execute(DROP, (request_key,))
