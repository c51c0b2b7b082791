"""Transfer encodings and charsets. For any body and edits: what is decoded afterwards is the decoded body with the edits
made, and every line that no edit touches stays as it was."""

from __future__ import annotations

import base64
import binascii
import quopri
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.core.parts import charsets, transfer

BODY = st.lists(
    st.sampled_from([b"<a>", b"=", b"==", b"=3D", b" ", b"\t", b"\n", b"\r\n", b".", b"x" * 70, "é".encode(), b"\0", b"From ", b"y" * 1_200, b"z", b"-" * 90, b"--b"]),
    max_size=30,
).map(b"".join)  # fmt: skip
VALUES = st.lists(
    st.binary(min_size=0, max_size=8) | st.sampled_from([b"https://t.example/c/" + b"v" * 120, b"a=b", b"="]),
    min_size=1,
    max_size=4,
)


def spans_in(body: bytes, places: list[int], count: int) -> list[tuple[int, int]]:
    ordered = sorted(place % (len(body) + 1) for place in places)[: 2 * count]
    return list(zip(ordered[0::2], ordered[1::2], strict=False))


def made(body: bytes, spans: list[tuple[int, int]], values: list[bytes]) -> bytes:
    out, at = b"", 0
    for (start, end), value in zip(spans, values, strict=True):
        out += body[at:start] + value
        at = end
    return out + body[at:]


@given(
    BODY,
    VALUES,
    st.lists(st.integers(0, 5_000), min_size=8, max_size=8),
    st.sampled_from([b"\r\n", b"\n"]),
    st.sampled_from(["quoted-printable", "base64", "8bit"]),
)
def test_frames(body: bytes, values: list[bytes], places: list[int], newline: bytes, encoding: str) -> None:
    """For any body, edits and encoding: filling is editing the decoded body."""
    travels = body
    if encoding == "quoted-printable":
        travels = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", newline)
    elif encoding == "base64":
        travels = base64.encodebytes(body).replace(b"\n", newline)
    decoded = transfer.exact(travels, encoding)
    assert decoded is not None
    spans = spans_in(decoded, places, len(values))
    frame = transfer.frame(memoryview(travels), decoded, encoding, spans, newline)
    filled = b"".join(frame.fill(values[: len(spans)]))
    assert transfer.decode(filled, encoding) == made(decoded, spans, values[: len(spans)])
    if encoding == "quoted-printable":
        longest = max(76, *(len(line.rstrip(b"\r")) for line in travels.split(b"\n")))
        assert all(len(line.rstrip(b"\r")) <= longest for line in filled.split(b"\n"))
        if spans:
            first = transfer.seek(travels, 0, spans[0][0])
            assert filled.startswith(travels[:first])
        untouched = set(travels.split(newline)) - set(filled.split(newline))
        assert len(untouched) <= sum(body.count(b"\n", start, end) + 400 for start, end in spans)


@given(BODY, VALUES, st.lists(st.integers(0, 5_000), min_size=8, max_size=8), st.sampled_from([b"\r\n", b"\n"]))
def test_to_quoted(body: bytes, values: list[bytes], places: list[int], newline: bytes) -> None:
    """For any plain body: as quoted-printable it means the same, in lines of at most 76 octets, and no line of it begins
    as a delimiter does that did not before."""
    values = [value for value in values if not set(value) & set(b" \t\r\n")] or [b"v"]
    spans = spans_in(body, places, len(values))
    frame = transfer.frame(memoryview(body), body, "8bit", spans, newline)
    assert isinstance(frame, transfer.Plain)
    filled = b"".join(transfer.to_quoted(frame.pieces, newline).fill(values[: len(spans)]))
    meant = made(body, spans, values[: len(spans)])
    assert transfer.exact(filled, "quoted-printable") == meant
    if not spans:  # an attribute's value is followed by a quote or a bracket
        assert (b"\n" + filled).count(b"\n--") <= (b"\n" + meant).count(b"\n--")
    assert all(len(line.removesuffix(b"\r")) <= 76 for line in filled.split(b"\n"))
    assert all(not line.removesuffix(b"\r").endswith((b" ", b"\t")) for line in filled.split(b"\n")[:-1])


