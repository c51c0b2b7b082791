"""The keys of the API."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from relay.store import ApiKey
from relay.store.sql.program import Program, added
from relay.store.tables import API_KEYS

ADD = added(API_KEYS)
NAMED = "SELECT 1 FROM api_keys WHERE name = ?"
ALL = f"SELECT {API_KEYS.names()} FROM api_keys ORDER BY created_at, name"
OF_DIGEST = f"SELECT {API_KEYS.names()} FROM api_keys WHERE digest = ?"
USE = "UPDATE api_keys SET last_used_at = ? WHERE digest = ? AND last_used_at < ?"
REVOKE = "DELETE FROM api_keys WHERE name = ? RETURNING 1"


def add(key: ApiKey) -> Program[None]:
    if (yield NAMED, (key.name,)):
        raise ValueError(f"a key named {key.name} exists")
    yield ADD, API_KEYS.row(key)


def listed() -> Program[list[ApiKey]]:
    rows = yield ALL, ()
    return list(map(API_KEYS.value, rows))


def of_digest(digest: str) -> Program[ApiKey | None]:
    rows = yield OF_DIGEST, (digest,)
    return API_KEYS.value(rows[0]) if rows else None


def revoke(name: str) -> Program[bool]:
    return bool((yield REVOKE, (name,)))


def use(digest: str, at: float) -> Program[None]:
    yield USE, (at, digest, at)
