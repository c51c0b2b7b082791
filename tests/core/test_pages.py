"""What of a link is the recipient's own, and what tells pages apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import pages

SAME = (
    "", "nothing", "mailto:bob@example.org", "https://a.example", "https://A.example/B?", "https://a.example/x?y",
    "https://a.example/?id=17&page=2#top", "https://a.example/?utm_source=news&utm_campaign=spring-2026",
    "https://a.example/watch?v=dQw4w9WgXcQ", "https://a.example/#/products/1", "https://a.example/?key=shoes&a=1&&b",
    "https://docs.example/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit", "https://user@a.example/",
)  # fmt: skip
SHARED = {
    "https://a.example/x?uid=17": "https://a.example/x",
    "https://a.example/x?uid=17&id=3": "https://a.example/x?id=3",
    "https://a.example/x?id=3&USER-ID=ann&b=2#top": "https://a.example/x?id=3&b=2#top",
    "https://a.example/x?mc_cid=1&mc_eid=5f4dcc": "https://a.example/x?mc_cid=1",
    "https://a.example/?q=bob@example.org": "https://a.example/",
    "https://a.example/?q=bob%40example.org&b": "https://a.example/?b",
    "https://a.example/?x=5f4dcc3b5aa765d61d8327de": "https://a.example/",
    "https://a.example/?5f4dcc3b5aa765d61d8327de": "https://a.example/",
    "https://a.example/#uid=3&part=2": "https://a.example/#part=2",
    "https://a.example/of/bob%40example.org/x?y": "https://a.example/of/*/x?y",
}


@pytest.mark.parametrize("url", SAME)
def test_what_all_recipients_have_stays(url: str) -> None:
    assert pages.of(url) == url


@pytest.mark.parametrize(("url", "page"), SHARED.items())
def test_what_is_one_recipients_goes(url: str, page: str) -> None:
    assert pages.of(url) == page


PIECES = st.sampled_from(
    ["https://a.example", "/", "?", "#", "&", "=", "@", "%40", ":", "uid", "x", "5f4dcc3b5aa765d61d"]
)


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_a_page_is_its_own_and_no_longer(url: str) -> None:
    page = pages.of(url)
    assert pages.of(page) == page
    assert len(page) <= len(url)
