"""A Message-ID is found again in what answers it, however either was written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, identifiers

FOLDS = re.compile(r"(?:\r\n)?[ \t]")
LONG = "a3-" + "x" * 70

# (what stands in Message-ID, its spelling)
SPELLINGS = [
    ("<a@b>", "a@b"),
    ("  <a@b>  ", "a@b"),
    ("<a@b> (added by postmaster@x)", "a@b"),
    ("(made by <foo@x>) <a@b>", "a@b"),
    (f"<{LONG}\r\n yyyy@mine.test>", f"{LONG}yyyy@mine.test"),
    (f"\r\n <{LONG}\r\n\tyyyy@mine.test>", f"{LONG}yyyy@mine.test"),
    ("< a @ b >", "a@b"),
    ("<20260101T1000.177.The Bot <bot@mine.test>>", "20260101T1000.177.TheBot<bot@mine.test>"),
    ("<20260101T1000.177.The Bot\r\n <bot@mine.test>>", "20260101T1000.177.TheBot<bot@mine.test>"),
    ("<20260101T1000.177.The Bot <bot@mine.test>", "20260101T1000.177.TheBot<bot@mine.test"),
    ("<177@bots The Bot <bot@mine.test>", "177@botsTheBot<bot@mine.test"),
    ("<177> The Bot <bot@mine.test>", "177>TheBot<bot@mine.test"),
    ("<<a@b>>", "a@b"),
    ("<a@b>>", "a@b"),
    ("<a@b", "a@b"),
    ("a@b", "a@b"),
    ("177 The Bot bot@mine.test", "177TheBotbot@mine.test"),
    ('<"ab"@x>', "ab@x"),
    ('<"a b"@x>', "ab@x"),
    ('<"a>b"@x>', '"a>b"@x'),
    ('<"a@b"@x>', '"a@b"@x'),
    ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
    ("<a@b> <c@d>", "a@b"),
    ("=?utf-8?q?=3Ca=40b=3E?=", "a@b"),
    (f"=?utf-8?q?=3C{LONG}?=\r\n =?utf-8?q?yy=40b=3E?=", f"{LONG}yy@b"),
    ("<177>", "177"),
    ("", ""),
    ("<>", ""),
    ("< > <", ""),
]


@pytest.mark.parametrize(("written", "spelling"), SPELLINGS)
def test_one_spelling_for_sending_and_looking_up(written: str, spelling: str) -> None:
    """The spelling, and the same again where the field is copied into In-Reply-To, folded anew, or made whole first."""
    assert identifiers.own(headers.read(f"Message-ID: {written}\r\n\r\n".encode())) == spelling
    assert identifiers.spelt(spelling) == spelling
    if not spelling:
        assert identifiers.listed(written) == []
        return
    for answer in (written, FOLDS.sub("\r\n ", written), f"<{spelling}>"):
        head = headers.read(f"In-Reply-To: {answer}\r\n\r\n".encode())
        assert identifiers.answered(head, "in-reply-to")[0] == spelling


LISTS = [
    ("<1@x> <2@x>\r\n <3@x>", ["1@x", "2@x", "3@x"]),
    ("<1@x><2@x>", ["1@x", "2@x"]),
    ("<1@x>,\t<2@x>", ["1@x", "2@x"]),
    ("<1@x> (one) <2@x>", ["1@x", "2@x"]),
    ("Your message of Monday <a@b>", ["a@b"]),
    ("<1@x> <177.The Bot <bot@mine.test>> <3@x>", ["1@x", "177.TheBot<bot@mine.test>", "3@x"]),
    ("a@b", ["a@b"]),
    ("a@b c@d", ["a@bc@d", "a@b", "c@d"]),
    ("<1@x <2@x>", ["1@x<2@x", "1@x", "2@x"]),
    ("<" + "a" * 5000 + "@x>", []),
    ("nothing", []),
]


@pytest.mark.parametrize(("text", "expected"), LISTS)
def test_listed(text: str, expected: list[str]) -> None:
    assert identifiers.listed(text) == expected


@pytest.mark.parametrize(
    ("identifier", "authors", "expected"),
    [
        ("1@x", ("ada@x",), True),
        ("20260101T1000.177.TheBot<bot@mine.test>", ("bot@mine.test",), True),
        ("bot@mine.test", ("bot@mine.test",), False),
        ("BOT@Mine.test", ("ada@x", "bot@mine.TEST."), False),
        ("bot@xn--fa-hia.test", ("bot@fa\u00df.test",), False),
        ("bot@mine.test", (), True),
        ("177", (), False),
        ("177@", (), False),
        ("@x", (), False),
        ("", (), False),
    ],
)
def test_unique(identifier: str, authors: tuple[str, ...], expected: bool) -> None:
    assert identifiers.unique(identifier, authors) is expected


PIECES = st.sampled_from(
    ["<", ">", '"', "(", ")", "\\", " ", "\r\n ", "a", "@", ".", "a@b", "<a@b>", "=?utf-8?q?=3C?="]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60)


@given(TEXTS)
def test_any_text(text: str) -> None:
    """No white space, bounded, and spelt as it is spelt again."""
    own = identifiers.of_message(text)
    for found in [own, *identifiers.listed(text)]:
        assert not any(c.isspace() for c in found)
        assert identifiers.spelt(found) == found


NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='<>@"()\\'), min_size=1, max_size=100
)


@given(
    st.lists(st.tuples(NAMES, NAMES).map("@".join), min_size=1, max_size=20), st.sampled_from([" ", "", "\r\n ", "\t"])
)
def test_good_identifiers_stay_as_they_are(given_: list[str], between: str) -> None:
    assert identifiers.listed(between.join(f"<{i}>" for i in given_)) == given_
