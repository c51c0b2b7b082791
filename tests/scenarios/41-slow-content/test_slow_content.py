"""A megabyte that is made to take long to read: mail and clicks of the others are answered meanwhile, the message arrives
like any other, and the program is no larger afterwards."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core.attacks import MIXED, grown, links_to_a_base, parts_and_links
from tests.core.rewriting import message
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service

SIZE = 1_000_000
SOON = (
    5.0  # seconds: with what is mended here undone, each of these holds up all others for half a minute, or for hours
)
# What stands in a page, and whole messages behind the fields that all have.
PAGES: dict[str, Callable[[int], bytes]] = {
    "comments that end otherwise": grown(b"<!--[if x]>--!>"),
    "links in such comments": grown(b"<!--[if x]>]><a href=x>--!>"),
    "comments that do not end": grown(b"<!--[if x]><!--"),
    "links to a long base": links_to_a_base,
    "links": grown(b"<a href=%d>"),
    "conditional comments with links": grown(b"<!--[if mso]><a href=https://a.example/%d><![endif]-->"),
    "open elements": grown(b"<template><svg>"),
    "noscript": grown(b"<noscript><a href=x>"),
    "references": grown(b'<a href="&amp;&#x61;&ampx">'),
    "spaces": grown(b" \t", b"<p>", b"x</p>"),
}
MESSAGES: dict[str, Callable[[int], bytes]] = {
    "parts and links": lambda size: parts_and_links(size).replace(b"<a href=x>" * 50, b"<a href=x>" * 50 + b"\r\n"),
    "delimiters": grown(b"--b \t\r\n--bx\r\n", MIXED),
    "signatures": grown(b"DKIM-Signature: h=x-track\r\n", b"", b"\r\nx\r\n"),
    "charsets": grown(b"=?x%d?q?a?=\r\n ", b"Subject: ", b"x\r\n\r\nx\r\n"),
    "fields": grown(b"a:\r\n", b"", b"\r\nx\r\n"),
    "folds": grown(b"\r\n ", b"Subject: a", b"x\r\n\r\nx\r\n"),
    "control headers behind a broken line": grown(b"x-track: all\r\na\r\n", b"no field\r\n", b"\r\nx\r\n"),
    "nested JSON": grown(b'{"a":[\r\n ', b"X-Track-Options: ", b"x\r\n\r\nx\r\n"),
    "excluded": grown(b"a%d@b.example,\r\n ", b"X-Track-Exclude: ", b"x\r\n\r\nx\r\n"),
    "recipients": grown(b'"a" (b) <a%d@b.example>,\r\n ', b"Cc: ", b"x\r\n\r\nx\r\n"),
    "identifiers": grown(b"<a%d@b.example>\r\n ", b"References: ", b"x\r\n\r\nx\r\n"),
}
Peers = tuple[service.Service, Upstream]


def attack(name: str) -> bytes:
    if name in PAGES:
        return b"X-Track: all\r\n" + message(PAGES[name](SIZE), encoding="base64")
    return b"X-Track: all\r\nFrom: a@example.test\r\nTo: b@example.test\r\n" + MESSAGES[name](SIZE)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    folder: Path = tmp_path_factory.mktemp("slow")
    with hostile.sink() as upstream:
        grant = f'[[grants]]\nid = "default"\nmailbox = "maildir:{folder}/mail"\naddresses = ["a@example.test"]\n'
        ports = service.settings(folder, upstream=upstream.port, more=grant, tracking='dialects = ["sendgrid"]')
        with service.running(folder, ports, only="smtp,queue,http,admin") as relay:
            yield relay, upstream


@pytest.mark.parametrize("name", [*PAGES, *MESSAGES])
def test_the_others_are_served(peers: Peers, name: str) -> None:
    relay, upstream = peers
    upstream.taken.clear()
    with hostile.Smtp(relay.smtp) as good, hostile.Http(relay.http) as visitor, hostile.Smtp(relay.smtp) as bad:
        assert good.mail(hostile.letter("", "X-Track: all")).startswith("250")
        pixels, clicks = hostile.tokens(upstream.taken[0].content)
        content = attack(name)
        answers: list[str] = []
        attacker = threading.Thread(target=lambda: answers.append(bad.mail(content, sender="bad@example.test")))
        for one in (good, visitor):
            one.socket.settimeout(SOON)
        attacker.start()
        served = 0
        while attacker.is_alive() or not served:
            assert visitor.get(pixels[0])[0] == 200
            assert visitor.get(clicks[0])[0] == 302
            assert good.mail(hostile.letter("", "X-Track: all")).startswith("250")
            served += 1
        attacker.join()
    assert [answer[:3] for answer in answers] == ["250"]
    (arrived,) = [kept for kept in upstream.taken if kept.reverse_path == "bad@example.test"]
    assert b"x-track: all" not in arrived.content.lower().partition(b"\r\n\r\n")[0]
    assert "Traceback" not in relay.log


def test_it_is_no_larger_afterwards(peers: Peers) -> None:
    relay, _ = peers
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{relay.process.pid}/status").read_text().splitlines())
    assert int(fields["VmHWM"].split()[0]) < 500_000
