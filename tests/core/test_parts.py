"""Parts: for any bytes a scan never raises, and every span is inside the message and inside its parent."""

from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, parts
from relay.core.model import Edit
from tests.core.rewriting import leaf, multipart


def scan(raw: bytes) -> parts.Scan:
    return parts.scan(raw, headers.read(raw))


def bodies(raw: bytes) -> list[tuple[str, str, bytes]]:
    return [(p.path, p.content_type, raw[p.start : p.end]) for p in scan(raw).parts]


def test_one_part() -> None:
    raw = b"From: a@b.example\r\nContent-Transfer-Encoding: BASE64 \r\n\r\nbody\r\n"
    (part,) = scan(raw).parts
    assert (part.path, part.content_type, part.encoding, part.parent) == ("1", "text/plain", "base64", -1)
    assert raw[part.start : part.end] == b"body\r\n"


def test_nested() -> None:
    inner = multipart("alternative", leaf(b"t", "text/plain"), leaf(b"h"), boundary="in")
    raw = multipart("mixed", inner, leaf(b"%PDF", "application/pdf", "Content-Disposition: attachment; filename=x"))
    found = scan(raw).parts
    assert [p.path for p in found] == ["1", "1.1", "1.1.1", "1.1.2", "1.2"]
    assert [p.parent for p in found] == [-1, 0, 1, 1, 0]
    assert [raw[p.start : p.end] for p in found[2:]] == [b"t", b"h", b"%PDF"]
    assert found[4].disposition == "attachment"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(  # a longer boundary with the same beginning is not ours
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--bb\n--b x\n--b--x\n--b--\n",
            [b"one\n--bb\n--b x\n--b--x"], id="prefix",
        ),
        pytest.param(  # white space after a boundary, and none of it counts
            b"Content-Type: multipart/mixed; boundary=\"b c \"\n\npre\n--b c \t\n\none\n--b c--  \nepilogue\n",
            [b"one"], id="white space",
        ),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\ntwo", [b"one\r\ntwo"], id="no end"),
        pytest.param(  # Python's boundaries end in "=": soft line breaks must not be joined over them
            b"Content-Type: multipart/mixed; boundary=\"===12==\"\n\n--===12==\n\nx=\n--===12==--\n", [b"x="], id="python",
        ),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\n\n--b\nA: 1\n--b\n\ntwo\n--b--", [b"", b"two"], id="no body"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n\n\n--b--", [b"", b""], id="empty"),
        pytest.param(  # the outer delimiter ends the inner multipart, which never closes
            b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--o\n\ny\n--o--",
            [b"x", b"y"], id="unclosed inner",
        ),
        pytest.param(  # the same boundary inside: the outer multipart has it
            b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\ny\n--o--",
            [b"y"], id="same boundary",
        ),
        pytest.param(
            b"Content-Type: multipart/mixed;\n boundary*0=a;\n boundary*1=b\n\n--ab\n\none\n--ab--\n", [b"one"], id="rfc 2231",
        ),
        pytest.param(b"Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n", [], id="no boundary"),
        pytest.param(  # never into an embedded message
            b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\n<a>\n--b--\n",
            [b"Subject: x\n\n<a>"], id="digest",
        ),
    ],
)  # fmt: skip
def test_delimiters(raw: bytes, expected: list[bytes]) -> None:
    assert [body for _, kind, body in bodies(raw) if not kind.startswith("multipart/")] == expected


def test_limits() -> None:
    part = leaf(b"x", "text/plain")
    assert scan(multipart("mixed", *[part] * 998)).reason is None
    assert scan(multipart("mixed", *[part] * 1001)).reason == "limit_parts"
    assert scan(b"A: b\n" * 1001 + b"\nx").reason == "limit_headers"
    assert scan(b"A: " + b"b" * 300_000 + b"\n\nx").reason == "limit_headers"
    assert scan(multipart("mixed", b"A: b\r\n" * 1001 + b"\r\nx")).reason == "limit_headers"
    deep = b"x"
    for level in range(120):
        deep = multipart("mixed", deep if level else leaf(b"x"), boundary=f"b{level}-")
    found = scan(deep)
    assert found.reason == "limit_depth"
    assert len(found.parts) <= 101


