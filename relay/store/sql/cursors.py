"""How far each mailbox was read."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Collection

from relay.store import Cursor
from relay.store.sql.program import Program, Rows, replacing, write
from relay.store.tables import CURSORS

# But for one who lost the mailbox's lease. The last value is the holder.
SAVE = Rows(
    f"INSERT INTO cursors ({CURSORS.names()})"
    f" SELECT {', '.join(f'column{n}' for n in range(1, len(CURSORS.columns) + 1))} FROM {{rows}} AS v"
    " WHERE column1 IS NOT NULL"
    f" AND NOT EXISTS (SELECT 1 FROM leases WHERE mailbox = column1 AND holder != column{len(CURSORS.columns) + 1})"
    f" ON CONFLICT {replacing(CURSORS.columns, 'mailbox')}",
    [*(f"cursors.{name}" for name in CURSORS.columns), "leases.holder"],
)
ONE = f"SELECT {CURSORS.names()} FROM cursors WHERE mailbox = ?"


def save(cursors: Collection[Cursor]) -> Program[None]:
    yield from write((SAVE, [[*CURSORS.row(cursor), cursor.holder] for cursor in cursors]))


def one(mailbox: str) -> Program[Cursor | None]:
    rows = yield ONE, (mailbox,)
    return CURSORS.value(rows[0]) if rows else None
