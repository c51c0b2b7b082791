"""A verdict is given only where the request shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.core import classify, neighbours

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"method": "GET"}, ("unknown", "no_agent")),
        ({"method": "HEAD"}, ("scanner", "head")),
        ({"method": "HEAD", "agent": FIREFOX}, ("scanner", "head")),
        ({"method": "OPTIONS", "agent": FIREFOX}, ("scanner", "method")),
        ({"method": "HEAD", "agent": "curl/8.5.0"}, ("crawler", "head")),
        ({"method": "GET", "agent": FIREFOX}, ("human", "browser")),
        ({"method": "GET", "agent": FIREFOX, "headers": {"sec-purpose": "prefetch;prerender"}}, ("prefetch", "prefetch_header")),
        ({"method": "GET", "agent": FIREFOX, "headers": {"purpose": "prefetch"}}, ("prefetch", "prefetch_header")),
        ({"method": "GET", "agent": FIREFOX, "headers": {"x-moz": "prefetch"}}, ("prefetch", "prefetch_header")),
        ({"method": "GET", "agent": FIREFOX, "headers": {"x-purpose": "preview"}}, ("prefetch", "prefetch_header")),
        ({"method": "GET", "agent": FIREFOX, "headers": {"purpose": "navigation", "via": "1.1 squid"}}, ("human", "browser")),
        ({"method": "GET", "headers": {"via": "1.1 GoogleImageProxy"}}, ("proxy", "image_proxy")),
        ({"method": "GET", "agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/140.0 Safari/537.36", "network": "local"}, ("human", "browser")),
        ({"method": "GET", "agent": GMAIL}, ("proxy", "image_proxy")),
        ({"method": "GET", "agent": GMAIL, "network": "gateway"}, ("proxy", "image_proxy")),
        ({"method": "GET", "agent": FIREFOX, "network": "gateway"}, ("scanner", "gateway_network")),
        ({"method": "GET", "agent": FIREFOX, "network": "cloud", "age": 40.0, "click": True}, ("scanner", "cloud_network")),
        ({"method": "GET", "agent": FIREFOX, "network": "cloud", "age": 40.0}, ("human", "browser")),
        ({"method": "GET", "agent": FIREFOX, "network": "cloud", "age": 4000.0, "click": True}, ("human", "browser")),
        ({"method": "GET", "agent": FIREFOX, "network": "cloud", "click": True}, ("human", "browser")),
    ],
)  # fmt: skip
def test_a_hit(said: dict[str, object], verdict: tuple[str, str]) -> None:
    assert classify.hit(**said) == verdict  # type: ignore[arg-type]


def test_the_documents_have_the_reasons_and_no_others() -> None:
    text = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text()
    listed = {line.split("`")[1]: line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| `")}
    assert listed == {**classify.REASONS, **neighbours.REASONS}
