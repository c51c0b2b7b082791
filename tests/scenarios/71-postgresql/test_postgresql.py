"""The whole program over PostgreSQL: mail, an open, a click, their notifications; a server that is killed under load; and
a move to SQLite. Two nodes share the database: one takes mail, opens and clicks, the other sends notifications."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import hooks
from tests.peers import postgres
from tests.scenarios import hostile, service
from tests.until import eventually

pytestmark = pytest.mark.timeout(300)  # many processes, on a machine that may be busy
MORE = """
[store]
url = "{url}"
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
[[webhooks]]
url = "{hook}"
triggers = ["message.opened", "message.link_clicked"]
secret = "a-secret-of-sixteen-or-more"
"""
CLICKED = "SELECT count(*) FROM events WHERE type = 'message.link_clicked'"
MAIL, HITS, SENDERS = 8, 24, 3  # each of so many clients sends and clicks so often


@contextmanager
def nodes(folder: Path, url: str, hook: str, upstream: int) -> Iterator[service.Service]:
    for name, roles in (("first", "smtp,queue,http,admin"), ("second", "webhooks")):
        (folder / name).mkdir()
        ports = service.settings(
            folder / name, upstream=upstream, more=MORE.format(url=url, hook=hook), http="hits_per_token = 0\nhits_per_message = 0"
        )  # fmt: skip
        if name == "first":
            first = service.running(folder / name, ports, only=roles)
        else:
            second = service.running(folder / name, ports, only=roles)
    with first as one, second as other:
        yield one
        assert "Traceback" not in one.log + other.log


def click(port: int, link: str, number: int) -> None:
    """Each is another client's."""
    with hostile.Http(port) as client:
        status, fields, _ = client.get(link, f"X-Forwarded-For: 198.51.{number // 200}.{number % 200 + 1}")
        assert (status, fields["location"]) == (302, "https://example.com/page?a=1")


def notified(received: list[hooks.Received]) -> Counter[tuple[str, str]]:
    """How often each message's click was told, by who clicked."""
    return Counter(
        (one.json["data"]["object"]["message_id"], recent["ip"])
        for one in received
        if one.json["type"] == "message.link_clicked"
        for recent in one.json["data"]["object"]["recents"][-1:]
    )


async def test_a_server_that_is_killed_under_load(tmp_path: Path) -> None:
    async with hooks.receiver() as hook:
        await asyncio.to_thread(journey, tmp_path, hook)


def journey(folder: Path, hook: hooks.Hooks) -> None:
    with postgres.running() as server, hostile.sink() as upstream:
        server.psql("CREATE DATABASE relay")
        with nodes(folder, server.url("relay"), hook.url, upstream.port) as relay:
            assert re.search(
                r"ok +store: 127\.0\.0\.1:\d+/relay \(PostgreSQL .* has schema", relay.command("check").stdout
            )
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            (pixel,), (link,) = hostile.tokens(upstream.taken[0].content)
            with hostile.Http(relay.http) as client:
                assert client.get(pixel)[0] == 200
            click(relay.http, link, 0)
            eventually(
                lambda: {one.json["type"] for one in hook.accepted} == {"message.opened", "message.link_clicked"}
            )
            told = threading.Event()
            accepted: list[str] = []

            def load(sender: int) -> None:
                for n in range(MAIL):
                    subject = f"load-{sender}-{n}"
                    with hostile.Smtp(relay.smtp) as client:
                        answer = client.mail(hostile.letter("", "X-Track: all").replace(b"A letter", subject.encode()))
                    assert answer.startswith("250"), answer
                    accepted.append(subject)
                    for hit in range(HITS // MAIL):
                        click(relay.http, link, 1 + sender * HITS + n * (HITS // MAIL) + hit)
                    if len(accepted) >= SENDERS * MAIL // 3:
                        told.set()

            with futures.ThreadPoolExecutor(SENDERS) as senders:
                working = senders.map(load, range(SENDERS))
                assert told.wait(120)
                server.kill()
                server.start()
                list(working)
            assert len(accepted) == SENDERS * MAIL
            # No mail is lost, and none came twice.
            arrived = Counter(subject(one.content) for one in upstream.taken)
            assert arrived == Counter([*accepted, "A letter"])
            # No hit is lost, and none is there twice: each client clicked once.
            clicks = 1 + SENDERS * HITS
            eventually(lambda: server.psql(CLICKED, "relay") == str(clicks), 120, pause=0.2)
            events = relay.events()
            assert Counter(e["ip"] for e in events if e["type"] == "message.link_clicked") == Counter(
                f"198.51.{n // 200}.{n % 200 + 1}" for n in range(clicks)
            )
            # Each was told; twice only what was under way when its outcome could not be written.
            eventually(lambda: len(notified(hook.accepted)) == clicks, 120, pause=0.2)
            again = sum(notified(hook.accepted).values()) - clicks
            assert again <= 60
            metrics = hostile.metrics(relay.admin)
            assert metrics["trackrelay_events_lost_total"] == 0
        moved(relay, events)


def moved(relay: service.Service, events: list[dict[str, Any]]) -> None:
    """With the service stopped, everything goes into a file, and the program goes on with that."""
    said = relay.command("store", "copy", "--to", "sqlite:moved.db").stdout
    assert re.fullmatch(r"\d{3,} rows are the same in both; now set store.url to the new one\n", said)
    text = relay.config.read_text()
    relay.config.write_text(re.sub(r'url = "postgresql:.*"', 'url = "sqlite:moved.db"', text))
    assert relay.events() == events


def subject(content: bytes) -> str:
    return re.search(rb"(?m)^Subject: (.*)\r$", content)[1].decode()