@given(
    BODY,
    st.lists(st.integers(0, 5_000), min_size=8, max_size=8),
    st.lists(st.integers(0, 1_500), min_size=4, max_size=4),
)
def test_longest(body: bytes, places: list[int], lengths: list[int]) -> None:
    """For any edits: at least the longest edited line, and no more than the longest line there is."""
    spans = spans_in(body, places, 4)
    assume(spans)
    values = [b"v" * length for length in lengths[: len(spans)]]
    lines = [line.removesuffix(b"\r") for line in made(body, spans, values).split(b"\n")]
    edited = [len(line) for line in lines if b"v" in line]
    told = transfer.longest(body, spans, lengths[: len(spans)])
    for least in (0, 5, 998):
        assert transfer.longest(body, spans, lengths[: len(spans)], least) == max(least, told)
    assert max(edited, default=0) <= told <= max(map(len, lines)) + 1  # CR and LF may be parted


@given(
    st.lists(
        st.sampled_from([b"=", b"=3D", b"=e9", b"3", b"D", b"\r\n", b"\n", b"\r", b"x" * 20, b" "]), max_size=20
    ).map(b"".join)
)
def test_regular(body: bytes) -> None:
    """For any body: however many escapes there are, each "=" is one, or ends a line, or is refused."""
    irregular = re.search(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)", body) is not None
    for raw in (body, body + b"x" * 400, body + b"=3D" * 40):
        if not raw.endswith(body) and body.endswith((b"=", b"=3", b"\r")):
            continue  # what follows changes what it means
        assert transfer.regular(raw, binascii.a2b_qp(raw)) is not irregular


@given(
    st.lists(
        st.sampled_from([b"YWJj", b"YQ==", b"YWI=", b"=", b"\r\n", b" ", b"*", b"\0", b"Y", b"\\", b'"', b"\xe9"]),
        max_size=12,
    ).map(b"".join)
)
def test_base64(body: bytes) -> None:
    """For any body: decoded where it is base64 with white space in it, and else None."""
    packed = body.translate(None, b" \t\r\n")
    whole = re.fullmatch(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", packed)
    expected = base64.b64decode(packed) if whole else None
    assert transfer.exact(body, "base64") == expected


@pytest.mark.parametrize("body", [b"a =b", b"a=\rb\n", b"==", b"a= \nb", b"=3", b"=G0"])
def test_quoted_printable_that_readers_disagree_about(body: bytes) -> None:
    assert transfer.exact(body, "quoted-printable") is None


@pytest.mark.parametrize(
    "body",
    [
        b"YQ==YQ==",
        b"YQ=",
        b"Y",
        b"YQ==\nfooter!",
        b"Y*Q=",
        rb"YWJ\u006a",
        rb"YWJ\/",
        b'YWJj"',
        b'"YWJj',
        b"YWJ\xc3\xa9",
    ],
)
def test_base64_that_readers_disagree_about(body: bytes) -> None:
    assert transfer.exact(body, "base64") is None


@pytest.mark.parametrize("size", [5_000, 5_700, 11_399, 11_400, 11_401, 20_000])
def test_base64_of_many_lines_is_as_one_would_write_it(size: int) -> None:
    decoded = bytes(number % 251 for number in range(size))
    frame = transfer.frame(
        memoryview(base64.encodebytes(decoded)), decoded, "base64", [(100, 110), (4_000, 4_003)], b"\n"
    )
    edited = decoded[:100] + b"one" + decoded[110:4_000] + b"another" + decoded[4_003:]
    assert b"".join(frame.fill([b"one", b"another"])) == base64.encodebytes(edited)


def test_base64_keeps_the_lines_before_the_edit() -> None:
    decoded = bytes(range(256)) * 4
    travels = base64.encodebytes(decoded)
    frame = transfer.frame(memoryview(travels), decoded, "base64", [(700, 710)], b"\n")
    filled = b"".join(frame.fill([b"longer than it was"]))
    assert filled[: 700 // 57 * 77] == travels[: 700 // 57 * 77]
    assert max(map(len, filled.split(b"\n"))) == 76
    assert binascii.a2b_base64(filled) == decoded[:700] + b"longer than it was" + decoded[710:]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("7bit", "7bit"), ("8bit", "8bit"), ("binary", "binary"), ("8bits", "8bit"), ("7bits", "7bit"), ("8-bit", "8bit"), ("7-bit", "7bit"),
     ("8-bits", "8bit"), ("8_bit", "8bit"), ("8 bit", "8bit"), ("7 bit", "7bit"), ("8bitmime", "8bit"), ("base64", "base64"), ("9bit", "9bit"),
     ("quoted-printable", "quoted-printable"), ("x-8bit", "x-8bit"), ("8bit8bit", "8bit8bit"), ("", "")],
)  # fmt: skip
def test_encodings_as_programs_write_them(written: str, meant: str) -> None:
    assert transfer.named(written) == meant


