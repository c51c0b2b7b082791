"""No line over 998 octets is signed: parts are encoded anew and fields folded, and mean what they meant; or there is a
reason, and the message stays as it is."""

from __future__ import annotations

import base64
import email
import email.message
import email.policy
import email.utils
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, lines, recoding, sevenbit
from tests import corpus
from tests.core.rewriting import leaf, multipart, payload

TOP = b"From: a@mine.test\r\nTo: b@x.test\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
WORDS = b"word " * 300
LONG = b"x" * 1500
HTML = b"<p>Hello</p>\r\n<p>" + WORDS + b"</p>\r\n<p>bye</p>\r\n"


def shortened(raw: bytes) -> bytes:
    made = lines.shortened(raw)
    assert isinstance(made, bytes), made
    assert most(made) <= 998
    return made


def most(raw: bytes) -> int:
    return max(len(line) for line in raw.split(b"\r\n"))


def read(raw: bytes) -> list[email.message.Message]:
    """All parts as the standard library has them, those of messages in the message too."""
    return list(email.message_from_bytes(raw).walk())


def same(raw: bytes, out: bytes) -> None:
    """By the standard library's reading: every part decodes to the same octets, and every field means the same."""
    before, after = read(raw), read(out)
    assert [unfolded(part.get_content_type()) for part in after] == [unfolded(p.get_content_type()) for p in before]
    for was, now in zip(before, after, strict=True):
        assert payload(now) == payload(was)
        assert now.get_boundary() == was.get_boundary()
        assert fields(now) == fields(was)
        assert (now.preamble, now.epilogue) == (was.preamble, was.epilogue)


def unfolded(text: str) -> str:
    return text.replace("\r\n", "").replace("\n", "")


def fields(part: email.message.Message) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in part.items():
        if name.lower() in ("content-transfer-encoding", "mime-version"):
            continue
        text = unfolded(str(value)).strip()
        low = name.lower()
        if low in lines.ADDRESSES:
            found.append((low, email.utils.getaddresses([text])))
        else:
            listed = low in lines.IDENTIFIERS or low.startswith("list-")
            found.append((low, re.findall(r"<[^<>]*>", text) if listed else text))
    return found


# -- what is long -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b""])
@pytest.mark.parametrize("before", [b"", b"a\r\n", b"x" * 998 + b"\r\n", b"x" * 990 + b"\r\n" + b"y" * 7 + b"\r\n"])
@pytest.mark.parametrize("size", [0, 1, 996, 997, 998, 999, 1000, 1001, 1998, 5000])
@pytest.mark.parametrize("after", [b"", b"z\r\n", b"z" * 998])
def test_998_is_no_long_line_and_999_is_one(before: bytes, size: int, end: bytes, after: bytes) -> None:
    text = before + b"x" * size + end + after
    assert recoding.long_line(text) is any(len(line) > 998 for line in text.replace(b"\r\n", b"\n").split(b"\n"))


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 500, 996, 997, 998, 999, 1000]), st.sampled_from([b"\r\n", b"\n"])))
)
def test_every_long_line_is_seen(found: list[tuple[int, bytes]]) -> None:
    text = b"".join(b"x" * size + end for size, end in found)
    assert recoding.long_line(text) is any(size > 998 for size, _ in found)


# -- bodies -------------------------------------------------------------------------------------------------------------

PLAIN = "text/plain; charset=utf-8"
GREEK = "λόγος ".encode() * 200
BASE64 = base64.b64encode(bytes(range(256)) * 9)
QUOTED = b"caf=C3=A9 " * 150

