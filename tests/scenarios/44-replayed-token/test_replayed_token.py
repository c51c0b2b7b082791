"""Somebody has one link or pixel and asks for it as often as the line allows: it is answered each time, the store does not
grow, the endpoint gets a few notifications, and other recipients' clicks are notified as ever."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.fakes import hooks
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

MANY = 4000
LETTER = (
    b"From: a@example.com\r\nTo: b@example.net, c@example.net\r\nSubject: links\r\nMessage-ID: <first@example.com>\r\n"
    b"X-Track: all\r\nContent-Type: text/html\r\n\r\n"
    b'<html><body><a href="https://example.com/">one</a></body></html>\r\n'
)


@contextmanager
def receiver() -> Iterator[hooks.Hooks]:
    """It takes its time, as real ones do."""
    with hostile.elsewhere() as run:
        running = hooks.receiver(lambda number, headers: hooks.Answer(pause=0.03))
        hook = run(running.__aenter__())
        try:
            yield hook
        finally:
            run(running.__aexit__(None, None, None))


def configure(
    folder: Path, upstream: Upstream, hook: hooks.Hooks | None = None, http: str = ""
) -> tuple[int, int, int]:
    more = ""
    if hook is not None:
        more = f"""
[[webhooks]]
url = "{hook.url}"
triggers = ["message.opened", "message.link_clicked"]
secret = "whsec_AAAA"
[webhook_delivery]
allow_private = ["127.0.0.1"]
"""
    return service.settings(folder, upstream=upstream.port, more=more, http=http)


def copies(relay: service.Service, upstream: Upstream) -> list[dict[str, str]]:
    """Per recipient the paths of pixel and link."""
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(LETTER, "b@example.net", "c@example.net").startswith("250")
    kept = sorted(eventually(lambda: len(upstream.kept) == 2 and upstream.kept), key=lambda kept: kept.recipients)
    found = [hostile.tokens(one.content) for one in kept]
    return [{"o": pixels[0], "c": links[0]} for pixels, links in found]


class Flood:
    """`number` requests for one path, each with another user agent and 1,500 octets of header fields."""

    def __init__(self, port: int, path: str, number: int, method: str = "GET") -> None:
        self.port, self.path, self.number, self.method = port, path, number, method
        self.octets = 0
        self.statuses: dict[int, int] = {}
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with hostile.Http(self.port) as client:
            for n in range(self.number):
                fields = (f"User-Agent: Mozilla/{n} {'x' * 700}", f"Referer: https://{'r' * 700}/")
                self.octets += len(self.path) + sum(map(len, fields)) + 50
                status, _, _ = client.get(self.path, *fields, method=self.method)
                self.statuses[status] = self.statuses.get(status, 0) + 1


def events(relay: service.Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in relay.command("events", "--json", "--limit", "100000").stdout.splitlines()]


def folded(kept: list[dict[str, Any]]) -> int:
    return sum(event["data"].get("folded", 0) for event in kept)


def octets(folder: Path) -> int:
    """Of what is in the database, whatever was written to which of its files."""
    with closing(sqlite3.connect(folder / "var" / "trackrelay.db")) as db:
        return int(db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0])


def test_a_link_replayed(tmp_path: Path) -> None:
    with hostile.sink() as upstream, receiver() as hook:
        ports = configure(tmp_path, upstream, hook)
        with service.running(tmp_path, ports) as relay:
            hers, his = copies(relay, upstream)
            before = octets(tmp_path)
            flood = Flood(relay.http, hers["c"], MANY)
            flood.thread.start()
            eventually(lambda: flood.statuses.get(302, 0) >= MANY // 2, 60)

            came = len(hook.received)
            Flood(relay.http, his["c"], 1).run()

            def good() -> list[int]:
                return [n for n, one in enumerate(hook.received) if b'"recipient":"c@example.net"' in one.body]

            assert eventually(good, 60)[0] - came < 50  # it waited for those under way, not for all of the flood
            flood.thread.join()
            assert flood.statuses == {302: MANY}
            kept = events(relay)
            assert 100 < len(kept) < 500
            assert (octets(tmp_path) - before) / MANY < 600  # those that were kept
            eventually(lambda: len(hook.received) == sum(event["counted"] for event in kept), 60)
            assert sum(len(one.body) for one in hook.received) < 2 * flood.octets
            agents = {
                len(seen["user_agent"]) for one in hook.received for seen in one.json["data"]["object"]["recents"]
            }
            assert max(agents) == 256

            size = octets(tmp_path)
            again = Flood(relay.http, hers["c"], MANY)
            again.run()
            assert again.statuses == {302: MANY}
            assert (octets(tmp_path) - size) / MANY < 10


def test_pixels_looks_and_blocked_links_replayed(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = configure(tmp_path, upstream)
        with service.running(tmp_path, ports) as relay:
            hers, _ = copies(relay, upstream)
            for path, method in ((hers["o"], "GET"), (hers["o"], "HEAD"), (hers["c"], "HEAD")):
                flood = Flood(relay.http, path, 1000, method)
                flood.run()
                assert set(flood.statuses) == {302 if path == hers["c"] else 200}
            assert len(events(relay)) < 250
            relay.command("links", "block", "example.com")
            with hostile.Http(relay.http) as client:
                eventually(lambda: client.get(hers["c"])[0] == 410)
            blocked = Flood(relay.http, hers["c"], 1000)
            blocked.run()
            assert blocked.statuses == {410: 1000}
            assert len(events(relay)) < 300


def test_nothing_is_lost_by_a_stop_and_processes_share_the_buckets(tmp_path: Path) -> None:
    """What was folded, here and there, is said by the next click that is kept."""
    with hostile.sink() as upstream:
        ports = configure(tmp_path, upstream, http="hits_per_token = 600")
        other = tmp_path / "other"
        other.mkdir()
        others = configure(other, upstream, http="hits_per_token = 600")
        config = other / "relay.toml"
        config.write_text(config.read_text().replace('"var"', f'"{tmp_path / "var"}"'))
        sent = 0
        with service.running(tmp_path, ports) as relay:
            hers, _ = copies(relay, upstream)
            with service.running(other, others, only="http") as second:
                for it in (relay, second):
                    flood = Flood(it.http, hers["c"], 1500)
                    flood.run()
                    sent += flood.statuses[302]
                assert sent == 3000
        with service.running(tmp_path, ports) as relay:

            def said() -> list[dict[str, Any]]:
                nonlocal sent
                Flood(relay.http, hers["c"], 1).run()
                sent += 1
                kept = events(relay)
                return kept if len(kept) + folded(kept) >= 3000 else []

            kept = eventually(said, 60, pause=0.2)
            assert len(kept) < 900
            assert len(kept) + folded(kept) <= sent
