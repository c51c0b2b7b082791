"""Which parts are entered, by what their types say: comments and white space are read as such, broken fields are doubt,
and nothing in a doubtful part is touched."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, instructions
from tests.core.rewriting import MARKUP, check, href, leaf, multipart, prepared, rendered

LINK = b'<p>Hello <a href="https://example.com/a">offer</a></p>\r\n'
TOP = b"From: Ada <ada@mine.example>\r\nTo: b@example.org\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
BOUNDED = b"--x\r\nContent-Type: text/html\r\n\r\n" + LINK + b"--x--\r\n"


def single(*fields: str) -> bytes:
    return TOP + "".join(f"{field}\r\n" for field in fields).encode("latin-1") + b"\r\n" + LINK


def several(field: str) -> bytes:
    return TOP + field.encode("latin-1") + b"\r\n\r\n" + BOUNDED


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Type: text/html; charset=us-ascii (Plain text)"],  # RFC 2045 5.1, its own example
        ["Content-Type: text/html (HTML; really)"],
        ["Content-Type: (a (nested (comment))) text/html"],
        ["Content-Type: text/html(c);charset(d)=(e)utf-8(f)"],
        ["Content-Type: text (what) / (kind) html ; charset=utf-8"],
        ['Content-Type: text/html ("quoted; text"); charset=utf-8'],
        [r"Content-Type: text/html (a \) b); charset=utf-8"],
        ["Content-Type:\r\n text/html;\r\n\tcharset=utf-8"],
        ["Content-Type: text/html\r\n (folded\r\n comment)"],
        ["Content-Type: TEXT/HTML ;charset=UTF-8;"],
        ["Content-Type: text/html;; charset=utf-8"],
        ["Content-Type: text/html; charset=utf-8; charset=utf-8"],
        ['Content-Type: text/html; charset="utf-8'],
        ["Content-Type: text/html; utf-8"],
        ["Content-Type: text/html; charset*=us-ascii'en'utf-8"],
        ["Content-Type: text/html; charset*0=utf; charset*1=-8"],
        ["Content-Type: text/html", "Content-Type: text/html"],
        ["Content-Type: text/html", "Content-Transfer-Encoding: 7bit (plain)"],
        ["Content-Type: text/html", "Content-Transfer-Encoding: (no need)\r\n 8bit"],
        ["Content-Type: text/html", "Content-Transfer-Encoding: 7bit;"],
        ["Content-Type: text/html", "Content-Transfer-Encoding:"],
        ["Content-Type: text/html", "Content-Disposition: inline (shown)"],
        ["Content-Type: text/html", "Content-Disposition: (not attachment) inline"],
        ["Content-Type: text/html", "Content-Disposition: INLINE;"],
        ["Content-Type: text/html", "Auto-Submitted: auto-generated (by cron)"],
    ],
)
def test_a_part_that_is_html(fields: list[str]) -> None:
    raw = single(*fields)
    found = prepared(raw)
    assert (found.links, found.has_pixel, found.reason) == (("https://example.com/a",), True, None)
    assert found.part_reports[0].content_type == "text/html"
    assert taken_back(rendered(found)) == raw


def taken_back(out: bytes) -> bytes:
    """What was before the edits. (The standard library is no witness here: it reads no comments.)"""
    return out.replace(MARKUP.encode(), b"").replace(href(0).encode(), b"https://example.com/a")


@pytest.mark.parametrize(
    "encoding", ["quoted-printable (RFC 2045)", "(c) Quoted-Printable", "base64 (c)", "(base) base64"]
)
def test_an_encoding_with_a_comment(encoding: str) -> None:
    raw = single("Content-Type: text/html", f"Content-Transfer-Encoding: {encoding}").removesuffix(LINK)
    encode = base64.encodebytes if "base64" in encoding else quopri.encodestring
    raw += encode(LINK).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    found = prepared(raw)
    out = rendered(found)
    assert (found.links, found.has_pixel) == (("https://example.com/a",), True)
    top = headers.read(out)
    assert out[: top.body] == raw[: top.body]
    decode = base64.decodebytes if "base64" in encoding else quopri.decodestring
    assert taken_back(decode(out[top.body :])).rstrip() == LINK.rstrip()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        # not exactly token/token
        (["Content-Type: text/html charset=utf-8"], "unsafe_place"),
        (["Content-Type: text/html, charset=utf-8"], "unsafe_place"),
        (["Content-Type: text/html: charset=utf-8"], "unsafe_place"),
        (["Content-Type: text/html/5; charset=utf-8"], "unsafe_place"),
        (['Content-Type: "text/html"; charset=utf-8'], "unsafe_place"),
        (["Content-Type: <text/html>"], "unsafe_place"),
        (["Content-Type: text/html (nothing ends this; charset=utf-8"], "unsafe_place"),
        (["Content-Type: text/html); charset=utf-8"], "unsafe_place"),
        (["Content-Type: text/(it)ht(is)ml"], "unsafe_place"),
        (["Content-Type: text/ht ml"], "unsafe_place"),
        (["Content-Type: text/html\xa0; charset=utf-8"], "unsafe_place"),
        (["Content-Type: text"], "unsafe_place"),
        (["Content-Type: html"], "unsafe_place"),
        (["Content-Type:"], "unsafe_place"),
        (["Content-Type: (text/html)"], "unsafe_place"),
        (["Content-Type: =?utf-8?q?text/html?="], "unsafe_place"),
        # contradictions
        (["Content-Type: text/html; charset=utf-8; charset=utf-16"], "unsafe_place"),
        (["Content-Type: text/html", "Content-Type: multipart/signed (c); boundary=x"], "unsafe_place"),
        (["Content-Type: text/html", "Content-Type: text/html; charset=utf-16"], "unsafe_place"),
        (["Content-Type: text/html", "Content-Transfer-Encoding: 7bit", "Content-Transfer-Encoding: base64"], "unsafe_place"),
        # how it is encoded, how it is shown
        (["Content-Type: text/html", "Content-Transfer-Encoding: 7bit 8bit"], "unsafe_place"),
        (["Content-Type: text/html", 'Content-Transfer-Encoding: "7bit"'], "unsafe_place"),
        (["Content-Type: text/html", "Content-Transfer-Encoding: (7bit)"], "unsafe_place"),
        (["Content-Type: text/html", "Content-Transfer-Encoding: 7bit, 8bit"], "unsafe_place"),
        (["Content-Type: text/html", "Content-Transfer-Encoding: x-token (7bit)"], "charset"),
        (["Content-Type: text/html", "Content-Disposition: attachment (a file)"], "attachment"),
        (["Content-Type: text/html", "Content-Disposition: (inline) attachment"], "attachment"),
        (["Content-Type: text/html", 'Content-Disposition: "attachment"'], "attachment"),
        (["Content-Type: text/html", "Content-Disposition: attachment filename=a.html"], "attachment"),
        (["Content-Type: text/html", "Content-Disposition: inline filename=a.html"], "unsafe_place"),
        (["Content-Type: text/html", "Content-Disposition: inline, attachment"], "unsafe_place"),
        # closed by their type, however it is written
        (["Content-Type: application/pkcs7-mime (S/MIME); smime-type=signed-data (c)"], "signed"),
        (["Content-Type: (c) application/x-pkcs7-mime; smime-type (c) = enveloped-data"], "encrypted"),
        (["Content-Type: application/pkcs7-mime smime-type=signed-data"], "signed"),
        (['Content-Type: application/x-pkcs7-mime;\r\n name="smime.p7m"\r\n smime-type=signed-data'], "signed"),
        (["Content-Type: text/calendar (invitation)"], "calendar"),
        (["Content-Type: text/x-amp-html(amp)"], "amp"),
        (["Content-Type: message/rfc822 (forwarded)"], "embedded"),
        (["Content-Type: message/partial (1 of 2); number=1; total=2; id=x"], "embedded"),
        (["Content-Type: message/external-body; access-type=local-file"], "embedded"),
        (["Content-Type: text/enriched (old)"], "no_html"),
    ],
)  # fmt: skip
def test_a_part_that_is_not(fields: list[str], reason: str) -> None:
    raw = single(*fields)
    found, out = check(raw)
    assert (found.links, found.has_pixel) == ((), False)
    assert found.part_reports[0].reason == reason
    assert out == raw


@pytest.mark.parametrize(
    "field",
    [
        'Content-Type: multipart/alternative; boundary="x" (it)',
        "Content-Type: multipart/alternative; boundary=x (it)",
        "Content-Type: multipart/alternative; boundary=(it) x",
        'Content-Type: multipart/alternative (a; boundary="y"); boundary="x"',
        "Content-Type: multipart (many) / mixed; boundary (c) = (d) x",
        "Content-Type: multipart/mixed; boundary*0=x",
        "Content-Type: multipart/mixed; boundary*=us-ascii''x",
        'Content-Type: multipart/mixed; boundary="x',
        'Content-Type: multipart/mixed; boundary="x; charset=utf-8',
        'Content-Type: multipart/mixed; boundary="x" charset=utf-8',
        "Content-Type: multipart/mixed; boundary=x charset=utf-8",
        'Content-Type: multipart/mixed; charset="utf-8" boundary="x"',
        'Content-Type: multipart/mixed; boundary="x";; charset=utf-8',
        "Content-Type: multipart/mixed; boundary=x; boundary=x;",
        'Content-Type: multipart/related; type="text/html" (root); boundary=x',
        r'Content-Type: multipart/mixed; boundary="\x"',
        "Content-Type: multipart/mixed;\r\n boundary\r\n =\r\n x",
    ],
)
def test_parts_that_are_found(field: str) -> None:
    found = prepared(several(field))
    assert (found.links, found.has_pixel) == (("https://example.com/a",), True)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ('Content-Type: multipart/signed(signed mail); protocol="application/pgp-signature"; boundary=x', "signed"),
        ("Content-Type: (signed) multipart/signed; boundary=x", "signed"),
        ("Content-Type: multipart/(c)signed; boundary=x", "signed"),
        ("Content-Type: MULTIPART / SIGNED; boundary=x", "signed"),
        ("Content-Type: multipart/signed boundary=x", "signed"),
        ("Content-Type: multipart/signed, boundary=x", "signed"),
        ('Content-Type: multipart/signed: protocol="a"; boundary=x', "signed"),
        ('Content-Type: "multipart/signed"; boundary=x', "signed"),
        ('Content-Type: multipart/signed; protocol="application/pgp-signature micalg=pgp-sha256; boundary=x', "signed"),
        ("Content-Type: multipart/signed; boundary=y; boundary=x", "signed"),
        ("Content-Type: multipart/encrypted (PGP); boundary=x", "encrypted"),
        ("Content-Type: multipart/encrypted protocol=x; boundary=x", "encrypted"),
        ("Content-Type: multipart/mixed boundary=x", "unsafe_place"),
        ("Content-Type: multipart/mixed, boundary=x", "unsafe_place"),
        ("Content-Type: multipart/si(g)ned; boundary=x", "unsafe_place"),
        ("Content-Type: multipart/mixed (unended; boundary=x", "unsafe_place"),
        ("Content-Type: multipart/mixed; boundary=x; boundary=y", "unsafe_place"),
        ("Content-Type: multipart/mixed; boundary=x; boundary*=us-ascii''y", "unsafe_place"),
        ("Content-Type: multipart/mixed; boundary=x\r\nContent-Type: multipart/mixed; boundary=x (c)", "unsafe_place"),
    ],
)
def test_all_in_it_is_left(field: str, reason: str) -> None:
    raw = several(field)
    found, out = check(raw)
    assert out == raw
    assert {report.reason for report in found.part_reports} == {reason}
    outer = TOP + b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + raw.removeprefix(TOP) + b"\r\n--o--\r\n"
    found, out = check(outer)
    assert out == outer
    assert {report.reason for report in found.part_reports[1:]} == {reason}


@pytest.mark.parametrize("kind", ["multipart/report", "Multipart (c) / Report", "multipart/report report-type=x"])
def test_a_report_within_a_message_is_left(kind: str) -> None:
    report = leaf(BOUNDED, f"{kind}; boundary=x")
    raw = multipart("mixed", leaf(LINK, "text/html"), report, boundary="o", extra="MIME-Version: 1.0\r\n")
    found = prepared(raw)
    assert [part.reason for part in found.part_reports[2:]] == ["auto_reply", "auto_reply"]
    assert taken_back(rendered(found)) == raw
    assert len(found.links) == 1


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: multipart/report (a bounce); report-type=delivery-status; boundary=x",
        b"Content-Type: multipart(c)/report; report-type=delivery-status; boundary=x",
        b"Content-Type: multipart/report report-type=delivery-status; boundary=x",
        b"Content-Type: multipart/report, report-type=delivery-status; boundary=x",
        b'Content-Type: "multipart/report"; boundary=x',
        b"Content-Type: text/html\r\nContent-Type: multipart/report; boundary=x",
        b"Content-Type: message/delivery-status (c)",
        b"Auto-Submitted: auto-replied (vacation)",
        b"Auto-Submitted: (a program) auto-replied; owner=x",
        b"Auto-Submitted: (a (nested) comment)\r\n AUTO-REPLIED",
        b'Auto-Submitted: "auto-replied"',
        b"Auto-Submitted: auto-replied, auto-generated",
        b"Auto-Submitted: auto-generated auto-replied",
        b"Auto-Submitted: auto-generated\r\nAuto-Submitted: auto-replied (c)",
    ],
)
def test_a_report_or_an_automatic_answer(fields: bytes) -> None:
    assert instructions.never(headers.read(fields + b"\r\n\r\n" + BOUNDED), "a@b.example") == "auto_reply"


@pytest.mark.parametrize(
    "fields",
    [
        b"Auto-Submitted: auto-generated (auto-replied)",
        b"Auto-Submitted: no",
        b"Auto-Submitted: (auto-replied) no",
        b"Auto-Submitted:",
        b"Content-Type: multipart/mixed (multipart/report); boundary=x",
    ],
)
def test_neither(fields: bytes) -> None:
    assert instructions.never(headers.read(fields + b"\r\n\r\n" + BOUNDED), "a@b.example") is None


PIECES = ["(c)", "((", ")", " ", "\r\n ", ";", ",", '"', "\\", "=", "\xe9", "(signed; ", "/"]


@given(st.sampled_from(["signed", "encrypted"]), st.data())
def test_what_is_signed_in_any_reading_is_left(kind: str, data: st.DataObject) -> None:
    """For any Content-Type that has `multipart/signed` or `multipart/encrypted` and any noise around and in it: not one octet
    of the message changes."""
    at = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
    text = "".join([data.draw(at), "multipart", data.draw(at), "/", data.draw(at), kind, data.draw(at)])
    raw = several(f"Content-Type: {text}; boundary=x")
    found = prepared(raw)
    assert not found.links
    assert rendered(found) == raw
