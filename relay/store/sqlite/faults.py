"""SQLite's errors in plain words, with what to do.

Owns: the table. Leaves to others: the system's errors (`relay.causes`), what is done now (`writer`, `readers`).
"""

from __future__ import annotations

import sqlite3

from relay import causes

BUSY = "another program holds it; try again, or stop that one (fuser names it)"
# By the primary result code.
WORDS = {
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; check its folder, and who may write to both",
    sqlite3.SQLITE_READONLY: "it may not be written to; run this as root or as the service's user, or let that user have it",
    sqlite3.SQLITE_PERM: "it may not be opened; run this as root or as the service's user, or let that user have it",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_NOTADB: "it is no SQLite database, or a damaged one; restore it from a backup",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup",
    sqlite3.SQLITE_IOERR: "the disk fails; make room, and look at the kernel's log (dmesg)",
    sqlite3.SQLITE_NOLFS: "this disk takes no files that large; choose another one",
}


def said(error: BaseException) -> str:
    """With the library's own words behind, where they say more."""
    if not isinstance(error, sqlite3.Error):
        return causes.of(error)
    plain = WORDS.get(getattr(error, "sqlite_errorcode", -1) & 0xFF)
    return f"{plain} ({error})" if plain else causes.words(error)
