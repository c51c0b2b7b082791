"""No statement reads a table that grows from end to end. Those of the other tests are looked at as they run (see `plans`);
here are those that stand in the modules, also the ones that no test runs."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

from relay.store import sql
from relay.store.sql.program import Rows
from relay.store.sqlite import programs
from tests.store import plans


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Rows):
        made = programs.statements(value)
        yield from (made[size] for size in (1, programs.SIZES[-1]))
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def statements() -> dict[str, str]:
    """Those that are whole, each by its module and name."""
    found = {}
    for info in pkgutil.iter_modules(sql.__path__):
        for name, value in vars(importlib.import_module(f"relay.store.sql.{info.name}")).items():
            for number, text in enumerate(texts(value) if name.isupper() else ()):
                if re.match(
                    r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b.*\b(FROM|INTO|SET)\b", text, re.S
                ) and not re.search(r"\{\w*\}", text):
                    found[f"{info.name}.{name}.{number}"] = text
    # What others begin with is no statement of its own.
    return {k: sql for k, sql in found.items() if not any(x.startswith(sql) and x != sql for x in found.values())}


STATEMENTS = statements()


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_reads_what_it_needs(name: str) -> None:
    assert not plans.wrong(STATEMENTS[name])
    assert len(STATEMENTS) > 100


def test_what_would_be_wrong_is_found() -> None:
    assert "SEARCH events" in plans.wrong("SELECT max(at) FROM events WHERE url = ?")
    assert "SCAN events" in plans.wrong("SELECT at FROM events WHERE url = ?")
    assert "SCAN d" in plans.wrong("UPDATE deliveries AS d SET turn = :x WHERE d.trigger = :y")
    assert "SCAN e:" in plans.wrong(
        "SELECT c.idx FROM copies c CROSS JOIN events e ON e.url = c.reply WHERE c.message_id = ?"
    )
    assert "USE TEMP" in plans.wrong("SELECT url FROM events WHERE message_id = ? ORDER BY url")
    assert not plans.wrong("SELECT url FROM events WHERE message_id = ?")


@pytest.mark.parametrize("sql", [*plans.FEW])
def test_what_is_let_off_is_there_and_must_be(sql: str) -> None:
    assert sql in STATEMENTS.values()
    assert list(plans.dear(sql))
