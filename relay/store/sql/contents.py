"""The octets of drafts and schedules.

Owns: the statements about the table. Leaves to others: when they come and go (their owners: `drafts`, `schedules`).
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.store.sql.program import Program, insert, write

COLUMNS = ("owner_id", "number", "octets")
ADD = insert("contents", COLUMNS)
OF = "SELECT octets FROM contents WHERE owner_id = ? ORDER BY number"
REMOVE = "DELETE FROM contents WHERE owner_id = ?"


def replace(owner_id: str, contents: Sequence[bytes]) -> Program[None]:
    yield from remove(owner_id)
    yield from write((ADD, [(owner_id, number, octets) for number, octets in enumerate(contents)]))


def of(owner_id: str) -> Program[list[bytes]]:
    rows = yield OF, (owner_id,)
    return [octets for (octets,) in rows]


def remove(owner_id: str) -> Program[None]:
    yield REMOVE, (owner_id,)
