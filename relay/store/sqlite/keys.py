"""The keys of the API, in SQLite."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3

from relay.store import ApiKey
from relay.store.tables import API_KEYS

ADD = f"INSERT INTO api_keys ({API_KEYS.names()}) VALUES ({', '.join('?' * len(API_KEYS.columns))})"
NAMED = "SELECT 1 FROM api_keys WHERE name = ?"
ALL = f"SELECT {API_KEYS.names()} FROM api_keys ORDER BY created_at, name"
OF_DIGEST = f"SELECT {API_KEYS.names()} FROM api_keys WHERE digest = ?"
USE = "UPDATE api_keys SET last_used_at = ? WHERE digest = ? AND last_used_at < ?"
REVOKE = "DELETE FROM api_keys WHERE name = ?"


def add(db: sqlite3.Connection, key: ApiKey) -> None:
    if db.execute(NAMED, (key.name,)).fetchone():
        raise ValueError(f"a key named {key.name} exists")
    db.execute(ADD, API_KEYS.row(key))


def listed(db: sqlite3.Connection) -> list[ApiKey]:
    return list(map(API_KEYS.value, db.execute(ALL)))


def of_digest(db: sqlite3.Connection, digest: str) -> ApiKey | None:
    row = db.execute(OF_DIGEST, (digest,)).fetchone()
    return API_KEYS.value(row) if row else None


def revoke(db: sqlite3.Connection, name: str) -> bool:
    return db.execute(REVOKE, (name,)).rowcount > 0


def use(db: sqlite3.Connection, digest: str, at: float) -> None:
    db.execute(USE, (at, digest, at))
