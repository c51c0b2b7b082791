"""Header fields as spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers


@given(st.binary(max_size=400) | st.text('aA:- \t\r\n<>@"(),;=?', max_size=400).map(str.encode))
def test_spans_tile_the_header_section(raw: bytes) -> None:
    """For any bytes: never raises; the fields follow each other without a gap and end before the body."""
    found = headers.read(raw)
    at = found.start
    for field in found.fields:
        assert field.start == at
        assert field.start < field.value <= field.end
        assert raw[field.start : field.value].rstrip(b" \t:").decode("ascii").lower() == field.name
        at = field.end
        found.text(field)
    assert at <= found.body <= len(raw)


@pytest.mark.parametrize(
    ("raw", "name", "text"),
    [
        (b"Subject: a\r\n b\r\n\tc\r\n\r\n", "subject", "a b\tc"),
        (b"Subject : spaced\r\n\r\n", "subject", "spaced"),
        (b"SUBJECT:=?utf-8?q?h=C3=A9?=\r\n =?utf-8?q?llo?=\r\n\r\n", "subject", "héllo"),
        (b"Subject: =?x-none?b?AAAA?=\r\n\r\n", "subject", "=?x-none?b?AAAA?="),
        (b"Subject: h\xc3\xa9\r\n\r\n", "subject", "hé"),
        (b"Subject: h\xe9\r\n\r\n", "subject", "hé"),
        (b"Subject:\r\n folded at once\r\n\r\n", "subject", "folded at once"),
        (b"Subject: no line ending", "subject", "no line ending"),
        (b"From a@b Mon Jan  1 00:00:00 2024\r\nSubject: mbox\r\n\r\n", "subject", "mbox"),
        (b">From a@b Mon Jan  1 00:00:00 2024\nFrom c\nSubject: mbox\n\n", "subject", "mbox"),
        (b"\xef\xbb\xbfSubject: marked\r\n\r\n", "subject", "marked"),
        (b"A: 1\nSubject: lf\n more\n\nbody", "subject", "lf more"),
    ],
)
def test_text(raw: bytes, name: str, text: str) -> None:
    assert headers.read(raw).get(name) == text


def test_a_field_of_many_lines_is_one() -> None:
    for lines in (999, 1_000, 1_001, 5_000):
        raw = b"A: 1\r\nB: x" + b"\r\n y" * lines + b"\r\nC: 2\r\n\r\nbody"
        found = headers.read(raw)
        assert [field.name for field in found.fields] == ["a", "b", "c"]
        assert found.get("b") == "x" + " y" * lines
        assert raw[found.body :] == b"body"


def test_a_section_of_very_many_fields_ends_somewhere() -> None:
    found = headers.read(b"a:\r\n" * 50_000 + b"\r\nbody")
    assert len(found.fields) == headers.MAX_FIELDS
    assert found.malformed == found.fields[-1].end


def test_of_a_huge_value_the_beginning_is_read() -> None:
    found = headers.read(b"Subject: " + b"x" * 1_000_000 + b"\r\nTo: b\r\n\r\n")
    assert 200_000 < len(found.get("subject")) < 300_000
    assert found.get("to") == "b"


@pytest.mark.parametrize(
    ("raw", "body", "malformed"),
    [
        (b"A: 1\r\n\r\nbody", 8, -1),
        (b"A: 1\n\nbody", 6, -1),
        (b"A: 1\r\nno field\r\nB: 2\r\n\r\n", 6, 6),
        (b"\r\nbody", 2, -1),
        (b"", 0, -1),
        (b"body only", 0, 0),
        (b"From here on\r\nbody only", 0, 0),
        (b"From a@b\r\n\r\nbody", 12, -1),
        (b"\xef\xbb\xbf\r\nbody", 5, -1),
        (b"\xef\xbb\xbfbody only", 0, 0),
    ],
)
def test_where_the_body_begins(raw: bytes, body: int, malformed: int) -> None:
    found = headers.read(raw)
    assert (found.body, found.malformed) == (body, malformed)


def test_what_stands_before_the_first_field_is_passed_over_in_linear_time() -> None:
    raw = b">From a@b\r\n" * 200_000
    assert headers.read(raw + b"A: 1\r\n\r\n").start == len(raw)
    assert headers.read(raw + b"no field\r\n").start == 0


def test_the_mark_of_a_file_is_none_within_a_message() -> None:
    assert headers.read(b"..\xef\xbb\xbfA: 1\r\n\r\n", 2).malformed == 2
