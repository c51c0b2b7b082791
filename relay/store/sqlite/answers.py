"""What is kept of answers in SQLite.

Owns: the statements about this one table but for lists. Leaves to others: what is kept (`relay.store.lists`), columns
(`tables`), pages (`lists`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from relay.store import decisions
from relay.store.lists import MAX_ANSWERS, Answer
from relay.store.tables import ANSWERS

KEEP = f"""
INSERT OR IGNORE INTO answers ({ANSWERS.names()}) SELECT {", ".join("?" * len(ANSWERS.columns))}
WHERE (SELECT count(*) FROM (SELECT 1 FROM answers WHERE message_id = ? LIMIT {MAX_ANSWERS})) < {MAX_ANSWERS}
"""
NAMED = f"""
SELECT {ANSWERS.names()} FROM answers WHERE internet_message_id = ? AND grant_id = ? AND internet_message_id != ''
ORDER BY answer_id LIMIT 1
"""
ANSWER = f"SELECT {ANSWERS.names()} FROM answers WHERE answer_id = ? AND ? IN ('', grant_id) LIMIT 1"


def keep(db: sqlite3.Connection, answers: Sequence[Answer]) -> None:
    db.executemany(KEEP, [(*ANSWERS.row(answer), answer.message_id) for answer in answers])


def answer(db: sqlite3.Connection, answer_id: str, grant_id: str) -> Answer | None:
    row = db.execute(ANSWER, (answer_id, grant_id)).fetchone()
    return ANSWERS.value(row) if row else None


def find(db: sqlite3.Connection, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
    for identifier in decisions.mended(internet_ids):
        row = db.execute(NAMED, (identifier, grant_id)).fetchone()
        if row is not None:
            return ANSWERS.value(row)
    return None
