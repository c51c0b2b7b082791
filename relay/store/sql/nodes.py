"""Who shares the store, and who watches which mailbox.

Both are by the store's own clock: that of the machine with SQLite, the server's with PostgreSQL.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Collection

from relay.core import nodes
from relay.core.nodes import Node, Roll
from relay.store import decisions
from relay.store.sql import schedules
from relay.store.sql.program import Many, Program, insert, replacing, saved, spelt, write
from relay.store.tables import NODES

CLOCK = spelt("SELECT {now}", now=(":now", "extract(epoch FROM clock_timestamp())::float8"))
ALL = f"SELECT {NODES.names()} FROM nodes ORDER BY name, roles"
SAVE = saved(NODES, "name", "roles")
REMOVE = "DELETE FROM nodes WHERE name = ? AND roles = ?"
FORGET = "DELETE FROM nodes WHERE queue = 0 AND at < ?"
LEASE = ("mailbox", "holder", "until")
LEASES = spelt("SELECT mailbox, holder, until FROM leases WHERE mailbox {many}")
TAKE = insert("leases", LEASE, replacing(LEASE, "mailbox"))
RELEASE = "DELETE FROM leases WHERE holder = ?"


def clock(now: float) -> Program[float]:
    rows = yield CLOCK, {"now": now}
    return float(rows[0][0])


def listed(now: float) -> Program[Roll]:
    now = yield from clock(now)
    rows = yield ALL, ()
    return Roll(now, tuple(map(NODES.value, rows)))


def beat(node: Node, now: float) -> Program[Roll]:
    before = yield from listed(now)
    yield SAVE, NODES.row(node.with_(at=before.now))
    yield FORGET, (before.now - nodes.FORGET,)
    return decisions.called(before, node)


def leave(node: Node, now: float) -> Program[None]:
    before = yield from listed(now)
    match decisions.left(before, node):
        case None:
            return
        case Node(queue=0):
            row = NODES.row(node)
            yield REMOVE, row[:2]
        case left:
            yield SAVE, NODES.row(left)


def remove(name: str, now: float) -> Program[tuple[Node, ...]]:
    before = yield from listed(now)
    removed = decisions.removable(before, name)
    for node in removed:
        yield REMOVE, NODES.row(node)[:2]
    if decisions.nothing_left(before, removed):
        yield from schedules.release(name)
    return removed


def take(mailboxes: Collection[str], holder: str, seconds: float, now: float) -> Program[frozenset[str]]:
    now = yield from clock(now)
    rows = yield LEASES, (Many(mailboxes),)
    others = {mailbox for mailbox, by, until in rows if decisions.leased_to_another(by, until, holder, now, seconds)}
    held = frozenset(mailboxes) - others
    yield from write((TAKE, [(mailbox, holder, now + seconds) for mailbox in sorted(held)]))
    return held


def release(holder: str) -> Program[None]:
    yield RELEASE, (holder,)
