"""A database with very many events, as the relay itself would have made it: by the store's own statements, counters and
all, in large transactions that are not synced."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from relay.core import floods, tokens
from relay.core.model import Endpoint, Event, Sent, SentCopy
from relay.store.sql import appending, endpoints, knowledge, messages
from relay.store.sql.program import Program
from relay.store.sqlite import database, schema
from relay.store.sqlite.programs import run

PER_MESSAGE = 10  # events
BATCH = 512
DAYS = 7  # over which the mail is spread, whatever its number
GRANTS = ("default", "sales", "news")
LABELS = tuple(f"campaign-{n}" for n in range(5))
DOMAINS = ("example.org", "example.net", "mail.example", "post.example", "firma.example")
LINKS = tuple(f"https://shop{n}.example.com/offers" for n in range(5))
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
ENDPOINT = Endpoint(
    "wh_bench", "https://app.example.com/hooks", ("message.opened", "message.link_clicked"), source="api"
)
# What was owed is delivered, but for the last ones, as where an endpoint is an hour behind.
DELIVERED = """
UPDATE deliveries SET state = 'delivered', attempt = 1, settled_at = first_at + 1, status = 200
WHERE delivery_id < (SELECT max(delivery_id) - 500 FROM deliveries)
"""


class Filled(NamedTuple):
    """What is in it to be asked for: ids of messages, some recipients and some ids of events; how many
    events and notifications."""

    messages: list[str]
    recipients: list[str]
    event_ids: list[str]
    events: int
    deliveries: int


def fill(
    path: Path, count: int, *, now: float, owed_to: Sequence[Endpoint] = (ENDPOINT,), delivered: bool = True
) -> Filled:
    """`count` events of a tenth as many messages with two recipients each, the last of them now."""
    dice = random.Random(7)
    with closing(database.connect(path, busy=1.0)) as db:
        schema.migrate(db)
        db.execute("PRAGMA synchronous = OFF")
        number = count // PER_MESSAGE
        for endpoint in owed_to:
            run(db, endpoints.add(endpoint))
        mail = [message(n, now - DAYS * 86400 * (1 - n / number), dice) for n in range(number)]
        for at in range(0, number, BATCH):
            within(db, messages.record_all(mail[at : at + BATCH]))
        asking = knowledge.Asking()
        hits = [hit(sent, n, dice) for sent in mail for n in range(PER_MESSAGE)]
        for at in range(0, len(hits), BATCH):
            some = hits[at : at + BATCH]
            within(db, appending.append(some, appending.How(asking, min(now, some[-1].event.at), floods.Limits(0, 0))))
        if delivered:
            db.execute(DELIVERED)
        (deliveries,) = db.execute("SELECT max(delivery_id) FROM deliveries").fetchone()
    return Filled(
        [sent.message_id for sent in mail],
        [sent.copies[0].recipient for sent in mail[:: max(1, number // 1000)]],
        [one.event.event_id for one in hits[:: max(1, count // 1000)]],
        count,
        deliveries,
    )


def within(db: sqlite3.Connection, program: Program[object]) -> None:
    db.execute("BEGIN")
    run(db, program)
    db.execute("COMMIT")


def message(number: int, at: float, dice: random.Random) -> Sent:
    message_id = tokens.message_id(tokens.message_key(at, number.to_bytes(6, "big")))
    grant = GRANTS[number % len(GRANTS)]
    people = [f"r{dice.randrange(1 << 30)}@{dice.choice(DOMAINS)}" for _ in range(2)]
    return Sent(
        message_id, grant, f"{message_id}@example.com", at, f"{grant}@example.com", f"{grant}@example.com",
        to=tuple(people), subject="A message of the usual kind", label=dice.choice(LABELS), opens=True, links_tracked=True,
        links=tuple(dice.sample(LINKS, 5)), size=5_000, thread_id=message_id,
        copies=tuple(SentCopy(one, n, True, None, "done", "250 2.0.0 ok") for n, one in enumerate(people)),
    )  # fmt: skip


def hit(sent: Sent, number: int, dice: random.Random) -> appending.Hit:
    index = dice.randrange(2)
    link = dice.randrange(5)
    clicked = number >= 7
    at = sent.submitted_at + dice.expovariate(1 / 20_000)
    return appending.Hit(
        Event(
            f"{dice.getrandbits(128):032x}", "message.link_clicked" if clicked else "message.opened", sent.message_id, at,
            recipient_index=index, link_index=link if clicked else 0, url=sent.links[link] if clicked else "",
            ip=f"192.0.2.{dice.randrange(256)}", user_agent=AGENT, verdict=dice.choice(("human", "prefetch", "unknown")),
        ),
        None,
    )  # fmt: skip


if __name__ == "__main__":
    import sys

    began = time.perf_counter()
    fill(Path(sys.argv[1]), int(sys.argv[2]), now=time.time())
    print(f"{time.perf_counter() - began:.1f} s")
