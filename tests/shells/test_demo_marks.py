"""What the demo marks in a message's source: it is the truth, and the shortest one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, parts, rewrite
from relay.core.model import Edit
from relay.demo import display, inbox, marks, originals
from tests.core.rewriting import BASE, MARKUP, href, leaf, message, multipart, prepared, rendered

PAGE = "<html><body><p>Grüße</p><a class=x href='https://a.example/?b=1&amp;c=2'>one</a><br>\n<a href=\"https://b.example/\">two</a></body></html>\n"


def both(runs: list[marks.Run] | None) -> tuple[str, str]:
    """The text without what was added, and without what was removed."""
    assert runs is not None
    return (
        "".join(run.text for run in runs if run.kind != "added"),
        "".join(run.text for run in runs if run.kind != "removed"),
    )


def of(kind: str, runs: list[marks.Run] | None) -> list[str]:
    return [run.text for run in runs or () if run.kind == kind]


def tracked(raw: bytes) -> bytes:
    """The rewritten message, without X-Track and with a trace field."""
    edits = [Edit(f.start, f.end, b"") for f in headers.read(raw).all("x-track")]
    found = prepared(raw)
    changes = rewrite.render(found, hrefs=[href(n) for n in range(len(found.links))], pixel=MARKUP, edits=edits)
    assert changes.content() != raw
    return b"Received: from a by b; now\r\n" + rendered(found, edits=edits)


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_links_pixel_and_fields_are_marked_in_any_encoding(encoding: str, charset: str) -> None:
    before = message(PAGE, encoding=encoding, charset=charset, extra="X-Track: all\n")
    after = tracked(before)
    header, body = marks.readable(before, after)
    assert of("added", header.runs) == ["Received: from a by b; now\n"]
    assert of("removed", header.runs) == ["X-Track: all\n"]
    assert of("removed", body.runs) == ["https://a.example/?b=1&amp;c=2", "https://b.example/"]
    assert of("added", body.runs) == [href(0), href(1), MARKUP]
    assert body.note == ("" if encoding == "8bit" else f"shown without {encoding}")
    told = both(body.runs)
    assert told[0] == PAGE
    octets = marks.whole(before, after)
    assert tuple(text.encode("utf-8", "surrogateescape") for text in both(octets)) == (before, after)
    if encoding == "8bit":
        assert of("added", octets)[1:] == [href(0), href(1), MARKUP]
    assert marks.summary(before, after, BASE) == {
        "added": ["Received"],
        "removed": ["X-Track"],
        "links": 2,
        "pixels": 1,
    }


def test_each_part_stands_alone() -> None:
    picture = b"\x89PNG\r\n\x1a\n" * 9
    before = multipart(
        "mixed",
        leaf(b"plain\r\n", "text/plain"),
        leaf(PAGE.encode()),
        leaf(picture, "image/png"),
        extra="Subject: x\r\n",
    )
    sections = marks.readable(before, tracked(before))
    assert [(s.title, s.note) for s in sections if s.title] == [
        ("Header", ""), ("Part 1", "text/plain"), ("Part 2", "text/html"), ("Part 3", "image/png"),
    ]  # fmt: skip
    assert sections[-1] == ("", f"image/png, {len(picture)} octets, as it came", None)
    changed = [s for s in sections[1:] if of("added", s.runs)]
    assert [of("added", s.runs) for s in changed] == [[href(0), href(1), MARKUP]]


def test_a_field_with_another_value_is_marked_where_it_differs() -> None:
    before = b"References: <a@x>\r\nSubject: x\r\n\r\n"
    after = b"References: <a@x> <t@y>\r\nSubject: x\r\n\r\n"
    (header, _) = marks.readable(before, after)
    assert of("added", header.runs) == [" <t@y>"]
    assert not of("removed", header.runs)


TEXT = st.text("ab<>\"'= \n", max_size=40)


@given(TEXT, TEXT)
def test_marks_are_true_of_any_two_texts(old: str, new: str) -> None:
    assert both(marks.in_text(old, new)) == (old, new)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_marks_are_true_of_any_two_messages(old: bytes, new: bytes) -> None:
    start = b"Content-Type: multipart/mixed; boundary=x\r\nX-Track: all\r\n\r\n--x\r\n\r\n"
    for before, after in ((old, new), (start + old, start + new), (start + old, new)):
        told = tuple(text.encode("utf-8", "surrogateescape") for text in both(marks.whole(before, after)))
        assert told == (before, after)
        marks.readable(before, after)


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_no_way_is_shorter(old: list[str], new: list[str]) -> None:
    common = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, a in enumerate(old):
        for j, b in enumerate(new):
            common[i + 1][j + 1] = common[i][j] + 1 if a == b else max(common[i][j + 1], common[i + 1][j])
    found = [run for run in marks.differences(old, new) if run.kind != "same"]
    assert len(found) == len(old) + len(new) - 2 * common[-1][-1]


def test_what_has_nothing_in_common_takes_no_time() -> None:
    old, new = (" ".join(f"{kind}{n}" for n in range(60_000)) for kind in "ab")
    assert both(marks.in_text(f"<p>{old}</p>", f"<p>{new}</p>")) == (f"<p>{old}</p>", f"<p>{new}</p>")


def test_an_original_is_known_by_the_bytes_that_left_and_by_nothing_else() -> None:
    noted = originals.Originals(most=2)
    raw = message(PAGE)
    rendering = rewrite.Rendering(headers.read(raw), parts.changes([Edit(0, 0, b"X: y\r\n")]))
    assert noted.note(rendering) is rendering
    assert noted.of(raw) is None
    assert noted.of(b"X: y\r\n" + raw) == raw
    assert noted.of(b"X: y\r\n" + raw) is None  # once
    for number in range(3):
        noted.note(rewrite.Rendering(headers.read(raw), parts.changes([Edit(0, 0, b"X: %d\r\n" % number)])))
    assert [noted.of(b"X: %d\r\n" % number + raw) is None for number in range(3)] == [True, False, False]


def test_a_message_from_elsewhere_has_no_marks() -> None:
    told = display.changes(inbox.Received("1", "", (), message(PAGE), 0.0), BASE)
    assert told["known"] is False
    assert {run.kind for form in ("readable", "whole") for s in told[form] for run in s.runs or ()} == {"same"}
