"""The diff for people: it shows what changed, where, and nothing that a terminal would act upon."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.core import diff, headers
from relay.core.model import Edit
from tests.core.rewriting import MARKUP, href, leaf, message, multipart, prepared, rendered


def test_equal() -> None:
    raw = message("<p>x</p>")
    assert diff.render(raw, raw, colour=True) == ""


def test_decoded_text_and_fields() -> None:
    page = "".join(f"<p>line {n}</p>\n" for n in range(50)) + "<a href='https://a.example/'>é</a>\n</body>\n"
    raw = message(page, encoding="base64", extra="X-Track: all\n")
    field = headers.read(raw).first("x-track")
    assert field
    out = rendered(prepared(raw), edits=[Edit(field.start, field.end, b"")])
    assert diff.render(raw, out, colour=False).splitlines() == [
        "--- header",
        "+++ header",
        "@@ -3,3 +3,2 @@",
        " Subject: x",
        "-X-Track: all",
        " MIME-Version: 1.0",
        "--- part 1 text/html",
        "+++ part 1 text/html",
        "@@ -50,4 +50,4 @@",
        " <p>line 49</p>",
        "-<a href='https://a.example/'>é</a>",
        "-</body>",
        f"+<a href='{href(0)}'>é</a>",
        f"+{MARKUP}</body>",
        " ",
    ]
    coloured = diff.render(raw, out, colour=True)
    assert "\x1b[31m-</body>\x1b[0m" in coloured
    assert "\x1b[1m--- header\x1b[0m" in coloured


def test_what_stood_before_the_message() -> None:
    raw = message("<p>x</p>")
    assert diff.render(b"From a@b Mon Jan  5 10:00:00 2026\r\n" + raw, raw, colour=False).splitlines() == [
        "--- header",
        "+++ header",
        "@@ -1,2 +1 @@",
        "-From a@b Mon Jan  5 10:00:00 2026",
        " From: a@example.com",
    ]


def test_of_a_part_only_what_is_its_own_is_shown() -> None:
    raw = multipart("mixed", leaf(b"one\r\n", "text/plain"), leaf(b"two\r\n", "text/plain"))
    out = raw.replace(b"one", b"1").replace(b"two", b"2")
    assert diff.render(raw, out, colour=False).splitlines() == [
        "--- part 1.1 text/plain", "+++ part 1.1 text/plain", "@@ -1,2 +1,2 @@", "-one", "+1", " ",
        "--- part 1.2 text/plain", "+++ part 1.2 text/plain", "@@ -1,2 +1,2 @@", "-two", "+2", " ",
    ]  # fmt: skip


def test_long_lines_are_broken_at_tags() -> None:
    raw = message(
        "<p>" + "word " * 100 + "</p>" + "<td>x</td>" * 50 + "<a href='https://a.example/'>x</a>" + "<td>y</td>" * 50
    )
    lines = diff.render(raw, rendered(prepared(raw)), colour=False).splitlines()
    assert "-<a href='https://a.example/'>" in lines
    assert f"+<a href='{href(0)}'>" in lines
    assert len(lines) < 20


def test_nothing_that_a_terminal_acts_upon() -> None:
    raw = message("\x1b[2J\u202e<a href='https://a.example/'>\x07x</a>")
    shown = diff.render(raw, raw.replace(b"a.example", b"b.example"), colour=False)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2J\\u202e" in shown


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes(before: bytes, after: bytes) -> None:
    """For any two messages: text, which is empty where they are equal and only there."""
    assert (diff.render(before, after, colour=True) == "") == (before == after)
    assert "\x1b" not in diff.render(b"\n" + before, b"\n" + after, colour=False)
