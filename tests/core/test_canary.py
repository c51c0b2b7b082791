"""The link that nobody sees: where it stands, in what, and that a message has one only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.core import headers, rewrite
from tests.core import rewriting

CANARY = f"{rewriting.BASE}/c/" + "c" * 34
LINK = f'<a href="{CANARY}" style="display:none" aria-hidden="true" tabindex="-1"></a>'.encode()
HTML = "<html><body><p>Hi</p></body></html>"


def made(raw: bytes, **options: Any) -> tuple[bytes, rewrite.Prepared]:
    found = rewrite.prepare(raw, headers.read(raw), rewriting.plan(**{"canary": True, **options}))
    pixel = rewriting.PIXEL if found.has_pixel else None
    hrefs = [rewriting.href(n) for n in range(len(found.links))]
    return rewrite.render(found, hrefs=hrefs, pixel=pixel, canary=CANARY).content(), found


def test_it_stands_before_the_pixel() -> None:
    raw = rewriting.message(HTML)
    out, found = made(raw)
    assert out == raw.replace(b"</body>", LINK + rewriting.MARKUP.encode() + b"</body>")
    assert rewrite.explain(found, hrefs=[])["canary"] == {"part": "1", "place": "bottom", "reason": None}


def test_at_the_top_with_the_pixel() -> None:
    raw = rewriting.message(HTML)
    assert made(raw, pixel="top")[0] == raw.replace(b"<body>", b"<body>" + LINK + rewriting.MARKUP.encode())


def test_where_only_links_are_tracked_it_stands_where_the_pixel_would() -> None:
    raw = rewriting.message(HTML.replace("Hi", '<a href="https://example.com/">x</a>'))
    out, found = made(raw, opens=False)
    assert out.count(LINK) == 1
    assert LINK + b"</body>" in out
    assert found.links == ("https://example.com/",)


def test_a_message_that_comes_again_has_it_already() -> None:
    once, _ = made(rewriting.message(HTML.replace("Hi", '<a href="https://example.com/">x</a>')))
    again, found = made(once)
    assert again == once
    assert found.canary_report == (None, None, "own_link")


def test_that_of_a_quoted_message_is_left_alone_and_is_not_its_own() -> None:
    raw = rewriting.message(HTML.replace("Hi", LINK.decode()))
    plan = replace(rewriting.plan(canary=True), mine=lambda kind, text: False)
    found = rewrite.prepare(raw, headers.read(raw), plan)
    assert found.has_canary
    assert not found.links
    assert rewrite.render(found, hrefs=[], pixel=rewriting.PIXEL, canary=CANARY).content().count(LINK) == 2


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/signed; protocol="application/pgp-signature"; boundary="b"',
        'multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"',
    ],
)
def test_no_signed_part_gets_it(kind: str) -> None:
    raw = f"Content-Type: {kind}\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{HTML}\r\n--b--\r\n".encode()
    out, found = made(raw)
    assert out == raw
    assert not found.has_canary


def test_nor_a_place_that_hides_a_pixel_nor_plain_text() -> None:
    for raw in (rewriting.message("<p>Hi<!-- "), b"Content-Type: text/plain\r\n\r\nhttps://example.com/\r\n"):
        out, found = made(raw, text_links=True, opens=True)
        assert LINK not in out
        assert not found.has_canary
        assert found.canary_report is not None
        assert found.canary_report.reason


def test_without_the_setting_nothing_is_said_of_it() -> None:
    raw = rewriting.message(HTML)
    out, found = made(raw, canary=False)
    assert LINK not in out
    assert "canary" not in rewrite.explain(found, hrefs=[])