def test_lines_that_look_like_delimiters_are_counted_and_bounded() -> None:
    """Work is bounded: so many lines are looked at, and no more."""
    top = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"
    scanner = parts._Scanner(top + b"--bx\n" * 300_000)
    assert scanner.run(headers.read(scanner.raw)).reason == "limit_parts"
    assert scanner.lines <= parts.LINES + 1


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([], b"0123456789"),
        ([Edit(8, 9, b""), Edit(0, 2, b"ab")], b"ab2345679"),
        ([Edit(3, 3, b"x"), Edit(3, 3, b"y"), Edit(3, 4, b"z")], b"012xyz456789"),
        ([Edit(10, 10, b"!")], b"0123456789!"),
    ],
)
def test_splice(edits: list[Edit], expected: bytes) -> None:
    assert parts.splice(b"0123456789", edits) == expected


@pytest.mark.parametrize("edits", [[Edit(1, 4, b""), Edit(3, 5, b"")], [Edit(9, 11, b"")], [Edit(5, 4, b"")]])
def test_splice_refuses(edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="overlaps or is outside"):
        parts.splice(b"0123456789", edits)


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        ("text/plain; charset=iso-8859-1", "é".encode("latin-1"), "é"),
        ("text/plain; charset=utf-8", b"a\xe9b", "a\ufffdb"),
        ("text/plain; charset=gb2312", b"a\xff b\xd6\xd0", "a\ufffd b\u4e2d"),
        ("text/plain; charset=iso-2022-jp", b"\x1b$B-!\x1b(B", "\u2460"),
        ("text/plain; charset=iso-8859-1", b"\x92", "\u2019"),
        ("text/plain; charset=iso-8859-8-i", b"\xe0", "\u05d0"),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=x-unknown", b"e", "e"),
        ("text/plain; charset=x-unknown", b"\xe9", None),
        ("text/plain; charset=x-user-defined", b"\xe9", None),
        ("text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        ("image/gif", b"GIF", None),
        ("text/plain; charset=zlib", b"\xff", None),
    ],
)
def test_text(fields: str, body: bytes, expected: str | None) -> None:
    raw = leaf(body, fields)
    assert parts.text(raw, scan(raw).parts[0]) == expected


# -- any bytes -----------------------------------------------------------------------------------------------------------

SOUP = st.lists(
    st.sampled_from(
        [b"--b\n", b"--b--\n", b"--c\n", b"--c--\n", b"--bc\n", b"-- \n", b"\n", b"text\n", b"=\n", b"--", b"--b", b"A: b\n",
         b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: multipart/mixed; boundary=c\n",
         b"Content-Type: multipart/digest; boundary=\"c\"\n", b"Content-Type: text/html\n", b"Content-Type: message/rfc822\n",
         b"Content-Type: text/html; charset\n", b"Content-Disposition: attachment\n", b" folded\n", b"Content-Type:\n"]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip


def shape(part: Any) -> Any:
    inner = part.get_payload()
    if part.get_content_maintype() == "multipart" and isinstance(inner, list):
        return part.get_content_type(), [shape(child) for child in inner]
    if part.get_content_maintype() in ("multipart", "message"):
        return part.get_content_type(), None
    return part.get_content_type(), inner


def ours(raw: bytes, found: tuple[parts.Part, ...], index: int) -> Any:
    part = found[index]
    children = [i for i, child in enumerate(found) if child.parent == index]
    if children:
        return part.content_type, [ours(raw, found, child) for child in children]
    if part.content_type.startswith(("multipart/", "message/")):
        return part.content_type, None
    return part.content_type, raw[part.start : part.end].decode("latin-1")


@given(SOUP)
def test_as_the_standard_library_reads_it(raw: bytes) -> None:
    """For any soup of delimiters and fields: the same tree with the same bodies as the standard library's."""
    raw = b"Content-Type: multipart/mixed; boundary=b\n" + raw + b"\n--b--\n"  # unclosed, it drops a line ending
    found = scan(raw).parts
    if any(part.doubtful for part in found):  # readings differ there: such parts are left alone
        return
    witness = email.message_from_bytes(raw, policy=email.policy.compat32)
    if witness.get_content_type() != found[0].content_type or not isinstance(witness.get_payload(), list):
        return
    assert ours(raw, found, 0) == shape(witness)


@given(st.one_of(st.binary(max_size=300), SOUP, SOUP.map(lambda soup: soup.replace(b"\n", b"\r\n"))))
def test_any_bytes(raw: bytes) -> None:
    """For any bytes: never raises; spans are inside their parents', children in order and apart."""
    found = scan(raw).parts
    for index, part in enumerate(found):
        assert part.headers.body <= part.start <= part.end <= len(raw)
        assert part.parent < index
        if part.parent >= 0:
            assert found[part.parent].start <= part.start
            assert part.end <= found[part.parent].end
        parts.text(raw, part)
