"""The endpoints: those of the configuration, which follow it, and those of the API.

Owns: the statements about the table. Leaves to others: what a new configuration changes (`decisions`), what an endpoint is
owed (`outbox`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relay.core.model import LIVE, Endpoint, EndpointStatus
from relay.store import decisions
from relay.store.sql import notices
from relay.store.sql.program import Program, saved
from relay.store.tables import ENDPOINTS

IS_LIVE = f"status IN ({', '.join(repr(status) for status in LIVE)})"
ALL = f"SELECT {ENDPOINTS.names()} FROM endpoints ORDER BY endpoint_id"
LIVE_IDS = f"SELECT endpoint_id FROM endpoints WHERE {IS_LIVE} ORDER BY endpoint_id"
SAVE = saved(ENDPOINTS, "endpoint_id")
SOURCE = "SELECT source FROM endpoints WHERE endpoint_id = ?"
SET_STATUS = "UPDATE endpoints SET status = ?, status_updated_at = ? WHERE endpoint_id = ?"
ONE = f"SELECT {ENDPOINTS.names()} FROM endpoints WHERE endpoint_id = ?"
REMOVE = "DELETE FROM endpoints WHERE endpoint_id = ?"


def listed() -> Program[list[Endpoint]]:
    rows = yield ALL, ()
    return list(map(ENDPOINTS.value, rows))


def live() -> Program[list[Endpoint]]:
    return [endpoint for endpoint in (yield from listed()) if endpoint.live]


def sync(configured: Sequence[Endpoint]) -> Program[None]:
    for endpoint in decisions.synced((yield from listed()), configured):
        yield from save(endpoint)


def add(endpoint: Endpoint) -> Program[None]:
    if (yield from source(endpoint.endpoint_id)):
        raise ValueError(f"an endpoint {endpoint.endpoint_id} exists")
    yield from save(replace(endpoint, source="api"))


def update(endpoint: Endpoint) -> Program[bool]:
    if (yield from source(endpoint.endpoint_id)) != "api":
        return False
    yield from save(replace(endpoint, source="api"))
    return True


def remove(endpoint_id: str) -> Program[bool]:
    if (yield from source(endpoint_id)) != "api":
        return False
    yield REMOVE, (endpoint_id,)
    return True


def save(endpoint: Endpoint) -> Program[None]:
    yield SAVE, ENDPOINTS.row(endpoint)


def source(endpoint_id: str) -> Program[str]:
    """ "" where there is none."""
    rows = yield SOURCE, (endpoint_id,)
    return str(rows[0][0]) if rows else ""


def set_status(
    endpoint_id: str,
    status: EndpointStatus,
    at: float,
    was: Sequence[EndpointStatus],
    error: str,
    since: float,
) -> Program[bool]:
    rows = yield ONE, (endpoint_id,)
    known = ENDPOINTS.value(rows[0]) if rows else None
    if known is None or known.status == status or (was and known.status not in was):
        return False
    yield SET_STATUS, (status, at, endpoint_id)
    yield from notices.add(decisions.notice(known, status, at, error, since))
    return True
