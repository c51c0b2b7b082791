"""The file: connections with our settings, the lock between processes, and one connection that is opened again where the
file was deleted or replaced under it.

Owns: everything that is set on a connection. Leaves to others: what is written when (`writer`), the tables (`schema`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from relay import files, log

LOG = log.room("store")
PATIENCE = 10.0  # seconds that an erasure waits for who reads
PIECE, OVERLAP = 1 << 20, 4096  # octets of the file that are looked at at once
# Changed rows, of one or two pages each, after which the WAL is copied into the file: in a crowd a page that changed often is
# copied once for many; without one, whoever comes while it is copied waits less.
CHANGES = {True: 250, False: 50}
WAL_LIMIT = 64_000_000  # bytes that the WAL file may keep once it was emptied


def connect(path: Path, *, busy: float, reading: bool = False) -> sqlite3.Connection:
    """`busy` is how long SQLite waits for another's lock, in seconds. A file that it makes is for its owner only:
    addresses are in it."""
    if not path.exists() and not reading:
        os.close(files.open(path))
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy, isolation_level=None, check_same_thread=False
    )
    try:
        # synchronous FULL: what was acknowledged outlives a power cut. In WAL mode NORMAL would not promise that.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        # In pages. Whoever commits past them copies them into the file first, and all who wait do so for that long: 4 ms for
        # a megabyte. `Database.copy_back` comes before that, but where few rows change many pages.
        db.execute("PRAGMA wal_autocheckpoint = 1000")
        db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        db.execute("PRAGMA cache_size = -16000")
        db.execute("PRAGMA temp_store = MEMORY")
        # What is deleted is overwritten, on the pages that become free too.
        db.execute("PRAGMA secure_delete = ON")
        if reading:
            db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def inode(path: Path) -> tuple[int, int]:
    """What identifies the file at `path` now; (0, 0) for none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


class Database:
    """The connection that writes, for one thread. `prepare` is called on each connection that is made. Every process
    holds a flock on a file beside the database while it writes, so that two busy ones share fairly: with SQLite's own
    waiting alone the light one starves."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None], *, busy: float, look: float) -> None:
        self.path = path
        self._prepare, self._busy, self._look = prepare, busy, look
        self._db: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._inode = (0, 0)
        self._looked = 0.0
        self._copied = 0  # of the changes that were made on the connection

    def hold(self) -> None:
        if self._lock is None:
            name = self.path.with_name(self.path.name + ".lock")
            self._lock = files.open(name)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def release(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def connection(self) -> sqlite3.Connection:
        now = time.monotonic()
        looking = now - self._looked > self._look
        if looking:
            self._looked = now
        if self._db is not None and looking and inode(self.path) != self._inode:
            LOG.error("replaced", path=self.path)
            self._db.close()
            self._db = None
        if self._db is None:
            db = connect(self.path, busy=self._busy)
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._db, self._inode, self._copied = db, inode(self.path), db.total_changes
        return self._db

    def copy_back(self, *, crowded: bool, waited_for: bool) -> None:
        """What was committed goes from the WAL into the file, if that is much. To be called while the lock is held, as who
        empties the WAL does not wait for this; and once those have heard who waited for the commit. Are there others by
        then, they go first, unless it is very much."""
        most = CHANGES[crowded] * (2 if waited_for else 1)
        if self._db is None or (changes := self._db.total_changes) - self._copied < most:
            return
        self._copied = changes
        with contextlib.suppress(sqlite3.Error):  # all is in the WAL and stays there until the next time
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        db, self._db = self._db, None
        lock, self._lock = self._lock, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error as error:
                LOG.error("not_closed", path=self.path, error=str(error))
        if lock is not None:
            os.close(lock)


def overwrite(path: Path, traced: Callable[[bytes], bool]) -> None:
    """What was deleted stands in no file any more: the WAL goes into the database, and where something is left there, in pages
    that became free before they were overwritten or in gaps where a page was split, the whole file is written anew."""
    lock = files.open(path.with_name(path.name + ".lock"))
    db = connect(path, busy=PATIENCE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        truncate(db)
        fcntl.flock(lock, fcntl.LOCK_UN)
        if residue(path, traced):
            LOG.info("rewritten", path=path, octets=path.stat().st_size)
            fcntl.flock(lock, fcntl.LOCK_EX)
            db.execute("VACUUM")
            truncate(db)
    finally:
        db.close()
        os.close(lock)


def truncate(db: sqlite3.Connection) -> None:
    ((busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if busy:
        raise sqlite3.OperationalError("somebody reads for so long that the WAL can't be emptied: try again")


def residue(path: Path, traced: Callable[[bytes], bool]) -> bool:
    with path.open("rb") as file:
        before = b""
        while chunk := file.read(PIECE):
            if traced(before + chunk):
                return True
            before = chunk[-OVERLAP:]
    return False


def backup(source: Path, target: Path) -> None:
    """SQLite's own backup into a new file beside `target`, then renamed. In WAL mode writers are not held up."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        reader = connect(source, busy=1.0, reading=True)
        try:
            os.close(files.create(part))
            copy = sqlite3.connect(part)
            try:
                reader.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            finally:
                copy.close()
        finally:
            reader.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except (sqlite3.Error, OSError):
        part.unlink(missing_ok=True)
        raise
