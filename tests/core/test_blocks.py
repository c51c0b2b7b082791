"""What is blocked, however a link spells it; and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import blocks

MESSAGE = "0q8v1c2d3e4f5g6h7i8j"

READ = {
    "https://Evil.Example/Login": ("url", "https://evil.example/Login"),
    "  http://evil.example  ": ("url", "http://evil.example/"),
    "https://evil.example:443/x#y": ("url", "https://evil.example/x"),
    "https://evil.example:8443/x": ("url", "https://evil.example:8443/x"),
    "https://me:secret@evil.example/x": ("url", "https://evil.example/x"),
    "https://evil.example\\x": ("url", "https://evil.example/x"),
    "https://faß.example/": ("url", "https://xn--fa-hia.example/"),
    "https://evil.example/%7euser/%2f?q=%41": ("url", "https://evil.example/~user/%2F?q=A"),
    "https://[2001:DB8::1]/x": ("url", "https://[2001:db8::1]/x"),
    "mailto:a@evil.example": ("url", "mailto:a@evil.example"),
    "evil.example": ("host", "evil.example"),
    "Evil.Example.": ("host", "evil.example"),
    "evil.example:8080": ("host", "evil.example"),
    "bücher.example": ("host", "xn--bcher-kva.example"),
    "[2001:db8::1]": ("host", "2001:db8::1"),
    "192.0.2.7": ("host", "192.0.2.7"),
    MESSAGE: ("message", MESSAGE),
}


@pytest.mark.parametrize("text", READ)
def test_what_is_meant(text: str) -> None:
    found = blocks.read(text)
    assert found is not None
    assert (found.kind, found.value) == READ[text]


@pytest.mark.parametrize(
    "text", ["", " ", "<a@example.com>", "a@example.com", "https://", "https:///x", "no host", "a/b c"]
)
def test_what_is_nothing(text: str) -> None:
    assert blocks.read(text) is None


STOPPED = [
    ("https://evil.example/a", "https://evil.example/a"),
    ("https://evil.example/a", "HTTPS://EVIL.example:443/a#top"),
    ("https://evil.example/a", "https://evil.example/a?utm_source=mail"),
    ("https://evil.example/a", "https://evil.example\\a"),
    ("https://evil.example/a", "https://someone@evil.example/%61"),
    ("https://evil.example/a?x=1", "https://evil.example/a?x=%31"),
    ("evil.example", "https://evil.example/"),
    ("evil.example", "http://www.EVIL.example.:8080/any?thing"),
    ("evil.example", "https://good.example@evil.example/"),
    ("evil.example", "https://evil.example\\@good.example/"),
    ("faß.example", "https://FA%C3%9F.example/"),
    ("[2001:db8::1]", "http://[2001:DB8::1]:81/"),
    (MESSAGE, "https://good.example/"),
]


@pytest.mark.parametrize(("block", "url"), STOPPED)
def test_stopped(block: str, url: str) -> None:
    found = blocks.read(block)
    assert found is not None
    assert blocks.Blocks([found]).stop(MESSAGE, url)


PASSED = [
    ("https://evil.example/a", "https://evil.example/ab"),
    ("https://evil.example/a", "https://evil.example/A"),
    ("https://evil.example/a", "http://evil.example/a"),
    ("https://evil.example/a?x=1", "https://evil.example/a"),
    ("https://evil.example/a?x=1", "https://evil.example/a?x=1&y=2"),
    ("https://evil.example/a", "https://good.example/?to=https://evil.example/a"),
    ("evil.example", "https://notevil.example/"),
    ("evil.example", "https://evil.example.good.test/"),
    ("evil.example", "https://evil.example@good.test/"),
    ("evil.example", "mailto:a@evil.example"),
    ("0q8v1c2d3e4f5g6h7i8k", "https://good.example/"),
]


@pytest.mark.parametrize(("block", "url"), PASSED)
def test_passed(block: str, url: str) -> None:
    found = blocks.read(block)
    assert found is not None
    assert not blocks.Blocks([found]).stop(MESSAGE, url)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """For any text: what is read of it stops itself; nothing raises."""
    found = blocks.read(text)
    if found and found.kind == "url":
        assert blocks.Blocks([found]).stop("", text)
        assert blocks.spelt(found.value) == found.value
    assert not blocks.Blocks().stop(text, text)
    blocks.Blocks([blocks.Block("host", "a.example"), blocks.Block("url", "https://a.example/")]).stop(text, text)
