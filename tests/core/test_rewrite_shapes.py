"""Which texts of a message are its body: names, related parts, what a picture would be swallowed by."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.rewrite import shapes
from tests.core.rewriting import check, leaf, message, multipart, prepared

LINK = b'<p>Hello <a href="https://example.com/a">offer</a></p>'
HTML = leaf(LINK, "text/html")
PLAIN = leaf(b"hello", "text/plain")
NAMED = leaf(LINK, 'text/html; name="a.html"')
INLINE = leaf(LINK, "text/html", 'Content-Disposition: inline; filename="a.html"')
NOTES = leaf(b"notes", "text/plain; name=notes.txt")
PICTURE = leaf(b"R0lG", "image/gif; name=a.gif", "Content-Transfer-Encoding: base64", "Content-ID: <p@x>")
PDF = leaf(
    b"JVBE", "application/pdf", "Content-Disposition: inline; filename=a.pdf", "Content-Transfer-Encoding: base64"
)
EMPTY = leaf(b"", "text/plain")
COUNT = itertools.count()


def mixed(*parts: bytes) -> bytes:
    return multipart("mixed", *parts, boundary=f"m{next(COUNT)}")


def alternative(*parts: bytes) -> bytes:
    return multipart("alternative", *parts, boundary=f"alt{next(COUNT)}")


def related(*parts: bytes) -> bytes:
    return multipart("related", *parts, boundary=f"rel{next(COUNT)}")


@pytest.mark.parametrize(
    ("raw", "edited", "pixel"),
    [
        # a name beside a text
        (mixed(HTML, INLINE), ["1.1"], "1.1"),
        (mixed(HTML, NAMED), ["1.1"], "1.1"),
        (mixed(NAMED, HTML), ["1.2"], "1.2"),
        (mixed(PLAIN, NAMED), [], None),
        (mixed(PLAIN, INLINE, INLINE), [], None),
        (mixed(EMPTY, NAMED), [], None),
        (mixed(leaf(b"x", "text/enriched"), NAMED), [], None),
        (mixed(leaf(b"x", "text/plain", "Content-Disposition: inline"), INLINE), [], None),
        (mixed(HTML, leaf(LINK, "text/html; name*=utf-8''%C3%A9.html")), ["1.1"], "1.1"),
        (mixed(HTML, leaf(LINK, "text/html", "Content-Disposition: inline; filename*0=a; filename*1=.html")), ["1.1"], "1.1"),
        (mixed(HTML, leaf(LINK, "text/html", "Content-Disposition: inline (c); filename (c) = (c) a.html")), ["1.1"], "1.1"),
        (mixed(HTML, leaf(LINK, "text/html; name=my report (1).html")), ["1.1"], "1.1"),
        (mixed(alternative(PLAIN, HTML), INLINE), ["1.1.2"], "1.1.2"),
        (mixed(related(HTML, PICTURE), INLINE), ["1.1.1"], "1.1.1"),
        (mixed(alternative(PLAIN, related(HTML, PICTURE)), PDF, NAMED, NOTES), ["1.1.2.1"], "1.1.2.1"),
        (mixed(INLINE, mixed(PLAIN, HTML)), ["1.2.2"], "1.2.2"),
        (mixed(mixed(INLINE), mixed(HTML)), ["1.2.1"], "1.2.1"),
        (mixed(multipart("signed", PLAIN, leaf(b"x", "application/pgp-signature"), boundary="s"), NAMED), [], None),
        # every text has a name: the first is the body
        (mixed(INLINE, INLINE), ["1.1"], "1.1"),
        (mixed(PDF, NAMED, PICTURE), ["1.2"], "1.2"),
        (mixed(NOTES, NAMED), [], None),
        (mixed(NAMED, NOTES), ["1.1"], "1.1"),
        (mixed(leaf(LINK, "text/html", "Content-Disposition: attachment; filename=a.html"), NAMED, NAMED), ["1.2"], "1.2"),
        (mixed(leaf(b"x", "text/calendar"), NAMED), ["1.2"], "1.2"),
        (mixed(b"Content-Disposition: attachment\r\n" + mixed(PLAIN), NAMED), ["1.2"], "1.2"),
        (mixed(leaf(b"x", "message/rfc822"), NAMED), ["1.2"], "1.2"),
        (message(LINK, kind='text/html; name="mail.html"'), ["1"], "1"),
        (message(LINK, extra='Content-Disposition: inline; filename="mail.html"\n'), ["1"], "1"),
        # no name at all
        (mixed(HTML, leaf(LINK, 'text/html; name=""')), ["1.1", "1.2"], "1.1"),
        (mixed(HTML, leaf(LINK, "text/html", "Content-Disposition: inline")), ["1.1", "1.2"], "1.1"),
        (mixed(HTML, PDF, HTML), ["1.1", "1.3"], "1.1"),  # as Apple Mail writes around a file
        (mixed(PLAIN, PICTURE, HTML), ["1.3"], "1.3"),
        (alternative(PLAIN, mixed(HTML, PDF, HTML)), ["1.2.1", "1.2.3"], "1.2.1"),
        (alternative(PLAIN, mixed(HTML, PDF, NAMED)), ["1.2.1"], "1.2.1"),
        # alternatives, and the root of related parts, are beside nothing
        (alternative(PLAIN, NAMED), ["1.2"], "1.2"),
        (alternative(NOTES, NAMED), ["1.2"], "1.2"),
        (alternative(PLAIN, related(NAMED, PICTURE)), ["1.2.1"], "1.2.1"),
        (alternative(PLAIN, mixed(NAMED, PICTURE)), ["1.2.1"], "1.2.1"),
        (related(NAMED, PICTURE), ["1.1"], "1.1"),
        (related(PICTURE, NAMED), ["1.2"], "1.2"),
        (mixed(related(NAMED, PICTURE), INLINE), ["1.1.1"], "1.1.1"),
        (mixed(alternative(NOTES, NAMED), INLINE), ["1.1.2"], "1.1.2"),
        (related(HTML, NAMED), ["1.1"], "1.1"),
        (related(alternative(PLAIN, HTML), NAMED), ["1.1.2"], "1.1.2"),
        (alternative(PLAIN, HTML, leaf(b"BEGIN:VCALENDAR", "text/calendar; name=a.ics")), ["1.2"], "1.2"),
    ],
)  # fmt: skip
def test_texts(raw: bytes, edited: list[str], pixel: str | None) -> None:
    found, out = check(raw)
    assert [report.path for report in found.part_reports if report.edited] == edited
    assert found.pixel_report is not None
    assert found.pixel_report.part == pixel
    assert out.count(b"/c/") == len(edited)
    files = [report for report in found.part_reports if report.content_type == "text/html" and not report.edited]
    assert {report.reason for report in files} <= {"attachment"}


def test_a_named_text_is_no_text_of_ours_on_request_either() -> None:
    note = leaf(b"see https://example.com/a", "text/plain; name=notes.txt")
    found, _ = check(mixed(leaf(b"https://example.com/b", "text/plain"), note), text_links=True)
    assert found.links == ("https://example.com/b",)
    assert prepared(mixed(note), text_links=True).links == ("https://example.com/a",)


def started(start: str, *parts: bytes, kind: str = '; type="text/html"') -> bytes:
    return related(*parts).replace(b"multipart/related;", f"multipart/related{kind}{start};".encode())


def part(identifier: str, body: bytes = LINK, kind: str = "text/html") -> bytes:
    return leaf(body, kind, f"Content-ID: {identifier}")


@pytest.mark.parametrize(
    ("start", "identifiers", "pixel"),
    [
        ('; start="<root@x>"', ["<frame@x>", "<root@x>"], "1.2"),
        ('; start="<root@x>"', ["<root@x>", "<frame@x>"], "1.1"),
        ("; start=root@x", ["<frame@x>", "<root@x>"], "1.2"),
        ("; start=<root@x>", ["<frame@x>", "<root@x>"], "1.2"),
        ('; start="<root@x>" (the root)', ["<frame@x>", "(c) <root@x>"], "1.2"),
        ("; start*=us-ascii''%3Croot@x%3E", ["<frame@x>", "<root@x>"], "1.2"),
        ('; start*0="<root"; start*1="@x>"', ["<frame@x>", "< root@x >"], "1.2"),
        ('; START="<root@x>"', ["<frame@x>", "root@x"], "1.2"),
        ('; start="<root>"', ["<frame>", "<root>"], "1.2"),
        ('; start="<root@x>"', ["<frame@x>", "<root@x>", "<root@x>"], "1.2"),
        # nothing that is named: the first
        ('; start="<none@x>"', ["<frame@x>", "<root@x>"], "1.1"),
        ('; start="<ROOT@x>"', ["<frame@x>", "<root@x>"], "1.1"),
        ('; start=""', ["<frame@x>", "<root@x>"], "1.1"),
        ("; start", ["<frame@x>", "<root@x>"], "1.1"),
        ("", ["<frame@x>", "<root@x>"], "1.1"),
    ],
)
def test_start(start: str, identifiers: list[str], pixel: str) -> None:
    raw = started(start, *map(part, identifiers))
    for whole, path in (
        (raw, pixel),
        (alternative(PLAIN, raw), pixel.replace("1.", "1.2.")),
        (mixed(raw, PDF), f"1.{pixel}"),
    ):
        found = prepared(whole)
        assert found.pixel_report is not None
        assert found.pixel_report.part == path


def test_start_at_an_alternative_and_at_what_is_no_html() -> None:
    root = alternative(PLAIN, HTML)
    raw = started(
        '; start="<a@x>"', part("<b@x>"), b"Content-ID: <a@x>\r\n" + root, kind='; type="multipart/alternative" (c)'
    )
    found, _ = check(raw)
    assert found.pixel_report is not None
    assert found.pixel_report.part == "1.2.2"
    found, _ = check(started('; start="<p@x>"', part("<b@x>"), part("<p@x>", b"hello", "text/plain")))
    assert not found.has_pixel


def test_a_named_root_is_the_root() -> None:
    named = leaf(LINK, "text/html; name=a.html", "Content-ID: <a@x>")
    found, _ = check(started('; start="<a@x>"', part("<b@x>"), named))
    assert found.pixel_report is not None
    assert found.pixel_report.part == "1.2"


LEAVES = st.sampled_from([HTML, PLAIN, NAMED, INLINE, NOTES, PICTURE, PDF, EMPTY])
TREES = st.recursive(
    LEAVES,
    lambda inside: st.tuples(st.sampled_from(["mixed", "alternative", "related"]), st.lists(inside, max_size=4)).map(
        lambda pair: multipart(pair[0], *pair[1], boundary=f"b{next(COUNT)}")
    ),
    max_leaves=8,
)


@given(TREES)
def test_any_tree(raw: bytes) -> None:
    """For any tree of parts: nothing but the edits changes; a file has a name; and if any text of the message may be entered,
    one of its texts is no file."""
    found, _ = check(raw)
    inner = [report for report in found.part_reports if report.content_type in shapes.WRITTEN]
    if inner:
        assert any(report.reason != "attachment" for report in inner)


@pytest.mark.parametrize(
    ("html", "placed"),
    [
        ("<svg/>", True), ("<svg />", True), ("<SVG width=1 />", True), ('<svg width="1"/>', True), ("<math/>", True),
        ("<p><math\n/></p>", True), ("<svg/><svg/>", True), ("<svg></svg>", True), ("<svg><path/></svg>", True),
        ("<svg><svg/></svg>", True), ("<svg><math/></svg>", True), ("<math><svg/></math>", True),
        ("<svg width=1/>", False), ("<svg / >", False), ("<svg>", False), ("<svg><svg/>", False), ("<math>", False),
        ("<video/>", False), ("<object/>", False), ("<select/>", False), ("<template/>", False),
        ("<video/></video>", True),
    ],
)  # fmt: skip
def test_what_closes_itself_swallows_nothing(html: str, placed: bool) -> None:
    found, _ = check(message(f"<p>Hello <a href='https://example.com/a'>offer</a></p>{html}"))
    assert found.has_pixel == placed
