"""Walks along the messages that a grant has in a thread.

Owns: how a thread's messages are found. Leaves to others: which thread a message is in (`messages`), what the statements are for.

A thread has the id of its first message, which is found by that. An index has the others only: most messages begin a thread, and
nothing comes after them.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Mapping

from relay.store.sql.program import Fixed, Statement, along, row

LATER = "thread_id != message_id"
PLACE = {"submitted_at": "", "message_id": ""}


def walk(
    select: str,
    *,
    place: Mapping[str, str] = PLACE,
    where: str = "",
    since: tuple[str, str] | None = None,
    down: bool = True,
    limit: str = ":limit",
    grant: str = ":grant",
    thread: str = ":thread",
) -> Statement:
    """As `program.along` has it, along submitted_at and message_id, which `select` begins with."""
    both = [Fixed("grant_id", grant), Fixed("thread_id", thread)]
    condition = f"{where} AND {LATER}" if where else LATER
    others = along(select, both, place, where=condition, since=since, down=down, limit=limit)
    behind, beyond, way = ("<", ">=", " DESC") if down else (">", "<=", "")
    given = {column: value for column, value in place.items() if value}
    conditions = [
        f"message_id = {thread}",
        "thread_id = message_id",
        f"grant_id = {grant}",
        *([where] if where else []),
        *([row([*given], behind, [*given.values()])] if given else []),
        *([f"{since[0]} {beyond} {since[1]}"] if since else []),
    ]
    first = f"{select} WHERE {' AND '.join(conditions)}"
    end = f"ORDER BY {', '.join(name + way for name in place)} LIMIT {limit}"
    # SQLite goes along both at once; by itself it would go along all of the grant's, which are in that order to the last.
    # PostgreSQL would not go along the index by itself.
    ours = others.replace(select, f"{select} INDEXED BY messages_thread", 1)
    return Statement(
        f"{ours.rpartition(' ORDER BY ')[0]} UNION ALL {first} {end}",
        f"SELECT * FROM ({others.postgres}) AS o UNION ALL SELECT * FROM ({first}) AS f {end}",
    )
