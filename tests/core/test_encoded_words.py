"""For any text: decoded without an error, in linear time, and as the standard library has it where that is right."""

import codecs
import encodings
import pkgutil
from email.header import Header, decode_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import charset_names, encoded_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain = text?", "plain = text?"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?UTF-8?B?R3LDvMOfZQ?=", "Grüße"),
        ("=?iso-8859-1?q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?q?a_b=20c?=", "a b c"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\t\r\n =?iso-8859-1?b?Yg==?=", "ab"),
        ("=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        ("x =?utf-8?q?a?= y =?utf-8?q?b?= z", "x a y b z"),
        ("x=?utf-8?q?a?=y", "xay"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),  # cut inside a character
        ("=?utf-8?q?=C3?= =?latin1?q?=FC?=", "\ufffdü"),
        ("=?nonsense?q?a?=", "=?nonsense?q?a?="),
        ("=?utf-8?q?a?= =?nonsense?q?b?= =?utf-8?q?c?=", "a =?nonsense?q?b?= c"),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q??=", ""),
        ("=?rot13?q?nop?=", "=?rot13?q?nop?="),
        ("=?iso-8859-1?q?it=92s?=", "it\u2019s"),
        ("=?iso-8859-8-i?q?=F9=EC=E5=ED?=", "\u05e9\u05dc\u05d5\u05dd"),
        ("=?windows-949?b?sKE=?= =?ks_c_5601-1989?b?sKE=?=", "\uac00\uac00"),
        ("=?x-mac-cyrillic?q?=80?=", "\u0410"),
        ("=?unicode-1-1-utf-8?q?=C3=BC?=", "\u00fc"),
        ("=?gb2312?b?6UY=?=", "\u9555"),
        ("=?x-user-defined?q?=FC?=", "=?x-user-defined?q?=FC?="),
        ("=?iso-2022-cn?q?a?=", "=?iso-2022-cn?q?a?="),
        ("=?punycode?q?bcher-kva?=", "=?punycode?q?bcher-kva?="),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?utf-8?q?Gr\u00fc?=", "Grü"),
    ],
)
def test_decoded(text, expected):
    assert encoded_words.decoded(text) == expected


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=120))
def test_what_the_library_encodes(text):
    assert encoded_words.decoded(Header(text, "utf-8").encode(linesep="\r\n").replace("\r\n", "")) == text


charsets = st.sampled_from(["utf-8", "iso-8859-1", "UTF-8"])
word = st.builds("=?{}?{}?{}?=".format, charsets, st.sampled_from("qQ"), st.text("ab=_C3BC", max_size=8))
texts = st.lists(word | st.sampled_from([" ", "  ", "plain", " x ", "=?"]), max_size=8).map("".join)


@given(texts)
def test_octets_are_the_librarys(text):
    """White space beside plain text apart, which the library sometimes takes away."""
    pieces = decode_header(text)
    theirs = "".join(p if isinstance(p, str) else p.decode(c or "latin-1", "replace") for p, c in pieces)
    assert "".join(encoded_words.decoded(text).split()) == "".join(theirs.split())


@given(st.text(max_size=200))
def test_any_text(text):
    encoded_words.decoded(text)
    encoded_words.decoded(f"=?{text}?b?{text}?= =?utf-8?q?{text}?=")


@pytest.mark.parametrize(
    "unit",
    ["=?a?q?b?= ", "=?a?q?b?=x", "=?utf-8?q?b?= ", "=?utf-8?b?Yg==?=", "=?latin1?q?b?= =?utf-8?q?b?= ", "=?", "=?a?q?",
     "=?utf-8*", "=?punycode?q?aa-bb?= "],
)  # fmt: skip
def test_hostile_texts_end(unit):
    """A megabyte each: what takes more than linear time here runs into the limit of the test."""
    encoded_words.decoded(unit * (1_000_000 // len(unit)))


def test_every_encoding_of_the_library_is_known_and_no_other_is_looked_for():
    def found(name):
        try:
            return codecs.lookup(name) is not None
        except LookupError:
            return False

    names = {module.name for module in pkgutil.iter_modules(encodings.__path__)} | set(encodings.aliases.aliases)
    names = {n for n in names if found(n)}
    assert len(names) > 300
    for name in names | {n.upper().replace("_", "-") for n in names}:
        assert charset_names.exists(name) == found(name), name
    before = len(encodings._cache)
    encoded_words.decoded("".join(f"=?no-such-{n}?q?a?= " for n in range(1_000)))
    assert len(encodings._cache) == before


def test_one_huge_word_of_a_slow_charset():
    encoded_words.decoded("=?punycode?q?" + "a" * 500_000 + "-b" + "z" * 100_000 + "?=")
