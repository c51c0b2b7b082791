"""How far each mailbox was read."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Collection

from relay.store import Cursor
from relay.store.sql.program import Program, insert, replacing, write
from relay.store.tables import CURSORS

SAVE = insert("cursors", CURSORS.columns, replacing(CURSORS.columns, "mailbox"))
ONE = f"SELECT {CURSORS.names()} FROM cursors WHERE mailbox = ?"


def save(cursors: Collection[Cursor]) -> Program[None]:
    yield from write((SAVE, list(map(CURSORS.row, cursors))))


def one(mailbox: str) -> Program[Cursor | None]:
    rows = yield ONE, (mailbox,)
    return CURSORS.value(rows[0]) if rows else None
