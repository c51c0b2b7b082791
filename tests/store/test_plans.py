"""No statement reads a table that grows from end to end. Those of the other tests are looked at as they run (see `plans`);
here are those that stand in the modules, also the ones that no test runs."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType

import asyncpg
import pytest

from relay.store import postgres as of_postgres
from relay.store import sql
from relay.store.sql import counts, knowledge, messages, outbox, suppressions
from relay.store.sql.program import Rows
from relay.store.sqlite import programs
from tests.peers import postgres as servers
from tests.store import plans

Text = str | Rows


def texts(value: object) -> Iterator[Text]:
    if isinstance(value, str | Rows):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def named(package: ModuleType = sql) -> Iterator[tuple[str, Text]]:
    for info in pkgutil.iter_modules(package.__path__):
        for name, value in vars(importlib.import_module(f"{package.__name__}.{info.name}")).items():
            for number, text in enumerate(texts(value) if name.isupper() else ()):
                yield f"{info.name}.{name}.{number}", text


def whole(found: dict[str, str]) -> dict[str, str]:
    """Those that can be run as they are. What others begin with is no statement of its own."""
    found = {
        name: text
        for name, text in found.items()
        if re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b.*\b(FROM|INTO|SET)\b", text, re.S)
        and not re.search(r"\{\w*\}", text)
    }
    return {k: sql for k, sql in found.items() if not any(x.startswith(sql) and x != sql for x in found.values())}


def statements() -> dict[str, str]:
    """Each by its module and name, as SQLite has it."""
    found = {}
    for name, text in named():
        if isinstance(text, Rows):
            made = programs.statements(text)
            found |= {f"{name}.{size}": made[size] for size in (1, programs.SIZES[-1])}
        else:
            found[name] = text
    return whole(found)


STATEMENTS = statements()


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_reads_what_it_needs(name: str) -> None:
    assert not plans.wrong(STATEMENTS[name])
    assert len(STATEMENTS) > 100


@pytest.mark.parametrize("sql", [counts.LISTED_OF.format(key="value"), counts.TOP_OF, counts.CLICKS_OF])
def test_a_sum_for_one_grant_reads_its_rows_alone(sql: str) -> None:
    assert [step for step in plans.plan(sql) if "dimension=? AND hour=? AND grant_id=?" in step]


@pytest.mark.parametrize("sql", [counts.LISTED.format(key="value"), counts.TOP, counts.CLICKS])
def test_a_sum_for_all_grants_reads_its_hours_alone(sql: str) -> None:
    assert [step for step in plans.plan(sql) if "dimension=? AND hour>? AND hour<?" in step]


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


async def test_no_statement_reads_a_big_table_of_postgresql_from_end_to_end(postgres: servers.Server) -> None:
    from relay.store.postgres import connections, programs, schema, turns

    async with postgres.database() as url:
        db = await asyncpg.connect(url, server_settings=connections.PLANNING)
        types = await schema.types(db)
        await db.execute("SELECT events_month(1700000000), events_month(1710000000)")
        # Another test may have had this database, and have vacuumed it: then the tables are known to be empty.
        await db.execute(
            "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        found = {
            name: programs.combined((text,), types) if isinstance(text, Rows) else programs.numbered(text)[0]
            for name, text in (*named(), *named(of_postgres))
            if not name.startswith("migrations.")
        }
        let_off = {programs.numbered(sql)[0] for sql in plans.FEW}
        asked = {name: text for name, text in whole(found).items() if text not in let_off}
        for rows in (knowledge.KNOWN, messages.BEFORE):
            asked[f"{rows} in turn"] = turns.locked(programs.combined((rows,), types), len(rows.columns))
        for sql in (messages.THERE, suppressions.OF, outbox.STANDING):
            asked[f"{sql} in turn"] = turns.locked(programs.numbered(sql)[0], 1)
        for name, text in asked.items():
            wrong = [step for step in await plans.postgres_plan(db, text) if plans.reads_all(step)]
            assert not wrong, (name, text, wrong)
        assert len(asked) > 100
        assert [*filter(plans.reads_all, await plans.postgres_plan(db, "SELECT at FROM events WHERE url = $1"))]
        await db.close()
