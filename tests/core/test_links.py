"""Links in HTML: for any text a scan never raises, and finds the links that a browser finds."""

from __future__ import annotations

import html
import io

import pytest
from html5lib import _tokenizer, constants
from hypothesis import given
from hypothesis import strategies as st

from relay.core import links
from relay.core.links import entities
from tests.core.rewriting import BASE, MARKUP, check, href, message, payload, prepared, rendered
from tests.core.rewriting import leaves as leaf_parts

URL = "https://a.example/"


def values(text: str) -> list[str]:
    return [text[link[0] : link[1]] for link in links.scan(text).links]


def same(text: str) -> None:
    """Links and places are the same where the text of the links is asked for too, which only the tokeniser tells."""
    found, told = (links.scan(text, own=("a.example",), shown=shown) for shown in (False, True))
    assert [link[:5] for link in found.links] == [link[:5] for link in told.links]
    assert found[1:] == told[1:]


TAG = st.sampled_from(
    ["<p>", "<td class=\"x\">", "<td  a=\"b\"\n c>", "</td>", "<br/>", "<p ", "<p a=b>", "<td a=b<c/ d='e>' f>", "<p a=b' c='>", "<p a='b\">", "</p", "<!-- a -->", "<!--a-b-->",
     "<!--a--b-->", "<!-->", "<!---->", "<!--[if mso]><a href=\"https://a.example/\">x</a><![endif]-->", "<![endif]-->", "<![if !mso]>",
     "<![CDATA[", "<!DOCTYPE html>", "<?xml?>", "<a href=\"https://a.example/\">", "<a class=\"x\" href=\"https://a.example/\" id=\"y\">",
     "<a href=\"x\" '=", "</a>", "<title>", "</title>", "<style type=\"text/css\">", "</style>", "</styles>", "<STYLE>", "<svg>", "</svg>",
     "<audio>", "</audio>", "<article>", "<body a=\"b\">", "</body>", "</html>", "<head>", "</head>", "<base href=x>", "<textarea>", "<script>",
     "<img src=\"https://a.example/o/x\">", "<link", "text ", "a < b", "\"", "'", "=", ">", " ", "-", "\u2028"]
)  # fmt: skip


@given(st.lists(TAG, max_size=12).map("".join))
def test_what_is_passed_over_is_what_the_tokeniser_passes_over(text: str) -> None:
    same(text)


@pytest.mark.parametrize("long", ["<p>x</p>" * 3_000, "<p" + ' a="b"' * 150 + ">", "<!--" + "-x" * 200 + "-->"])
def test_what_is_passed_over_in_several_steps(long: str) -> None:
    same(f'{long}<a href="https://a.example/">{long}</body>')


@pytest.mark.parametrize(
    "markup",
    [
        '<a href="https://a.example/">', "<a href='https://a.example/'>", "<a href=https://a.example/>",
        '<A HREF="https://a.example/">', '<a href = "https://a.example/">', '<a\r\n href\t=\r\n"https://a.example/">',
        '<a/href="https://a.example/">', '<a class="x"href="https://a.example/">', '<a x=">" href="https://a.example/">',
        "<a title='<a href=\"https://b.example/\">' href=https://a.example/ >", '<a data-href="x" href="https://a.example/">',
        '<area shape="rect" href="https://a.example/">', '<a href="https://a.example/" href="https://b.example/">',
        '<!--[if mso]><a href="https://a.example/"><![endif]-->', '<!--[IF gte mso 9]><v:roundrect href="https://a.example/"/><![endif]-->',
        '<!--[if !mso]><!--><a href="https://a.example/"><!--<![endif]-->', '<![if !mso]><a href="https://a.example/"><![endif]>',
        '<!--[if mso]><a href="https://a.example/">--!>', '<!--[if mso]>--!><a href="https://a.example/"><![endif]-->',
        '<noscript><a href="https://a.example/"></noscript>', '<svg><a href="https://a.example/"></svg>',
        '<a href="https://a.example/"', '<a =x href="https://a.example/">', "<p><a\x0c href='https://a.example/'>",
        '<a href="https://a.example/" disabled/>', '<a "href="x" href="https://a.example/">',
    ],
)  # fmt: skip
def test_however_written(markup: str) -> None:
    unfinished = not markup.endswith(">")
    assert values(markup) == ([] if unfinished else [URL])


