"""The store is held by another, broken, or gone while the service runs: mail passes, pixel and click answer, and what
was clicked meanwhile is in the store once it is back. Nothing is started anew."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

LETTER = hostile.letter("", "X-Track: all")


@dataclass
class World:
    relay: service.Service
    upstream: Upstream
    database: Path
    pixel: str
    link: str
    untracked: int = 0

    def send(self) -> bool:
        """Sends one message, which must arrive; was it tracked?"""
        before = len(self.upstream.taken)
        with hostile.Smtp(self.relay.smtp) as client:
            assert client.mail(LETTER).startswith("250")
        assert len(self.upstream.taken) == before + 1
        content = self.upstream.taken[-1].content
        assert b"X-Track" not in content
        tracked = b"/c/" in content
        self.untracked += not tracked
        return tracked

    def hit(self) -> None:
        """Opens and clicks: both answer as ever."""
        with hostile.Http(self.relay.http) as client:
            assert client.get(self.pixel)[0] == 200
            status, fields, _ = client.get(self.link)
            assert (status, fields["location"]) == (302, "https://example.com/page?a=1")

    def clicks(self) -> int:
        return self.relay.command("events").stdout.count("message.link_clicked")


@contextmanager
def world(folder: Path, times: int = 1) -> Iterator[World]:
    """`times`: of trouble that there may be."""
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports, only="smtp,queue,http,admin,webhooks") as relay:
            found = World(relay, upstream, folder / "var" / "trackrelay.db", "", "")
            assert found.send()
            pixels, clicks = hostile.tokens(upstream.taken[0].content)
            found.pixel, found.link = pixels[0], clicks[0]
            yield found
        assert "Traceback" not in relay.log
        # Once per time of trouble and room; only a message that goes out untracked has a line of its own.
        told = re.findall(
            r" (?:WARNING|ERROR) (?!config )(?!app runs_as_root )(?!outbound untracked )(\w+ \w+)", relay.log
        )
        assert all(told.count(line) <= times for line in told), told
        assert relay.log.count(" outbound untracked ") <= found.untracked


def test_locked_by_another(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        with closing(sqlite3.connect(here.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            here.hit()
            assert not here.send()
            here.hit()
        here.hit()
        eventually(here.send)
        eventually(lambda: here.clicks() == 3, pause=0.2)
        counted = hostile.metrics(here.relay.admin)
        assert counted["trackrelay_events_lost_total"] == 0
        assert counted["trackrelay_journaled_total"] >= 1
        with hostile.Http(here.relay.admin) as client:
            assert client.get("/readyz")[0] == 200


def test_broken_and_put_back(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        here.relay.command("backup", str(tmp_path / "backup"))
        with closing(sqlite3.connect(here.database)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        here.database.write_bytes(os.urandom(here.database.stat().st_size))
        assert not here.send()
        here.hit()
        with hostile.Http(here.relay.admin) as client:
            status, _, body = client.get("/readyz")
        assert status == 503
        assert b"trackrelay.db" in body
        whole = next((tmp_path / "backup").rglob("trackrelay.db"))
        for path in here.database.parent.glob("trackrelay.db-*"):
            path.unlink()
        (tmp_path / "new").write_bytes(whole.read_bytes())
        (tmp_path / "new").rename(here.database)
        eventually(here.send)
        eventually(lambda: here.clicks() == 1, pause=0.2)


def test_gone(tmp_path: Path) -> None:
    # A file that is gone fails in its own way until that is noticed; on a busy machine something succeeds in between.
    with world(tmp_path, times=2) as here:
        for path in here.database.parent.glob("trackrelay.db*"):
            path.unlink()
        here.hit()  # a link outlives every row
        eventually(lambda: here.send() and here.database.exists(), pause=0.1)
        here.hit()
        # The first one too, where it came after the file was missed: within moments, or later on a busy machine.
        eventually(lambda: here.clicks() in (1, 2), pause=0.2)
        assert oct(here.database.stat().st_mode & 0o777) == "0o600"
