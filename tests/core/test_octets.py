"""Dots and line ends of a message as clients send them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import octets

# What stands between DATA's line and CRLF.CRLF -> the message. A line here is one that somebody meant to send.
NORMALIZED = [
    (b"a\n", b"a\r\n"),
    (b"\n", b"\r\n"),
    (b"\n\n\r\n", b"\r\n\r\n\r\n"),
    (b"A: b\nC: d\n\ne\n\r\n", b"A: b\r\nC: d\r\n\r\ne\r\n\r\n"),
    (b"A: b\r\nC: d\n\r\ne\r\n", b"A: b\r\nC: d\r\n\r\ne\r\n"),
    (b"A: b\n c\n\te\n\nf\n", b"A: b\r\n c\r\n\te\r\n\r\nf\r\n"),
    # A dot alone is content, whatever ends the lines around it.
    (b"a\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),
    (b"a\r\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),
    (b"a\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
    (b".\na\r\n", b".\r\na\r\n"),
    (b"a\n.\n.\n.\r\n.\nb\r\n", b"a\r\n.\r\n.\r\n.\r\n.\r\nb\r\n"),
    (b"a\r\n.\n.\n", b"a\r\n.\r\n.\r\n"),
    # A client that doubles none behind a LF (curl): it shows by one that is single.
    (b"a\n.b\nc\r\n", b"a\r\n.b\r\nc\r\n"),
    (b"a\n.b\n..c\n...\r\n", b"a\r\n.b\r\n..c\r\n...\r\n"),
    (b"a\n.\n..c\n", b"a\r\n.\r\n..c\r\n"),
    (b"a\n.b\r\n..c\r\n", b"a\r\n.b\r\n.c\r\n"),  # behind CRLF all do
    (b"..a\n.b\n", b".a\r\n.b\r\n"),  # DATA's own line ends in CRLF
    # One that doubles them (smtplib, and what else takes LF for the end of a line).
    (b"a\n..b\n..\n...c\n", b"a\r\n.b\r\n.\r\n..c\r\n"),
    (b"..a\n..b\r\n..c\r\n", b".a\r\n.b\r\n.c\r\n"),
    (b"a\r\n..\nb\n", b"a\r\n.\r\nb\r\n"),
    # Nothing to do with dots.
    (b"a.\n b.\n.", b"a.\r\n b.\r\n."),
    (b"\x00\n\xff\n\xe2\x80\xa8\x85\x0b\x0c\n", b"\x00\r\n\xff\r\n\xe2\x80\xa8\x85\x0b\x0c\r\n"),
]


@pytest.mark.parametrize(("sent", "message"), NORMALIZED)
def test_line_feeds_become_line_ends(sent, message):
    assert octets.normalized(sent) == message


LINES = st.lists(st.sampled_from([b"a", b".", b"..", b".b", b"...", b"", b"A: b", b" c"]), max_size=8)
ENDS = st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=8, max_size=8)


def ended(lines, ends):
    return b"".join(line + end for line, end in zip(lines, ends, strict=False))


@given(LINES, ENDS)
def test_who_doubles_every_dot_is_understood(lines, ends):
    sent = re.sub(rb"(?m)^\.", b"..", ended(lines, ends))
    assert octets.normalized(sent) == b"".join(line + b"\r\n" for line in lines)


@given(LINES, ENDS)
def test_who_doubles_dots_behind_crlf_alone_is_understood(lines, ends):
    content = ended([*lines, b"", b".single"], [*ends[: len(lines)], b"\n", b"\n"])
    sent = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    assert octets.normalized(sent) == b"".join(line + b"\r\n" for line in [*lines, b"", b".single"])


ANY = st.lists(st.sampled_from([b"\r\n", b"\n", b".", b"a", b"\x00"]), max_size=12).map(b"".join)


@given(ANY)
def test_nothing_stands_alone_afterwards(content):
    made = octets.normalized(content)
    assert octets.line_feeds(made) == 0
    assert len(made) <= len(content) + octets.line_feeds(content)
    assert made.replace(b".", b"") == content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b".", b"")


@pytest.mark.parametrize(
    ("content", "feeds", "first"),
    [
        (b"", 0, ("", 0)),
        (b"a\r\nb\r\n", 0, ("", 0)),
        (b"a\nb\r\n", 1, ("LF", 1)),
        (b"a\r\n\n\n", 2, ("LF", 2)),
        (b"a\r\r\n", None, ("CR", 1)),
        (b"a\r\nb\rc\nd", None, ("CR", 2)),
        (b"a\nb\rc", None, ("LF", 1)),
        (b"a\n\r", None, ("LF", 1)),
    ],
)
def test_what_stands_alone_is_found(content, feeds, first):
    assert octets.line_feeds(content) == feeds
    assert octets.bare(content) == first
