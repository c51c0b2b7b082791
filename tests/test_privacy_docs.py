"""docs/privacy.md against the code: each table and column of the store, each file that may name somebody, each setting."""

import dataclasses
import re
import sqlite3
from pathlib import Path

from relay.config.settings import Privacy
from relay.store.postgres import migrations
from relay.store.sqlite import schema

TEXT = (Path(__file__).parent.parent / "docs" / "privacy.md").read_text()


def described() -> dict[str, set[str]]:
    """Columns by table, as "What is kept where" has them."""
    found: dict[str, set[str]] = {}
    for line in TEXT.partition("## What is kept where")[2].partition("In files,")[0].splitlines():
        cells = line.split("|")
        if line.startswith("| `"):
            for table in re.findall(r"`(\w+)`", cells[1]):
                found[table] = set(re.findall(r"`([\w]+)`", cells[2]))
    return found


def there() -> dict[str, set[str]]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(db)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {name: {row[1] for row in db.execute(f"PRAGMA table_info({name})")} for name in tables}
    db.close()
    return {name: columns for name, columns in found.items() if not name.startswith("sqlite_")}


def test_each_table_and_column_is_described() -> None:
    known, told = there(), described()
    assert set(known) - set(told) == set()
    assert {table: missing for table, columns in known.items() if (missing := columns - told[table])} == {}


def test_nothing_is_described_that_is_not_there() -> None:
    known = there()
    made = {match for step in migrations.STEPS for sql in step for match in re.findall(r"CREATE TABLE (\w+)", sql)}
    assert set(described()) - set(known) - made == set()
    columns = set().union(*known.values()) | {"writer_id", "batch", "position"}
    assert {table: odd for table, told in described().items() if (odd := told - columns)} == {}


def test_each_setting_is_named() -> None:
    for setting in dataclasses.fields(Privacy):
        assert f"`{setting.name}`" in TEXT or f"privacy.{setting.name}" in TEXT, setting.name


def test_files_of_the_state_folder_are_named() -> None:
    for name in ("spool/", "journal/", "keys/", "-wal", "-shm", "refused.jsonl", "broken/"):
        assert name in TEXT, name
