"""The endpoints in SQLite: those of the configuration, which follow it, and those of the API.

Owns: the statements about the table. Leaves to others: what a new configuration changes (`decisions`), what an endpoint is
owed (`outbox`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from relay.core.model import LIVE, Endpoint, EndpointStatus
from relay.store import decisions
from relay.store.sqlite import notices
from relay.store.tables import ENDPOINTS

IS_LIVE = f"status IN ({', '.join(repr(status) for status in LIVE)})"
ALL = f"SELECT {ENDPOINTS.names()} FROM endpoints ORDER BY endpoint_id"
LIVE_IDS = f"SELECT endpoint_id FROM endpoints WHERE {IS_LIVE} ORDER BY endpoint_id"
SAVE = f"INSERT OR REPLACE INTO endpoints ({ENDPOINTS.names()}) VALUES ({', '.join('?' * len(ENDPOINTS.columns))})"
SOURCE = "SELECT source FROM endpoints WHERE endpoint_id = ?"
SET_STATUS = "UPDATE endpoints SET status = ?, status_updated_at = ? WHERE endpoint_id = ?"
ONE = f"SELECT {ENDPOINTS.names()} FROM endpoints WHERE endpoint_id = ?"
REMOVE = "DELETE FROM endpoints WHERE endpoint_id = ?"


def listed(db: sqlite3.Connection) -> list[Endpoint]:
    return list(map(ENDPOINTS.value, db.execute(ALL)))


def live(db: sqlite3.Connection) -> list[Endpoint]:
    return [endpoint for endpoint in listed(db) if endpoint.live]


def sync(db: sqlite3.Connection, configured: Sequence[Endpoint]) -> None:
    for endpoint in decisions.synced(listed(db), configured):
        save(db, endpoint)


def add(db: sqlite3.Connection, endpoint: Endpoint) -> None:
    if source(db, endpoint.endpoint_id):
        raise ValueError(f"an endpoint {endpoint.endpoint_id} exists")
    save(db, replace(endpoint, source="api"))


def update(db: sqlite3.Connection, endpoint: Endpoint) -> bool:
    if source(db, endpoint.endpoint_id) != "api":
        return False
    save(db, replace(endpoint, source="api"))
    return True


def remove(db: sqlite3.Connection, endpoint_id: str) -> bool:
    if source(db, endpoint_id) != "api":
        return False
    db.execute(REMOVE, (endpoint_id,))
    return True


def save(db: sqlite3.Connection, endpoint: Endpoint) -> None:
    db.execute(SAVE, ENDPOINTS.row(endpoint))


def source(db: sqlite3.Connection, endpoint_id: str) -> str:
    """ "" where there is none."""
    row = db.execute(SOURCE, (endpoint_id,)).fetchone()
    return str(row[0]) if row else ""


def set_status(
    db: sqlite3.Connection,
    endpoint_id: str,
    status: EndpointStatus,
    at: float,
    was: Sequence[EndpointStatus],
    error: str,
    since: float,
) -> bool:
    row = db.execute(ONE, (endpoint_id,)).fetchone()
    known = ENDPOINTS.value(row) if row else None
    if known is None or known.status == status or (was and known.status not in was):
        return False
    db.execute(SET_STATUS, (status, at, endpoint_id))
    notices.add(db, decisions.notice(known, status, at, error, since))
    return True