def test_unknown_encoding() -> None:
    assert transfer.exact(b"x", "x-uuencode") is None


# -- charsets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(charsets.SINGLE))
def test_one_octet_charsets_are_supersets_of_ascii(name: str) -> None:
    """Every octet that is markup in ASCII is that character, and no other octet is one."""
    for octet in range(256):
        try:
            character = bytes([octet]).decode(name)
        except UnicodeDecodeError:
            continue
        if octet < 128:
            assert character == chr(octet)
        else:
            assert character not in "<>\"'= &/\t\r\n"


@pytest.mark.parametrize("name", sorted({codec for codecs in charsets.MULTIPLE.values() for codec in codecs}))
def test_no_part_of_a_character_is_markup(name: str) -> None:
    """For every character of the Basic Multilingual Plane: none of its octets is one of < > " ' = & / or white space."""
    markup = set(b"<>\"'=&/ \t\r\n")
    for point in (*range(128, 0xD800), *range(0xE000, 0xFFFE)):
        try:
            octets = chr(point).encode(name)
        except UnicodeEncodeError:
            continue
        assert not markup & set(octets), hex(point)


@given(st.text(max_size=20), st.text("abcdefghijklmnopqrstuvwxyz0123456789-_ '\0", max_size=20), st.binary(max_size=40))
def test_any_label(text: str, label: str, body: bytes) -> None:
    """For any label and bytes: no error; a view is as long as the body, and what is decoded encodes to as many bytes."""
    for name in (text, label):
        seen = charsets.view(body, name)
        assert seen is None or len(seen) == len(body)
        charsets.decode(body, name)
        charsets.linked(body, name)
        found = charsets.decoded(body, name)
        if found:
            assert found[1] == "utf-7" or len(found[0].encode(found[1])) == len(body)


@given(
    st.sampled_from(["iso-2022-jp", "hz", "utf-7", "utf-16", "utf-16-le", "utf-32", "utf-8"]),
    st.text("<a =\"'>日本é~{+-\n", max_size=30),
    st.data(),
)
def test_offsets(name: str, text: str, data: st.DataObject) -> None:
    """For any text: where the pieces encode to the same bytes, an edit between them changes no other byte."""
    try:
        body = text.encode(name)
    except UnicodeEncodeError:
        return
    found = charsets.decoded(body, name)
    if found is None:
        return
    view, codec = found
    places = sorted(data.draw(st.sets(st.integers(0, len(view)), max_size=4)))
    offsets = charsets.offsets(view, codec, body, places)
    if offsets is None or not places:
        return
    assert offsets == sorted(offsets)
    edited = body[: offsets[0]] + "https://t".encode(codec) + body[offsets[-1] :]
    assert edited.decode(codec) == view[: places[0]] + "https://t" + view[places[-1] :]
