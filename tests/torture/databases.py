"""The database under torture, asked behind the program's back: SQLite's file, or a server of PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any, Protocol

from tests.peers import postgres


class Database(Protocol):
    url: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Nothing where the tables are not made yet."""
        ...

    def change(self, sql: str) -> None: ...
    def unsound(self) -> str:
        """What the engine itself finds wrong."""
        ...


class Sqlite:
    url = "sqlite:trackrelay.db"

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=20)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'deliveries'").fetchone():
                return []
            found = db.execute(sql).fetchall()
            db.commit()
            return found

    def change(self, sql: str) -> None:
        self.rows(sql)

    def unsound(self) -> str:
        verdict = self.rows("PRAGMA integrity_check")
        return "" if verdict == [("ok",)] else f"integrity_check: {verdict}"


class Postgres:
    """Its database "relay"; `server` may become another, as after a failover."""

    def __init__(self, *servers: postgres.Server) -> None:
        self.server = servers[0]
        self.server.psql("CREATE DATABASE relay")
        self.url = self.server.url("relay", *servers[1:])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found = self.server.psql(f"SELECT coalesce(json_agg(row_to_json(found)), '[]') FROM ({sql}) AS found", "relay")
        return [tuple(row.values()) for row in json.loads(found or "[]")]

    def change(self, sql: str) -> None:
        self.server.psql(sql, "relay")

    def unsound(self) -> str:
        return ""
