"""What is new in an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import excerpts


def message(body: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    return f"From: bob@example.org\r\nContent-Type: {kind}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Yes, please.\r\n", "Yes, please."),
        ("Yes.\r\n\r\nOn Mon, 1 Jan 2026 at 10:00, Ann <ann@example.com> wrote:\r\n> Would you?\r\n", "Yes."),
        ("Yes.\r\n\r\nOn Mon, 1 Jan 2026 at 10:00, Ann\r\n<ann@example.com> wrote:\r\n> Would you?\r\n", "Yes."),
        ("Ja.\r\n\r\nAm 01.01.2026 um 10:00 schrieb Ann:\r\n> Magst du?\r\n", "Ja."),
        ("Yes.\r\n-----Original Message-----\r\nFrom: Ann\r\nWould you?", "Yes."),
        ("> Would you?\r\nYes.\r\n> And that?\r\n\r\n\r\nThat too.", "Yes.\n\nThat too."),
        ("", ""),
        ("> all quoted\r\n", ""),
        ("Grüße\x00\x1b[31m", "Grüße  [31m"),
        ("x" * 3000, "x" * excerpts.LONGEST),
    ],
)
def test_what_is_new(body: str, expected: str) -> None:
    assert excerpts.excerpt(message(body)) == expected


def test_html_is_read_as_text() -> None:
    assert excerpts.excerpt(message("<p>Yes &amp; no</p><script>x</script>", "text/html")).startswith("Yes & no")


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    assert len(excerpts.excerpt(raw)) <= excerpts.LONGEST