BODIES: list[tuple[str, bytes, str]] = [
    ("html between", leaf(HTML), "quoted-printable"),
    ("plain", leaf(WORDS, PLAIN), "quoted-printable"),
    ("one word", leaf(LONG, PLAIN), "quoted-printable"),
    ("999", leaf(b"x" * 999 + b"\r\n", PLAIN), "quoted-printable"),
    ("998", leaf(b"x" * 998 + b"\r\n", PLAIN), ""),
    ("no type", b"\r\n" + WORDS, "quoted-printable"),
    ("7bit", leaf(WORDS, PLAIN, "Content-Transfer-Encoding: 7bit"), "quoted-printable"),
    ("8-bit", leaf("Grüße ".encode() * 200, PLAIN, "Content-Transfer-Encoding: 8-bit"), "quoted-printable"),
    ("8bit", leaf("Grüße ".encode() * 200, PLAIN, "Content-Transfer-Encoding: 8bit"), "quoted-printable"),
    ("mostly not ASCII", leaf(GREEK, PLAIN, "Content-Transfer-Encoding: 8bit"), "base64"),
    ("binary", leaf(b"\xff" * 3000, "image/png", "Content-Transfer-Encoding: binary"), "base64"),
    ("utf-16", leaf("word ".encode("utf-16-le") * 300, "text/plain; charset=utf-16le", "Content-Transfer-Encoding: 8bit"), "base64"),
    ("json", leaf(b"{" + WORDS + b"}", "application/json"), "base64"),
    ("csv file", leaf(WORDS, "text/csv; name=a.csv", "Content-Disposition: attachment; filename=a.csv"), "quoted-printable"),
    ("calendar", leaf(b"BEGIN:VCALENDAR\r\nDESCRIPTION:" + WORDS, "text/calendar"), "quoted-printable"),
    ("base64 in one line", leaf(BASE64, PLAIN, "Content-Transfer-Encoding: base64"), "base64"),
    ("base64 of 1,000", leaf(b"QUJD" * 250 + b"\r\nQUJD\r\n", PLAIN, "Content-Transfer-Encoding: BASE64"), "base64"),
    ("quoted-printable in one line", leaf(QUOTED, PLAIN, "Content-Transfer-Encoding: quoted-printable"), "quoted-printable"),
    ("no quoted-printable", leaf(b"<a href=x=y&z=1> " * 90, PLAIN, "Content-Transfer-Encoding: quoted-printable"), "quoted-printable"),
    ("soft break at its end", leaf(QUOTED + b"=\r\nx", PLAIN, "Content-Transfer-Encoding: quoted-printable"), "quoted-printable"),
    ("white at its end", leaf(QUOTED + b" \t \r\nx", PLAIN, "Content-Transfer-Encoding: quoted-printable"), "quoted-printable"),
    ("dots", leaf(b"." * 1500 + b"\r\n.\r\n..\r\n", PLAIN), "quoted-printable"),
    ("dashes", leaf(b"-" * 1500, PLAIN), ""),
    ("From ", leaf(b"From " + LONG + b"\r\nFrom x\r\n", PLAIN), "quoted-printable"),
    ("white", leaf(b"x" + b" " * 1500 + b"\r\ny", PLAIN), "quoted-printable"),
    ("tabs at the end", leaf(b"x" + b"\t" * 1500, PLAIN), "quoted-printable"),
    ("equals", leaf(b"=" * 1500, PLAIN), ""),
    ("encoded twice the same", b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" + WORDS, "quoted-printable"),
]  # fmt: skip


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(("part", "encoding"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_bodies(part: bytes, encoding: str, alone: bool) -> None:
    raw = TOP + (part if alone else multipart("mixed", leaf(b"first\r\n", PLAIN), part, leaf(b"\xff", "image/gif")))
    out = shortened(raw)
    same(raw, out)
    if most(raw) <= 998:
        assert out == raw
    made = read(out)[0 if alone else 2]
    if encoding:
        assert made["Content-Transfer-Encoding"].lower() == encoding
        assert len(made.get_all("Content-Transfer-Encoding") or []) == (part.count(b"Content-Transfer") or 1)
    assert lines.shortened(out) == out
    if not alone:  # all else stays as it is
        assert out.startswith(raw[: raw.index(b"first")])
        assert out.endswith(raw[raw.index(b"\r\n--=_b=\r\nContent-Type: image/gif") :])


@pytest.mark.parametrize("kind", ["alternative", "mixed", "related", "report", "digest"])
def test_nested(kind: str) -> None:
    inner = multipart("alternative", leaf(WORDS, PLAIN), leaf(HTML), boundary="in")
    raw = TOP + multipart(kind, inner, leaf(b"short\r\n"), boundary="out")
    if kind == "digest":
        raw = TOP + multipart(kind, b"\r\nSubject: x\r\n\r\n" + WORDS, boundary="out")
    out = shortened(raw)
    same(raw, out)
    assert out.count(b"quoted-printable") == (1 if kind == "digest" else 2)
    assert b"short\r\n" in out or kind == "digest"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit", "x"])
def test_an_encoding_of_a_multipart_is_none(encoding: str) -> None:
    """Programs say one, against RFC 2045 (6.4); readers heed that of the parts."""
    extra = f"Content-Transfer-Encoding: {encoding}\r\n"
    raw = TOP + multipart("mixed", leaf(WORDS, PLAIN), extra=extra)
    out = shortened(raw)
    same(raw, out)
    assert out.count(b"Content-Transfer-Encoding") == 2


def test_a_message_in_the_message() -> None:
    inner = b"Subject: " + WORDS + b"\r\nContent-Type: text/plain\r\n\r\n" + WORDS
    raw = TOP + multipart("mixed", leaf(inner, "message/rfc822"))
    out = shortened(raw)
    same(raw, out)
    assert out.count(b"MIME-Version: 1.0") == 2  # without it the inner one has no encodings


def test_mime_version_comes_with_an_encoding_only() -> None:
    bare = b"From: a@mine.test\r\nSubject: s\r\n\r\n"
    assert b"MIME-Version: 1.0\r\nContent-Transfer" in shortened(bare + WORDS).replace(
        b"Content-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0", b"MIME-Version: 1.0\r\nContent-Transfer"
    )
    assert b"MIME" not in shortened(b"Subject: " + WORDS + b"\r\n" + bare)
    assert shortened(TOP + b"\r\n" + WORDS).count(b"MIME-Version") == 1


def test_a_file_with_bare_newlines_stays_one() -> None:
    raw = (TOP + leaf(HTML)).replace(b"\r\n", b"\n")
    made = lines.shortened(raw)
    assert made == shortened(TOP + leaf(HTML)).replace(b"\r\n", b"\n")


# -- fields -------------------------------------------------------------------------------------------------------------

MANY = [b"user%04d@department.example" % n for n in range(90)]
IDS = [b"<%04d.%s@host.example>" % (n, b"i" * 40) for n in range(60)]

FIELDS: list[tuple[str, bytes]] = [
    ("References", b"References: " + b" ".join(IDS)),
    ("References by tabs", b"References:" + b"\t".join(IDS)),
    ("References without white space", b"References:" + b"".join(IDS)),
    ("In-Reply-To without white space", b"In-Reply-To: " + b"".join(IDS)),
    ("addresses", b"Cc: " + b", ".join(MANY)),
    ("addresses without white space", b"Cc:" + b",".join(MANY)),
    ("names without white space", b"Cc: " + b",".join(b'"Doe,J%d"<%b>' % pair for pair in enumerate(MANY))),
    ("URLs without white space", b"List-Unsubscribe: " + b",".join(b"<https://a.test/?u=%d,%d>" % (n, n) for n in range(60))),
    ("a group", b"Reply-To: team:" + b",".join(MANY) + b";"),
    ("Subject", b"Subject: " + WORDS),
    ("encoded words", b"Subject: " + b" ".join([b"=?utf-8?B?R3LDvMOfZQ==?="] * 80)),
    ("8bit", b"X-Note: " + "Grüße ".encode() * 200),
    ("folded already, one segment long", b"X-Note: a\r\n b\r\n\t" + WORDS + b"\r\n c"),
    ("two segments long", b"X-Note: " + WORDS + b"\r\n " + WORDS),
    ("a word of 996", b"X-Note: " + b"x" * 996 + b" y"),
    ("a word of 997", b"X-Note: a " + b"x" * 997),
    ("999", b"X: " + b"x" * 500 + b" " + b"y" * 495),
    ("a run of white space", b"X-Note: a" + b" " * 1500 + b"b"),
    ("white at the end", b"X-Note: a b" + b" " * 990),
    ("a long parameter", b"X-Sent: attachment; filename=\"" + WORDS + b"\""),
    ("a signature in one line", b"X-Signature: v=1; a=rsa-sha256; " + b"h=" + b":".join([b"from"] * 10) + b"; " + b"b=" + b"A " * 500),
    ("empty first line", b"X-Note:\r\n " + WORDS),
]  # fmt: skip


@pytest.mark.parametrize("field", [row[1] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_fields_are_folded(field: bytes) -> None:
    raw = field + b"\r\n" + TOP + b"\r\nbody\r\n"
    assert most(raw) > 998
    out = shortened(raw)
    assert out.endswith(TOP + b"\r\nbody\r\n")
    same(raw, out)
    head = headers.read(out)
    assert len(head.fields) == len(headers.read(raw).fields)
    assert all(line.strip() for line in out[: head.body - 2].splitlines())  # none is white alone
    if b" " in field.strip().partition(b":")[2].strip():
        assert head.bytes(head.fields[0]) == headers.read(raw).bytes(headers.read(raw).fields[0])
    assert lines.shortened(out) == out


def test_a_field_with_white_space_before_its_colon_is_folded() -> None:
    """The obsolete form (RFC 5322 4.5), which the standard library takes for body."""
    out = shortened(b"Subject : " + WORDS + b"\r\n" + TOP + b"\r\nbody\r\n")
    assert out.replace(b"\r\n", b"") == (b"Subject : " + WORDS + TOP + b"body").replace(b"\r\n", b"")


def test_a_fold_leaves_room_for_sendmail() -> None:
    """It breaks lines at 990 octets by default."""
    out = shortened(b"X-Note: " + b"ab " * 600 + b"\r\n" + TOP + b"\r\nbody\r\n")
    assert most(out) <= 990


def test_fields_of_a_part_are_folded() -> None:
    part = leaf(b"x", "text/plain", 'Content-Disposition: attachment; filename="' + "name " * 300 + '"')
    raw = TOP + multipart("mixed", leaf(b"y"), part)
    out = shortened(raw)
    same(raw, out)
    assert out.count(b"\r\n") == raw.count(b"\r\n") + 2  # before filename, and in it


@pytest.mark.parametrize(
    "field",
    [
        b'Content-Type: text/plain; name="' + b"n m " * 240 + b'"; charset=utf-8',
        b'Content-Type: multipart/mixed; name="' + b"n m " * 240 + b'"; boundary="a b"',
        b'Cc: "' + b"Doe, " * 194 + b'J" <a@b.test>, "K L" <c@d.test>',
        b'X-Note: "' + b'a \\" ' * 150 + b'b" ' + b'"c d" ' * 100,
    ],
)
def test_a_quoted_string_stays_in_one_line_where_it_can(field: bytes) -> None:
    out = shortened(field + b"\r\n" + TOP + b"\r\nbody\r\n")
    folded = out[: out.index(TOP)]
    assert len(folded.split(b"\r\n ")) == 2
    assert all(part.replace(b'\\"', b"").count(b'"') % 2 == 0 for part in folded.split(b"\r\n "))


def test_only_what_must_change_does() -> None:
    before = b"X-A: a  b \r\n c\r\n"
    raw = before + TOP + multipart("mixed", leaf(HTML), leaf(b"a  \r\n\tb=\r\n", PLAIN), extra="X-B:  c\r\n")
    out = shortened(raw)
    for kept in (before + TOP + b"X-B:  c\r\n", leaf(b"a  \r\n\tb=\r\n", PLAIN)):
        assert kept in out
    assert lines.shortened(TOP + b"\r\nshort\r\n") == TOP + b"\r\nshort\r\n"


# -- what can't be had --------------------------------------------------------------------------------------------------

SIGNED = multipart("signed", leaf(WORDS, PLAIN), leaf(b"x", "application/pgp-signature"))
FOREIGN = b"DKIM-Signature: v=1; d=x.test; h=from; bh=a; b=b\r\n"

UNFIT: list[tuple[recoding.Unfit, bytes]] = [
    (recoding.SEAL, SIGNED),
    (recoding.SEAL, multipart("mixed", SIGNED, boundary="out")),
    (recoding.SEAL, multipart("mixed", leaf(SIGNED, "message/rfc822"), boundary="out")),
    (recoding.SEAL, multipart("signed", leaf(b"x", PLAIN, "X-Note: " + "word " * 300), leaf(b"y", "application/pkcs7-signature"))),
    (recoding.SEAL, multipart("encrypted", leaf(WORDS, "application/octet-stream"))),
    (recoding.SEAL, leaf(b"A" * 1500, "application/pkcs7-mime; smime-type=signed-data", "Content-Transfer-Encoding: base64")),
    (recoding.SEAL, leaf(b"-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n" + WORDS, PLAIN)),
    (lines.ENCLOSED, leaf(FOREIGN + b"From: c@x.test\r\n\r\n" + WORDS, "message/rfc822")),
    (lines.ENCLOSED, multipart("mixed", leaf(b"ARC-Message-Signature: i=1; bh=a\r\nFrom: c@x.test\r\n\r\n" + WORDS, "message/rfc822"))),
    (lines.FIELD, b"X-Note: " + LONG + b"\r\n\r\nx"),
    (lines.FIELD, b"Subject: =?utf-8?B?" + LONG + b"?=\r\n\r\nx"),
    (lines.FIELD, b"X-Note: a" + b" " * 3000 + b"b\r\n\r\nx"),
    (lines.FIELD, b"X-Note: a" + b" " * 3000 + b"\r\n\r\nx"),
    (lines.FIELD, b"X-Note: a,b," + LONG + b"\r\n\r\nx"),
    (lines.FIELD, b"Cc: (" + b",".join(MANY) + b")\r\n\r\nx"),
    (lines.FIELD, b'Cc: "' + b",".join(MANY) + b'"<a@b>\r\n\r\nx'),
    (lines.FIELD, b"x" * 1000 + b": a\r\n\r\nx"),
    (lines.FIELD, multipart("mixed", leaf(b"x", "text/plain; name=" + "x" * 1500))),
    (lines.FIELD, multipart("mixed", leaf(b"x"), boundary="b " * 499 + "c")),
    (lines.FIELD, leaf(b"Subject: " + LONG + b"\r\n\r\nx", "message/rfc822")),
    (lines.BETWEEN, b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + WORDS + b"\r\n--b\r\n\r\nx\r\n--b--\r\n"),
    (lines.BETWEEN, b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n' + WORDS),
    (lines.BETWEEN, b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b' + b" " * 1000 + b"\r\n\r\nx\r\n--b--\r\n"),
    (lines.BARE, b"\r\na\nb\r\n" + WORDS),
    (lines.BARE, b"\r\na\rb\r\n" + WORDS),
    (recoding.DOUBT, b"no field\r\n" + WORDS),
    (recoding.DOUBT, b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n\r\n" + WORDS),
    (recoding.DOUBT, leaf(b"Subject: x\r\n\r\n" + WORDS, "message/rfc822", "Content-Transfer-Encoding: base64")),
    (recoding.DOUBT, leaf(b"x" * 61 + b"=" * 301 + b"y" * 700, PLAIN, "Content-Transfer-Encoding: quoted-printable")),
    (lines.FIELD, b'Content-Type: multipart/mixed; boundary="b" ' + WORDS + b"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"),
    (recoding.LABEL, leaf(WORDS, PLAIN, "Content-Transfer-Encoding: x-uuencode")),
    (recoding.WHOLE, leaf(b"Reporting-MTA: dns; x\r\n\r\nDiagnostic-Code: " + WORDS, "message/delivery-status")),
    (recoding.WHOLE, leaf(WORDS, "multipart/mixed")),
    (recoding.LIMITS, multipart("mixed", *[b"\r\nx"] * 1001, leaf(WORDS))),
]  # fmt: skip


@pytest.mark.parametrize(("why", "raw"), UNFIT, ids=[f"{n} {row[0].reason}" for n, row in enumerate(UNFIT)])
def test_what_can_not_be_had(why: recoding.Unfit, raw: bytes) -> None:
    assert lines.shortened(TOP + raw) == why
    assert why.reason.isascii()


def test_the_fields_of_a_sealed_message_are_outside_of_its_seal() -> None:
    seal = multipart("signed", leaf(b"signed  \r\n", PLAIN), leaf(b"x", "application/pgp-signature"))
    raw = b"X-Note: " + WORDS + b"\r\n" + TOP + seal
    out = shortened(raw)
    assert out.endswith(TOP + seal)


def test_a_seal_without_a_long_line_stays_whole_beside_one() -> None:
    seal = multipart("signed", leaf(b"signed  \r\n", PLAIN), leaf(b"x", "application/pgp-signature"), boundary="s")
    enclosed = leaf(FOREIGN + b"From: c@x.test\r\n\r\nshort", "message/rfc822")
    raw = TOP + multipart("mixed", seal, enclosed, leaf(WORDS, PLAIN), extra="X-Note: " + "word " * 300 + "\r\n")
    out = shortened(raw)
    assert seal in out
    assert enclosed in out
    same(raw, out)


@pytest.mark.parametrize(
    ("field", "signed"),
    [
        (FOREIGN, True),
        (b"ARC-Message-Signature: i=1; bh=a\r\n", True),
        (b"ARC-Seal: i=1; cv=none\r\n", False),
        (b"", False),
    ],
)
def test_who_signed_already(field: bytes, signed: bool) -> None:
    assert lines.signed(headers.read(field + TOP + b"\r\nx")) is signed


# -- any message --------------------------------------------------------------------------------------------------------

line = st.sampled_from(
    [b"--b", b"--b--", b"", WORDS, LONG, b"x" * 998, b"a b", b"Content-Type: text/plain", b"Subject: " + WORDS,
     b"Content-Type: multipart/mixed; boundary=b", b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 8bit",
     b"Content-Transfer-Encoding: quoted-printable", b"Content-Type: message/rfc822", b" " + WORDS, b"\t", b"=" * 1200,
     b"no field", BASE64, b"Cc: " + b",".join(MANY), b"To: a@b", b"References:" + b"".join(IDS)]
)  # fmt: skip


@given(st.lists(line, max_size=14))
def test_any_message(found: list[bytes]) -> None:
    """A reason; or no line is too long, the parts mean what they meant, and a second time changes nothing."""
    raw = b"\r\n".join(found) + b"\r\n"
    made = lines.shortened(raw)
    if isinstance(made, recoding.Unfit):
        assert most(raw) > 998
        return
    assert most(made) <= 998
    assert lines.shortened(made) == made
    same(raw, made)
    if most(raw) <= 998:
        assert made == raw


def test_every_message_of_the_corpus() -> None:
    count: Counter[str] = Counter()
    for path in corpus.messages("messages", "template-messages", "reports"):
        raw = b"\r\n".join(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
        made = lines.shortened(raw)
        if isinstance(made, recoding.Unfit):
            count[made.reason] += 1
        elif made == raw:
            count["as it is"] += 1
        else:
            same(raw, made)
            count["shortened"] += 1
            assert isinstance(sevenbit.convert(made), sevenbit.Converted | recoding.Unfit)
    print(dict(count))
    assert count["as it is"] > 300
