"""The recipients who are on the list, and those who asked for an erasure."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Collection, Sequence

from relay.core.suppressions import Erasure, Suppression
from relay.store.lists import Suppressions
from relay.store.sql.program import Many, Program, added, insert, spelt, write
from relay.store.tables import ERASURES, SUPPRESSIONS

ADD = insert("suppressions", SUPPRESSIONS.columns, "DO NOTHING")
ALL = f"SELECT {SUPPRESSIONS.names()} FROM suppressions"
OF = spelt(f"{ALL} WHERE digest {{many}}")
ORDER = "since DESC, digest DESC, grant_id DESC, reason DESC LIMIT :limit"
BEHIND = "(since, digest, grant_id, reason) < (:since, :digest, :behind, :why)"
# Each by an index of its own.
NEWEST = f"{ALL} WHERE {BEHIND} ORDER BY {ORDER}"
NEWEST_OF_GRANT = f"{ALL} WHERE grant_id = :grant AND {BEHIND} ORDER BY {ORDER}"
NEWEST_OF_REASON = f"{ALL} WHERE reason = :reason AND {BEHIND} ORDER BY {ORDER}"
NEWEST_OF_BOTH = f"{ALL} WHERE grant_id = :grant AND reason = :reason AND {BEHIND} ORDER BY {ORDER}"
REMOVE = "DELETE FROM suppressions WHERE digest = ? AND grant_id = ? AND reason = ? RETURNING 1"
FORGET = spelt("UPDATE suppressions SET recipient = '', note = '' WHERE digest {many} RETURNING 1")
ASK = f"{added(ERASURES, 'DO NOTHING')} RETURNING 1"
ASKED = f"SELECT {ERASURES.names()} FROM erasures WHERE (at, digest) > (?, ?) ORDER BY at, digest LIMIT ?"
SETTLE = "DELETE FROM erasures WHERE digest = ? RETURNING 1"


def add(those: Sequence[Suppression]) -> Program[int]:
    there = {key(one) for one in (yield from of({one.digest for one in those}))}
    new: dict[tuple[str, str, str], Suppression] = {}
    for one in those:
        if key(one) not in there:
            new.setdefault(key(one), one)
    yield from write((ADD, [SUPPRESSIONS.row(one) for one in new.values()]))
    return len(new)


def key(one: Suppression) -> tuple[str, str, str]:
    return (one.digest, one.grant_id, one.reason)


def of(digests: Collection[str]) -> Program[list[Suppression]]:
    rows = yield OF, (Many(digests),)
    return list(map(SUPPRESSIONS.value, rows))


def listed(asked: Suppressions, limit: int) -> Program[list[Suppression]]:
    since, digest, grant_id, reason = asked.after
    values = {
        "since": since, "digest": digest, "behind": grant_id, "why": reason,
        "grant": asked.grant_id, "reason": asked.reason, "limit": limit,
    }  # fmt: skip
    sql = NEWEST
    if asked.grant_id is not None:
        sql = NEWEST_OF_BOTH if asked.reason else NEWEST_OF_GRANT
    elif asked.reason:
        sql = NEWEST_OF_REASON
    rows = yield sql, {name: value for name, value in values.items() if f":{name}" in sql}
    return list(map(SUPPRESSIONS.value, rows))


def remove(those: Sequence[tuple[str, str, str]]) -> Program[int]:
    number = 0
    for key in those:
        number += len((yield REMOVE, key))
    return number


def forget(digests: Collection[str]) -> Program[int]:
    return len((yield FORGET, (Many(digests),)))


def ask(erasure: Erasure) -> Program[bool]:
    return bool((yield ASK, ERASURES.row(erasure)))


def asked(limit: int, after: tuple[float, str]) -> Program[list[Erasure]]:
    rows = yield ASKED, (*after, limit)
    return list(map(ERASURES.value, rows))


def settle(digest: str) -> Program[bool]:
    return bool((yield SETTLE, (digest,)))
