"""The short forms of what stands in many rows: they come back as they were, and are short."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import tally
from relay.core.model import Reason
from relay.store import packing, tables
from relay.store.sql import tallies

PIECES = st.sampled_from(["https://", "shop.example/", "a", "ab", "aa", "ü", "?x=1&y=2", "#", "\U0001f600", ""])
URLS = st.lists(PIECES, max_size=8).map("".join)
WORD = st.one_of(st.none(), st.sampled_from(packing.WORDS), st.text(max_size=5))
ROW = st.lists(WORD, min_size=3, max_size=3)
LEFT = st.tuples(WORD, WORD, WORD, st.integers(1, 99)).map(list)
TOLD: dict[str, Any] = {
    "parts": [["1", "multipart/alternative", None], ["1.1", "text/plain", "not_requested"], ["1.2", "text/html", "edited"]],
    "left": [["1.2", "https://a.example", "unsubscribe", 2]],
    "pixel": ["1.2", "bottom", None],
}  # fmt: skip
OTHERWISE: list[dict[str, Any]] = [
    {},
    {"reason": "no_html"},
    {"parts": [{"path": "1"}], "left": [], "pixel": None},
    {"parts": [["1", 2, 3]], "left": [], "pixel": None},
    {"parts": [["1", "text/html"]], "left": [], "pixel": None},
    {"parts": [], "left": "", "pixel": None},
    {"parts": [], "left": []},
    {"parts": ["abc"], "left": [], "pixel": None},
    {"parts": [], "left": [["1", "", "refused"]], "pixel": None},
    {"parts": [["1", [], None]], "left": [], "pixel": None},
    {"parts": [], "left": [], "pixel": {}},
    {"parts": [], "left": [], "pixel": "abc"},
]


@given(st.lists(URLS, max_size=6).map(tuple))
def test_links_come_back_as_they_were(urls: tuple[str, ...]) -> None:
    text = packing.links(urls)
    assert packing.read_links(text) == urls
    assert len(msgspec.json.decode(text)) == len(urls)  # SQL counts them
    assert len(text) <= len(tables.json(urls))


def test_links_that_are_much_alike_take_little() -> None:
    urls = tuple(f"https://example.com/news/{n}?utm_source=news&utm_campaign=spring" for n in range(10, 60))
    assert len(packing.links(urls)) < len(tables.json(urls)) / 4


@given(st.lists(ROW, max_size=4), st.lists(LEFT, max_size=3), st.one_of(st.none(), ROW), st.booleans())
def test_an_explanation_comes_back_as_it_was(parts: Any, left: Any, pixel: Any, more: bool) -> None:
    value = {"parts": parts, "left": left, "pixel": pixel} | ({"unsigned": "why", "suppressed": ["x"]} if more else {})
    text = packing.explanation(value)
    assert text.startswith("[")
    assert packing.read_explanation(text) == value


@pytest.mark.parametrize("value", OTHERWISE)
def test_an_explanation_of_another_kind_stays_as_it_is(value: dict[str, Any]) -> None:
    text = packing.explanation(value)
    assert text == tables.json(value)
    assert packing.read_explanation(text) == value


def test_an_explanation_is_short() -> None:
    assert len(packing.explanation(TOLD)) < len(tables.json(TOLD)) / 2


def test_what_an_earlier_program_wrote_is_read() -> None:
    assert packing.read_explanation(tables.json(TOLD)) == TOLD
    assert packing.read_links('["https://a.example/1","https://a.example/2"]') == (
        "https://a.example/1",
        "https://a.example/2",
    )
    whole = tally.Facts(1, {"message.opened": 1}, {}, {0: 1.5}, marks={})
    assert tallies.decode(msgspec.json.encode(whole)) == whole


def test_numbers_of_words_stay_what_they_are() -> None:
    """Rows have them. A word that is new stands behind these."""
    assert packing.WORDS[:3] == ("edited", "text/html", "text/plain")
    assert packing.WORDS[42:45] == ("internal_error", "multipart/signed", "multipart/report")
    assert packing.WORDS[51] == "image/gif"
    assert len(set(packing.WORDS)) == len(packing.WORDS)
    assert set(get_args(Reason)) <= set(packing.WORDS)


def test_facts_end_with_what_there_is() -> None:
    few = tally.Facts(2, {"message.opened": 2}, {}, {0: 1795980807.5})
    assert tallies.encode(few) == '[2,{"message.opened":2},{},{"0":1795980807.5},{}]'
    many = tally.Facts(2, {"message.opened": 2}, {}, {0: 1.5}, {}, {}, {}, {}, [0])
    for value in (few, many, tally.Facts()):
        assert tallies.decode(tallies.encode(value)) == value
