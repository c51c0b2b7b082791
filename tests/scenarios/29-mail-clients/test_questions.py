"""docs/faq.md: what each answer says is so."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests import oracle
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

DOCUMENT = service.ROOT / "docs" / "faq.md"
BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
TO = "b@example.test"
FIVE = "".join(f'<a href="https://example.com/page/{number}">page {number}</a> ' for number in range(5))


@dataclass
class World:
    relay: service.Service
    upstream: Upstream

    def send(self, content: bytes) -> bytes:
        already = len(self.upstream.taken)
        with hostile.Smtp(self.relay.smtp) as client:
            assert client.mail(content, TO).startswith("250")
        (kept,) = self.upstream.taken[already:]
        return kept.content

    def shown(self, content: bytes) -> dict[str, Any]:
        """The record of the message that arrived as this."""
        identifier = re.findall(rb"(?mi)^Message-ID: <(.*?)>", content)[0].decode()
        found: dict[str, Any] = json.loads(self.relay.command("messages", "show", identifier, "--json").stdout)
        return found

    def hits(self, content: bytes, many: int) -> list[dict[str, Any]]:
        """Its hits, once there are so many."""
        message = self.shown(content)["message_id"]

        def there() -> list[dict[str, Any]] | None:
            events = [each for each in self.relay.events() if each["message_id"] == message]
            events = [each for each in events if each["type"] in ("message.opened", "message.link_clicked")]
            return events if len(events) >= many else None

        return eventually(there, 60.0, pause=0.2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("questions")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports, only="smtp,queue,http") as relay:
            yield World(relay, upstream)


def tracked(body: str = "") -> bytes:
    return hostile.letter(body, "X-Track: opens, links")


def explained(world: World, content: bytes, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "relay", "rewrite", "--opens", "--links", "--explain", *options],
        input=content, capture_output=True, cwd=service.ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


PLAIN = b"From: a@example.test\r\nTo: b@example.test\r\nSubject: s\r\n\r\nhttps://example.com/offer\r\n"


def plain_text(world: World) -> None:
    assert explained(world, PLAIN)["reason"] == "no_html"
    assert explained(world, PLAIN, "--text-links")["reason"] is None


def long_links(world: World) -> None:
    content = world.send(tracked(FIVE))
    tokens = [path.rpartition("/")[2] for path in hostile.tokens(content)[1]]
    assert len(tokens) == 5
    for token in tokens:
        rest = len(token) - math.ceil(len(oracle.url_in(token)) / 3 * 4)
        assert 36 <= rest <= 38


def not_tracked(world: World) -> None:
    assert world.shown(world.send(hostile.letter(FIVE)))["reason"] == "not_requested"


def dkim(world: World) -> None:
    signature = "DKIM-Signature: v=1; a=rsa-sha256; d=example.test; s=s; h=from; bh=aaaa; b=bbbb"
    assert b"DKIM-Signature" not in world.send(hostile.letter(FIVE, "X-Track: links", signature))
    assert b"DKIM-Signature" in world.send(hostile.letter(FIVE, signature))


def no_opens(world: World) -> None:
    content = world.send(tracked(FIVE))
    assert len(hostile.tokens(content)[0]) == 1
    assert hostile.tokens(world.send(PLAIN))[0] == []


def pictures_off(world: World) -> None:
    content = world.send(tracked(FIVE))
    with hostile.Http(world.relay.http) as reader:
        assert reader.get(hostile.tokens(content)[1][0], BROWSER)[0] == 302
    (click,) = world.hits(content, 1)
    assert (click["type"], click["verdict"], click["recipient"]) == ("message.link_clicked", "human", TO)


def opened_at_once(world: World) -> None:
    edge = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/42.0 Safari/537.36 Edge/12.246 Mozilla/5.0"
    )
    content = world.send(tracked(FIVE))
    with hostile.Http(world.relay.http) as machine:
        for agent in ("Mozilla/5.0", edge):
            assert machine.get(hostile.tokens(content)[0][0], f"User-Agent: {agent}")[0] == 200
    assert [(hit["verdict"], hit["reason"]) for hit in world.hits(content, 2)] == [
        ("prefetch", "apple_privacy"), ("prefetch", "gmail_prefetch"),
    ]  # fmt: skip


def gmail(world: World) -> None:
    proxy = "User-Agent: Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
    content = world.send(tracked(FIVE))
    with hostile.Http(world.relay.http) as machine:
        for _ in range(2):
            status, fields, _ = machine.get(hostile.tokens(content)[0][0], proxy)
            assert (status, fields["cache-control"].partition(",")[0]) == (200, "no-store")
    hits = world.hits(content, 2)
    assert [(hit["verdict"], hit["reason"], hit["counted"]) for hit in hits] == [
        ("proxy", "image_proxy", True), ("proxy", "image_proxy", False),
    ]  # fmt: skip


def forwarded(world: World) -> None:
    """Whoever has the copy: the recipient's."""
    content = world.send(tracked(FIVE))
    for agent in (
        BROWSER,
        "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
    ):
        with hostile.Http(world.relay.http) as reader:
            assert reader.get(hostile.tokens(content)[0][0], agent)[0] == 200
    assert {hit["recipient"] for hit in world.hits(content, 2)} == {TO}


