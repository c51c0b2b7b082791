"""Hits over HTTP into a store: their verdicts, without keeping whose they are."""

from __future__ import annotations

from pathlib import Path

from relay.config import Privacy, Settings
from relay.core import tokens
from relay.core.model import Sent, SentCopy, Token
from relay.identities import Identities
from relay.store.memory import Memory
from tests.shells.test_public import KEY, KEYS, NOW, site

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
LINKS = tuple(f"https://example.com/{n}" for n in range(4))
MESSAGE = tokens.message_id(KEY)
SENT = Sent(MESSAGE, "default", "m@example.com", NOW - 43, links=LINKS, copies=(SentCopy("bob@example.org", 0, True),))


async def test_a_gateway_is_found_though_nothing_is_kept_of_it(tmp_path: Path) -> None:
    store = Memory()
    await store.record_sent(SENT)
    settings = Settings(privacy=Privacy(ip="none", user_agent="none"))
    async with site(tmp_path, settings, store) as s:
        for number, url in enumerate(LINKS):
            await s.get("/c/" + tokens.write(Token("click", KEY, 0, number, url), KEYS), User_Agent=FIREFOX)
    clicks = await store.events(types=("message.link_clicked",))
    assert [(e.verdict, e.reason, e.first_verdict) for e in clicks] == [("scanner", "burst", "human")] * 4
    assert {(e.ip, e.user_agent, *e.data) for e in clicks} == {("", "")}
    rows = await store.aggregates("", 0, int(NOW) + 86_400)
    assert sum(row.counters["clicks"] for row in rows) == 0
    assert sum(row.counters["machine_clicks"] for row in rows) == 4


def test_the_key_is_shared_and_lives_a_day(tmp_path: Path) -> None:
    one, two = Identities(tmp_path), Identities(tmp_path)
    today = one.now(NOW)
    assert two.now(NOW) == one.now(NOW + 60) == today
    assert len(today) == 32
    tomorrow = one.now(NOW + 86_400)
    assert tomorrow != today
    assert [path.read_bytes() for path in (tmp_path / "identities").iterdir()] == [tomorrow]


def test_without_a_folder_a_process_has_a_key_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = Identities(tmp_path / "file")
    assert len(one.now(NOW)) == 32
    assert one.now(NOW) == one.now(NOW)
