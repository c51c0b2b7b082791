"""The calls that may be repeated."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from relay.store import Request
from relay.store.sql.program import Program, added
from relay.store.tables import REQUESTS

FORGET = "DELETE FROM requests WHERE at < ?"
ADD = f"{added(REQUESTS, 'DO NOTHING')} RETURNING 1"
ONE = f"SELECT {REQUESTS.names()} FROM requests WHERE request_key = ?"
SETTLE = "UPDATE requests SET state = ?, answer = ? WHERE request_key = ?"
DROP = "DELETE FROM requests WHERE request_key = ?"


def begin(request: Request, oldest: float) -> Program[Request | None]:
    yield FORGET, (oldest,)
    if (yield ADD, REQUESTS.row(request)):
        return None
    rows = yield ONE, (request.request_key,)
    return REQUESTS.value(rows[0])


def settle(request: Request) -> Program[None]:
    yield SETTLE, (request.state, request.answer, request.request_key)


def drop(request_key: str) -> Program[None]:
    yield DROP, (request_key,)
