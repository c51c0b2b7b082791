"""For any URL: what is remembered or shown of it lets nobody in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import urls

SECRET = "canary5secret"


@pytest.mark.parametrize(
    ("url", "place", "shown"),
    [
        ("https://example.com", "https://example.com", "https://example.com"),
        ("HTTPS://Example.COM:8443/a/b", "https://example.com:8443", "HTTPS://Example.COM:8443/a/b"),
        ("https://example.com/?a=1&b=2#c", "https://example.com", "https://example.com/?a=…&b=…"),
        ("https://example.com/x?token", "https://example.com", "https://example.com/x?…"),
        ("https://user:pass@example.com/x", "https://example.com", "https://…@example.com/x"),
        ("https://user@b@example.com/x", "https://example.com", "https://…@example.com/x"),
        ("https://user:pa/ss@example.com/", "https:", "https:…"),
        ("https://user:pa?ss@example.com/", "https:", "https:…"),
        ("https://[2001:db8::1]:81/x", "https://[2001:db8::1]:81", "https://[2001:db8::1]:81/x"),
        ("https://bücher.example/x", "https://bücher.example", "https://bücher.example/x"),
        ("https:user:pass@example.com", "https:", "https:…"),
        ("https:/\\user:pass@example.com", "https:", "https:…"),
        ("https://{{host}}/x", "https:", "https:…"),
        ("mailto:ann@example.com?body=x", "mailto:", "mailto:…"),
        ("javascript:alert(1)", "javascript:", "javascript:…"),
        ("/reset/x", "", "…"),
        ("//example.com/x", "", "…"),
        ("#x", "", "…"),
        ("", "", "…"),
        ("{{reset_url}}", "", "…"),
        ("\n https://example.com/x", "https://example.com", "https://example.com/x"),
    ],
)
def test_what_is_remembered_and_what_is_shown(url: str, place: str, shown: str) -> None:
    assert (urls.place(url), urls.shown(url)) == (place, shown)


SHAPES = [
    "https://{0}@example.com/x", "https://u:{0}@example.com/x", "https://example.com/?a={0}&b={0}", "https://example.com/?{0}",
    "https://example.com/x?a=1#{0}", "https://example.com#access_token={0}", "mailto:{0}", "{0}", "/{0}", "https:{0}@x",
    "https://a:b{0}/c@example.com/", "data:text/html,{0}", "//u:{0}@example.com",
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@given(noise=st.text("ab:/?#@&=[]%\\ \t.", max_size=6))
def test_no_secret_is_shown(shape: str, noise: str) -> None:
    """Logins, the values of a query, fragments, and whatever is no web address."""
    url = shape.format(SECRET)
    assert SECRET not in urls.place(url) + urls.shown(url) + urls.redacted(f"Invalid: {url}" if "://" in url else "")
    assert SECRET not in urls.place(noise + url) or "//" in noise  # it is the host's name then


@given(st.text(max_size=200) | st.from_regex(urls.URL))
def test_any_text(text: str) -> None:
    """Never raises, and `place` is a scheme and a host at most."""
    urls.redacted(text)
    urls.shown(text)
    assert not set(urls.place(text).partition("://")[2]) & set("/?#@ \t\r\n")


def test_errors_of_others() -> None:
    text = "ClientResponseError: 400, message='Bad', url=URL('https://a.example/h?token=x'); see http://b.example/#y"
    assert urls.redacted(text) == (
        "ClientResponseError: 400, message='Bad', url=URL('https://a.example/h?token=…'); see http://b.example/"
    )


def test_a_login_is_masked_and_nothing_else() -> None:
    for url, masked in (
        ("https://a:b@c.example/x?y=z@q#f", "https://***@c.example/x?y=z@q#f"),
        ("https://a@b@c.example", "https://***@c.example"),
        ("https://c.example/@x", "https://c.example/@x"),
        ("https://c.example?a@b", "https://c.example?a@b"),
    ):
        assert urls.masked(url) == masked
