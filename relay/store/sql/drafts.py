"""The drafts.

Owns: the statements about the table. Leaves to others: the octets of attachments (`contents`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Sequence

from relay.store import Draft
from relay.store.sql import contents
from relay.store.sql.program import Fixed, Program, along, saved
from relay.store.tables import DRAFTS

SAVE = saved(DRAFTS, "draft_id")
GRANT = "SELECT grant_id FROM drafts WHERE draft_id = ?"
ONE = f"SELECT {DRAFTS.names()} FROM drafts WHERE draft_id = ? AND grant_id = ?"
ALL = f"SELECT {DRAFTS.names()} FROM drafts"
OF_GRANT = [Fixed("grant_id", ":grant")]
NEWEST = along(ALL, OF_GRANT, {"draft_id": ""})
OLDER = along(ALL, OF_GRANT, {"draft_id": ":before"})
REMOVE = "DELETE FROM drafts WHERE draft_id = ? AND grant_id = ? RETURNING 1"


def save(draft: Draft, octets: Sequence[bytes] | None) -> Program[bool]:
    known = yield GRANT, (draft.draft_id,)
    if known and known[0][0] != draft.grant_id:
        return False
    yield SAVE, DRAFTS.row(draft)
    if octets is not None:
        yield from contents.replace(draft.draft_id, octets)
    return True


def one(grant_id: str, draft_id: str) -> Program[Draft | None]:
    rows = yield ONE, (draft_id, grant_id)
    return DRAFTS.value(rows[0]) if rows else None


def listed(grant_id: str, limit: int, before: str) -> Program[list[Draft]]:
    values = {"grant": grant_id, "limit": limit}
    rows = yield (OLDER, {**values, "before": before}) if before else (NEWEST, values)
    return list(map(DRAFTS.value, rows))


def remove(grant_id: str, draft_id: str) -> Program[bool]:
    if not (yield REMOVE, (draft_id, grant_id)):
        return False
    yield from contents.remove(draft_id)
    return True
