"""The schema of the SQLite store: numbered files, applied once each, in order.

Owns: the connection's settings, the table `migrations`, the numbered files in `migrations`. Leaves to others: rows.
A file that was released is never changed; what changes is a new number.
"""

from __future__ import annotations

import os
import sqlite3
import time
from importlib import resources
from pathlib import Path

from relay import files
from relay.store import Newer

FOLDER = resources.files("relay.store.sqlite") / "migrations"
FILES = sorted(f.name for f in FOLDER.iterdir() if f.name[:4].isdigit() and f.name[4:] == ".sql")
LATEST = int(FILES[-1][:4])
WAL_LIMIT = 64_000_000  # bytes that the WAL file may keep once it was emptied


def connect(path: Path, *, busy: float, reading: bool = False) -> sqlite3.Connection:
    """A connection with our settings. `busy` is how long SQLite waits for another's lock, in seconds. A file that it
    makes is for its owner only: addresses are in it."""
    if not path.exists() and not reading:
        os.close(files.open(path))
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy, isolation_level=None, check_same_thread=False
    )
    try:
        # synchronous FULL: what was acknowledged outlives a power cut. In WAL mode NORMAL would not promise that.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 1000")
        db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        db.execute("PRAGMA cache_size = -16000")
        db.execute("PRAGMA temp_store = MEMORY")
        if reading:
            db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def version(db: sqlite3.Connection) -> int:
    """The number of the last file applied; 0 for an empty database."""
    try:
        return int(db.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise


def migrate(db: sqlite3.Connection) -> None:
    """Brings the schema to LATEST, all of it or nothing. Raises `Newer` where it is ahead of this program."""
    if version(db) == LATEST:
        return
    from sqlite_utils import Database  # 150 ms, and only where there is something to do

    # Its savepoints and plugins are its own; the transaction around is ours.
    db.execute("BEGIN IMMEDIATE")
    try:
        at = version(db)  # another process may have done it meanwhile
        if at > LATEST:
            raise Newer(
                f"the database has schema {at}, this program knows {LATEST}: use the program that wrote it, or newer"
            )
        store = Database(db, execute_plugins=False)
        if at == 0:
            store.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, applied_at REAL NOT NULL)")
        for name in FILES:
            if int(name[:4]) > at:
                for statement in statements((FOLDER / name).read_text("utf-8")):
                    store.execute(statement)
                store.execute("INSERT INTO migrations VALUES (?, ?)", (int(name[:4]), time.time()))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def statements(text: str) -> list[str]:
    """The statements of an SQL file."""
    found: list[str] = []
    begun = ""
    for line in text.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun)
            begun = ""
    return found
