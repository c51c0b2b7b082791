"""A store of very many rows, made by the database itself: in SQLite and in PostgreSQL the same.

Row n of each table belongs to message n: it has one recipient and one event, and each second a notification. What is
asked for is of three kinds. Much of it: a tenth of all messages have one thread, one of them one Message-ID, one
recipient and one subject. Little of it: a grant, a label, a sender, a type of event that the first messages alone have. And nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from relay.core.counts import COUNTERS
from relay.core.model import Endpoint
from relay.store import tables
from relay.store.sql import counts, endpoints
from relay.store.sqlite import database, schema
from relay.store.sqlite.programs import run

DAYS = 60.0  # over which it is spread, whatever its number
STEP = 200_000  # messages in a statement
ENDPOINTS = tuple(
    Endpoint(
        name,
        f"https://{name}.example.com/",
        ("message.opened", "message.link_clicked"),
        source="api",
        notify=("ops@example.com",),
        verdicts=("unknown",),  # which all hits have here
    )
    for name in ("wh_busy", "wh_dead", "wh_idle")
)
PENDING = 500  # of the last notifications are due, as where an endpoint is an hour behind
FEW = 8  # of what there is little

DIGITS, SHIFTS = "0123456789abcdefghijklmnopqrstuv", range(45, -1, -5)  # base32hex (RFC 4648 7), of 50 bits
# What the two spell otherwise.
WORDS = {
    "numbers": (
        "WITH RECURSIVE num(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM num WHERE n < {last})",
        "WITH num(n) AS (SELECT generate_series(CAST({first} AS bigint), {last}))",
    ),
    "tail": ("printf('%010d', n)", "lpad(n::text, 10, '0')"),
    "hex": ("printf('%08x', n * 2654435761 % 4294967296)", "lpad(to_hex(n * 2654435761 % 4294967296), 8, '0')"),
    "ms": ("printf('%012x', {whole})", "lpad(to_hex({whole}), 12, '0')"),
    "whole": ("CAST({at} * 1000 AS integer)", "CAST(floor({at} * 1000) AS bigint)"),
}
AT = "({now} - {span} * ({count} - 1 - n) / {count})"
EXPLANATION = (
    '{{"parts":[{{"path":"1.2","action":"edited","links":5}}],"links":[["1.2","https://shop.example.com",5]],'
    '"pixel":"1.2","left":[],"dkim":"example.com","rule":"default"}}'
)
LINKS = "[" + ",".join(f'"https://shop{n}.example.com/offers/spring"' for n in range(5)) + "]"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
GRANT = f"CASE WHEN n < {FEW} THEN 'rare' WHEN n % 3 = 0 THEN 'news' ELSE 'sales' END"
RECIPIENT = "CASE WHEN n % 10 = 7 THEN 'hog@example.org' ELSE 'r' || {hex} || '@example.org' END"
NAMED = "CASE WHEN n % 10 = 7 THEN 'hog@mail.example' ELSE {hex} || '.' || n || '@mail.example' END"
THREAD = "CASE WHEN n % 10 = 7 THEN {hog} ELSE {id} END"
TYPE = (
    f"CASE WHEN n < {FEW} THEN 'thread.replied' WHEN n % 10 < 7 THEN 'message.opened' ELSE 'message.link_clicked' END"
)
CLICKED = "n % 10 >= 7"
STATE = f"CASE WHEN n < {FEW} THEN 'later' WHEN n < {2 * FEW} THEN 'never' ELSE 'done' END"
COLUMNS: dict[str, dict[str, str]] = {
    "messages": {
        "message_id": "{id}",
        "grant_id": GRANT,
        "internet_message_id": NAMED,
        "submitted_at": AT,
        "sender": f"CASE WHEN n < {FEW} THEN 'Rare@rare.example' ELSE 'ann' || n % 10 || '@example.com' END",
        "reverse_path": "'bounces+' || {hex} || '@example.com'",
        "to": """'["' || """ + RECIPIENT + """ || '"]'""",
        "cc": "'[]'",
        "subject": f"CASE WHEN n < {FEW} THEN 'Seldom' ELSE 'A message of the usual kind' END",
        "label": f"CASE WHEN n < {FEW} THEN 'rare' ELSE 'campaign-' || n % 5 END",
        "metadata": """CASE n % 10 WHEN 7 THEN '{{"key1":"hog"}}' ELSE '{{}}' END""",
        "submitter_ip": "'192.0.2.1'",
        "size": "5120",
        "opens": "TRUE",
        "links_tracked": "TRUE",
        "thread_replies": "TRUE",
        "reason": "NULL",
        "links": f"'{LINKS}'",
        "references": "'[]'",
        "thread_id": THREAD,
        "explanation": f"'{EXPLANATION}'",
        "login": "''",
        "queue_id": "''",
        "daemon": "''",
        "sender_domain": f"CASE WHEN n < {FEW} THEN 'rare.example' ELSE 'example.com' END",
    },
    "copies": {
        "recipient": RECIPIENT,
        "idx": "0",
        "tracked": "TRUE",
        "reason": "NULL",
        "state": STATE,
        "reply": "'250 2.0.0 Ok: queued as 4dL' || {hex}",
        "upstream_id": "{hex} || '@upstream.example'",
        "thread_replies": "TRUE",
        "message_id": "{id}",
        "position": "0",
        "sole": "TRUE",
        "at": AT,
    },
    "events": {
        "event_id": "substr({ms}, 1, 8) || '-' || substr({ms}, 9, 4) || '-7000-8000-00' || {tail}",
        "type": TYPE,
        "message_id": "{id}",
        "at": AT,
        "recipient_index": "0",
        "recipient": RECIPIENT,
        "link_index": f"CASE WHEN {CLICKED} THEN n % 5 ELSE 0 END",
        "url": f"CASE WHEN {CLICKED} THEN 'https://shop' || n % 5 || '.example.com/offers/spring' ELSE '' END",
        "method": "'GET'",
        "ip": "'192.0.2.' || n % 256",
        "user_agent": f"'{AGENT}'",
        "referer": "''",
        "verdict": "'unknown'",
        "reason": "''",
        "data": "''",
        "grant_id": GRANT,
        "sequence": "1",
        "counted": "TRUE",
        "ordinal": "0",
        "position": "n + 1",
        "first_verdict": "''",
        "changed_at": "0",
        "link_counts": """CASE WHEN n % 10 >= 7 THEN '{{"1":1}}' ELSE '' END""",
    },
    "tallies": {
        "message_id": "{id}",
        "facts": """'[1,{{"message.opened":1}},{{}},{{"0":' || CAST({ROUND} AS text) || '.5}}]'""",
    },
    "seen": {
        "message_id": "{id}",
        "idx": "0",
        "opens": f"CASE WHEN {CLICKED} THEN 0 ELSE 1 END",
        "machine_opens": "0",
        "clicks": f"CASE WHEN {CLICKED} THEN 1 ELSE 0 END",
        "machine_clicks": "0",
    },
    "answers": {
        "answer_id": "'a' || {id}",
        "grant_id": GRANT,
        "message_id": "{id}",
        "thread_id": THREAD,
        "at": AT + " + 60",
        "internet_message_id": "'re.' || {hex} || '@example.org'",
        "sender": RECIPIENT,
        "sender_name": "'Bob'",
        "to": """'["ann@example.com"]'""",
        "cc": "'[]'",
        "subject": "'Re: A message of the usual kind'",
        "date": AT,
        "references": "'[]'",
        "excerpt": "'Yes, please.'",
        "size": "700",
        "automatic": "FALSE",
    },
    "deliveries": {
        "delivery_id": "n / 2 + 1",
        "endpoint_id": f"CASE WHEN n < {2 * FEW} THEN 'wh_dead' ELSE 'wh_busy' END",
        "trigger": TYPE,
        "state": f"CASE WHEN n < {2 * FEW} THEN 'dead' WHEN n >= {{count}} - {2 * PENDING} THEN 'pending' ELSE 'delivered' END",
        "attempt": f"CASE WHEN n >= {{count}} - {2 * PENDING} THEN 0 ELSE 1 END",
        "first_at": AT,
        "next_at": AT,
        "settled_at": f"CASE WHEN n >= {{count}} - {2 * PENDING} THEN 0 ELSE {AT} END",
        "status": f"CASE WHEN n >= {{count}} - {2 * PENDING} THEN 0 ELSE 200 END",
        "error": "''",
        "attempts": "'[[1764400000.9,200,\"\",31]]'",
        "position": "n + 1",
        "turn": AT,
    },
    "drafts": {
        "draft_id": "{id}",
        "grant_id": GRANT,
        "created_at": AT,
        "updated_at": AT,
        "fields": "'{{}}'",
    },
    "schedules": {
        "schedule_id": "{id}",
        "grant_id": GRANT,
        "message_id": "{id}",
        "send_at": AT,
        "created_at": AT,
        "fields": "'{{}}'",
        "state": f"CASE WHEN n < {10 * FEW} THEN 'scheduled' ELSE 'sent' END",
        "next_at": AT,
        "attempt": "1",
        "closed_at": AT,
        "error": "''",
        "handed": "1",
        "holder": "''",
    },
    "requests": {
        "request_key": "{id}",
        "digest": "''",
        "message_id": "{id}",
        "at": AT,
        "state": "'done'",
        "answer": "'{{}}'",
    },
    "suppressions": {
        "digest": "{hex}",
        "recipient": RECIPIENT,
        "grant_id": f"CASE WHEN n < {FEW} THEN 'rare' ELSE '' END",
        "reason": f"CASE WHEN n < {FEW} THEN 'manual' ELSE 'bounce' END",
        "since": AT,
        "source": "'event'",
        "event_id": "''",
        "note": "''",
    },
    "erasures": {"digest": "{hex}", "recipient": RECIPIENT, "at": AT, "message_id": "{id}"},
}
TENTH = "WHERE n % 10 = 7"
SOME = f"WHERE n % 10 = 7 OR n < {FEW}"
WHICH = {
    "suppressions": SOME,
    "erasures": SOME,
    "answers": TENTH,
    "drafts": TENTH,
    "schedules": TENTH,
    "requests": TENTH,
    "deliveries": "WHERE n % 2 = 0",
}
# Once all else is there, in their order: added some at a time, each would go to another place of a large table.
IDENTIFIERS = """
INSERT INTO identifiers (identifier, message_id)
SELECT internet_message_id, message_id FROM messages UNION ALL SELECT upstream_id, message_id FROM copies ORDER BY 1, 2
"""


class Filled(NamedTuple):
    """`now` is when the last message was sent, `days` before it the first one."""

    size: int
    now: float
    days: float = DAYS

    @property
    def own(self) -> str:
        """A message that has nothing in common with many."""
        return self.message(self.size // 2 // 10 * 10 + 4)

    def message(self, number: int) -> str:
        """As ours are: 48 bits for the time, then what tells it from others."""
        time = int(self.at(number) * 1000) << 2
        return "".join(DIGITS[time >> shift & 31] for shift in SHIFTS) + f"{number:010}"

    def event(self, number: int) -> str:
        at = self.at(number)
        text = f"{int(at * 1000):012x}"
        return f"{text[:8]}-{text[8:]}-7000-8000-00{number:010}"

    def at(self, number: int) -> float:
        return self.now - self.days * 86_400.0 * (self.size - 1 - number) / self.size


def texts(engine: int, first: int, last: int, of: Filled) -> Iterator[str]:
    """The statements of these messages; `engine` is 0 for SQLite, 1 for PostgreSQL."""
    numbers = {"now": str(of.now), "span": str(of.days * 86_400.0), "count": str(of.size)}
    at = AT.format(**numbers)
    words = {name: spelt[engine] for name, spelt in WORDS.items()}
    words["numbers"] = words["numbers"].format(first=first, last=last)
    words["whole"] = words["whole"].format(at=at)
    words["ms"] = words["ms"].format(**words)
    digits = [f"substr('{DIGITS}', CAST(({words['whole']} * 4 >> {shift}) & 31 AS integer) + 1, 1)" for shift in SHIFTS]
    # What every table has of them, and is dear, is made once.
    yield "DROP TABLE IF EXISTS chosen"
    yield (
        f"CREATE TEMPORARY TABLE chosen AS {words['numbers']}"
        f" SELECT n, {' || '.join(digits)} || {words['tail']} AS own_id, {words['hex']} AS own_hex FROM num"
    )
    words["id"], words["hex"] = "own_id", "own_hex"
    words["hog"] = f"'{of.message(7)}'"
    words["ROUND"] = f"CAST({at} AS bigint)"
    words |= numbers
    for table, columns in COLUMNS.items():
        names = ", ".join(f'"{name}"' for name in columns)
        values = ", ".join(columns.values()).format(**words)
        yield f"INSERT INTO {table} ({names}) SELECT {values} FROM chosen {WHICH.get(table, '')}"


def counters(of: Filled) -> list[tuple[Any, ...]]:
    """The rows of `counts`: an hour has each value, however many rows the other tables have."""
    rows = []
    last = int(of.now) // 3600
    for hour in range(last - int(of.days * 24), last + 1):
        for grant in ("news", "sales"):
            values = [("label", f"campaign-{n}") for n in range(5)]
            values += [("sender", f"ann{n}@example.com") for n in range(5)]
            values += [("sending_domain", "example.com"), ("recipient_domain", "example.org")]
            values += [("link_host", f"shop{n}.example.com") for n in range(5)]
            if hour % 24 == 0:
                values += [("link", f"https://shop{n}.example.com/offers/spring") for n in range(5)]
            rows += [(dimension, hour, grant, value, *[1] * len(COUNTERS)) for dimension, value in values]
    return rows


COUNTED = f"INSERT INTO counts ({', '.join((*counts.KEY, *COUNTERS))}) VALUES "


def quiet(text: str) -> None:
    """Says nothing."""


def sqlite(path: Path, of: Filled, said: Callable[[str], None] = quiet) -> None:
    """Makes the file. Its indexes are made at the end, which is quicker."""
    with closing(database.connect(path, busy=1.0)) as db:
        schema.migrate(db)
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA temp_store = FILE")  # what is sorted does not fit into memory
        db.execute("PRAGMA cache_size = -400000")
        indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        for endpoint in ENDPOINTS:
            run(db, endpoints.add(endpoint))
        for first in range(0, of.size, STEP):
            db.execute("BEGIN")
            for sql in texts(0, first, min(first + STEP, of.size) - 1, of):
                db.execute(sql)
            db.execute("COMMIT")
            said(f"{min(first + STEP, of.size)} of {of.size} messages")
        db.execute(IDENTIFIERS)
        said("identifiers")
        width = len(counts.KEY) + len(COUNTERS)
        db.execute("BEGIN")
        db.executemany(f"{COUNTED} ({', '.join('?' * width)})", counters(of))
        db.execute("COMMIT")
        for number, (name, sql) in enumerate(indexes, 1):
            db.execute(sql)
            said(f"index {number} of {len(indexes)}: {name}")
        db.execute("PRAGMA journal_mode = WAL")


async def postgres(db: Any, of: Filled, said: Callable[[str], None] = quiet) -> None:
    """Fills a database that is up to date and empty, on a connection of asyncpg. What is seldom is not in its statistics:
    as in a large table, of which few rows are looked at for them."""
    await db.execute("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'")
    indexes = await db.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT IN"
        " (SELECT conname FROM pg_constraint) AND tablename NOT LIKE 'events\\_%'"
    )
    for name, _ in indexes:
        await db.execute(f"DROP INDEX {name}")
    for endpoint in ENDPOINTS:
        row = tables.ENDPOINTS.row(endpoint)
        places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        names = tables.ENDPOINTS.names(beside=True)
        await db.execute(f"INSERT INTO endpoints ({names}) VALUES ({places})", *row)
    for number in range(20):
        await db.execute("SELECT events_month($1)", of.at(number * (of.size - 1) // 19))
    for first in range(0, of.size, STEP):
        for sql in texts(1, first, min(first + STEP, of.size) - 1, of):
            await db.execute(sql)
        said(f"{min(first + STEP, of.size)} of {of.size} messages")
    await db.execute(IDENTIFIERS)
    said("identifiers")
    width = len(counts.KEY) + len(COUNTERS)
    places = ", ".join(f"${n}" for n in range(1, width + 1))
    await db.executemany(f"{COUNTED} ({places})", counters(of))
    await db.execute(f"SELECT setval('deliveries_delivery_id_seq', {of.size // 2 + 1})")
    for number, (name, sql) in enumerate(indexes, 1):
        await db.execute(sql.replace(" ON ONLY ", " ON "))
        said(f"index {number} of {len(indexes)}: {name}")
    await db.execute("SET default_statistics_target = 1; ANALYZE")
