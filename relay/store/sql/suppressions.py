"""The recipients who are on the list, and those who asked for an erasure."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import merge
from itertools import islice

from relay.core.suppressions import GROUNDS, Erasure, Suppression
from relay.store.lists import Suppressions, suppression_key
from relay.store.sql.program import Fixed, Many, Program, added, along, insert, spelt, write
from relay.store.tables import ERASURES, SUPPRESSIONS

FIRST_REFUSAL = along(
    "SELECT since FROM suppressions", [Fixed("reason", "'refusal'")], {"since": ""}, down=False, limit="1"
)
ADD = insert("suppressions", SUPPRESSIONS.columns, "DO NOTHING")
ALL = f"SELECT {SUPPRESSIONS.names()} FROM suppressions"
OF = spelt(f"{ALL} WHERE digest {{many}}")
BEHIND = {"since": ":since", "digest": ":digest", "grant_id": ":behind", "reason": ":why"}
REASON = Fixed("reason", ":reason")
# Each by an index of its own.
NEWEST = along(ALL, [], BEHIND)
NEWEST_OF_REASON = along(ALL, [REASON], BEHIND)
NEWEST_OF_BOTH = along(ALL, [REASON, Fixed("grant_id", ":grant")], BEHIND)
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


def of(digests: Iterable[str]) -> Program[list[Suppression]]:
    rows = yield OF, (Many(digests),)
    return list(map(SUPPRESSIONS.value, rows))


def listed(asked: Suppressions, limit: int) -> Program[list[Suppression]]:
    since, digest, grant_id, reason = asked.after
    values = {"since": since, "digest": digest, "behind": grant_id, "why": reason, "limit": limit}
    if asked.grant_id is not None:
        lanes = []
        for ground in (asked.reason,) if asked.reason else GROUNDS:
            rows = yield NEWEST_OF_BOTH, {**values, "grant": asked.grant_id, "reason": ground}
            lanes.append(map(SUPPRESSIONS.value, rows))
        return list(islice(merge(*lanes, key=suppression_key, reverse=True), limit))
    rows = yield (NEWEST_OF_REASON, {**values, "reason": asked.reason}) if asked.reason else (NEWEST, values)
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
