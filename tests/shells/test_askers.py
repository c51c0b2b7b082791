"""Hits of a minute that look alike are looked at once, and nobody is mistaken for another."""

from __future__ import annotations

import pytest

from relay.config import Privacy
from relay.core import neighbours, tally
from tracking_http import askers, heads, visitor

DAY = 86_400.0
NOW = 1_700_000_100.25
CHROME = b"Host: t\r\nUser-Agent: Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/128.0 Safari/537.36\r\n\r\n"
CURL = b"Host: t\r\nUser-Agent: curl/8\r\n\r\n"
HERE, THERE = "192.0.2.1", "198.51.100.7"


class Looked:
    """Askers that say which addresses were looked at."""

    def __init__(self, privacy: Privacy | None = None) -> None:
        self.addresses: list[str] = []
        self.askers = askers.Askers(
            privacy or Privacy(),
            visitor.addresses(["10.0.0.0/8"]),
            self.network,
            lambda now: b"%d" % (now // DAY),
            None,
        )

    def network(self, address: str) -> str:
        self.addresses.append(address)
        return "cloud" if address == THERE else ""

    def usual(self, section: bytes = CHROME, peer: str = HERE, click: bool = False, now: float = NOW) -> askers.Asker:
        found = self.askers.usual(section, peer, click, now)
        assert found is not None
        return found


def test_the_same_within_a_minute_is_looked_at_once() -> None:
    it = Looked()
    assert it.usual() == it.usual(now=NOW + 1)
    assert it.addresses == [HERE]
    it.usual(now=NOW + 60)
    it.usual(now=NOW - 3600)  # the clock was set back
    assert it.addresses == [HERE] * 3


@pytest.mark.parametrize("other", [{"section": CURL}, {"peer": THERE}, {"click": True}])
def test_another_one_is_looked_at_anew(other: dict[str, object]) -> None:
    it = Looked()
    it.usual()
    found = it.usual(**other)  # type: ignore[arg-type]
    assert len(it.addresses) == 2
    assert found == Looked().usual(**other)  # type: ignore[arg-type]


def test_nobody_has_the_hash_of_another_day() -> None:
    it, midnight = Looked(), NOW // DAY * DAY + DAY
    before, after = it.usual(now=midnight - 0.001), it.usual(now=midnight)
    assert before.data[tally.WHO] != after.data[tally.WHO]
    assert after.data[tally.WHO][:2] == neighbours.identity(b"%d" % (midnight // DAY), HERE, after.user_agent)


def test_so_many_are_remembered() -> None:
    it = Looked()
    for number in range(askers.MOST + 1):
        it.usual(b"Host: t\r\nX-Number: %d\r\n\r\n" % number)
    it.usual(b"Host: t\r\nX-Number: %d\r\n\r\n" % askers.MOST)
    assert len(it.addresses) == askers.MOST + 1
    it.usual(b"Host: t\r\nX-Number: 0\r\n\r\n")
    assert len(it.addresses) == askers.MOST + 2


def test_what_is_unusual_is_nobody() -> None:
    it = Looked()
    assert it.askers.usual(CHROME[:-2], HERE, False, NOW) is None
    assert it.addresses == []


def test_it_is_the_same_the_long_way() -> None:
    fields = {"user-agent": "curl/8", "referer": "https://mail.example/x?session=1", heads.FORWARDED: THERE}
    section = b"Host: t\r\n" + b"".join(b"%b: %b\r\n" % (k.encode(), v.encode()) for k, v in fields.items()) + b"\r\n"
    privacy = Privacy(ip="truncated", user_agent="family", referer="origin")
    for click in (False, True):
        long = Looked(privacy).askers.of(heads.Head("GET", "/", "", fields, "10.0.0.1"), click, NOW)
        assert long == Looked(privacy).usual(section, "10.0.0.1", click)
        assert (long.address, long.ip, long.referer) == (THERE, "198.51.100.0", "https://mail.example/")
