"""What is kept of answers.

Owns: the statements about this one table but for lists. Leaves to others: what is kept (`relay.store.lists`), columns
(`tables`), pages (`lists`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Sequence

from relay.store import decisions
from relay.store.lists import MAX_ANSWERS, Answer
from relay.store.sql.program import Fixed, Program, along, insert, write
from relay.store.tables import ANSWERS

OF_MESSAGE = f"SELECT count(*) FROM (SELECT 1 FROM answers WHERE message_id = ? LIMIT {MAX_ANSWERS}) AS n"
KEEP = insert("answers", ANSWERS.columns, "DO NOTHING")
NAMED = along(
    f"SELECT {ANSWERS.names()} FROM answers",
    [Fixed("internet_message_id", ":identifier"), Fixed("grant_id", ":grant")],
    {"answer_id": ""},
    where="internet_message_id != ''",
    down=False,
    limit="1",
)
ANSWER = f"SELECT {ANSWERS.names()} FROM answers WHERE answer_id = ? AND ? IN ('', grant_id) LIMIT 1"


def keep(answers: Sequence[Answer]) -> Program[None]:
    kept: list[Answer] = []
    for answer in answers:
        ((there,),) = yield OF_MESSAGE, (answer.message_id,)
        if there + sum(other.message_id == answer.message_id for other in kept) < MAX_ANSWERS:
            kept.append(answer)
    yield from write((KEEP, list(map(ANSWERS.row, kept))))


def one(answer_id: str, grant_id: str) -> Program[Answer | None]:
    rows = yield ANSWER, (answer_id, grant_id)
    return ANSWERS.value(rows[0]) if rows else None


def find(internet_ids: Sequence[str], grant_id: str) -> Program[Answer | None]:
    for identifier in decisions.mended(internet_ids):
        if rows := (yield NAMED, {"identifier": identifier, "grant": grant_id}):
            return ANSWERS.value(rows[0])
    return None
