"""The drafts, in SQLite.

Owns: the statements about the table. Leaves to others: the octets of attachments (`contents`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from relay.store import Draft
from relay.store.sqlite import contents
from relay.store.tables import DRAFTS

SAVE = f"INSERT OR REPLACE INTO drafts ({DRAFTS.names()}) VALUES ({', '.join('?' * len(DRAFTS.columns))})"
GRANT = "SELECT grant_id FROM drafts WHERE draft_id = ?"
ONE = f"SELECT {DRAFTS.names()} FROM drafts WHERE draft_id = ? AND grant_id = ?"
NEWEST = f"SELECT {DRAFTS.names()} FROM drafts WHERE grant_id = ? ORDER BY draft_id DESC LIMIT ?"
OLDER = f"SELECT {DRAFTS.names()} FROM drafts WHERE grant_id = ? AND draft_id < ? ORDER BY draft_id DESC LIMIT ?"
REMOVE = "DELETE FROM drafts WHERE draft_id = ? AND grant_id = ?"


def save(db: sqlite3.Connection, draft: Draft, octets: Sequence[bytes] | None) -> bool:
    known = db.execute(GRANT, (draft.draft_id,)).fetchone()
    if known and known[0] != draft.grant_id:
        return False
    db.execute(SAVE, DRAFTS.row(draft))
    if octets is not None:
        contents.replace(db, draft.draft_id, octets)
    return True


def one(db: sqlite3.Connection, grant_id: str, draft_id: str) -> Draft | None:
    row = db.execute(ONE, (draft_id, grant_id)).fetchone()
    return DRAFTS.value(row) if row else None


def listed(db: sqlite3.Connection, grant_id: str, limit: int, before: str) -> list[Draft]:
    rows = db.execute(OLDER, (grant_id, before, limit)) if before else db.execute(NEWEST, (grant_id, limit))
    return list(map(DRAFTS.value, rows))


def remove(db: sqlite3.Connection, grant_id: str, draft_id: str) -> bool:
    if not db.execute(REMOVE, (draft_id, grant_id)).rowcount:
        return False
    contents.remove(db, draft_id)
    return True