def clicked_at_once(world: World) -> None:
    content = world.send(tracked(FIVE))
    with hostile.Http(world.relay.http) as machine:
        for path in hostile.tokens(content)[1]:
            assert machine.get(path, BROWSER)[0] == 302
    hits = world.hits(content, 5)
    eventually(lambda: {hit["verdict"] for hit in world.hits(content, 5)} == {"scanner"}, pause=0.2)
    assert {hit["type"] for hit in hits} == {"message.link_clicked"}


def another_host(world: World) -> None:
    """Links of a host that was the relay's before, asked for by its name."""
    content = world.send(tracked(FIVE))
    path = hostile.tokens(content)[1][0]
    with hostile.Http(world.relay.http) as reader:
        assert reader.get(path, BROWSER, "X-Forwarded-Host: old.example.test")[0] == 302


def no_replies(world: World) -> None:
    shown = world.shown(world.send(hostile.letter("", "X-Track: thread_replies")))
    assert "no_mailbox" in json.dumps(shown)


def time_zone(world: World) -> None:
    world.send(tracked(FIVE))
    stamps = {
        zone: world.relay.command("messages", "list", "--limit", "1", env={**os.environ, "TZ": zone}).stdout[:16]
        for zone in ("UTC", "Etc/GMT-9")
    }
    assert len(set(stamps.values())) == 2
    assert re.search(r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z INFO ", world.relay.log)


def corrected(world: World) -> None:
    clicked_at_once(world)
    changed = [each for each in world.relay.events() if each["type"] == "message.verdict_changed"]
    assert changed
    assert "first_verdict" in changed[-1]


# What another test shows; and what is no matter of ours.
ELSEWHERE = {
    "Why does mutt say that it needs an encrypted connection?": (
        "scenarios/29-mail-clients/test_snippets.py", "test_mutt_does_not_send_without_the_second_line",
    ),
    "My script sends lines that end in LF alone. Does that work?": (
        "scenarios/29-mail-clients/test_programs.py", "test_who_ends_lines_in_lf_is_named_once",
    ),
    "What happens while trackrelay is down?": (
        "scenarios/24-stop-under-load/test_stop_under_load.py", "test_none_lost_none_twice",
    ),
    "And while only the database is down?": ("scenarios/18-store-faults/test_store_faults.py", "test_locked_by_another"),
    "I opened my own mail. Why does it not count?": ("core/test_tally.py", "test_the_senders_own_hit"),
    "May I do this at all?": ("test_docs.py", "test_links_between_the_documents_lead_somewhere"),
}  # fmt: skip
HERE: dict[str, Callable[[World], None]] = {
    "Is plain text tracked?": plain_text,
    "Why do the links look so long?": long_links,
    "Why was this message, or this link, not tracked?": not_tracked,
    "What becomes of the DKIM signature?": dkim,
    "Why are there no opens?": no_opens,
    "The recipient has pictures off. Can I see that it was read?": pictures_off,
    "Why was it opened the moment it was sent?": opened_at_once,
    "Why do all opens at Gmail come from Google?": gmail,
    "Why does it say that somebody opened it who says that they did not?": forwarded,
    "Why was a link clicked within seconds?": clicked_at_once,
    "May I move to another tracking host?": another_host,
    "Why are replies not seen?": no_replies,
    "Which time zone is it?": time_zone,
    "Why do two numbers differ?": corrected,
}


def test_each_answer_is_tried() -> None:
    asked = re.findall(r"(?m)^### (.*)$", DOCUMENT.read_text())
    assert sorted(asked) == sorted([*HERE, *ELSEWHERE])
    for path, test in ELSEWHERE.values():
        assert f"def {test}" in (service.ROOT / "tests" / path).read_text()


@pytest.mark.parametrize("question", HERE)
def test_the_answer(world: World, question: str) -> None:
    HERE[question](world)
