"""Which of the migrations a file has, and the ones that it lacks.

Owns: the table `migrations`, and that a file is brought up to date as a whole or not at all. Leaves to others: the steps
(`migrations`), connections (`database`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from relay import log
from relay.core.nodes import Roll
from relay.core.suppressions import Suppression
from relay.store import Newer, Unavailable
from relay.store.sql import cursors, nodes, suppressions
from relay.store.sql.program import Program
from relay.store.sqlite import faults, migrations
from relay.store.sqlite.programs import run

LOG = log.room("store")
T = TypeVar("T")

LATEST = len(migrations.STEPS)


def version(db: sqlite3.Connection) -> int:
    """The number of the last step applied; 0 for an empty database."""
    try:
        return int(db.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise


def migrate(
    db: sqlite3.Connection,
    steps: Sequence[migrations.Step] = migrations.STEPS,
    begins: Callable[[], None] = lambda: None,
) -> None:
    """Applies the steps that are lacking, all of them or none. Calls `begins` once no other can write. Raises `Newer` where the
    file has more."""
    if version(db) == len(steps):
        return
    from sqlite_utils import Database  # takes 150 ms, and only where there is something to do

    db.execute("BEGIN IMMEDIATE")
    begins()
    try:
        at = version(db)  # another process may have done it meanwhile
        if at > len(steps):
            raise Newer(newer(at, len(steps)))
        file = Database(db, execute_plugins=False)  # inside our transaction it makes savepoints only
        if at == 0:
            file.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, applied_at REAL NOT NULL)")
        for number, step in enumerate(steps[at:], at + 1):
            if at:  # over very many rows it may take minutes
                LOG.info("migrating", step=number, of=len(steps))
            step(file)
            file.execute("INSERT INTO migrations (number, applied_at) VALUES (?, ?)", (number, time.time()))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what a step took away stands in no file any more


def examine(path: Path) -> str:
    """See `relay.store.examine`."""
    if not path.exists():
        return f"{path} will be made at the first start"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            at = version(db)
    except sqlite3.Error as error:
        raise Unavailable(f"{path} can't be read: {faults.said(error)}") from error
    if at > LATEST:
        raise Newer(f"{path}: {newer(at, LATEST)}")
    return f"{path} has schema {at} of {LATEST}"


def passed_over(path: Path, mailbox: str) -> tuple[str, ...]:
    """See `relay.store.passed_over`."""
    found = _asked(path, cursors.one(mailbox))
    return found.passed if found else ()


def roll(path: Path) -> Roll:
    """See `relay.store.roll`."""
    return _asked(path, nodes.listed(time.time())) or Roll(0.0)


def suppressed(path: Path, digests: Collection[str]) -> Sequence[Suppression]:
    """See `relay.store.suppressed`."""
    return _asked(path, suppressions.of(digests)) or ()


def _asked(path: Path, program: Program[T]) -> T | None:
    """None where there is no file, or its tables are of an older version."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            at = version(db)
            if at > LATEST:
                raise Newer(f"{path}: {newer(at, LATEST)}")
            return None if at < LATEST else run(db, program)
    except sqlite3.Error as error:
        raise Unavailable(f"{path} can't be read: {faults.said(error)}") from error


def newer(at: int, known: int) -> str:
    return f"the database has schema {at}, this program knows {known}: use the program that wrote it, or a newer one"
