"""What is still to be told by mail of endpoints that fail.

Owns: the statements about the table. Leaves to others: what is to be told (`decisions`), telling it (`relay.notices`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from relay.core.model import Notice
from relay.store.sql.program import Program, added
from relay.store.tables import NOTICES

ADD = added(NOTICES, "DO NOTHING")
ALL = f"SELECT {NOTICES.names()} FROM notices ORDER BY at, notice_id"
HAND = "UPDATE notices SET entry = ? WHERE notice_id = ? AND entry = '' RETURNING 1"
REMOVE = "DELETE FROM notices WHERE notice_id = ?"


def add(notice: Notice | None) -> Program[None]:
    if notice is not None:
        yield ADD, NOTICES.row(notice)


def listed() -> Program[list[Notice]]:
    rows = yield ALL, ()
    return list(map(NOTICES.value, rows))


def hand(notice_id: str, entry: str) -> Program[bool]:
    return bool((yield HAND, (entry, notice_id)))


def remove(notice_id: str) -> Program[None]:
    yield REMOVE, (notice_id,)
