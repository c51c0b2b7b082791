"""What messages said.

Owns: the statements about the table, and what goes to make place. Leaves to others: whether anything is kept.
"""

from __future__ import annotations

from relay.store.sql.program import Program, replacing

COLUMNS = ("message_id", "at", "start", "octets")
LAST = "SELECT start + length(octets) FROM kept ORDER BY start DESC LIMIT 1"
ADD = (
    f"INSERT INTO kept ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?)"  # noqa: S608 - constants
    f" ON CONFLICT {replacing(COLUMNS, 'message_id')}"
)
OLD = "DELETE FROM kept WHERE at < ?"
BEYOND = "DELETE FROM kept WHERE start < ?"
ONE = "SELECT octets FROM kept WHERE message_id = ?"


def keep(message_id: str, at: float, octets: bytes, oldest: float, most: int) -> Program[None]:
    last = yield LAST, ()
    start = last[0][0] if last else 0
    yield ADD, (message_id, at, start, octets)
    yield OLD, (oldest,)
    yield BEYOND, (start + len(octets) - most,)


def one(message_id: str) -> Program[bytes | None]:
    rows = yield ONE, (message_id,)
    return rows[0][0] if rows else None
