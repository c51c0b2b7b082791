"""Domains for people: what they stand for, unless that could be taken for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import domains, unicode_domains


@pytest.mark.parametrize(
    "told",
    [
        "bücher.example",
        "mail.bücher.example",
        "faß.test",
        "пример.example",
        "παράδειγμα.example",
        "例え.テスト",
        "東京タワー.jp",
        "tokyo東京.jp",
        "예시.example",
        "مثال.example",
        "דוגמה.example",
        "उदाहरण.example",
    ],
)
def test_a_domain_of_one_alphabet_is_shown(told: str) -> None:
    assert unicode_domains.shown(domains.spelt(told)) == told


@pytest.mark.parametrize(
    "told",
    [
        "аррӏе.com",  # Cyrillic throughout, and all of it like Latin
        "раураl.com",  # Cyrillic with a Latin l
        "gοοgle.com",  # Greek omicrons
        "κνο.com",
        "i❤.ws",  # what IDNA refuses
    ],
)
def test_what_looks_like_another_stays_as_it_is(told: str) -> None:
    spelling = domains.spelt(told)
    assert spelling.startswith("xn--")
    assert unicode_domains.shown(spelling) == spelling


@pytest.mark.parametrize(
    "told",
    [
        "",
        "example.com",
        "xn--",
        "xn--a",
        "xn--zzzzzzzz",
        "xn--abc-.example",
        "XN--BCHER-KVA.example",
        "xn--" + "a" * 300,
    ],
)
def test_what_is_no_a_label_does_no_harm(told: str) -> None:
    assert unicode_domains.shown(told) in (told, "bücher.example")


@given(st.text(max_size=30))
def test_what_is_shown_is_the_same_domain(told: str) -> None:
    spelling = domains.spelt(told)
    assert domains.spelt(unicode_domains.shown(spelling)) == domains.spelt(spelling)


@given(st.from_regex(r"xn--[a-z0-9-]{1,20}", fullmatch=True))
def test_what_is_shown_of_any_a_label_is_the_same_domain(label: str) -> None:
    assert domains.spelt(unicode_domains.shown(label)) == label.rstrip(".")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@xn--bcher-kva.example, B <b@mail.XN--BCHER-KVA.example>", "a@bücher.example, B <b@mail.bücher.example>"),
        ("jörg@xn--mller-kva.example", "jörg@müller.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),  # no address
        ("a@example.com xn--", "a@example.com xn--"),
    ],
)
def test_in_addresses(text: str, expected: str) -> None:
    assert unicode_domains.shown_in(text) == expected