@pytest.mark.parametrize(
    "markup",
    [
        '<!-- <a href="https://a.example/"> -->', '<textarea><a href="https://a.example/"></textarea>',
        '<title><a href="https://a.example/"></title>', '<style><a href="https://a.example/"></style>',
        '<style><!--[if mso]><a href="https://a.example/"><![endif]--></style>',
        '<xmp><a href="https://a.example/"></xmp>', '<link href="https://a.example/">', '<img src="https://a.example/">',
        '<a data-x="href=https://a.example/">', '<abbr href="https://a.example/">', '</a href="https://a.example/">',
        '<form action="https://a.example/">', '<plaintext><a href="https://a.example/">', "<a hreflang=https://a.example/>",
    ],
)  # fmt: skip
def test_no_links(markup: str) -> None:
    assert values(markup) == []


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("a&amp;b", "a&b"), ("a&b", "a&b"), ("?a=1&copy=2", "?a=1&copy=2"), ("?a=1&copy", "?a=1©"),
        ("?a=1&copy;=2", "?a=1©=2"), ("?a&ampb", "?a&ampb"), ("?a&amp=b", "?a&amp=b"), ("&#38;&#x26;&#38", "&&&"),
        ("&amp;amp;", "&amp;"), ("&notit;", "&notit;"), ("&not;it", "¬it"), ("&;&#;&#x;", "&;&#;&#x;"),
        ("&quot;&apos;&lt;", "\"'<"), ("&lang=en&region=x", "&lang=en&region=x"),
        ("&#" + "1" * 5_000 + ";", "\ufffd"), ("&#x" + "1" * 5_000, "\ufffd"), ("&#" + "0" * 5_000 + "65;", "A"),
    ],
)  # fmt: skip
def test_entities(raw: str, meant: str) -> None:
    assert entities.attribute(raw) == meant


@given(st.text("ab&;#x=0123456789ampcopyltquo \"'<>é", max_size=40))
def test_entities_are_written_so_that_they_are_read_back(text: str) -> None:
    """For any text: what is written into an attribute is read as that text again."""
    assert entities.attribute(entities.escaped(text)) == text
    assert html.unescape(entities.escaped(text)) == text


# -- the pixel's place ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<html><body>x", "</body></html>\r\n"), ("<body>a</body>b", "</body>"), ("<p>x</p>", "\r\n\r\n"), ("<p>x", "</html>\n"),
        ("<body>x", "</BODY\n></html>"), ("<body>x", "</body><!-- </body> -->"), ("x", ""), ("<div><b>x", ""),
        ("<body><textarea></body></textarea>", "</body>"), ("<body><script>'</body>'</script>", "</body>"),
        ("<noscript>x", "</body>"), ("<body><object></object>", "</body>"),
    ],
)  # fmt: skip
def test_bottom(before: str, after: str) -> None:
    raw = message((before + after).encode())
    assert payload(leaf_parts(rendered(prepared(raw)))[0]).decode() == before + MARKUP + after


@pytest.mark.parametrize(
    "text",
    [
        "<p>x<a href='", "<p>x<!-- y", "<p>x<plaintext>y", "<p>x<xmp>y", "<title>x", "<style>x", "<textarea>x", "<p>x <b", "<p>x</",
        "<p>x<!", "<p>x<?", "<script>x", "<select>", "<template></body>", "<iframe>", "<body><object></body>", "<!DOCTYPE html",
    ],
)  # fmt: skip
def test_swallowed(text: str) -> None:
    found = prepared(message(text))
    assert not found.has_pixel
    assert found.pixel_report is not None
    assert found.pixel_report.reason == "unsafe_place"
    assert found.reason == "unsafe_place"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<html><body class='>'>", "x</body>"), ("<html><head></head>", "x"), ("", "<p>x</p>"),
        ("<!DOCTYPE html><html><head><title></title></head><BODY\r\n>", "x</BODY>"),
    ],
)  # fmt: skip
def test_top(before: str, after: str) -> None:
    out = rendered(prepared(message((before + after).encode()), pixel="top"))
    assert payload(leaf_parts(out)[0]).decode() == before + MARKUP + after


def test_top_where_gmail_clips() -> None:
    text = "<html><body>" + "<p>x</p>\n" * 12_000 + "</body></html>"
    found, out = check(message(text))
    assert found.pixel_report is not None
    assert found.pixel_report.place == "top"
    assert b"<body>" + MARKUP.encode() in out


def test_size_counts_what_links_grow_by() -> None:
    text = "<html><body>" + "<a href='https://a.example/'>x</a>\n" * 1_500 + "</body></html>"
    assert len(text) < 60_000
    found = prepared(message(text), max_links=10_000)
    assert found.pixel_report is not None
    assert found.pixel_report.place == "top"


def test_a_pixel_in_a_quoted_message_is_not_this_message_s() -> None:
    older = f"<div>Am 1. schrieb A:</div><blockquote>old <img src='{BASE}/o/older'></blockquote>"
    found, out = check(message(f"<html><body>new {older}</body></html>"))
    assert found.has_pixel
    again = prepared(out)
    assert again.reason == "duplicate_pixel"


OLDER = MARKUP.replace("p" * 34, "q" * 34)  # another message's


@pytest.mark.parametrize("place", ["top", "bottom"])
@pytest.mark.parametrize(
    "html",
    [
        f"<blockquote></body>{OLDER}",
        f"<html><body>a<blockquote></body></html>{OLDER}",
        f"<blockquote></html>{OLDER}",
        f"<blockquote>x</body>y</blockquote>{OLDER}",
        f"<blockquote></body>{OLDER}{OLDER}",
        f"<body class=gmail_quote>x{OLDER}y",
        f"<blockquote>{OLDER}</blockquote><body>x",
        f"<blockquote>{OLDER}</blockquote></head>x",
    ],
)
def test_a_second_run_finds_the_pixel_of_the_first_wherever_older_ones_are(html: str, place: str) -> None:
    found = prepared(message(html), pixel=place)
    out = rendered(found)
    assert out.count(OLDER.encode()) == html.count(OLDER)
    assert out.count(MARKUP.encode()) == found.has_pixel
    again = prepared(out, pixel=place)
    assert not again.has_pixel
    assert not found.has_pixel or again.reason == "duplicate_pixel"


def test_pixel_min_text() -> None:
    raw = message("<html><head><style>a { color: red; }</style></head><body><p>four five</p></body></html>")
    assert prepared(raw, pixel_min_text=8).has_pixel
    assert not prepared(raw, pixel_min_text=9).has_pixel


# -- a second tokeniser ----------------------------------------------------------------------------------------------------


def witness(text: str) -> list[str]:
    """The link values by html5lib's tokeniser, told of raw text as a tree builder would."""
    stream = _tokenizer.HTMLTokenizer(io.StringIO(text))
    states = {
        "title": stream.rcdataState, "textarea": stream.rcdataState, "plaintext": stream.plaintextState,
        "script": stream.scriptDataState,
        **dict.fromkeys(("style", "xmp", "iframe", "noembed", "noframes"), stream.rawtextState),
    }  # fmt: skip
    found = []
    for token in stream:
        if token["type"] == constants.tokenTypes["StartTag"]:
            if token["name"] in links.LINKS:
                found += [value for name, value in token["data"].items() if name == "href"]
            if token["name"] in states:
                stream.state = states[token["name"]]
    return found


TOKENS = [
    "<a", "<a ", "<A\n", "<area ", "<abbr ", "</a", "<b ", ">", "/>", " href", "HREF", "href=", " = ", '"', "'", "x", "&amp;", "&copy",
    "&copy=", "https://a.example/", " title=", "data-href=", "/", "=", "<!--", "-->", "--!>", "<!-", "<!", "<?", "</", "<textarea>",
    "</textarea>", "<style>", "</style>", "<title>", "</title>", "<script>", "</script>", "<xmp>", "</xmp>", "<plaintext>", "\f", "\t",
    "\n", "\r\n", "é", "\u2028", "\x85", "\xa0", "\x0b", "\x1c", "<svg>", "<v:rect ", "<iframe>", "</iframe>", "<", "&",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
def test_as_html5lib_reads_it(text: str) -> None:
    """For any soup of tags: the same link values as html5lib's tokeniser, decoded. (To it an href without a value is
    an empty one; neither leads anywhere.)"""
    expected = [value.replace("\r\n", "\n").replace("\r", "\n") for value in witness(text) if value]
    assert [entities.attribute(value).replace("\r\n", "\n") for value in values(text) if value] == expected


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=60).map("".join)))
def test_any_text(text: str) -> None:
    """For any text: never raises; values are in order and apart, places inside the text, and a second scan of the text
    with an image at a place sees that image."""
    page = links.scan(text, own=("t.example",), shown=True)
    at = 0
    for link in page.links:
        assert at <= link[0] <= link[1] <= len(text)
        at = link[1]
    for place in (page.bottom, page.top):
        if place is not None:
            assert 0 <= place <= len(text)
            assert len(
                links.scan(text[:place] + '<img src="//t.example/">' + text[place:], own=("t.example",)).images
            ) > len(page.images)


def test_attributes_of_one_tag_are_bounded() -> None:
    found = prepared(message("<a " + "x " * 5_000 + f"href='{URL}'>y</a>"))
    assert found.reason == "limit_size"
    assert prepared(message("<a " + "x " * 190 + f"href='{URL}'>y</a>")).links == (URL,)


def test_tracked_in_place() -> None:
    raw = message("<a href=https://a.example/x>a</a><a\r\nhref = 'https://a.example/y'>b</a>")
    _, out = check(raw)
    assert f"<a href={href(0)}>".encode() in out
    assert f"href = '{href(1)}'>".encode() in out


def test_nothing_before_a_doctype() -> None:
    for mark in ("", "\ufeff", " \r\n"):
        assert links.scan(mark + "<!DOCTYPE html><p>x</p>").top is None
