"""Rewriting: the shapes of mail, the places, the reasons. For any bytes: nothing raises, and outside the edits the
bytes are equal."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest

from relay.core import headers, parts, rewrite
from relay.core.model import Edit
from tests.core import rewriting
from tests.core.rewriting import (
    BASE,
    MARKUP,
    check,
    href,
    leaf,
    leaves,
    message,
    multipart,
    payload,
    prepared,
    rendered,
)

PAGE = '<html><body>\n<p>Grüße</p>\n<a href="https://a.example/x?a=1&amp;b=2">x</a>\n</body></html>\n'


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_one_part_in_every_encoding(encoding: str, newline: str) -> None:
    raw = message(PAGE, encoding=encoding, newline=newline)
    found, out = check(raw)
    assert found.links == ("https://a.example/x?a=1&b=2",)
    assert found.reason is None
    expected = PAGE.replace("https://a.example/x?a=1&amp;b=2", href(0)).replace("</body>", MARKUP + "</body>")
    assert payload(leaves(out)[0]).decode().replace("\r\n", "\n") == expected
    assert (b"\r\n" in out) == (newline == "\r\n")
    assert headers.read(out).get("content-transfer-encoding") == encoding


def test_alternative_related_mixed() -> None:
    picture = leaf(
        b"R0lGODlhAQABAAAAACwAAAAAAQABAAA=", "image/gif", "Content-Transfer-Encoding: base64", "Content-ID: <p>"
    )
    related = multipart("related", leaf(PAGE.encode()), picture, boundary="rel")
    alternative = multipart("alternative", leaf(b"plain https://a.example/", "text/plain"), related, boundary="alt")
    attached = leaf(PAGE.encode(), "text/html", "Content-Disposition: attachment; filename=a.html")
    raw = multipart("mixed", alternative, attached, boundary="mix", extra="From: a@example.com\r\n")
    found, out = check(raw)
    assert found.pixel_report is not None
    assert found.pixel_report.part == "1.1.2.1"
    reasons = {report.path: report.reason for report in found.part_reports}
    assert reasons["1.2"] == "attachment"
    assert reasons["1.1.1"] == "not_requested"
    assert out.count(MARKUP.encode()) == 1
    assert out.count(b"/c/") == 1


def test_fields_of_others_are_merged() -> None:
    raw = message(PAGE, extra="X-Track: all\n")
    read = headers.read(raw)
    field = read.first("x-track")
    assert field is not None
    edits = [Edit(field.start, field.end, b""), Edit(read.end, read.end, b"X-New: 1\r\n")]
    found = prepared(raw)
    out = rendered(found, edits=edits)
    again = headers.read(out)
    assert "x-track" not in {f.name for f in again.fields}
    assert again.fields[-1].name == "x-new"
    assert out[again.body :] == rendered(found)[len(raw[: read.body]) :]
    untracked = rewrite.render(prepared(raw, opens=False, links=False), hrefs=[], pixel=None, edits=edits)
    assert untracked.content() == parts.splice(raw, edits)


def test_twice_changes_nothing_more() -> None:
    out = rendered(prepared(message(PAGE)))
    again = prepared(out)
    assert again.reason == "duplicate_pixel"
    assert again.links == ()
    assert [report.reason for report in again.link_reports] == ["own_link"]
    assert rendered(again) == out


def test_explain() -> None:
    raw = message(PAGE + "<a href='mailto:x@y.example'>m</a>")
    found = prepared(raw)
    told = rewrite.explain(found, hrefs=[href(0)])
    assert told["pixel"] == {"part": "1", "place": "bottom", "reason": None}
    assert [part["action"] for part in told["parts"]] == ["edited"]
    first, second = told["links"]
    assert (first["before"], first["after"], first["action"]) == ("https://a.example/x?a=1&b=2", href(0), "tracked")
    assert (second["action"], second["reason"], second["index"]) == ("left", "scheme", None)


# -- left alone, with the reason -------------------------------------------------------------------------------------------

SIGNED = 'Content-Type: multipart/signed; protocol="application/pgp-signature"; micalg=pgp-sha256; boundary="=_b="'


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (multipart("signed", leaf(PAGE.encode()), leaf(b"x", "application/pgp-signature")), "signed"),
        (multipart("encrypted", leaf(b"Version: 1", "application/pgp-encrypted"), leaf(PAGE.encode())), "encrypted"),
        (message(b"MII", kind="application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", charset=""), "signed"),
        (message(b"MII", kind="application/x-pkcs7-mime; smime-type=enveloped-data", charset=""), "encrypted"),
        (message(PAGE + "-----BEGIN PGP SIGNED MESSAGE-----\n"), "pgp"),
        (message(PAGE + "-----BEGIN PGP MESSAGE-----\n", encoding="base64"), "pgp"),
        (message("-----BEGIN PGP MESSAGE-----\n", kind="text/plain"), "pgp"),
        (message(PAGE, kind="text/calendar"), "calendar"),
        (message(PAGE, kind="text/x-amp-html"), "amp"),
        (message(PAGE, extra="Content-Disposition: attachment\n"), "attachment"),
        (message(PAGE, extra="Content-Disposition: form-data\n"), "attachment"),
        (message(PAGE, kind="message/rfc822"), "embedded"),
        (message(PAGE).replace(b"charset=utf-8", b"charset=x-none"), "charset"),
        (message(PAGE.encode() + b"\xc0\xbcb>"), "charset"),
        (message(PAGE, encoding="8bit").replace(b"8bit", b"x-uuencode"), "charset"),
        (message("plain https://a.example/", kind="text/plain"), "no_html"),
        (message(PAGE).replace(b"Subject", b"no field here\r\nSubject"), "unsafe_place"),
        (message(PAGE, extra="Content-Type: text/plain\n"), "unsafe_place"),
        (message("<p>x</p>" * 260_000), "limit_size"),
        (message("<p>x</p>" * 400_000, encoding="base64"), "limit_size"),
        (multipart("mixed", *[leaf(b"x", "text/plain")] * 1_001), "limit_parts"),
        (b"X: y\r\n" * 1_001 + message(PAGE), "limit_headers"),
    ],
)  # fmt: skip
def test_untouched(raw: bytes, reason: str) -> None:
    found, out = check(raw)
    assert found.reason == reason
    assert out == raw
    assert not found.links
    assert not found.has_pixel


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_untouched_where_the_time_is_over(at: int) -> None:
    """Whether it is over is asked before each part and before each text."""
    asked = iter([False] * at + [True] * 10)
    raw = multipart("alternative", leaf(b"x", "text/plain"), leaf(PAGE.encode()))
    found = rewrite.prepare(raw, headers.read(raw), replace(rewriting.plan(), late=lambda: next(asked)))
    assert found.reason == "limit_time"
    assert {part.reason for part in found.part_reports} == {"limit_time"}
    assert rendered(found) == raw


def test_only_what_is_signed_is_left() -> None:
    signed = multipart("signed", leaf(PAGE.encode()), leaf(b"x", "application/pkcs7-signature"), boundary="s")
    raw = multipart("mixed", leaf(PAGE.encode()), signed, boundary="m")
    found, out = check(raw)
    assert [(r.path, r.reason) for r in found.part_reports if r.reason] == [
        ("1.2", "signed"),
        ("1.2.1", "signed"),
        ("1.2.2", "signed"),
    ]
    assert signed in out


def test_not_requested() -> None:
    assert prepared(message(PAGE), opens=False, links=False).reason == "not_requested"
    found = prepared(message(PAGE), links=False)
    assert (found.links, found.has_pixel, found.link_reports[0].reason) == ((), True, "not_requested")
    found = prepared(message(PAGE), opens=False)
    assert (len(found.links), found.has_pixel) == (1, False)


@pytest.mark.parametrize(
    "attribute",
    ['data-track="off"', "data-track=NO", "data-track='false'", "data-track=0", "disable-tracking", 'disable-tracking="true"', "data-pm-no-track",
     'clicktracking="off"', "ClickTracking=off", "ses:no-track", 'data-msys-clicktrack="0"', "mc:disable-tracking"],
)  # fmt: skip
def test_refused(attribute: str) -> None:
    for markup in (
        f"<a {attribute} href='https://a.example/'>x</a>",
        f"<a href='https://a.example/'\r\n{attribute}>x</a>",
    ):
        (report,) = prepared(message(markup)).link_reports
        assert report.reason == "refused"


@pytest.mark.parametrize(
    "attribute",
    ["data-track", 'data-track="on"', 'data-track="signup"', "disable-tracking=false", "title='disable-tracking'"],
)
def test_not_refused(attribute: str) -> None:
    assert prepared(message(f"<a {attribute} href='https://a.example/'>x</a>")).links


def test_unsubscribe_anywhere() -> None:
    raw = message(
        "<a href='https://a.example/u?id=1&amp;x=2'>u</a><a href=https://a.example/help>h</a><a href=https://a.example/>x</a>",
        extra="List-Unsubscribe: <mailto:u@a.example>,\n <https://a.example/u?id=1&x=2>\nList-Help: <https://a.example/help>\n",
    )
    found, _ = check(raw)
    assert [report.reason for report in found.link_reports] == ["unsubscribe", "unsubscribe", None]


def test_max_links() -> None:
    found, _ = check(message("<a href=https://a.example/>x</a>" * 5), max_links=3)
    assert [report.reason for report in found.link_reports] == [None, None, None, "limit_links", "limit_links"]
    assert len(found.links) == 3


def test_visible_urls() -> None:
    raw = message(
        "<a href=https://a.example/1>https://a.exa<b>mple/</b></a><a href=https://a.example/2>click</a><a href=https://a.example/3>a.example"
    )
    assert [r.reason for r in prepared(raw, skip_visible_urls=True).link_reports][:2] == ["visible_url", None]
    assert len(prepared(raw).links) == 3


def test_base_href_and_append() -> None:
    found, _ = check(
        message("<base href='https://b.example/d/'><a href='x?a=1#f'>x</a>"), append={"utm_source": "mail"}
    )
    assert found.links == ("https://b.example/d/x?a=1&utm_source=mail#f",)


# -- text ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_plain_text_on_request(encoding: str) -> None:
    raw = message("see https://a.example/x?a=1&b=2.\nÄ (https://b.example/)\n", kind="text/plain", encoding=encoding)
    found, out = check(raw, text_links=True)
    assert found.links == ("https://a.example/x?a=1&b=2", "https://b.example/")
    assert payload(leaves(out)[0]).decode().replace("\r\n", "\n") == f"see {href(0)}.\nÄ ({href(1)})\n"
    assert prepared(raw).reason == "no_html"


# -- charsets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charset", "text"),
    [("iso-8859-1", "é"), ("windows-1252", "€"), ("koi8-r", "Ж"), ("gb2312", "中"), ("big5", "中"), ("shift_jis", "表"), ("euc-jp", "日"),
     ("euc-kr", "한"), ("gb18030", "𠀀"), ("iso-2022-jp", "日本"), ("utf-16", "日"), ("utf-16-be", "日"), ("utf-32-le", "日"), ("hz", "中")],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_charsets(charset: str, text: str, encoding: str) -> None:
    """A link's path is characters, its query octets of the document's charset, but those of UTF-16 (URL 4.4)."""
    page = f'<html><body>{text}<a href="https://a.example/{text}?q={text}&amp;b#{text}">{text}</a>{text}</body></html>'
    raw = message(page, charset=charset, encoding=encoding)
    found, out = check(raw)
    query = text if charset.startswith("utf") or charset == "hz" else quote(text.encode(charset), safe="")
    assert found.links == (f"https://a.example/{text}?q={query}&b#{text}",)
    decoded = payload(leaves(out)[0]).decode(charset)
    assert decoded == page.replace(page[page.index("https") : page.index('">')], href(0)).replace(
        "</body>", MARKUP + "</body>"
    )


def test_utf_7_that_does_not_round_trip() -> None:
    found, _ = check(message(b'<a href="https://a.example/">+AOk- +ADw-b+AD4-</a>', charset="utf-7", encoding="7bit"))
    assert found.reason in ("charset", None)


@pytest.mark.parametrize("encoding", ["7bit", "8bit"])
def test_utf_16_in_plain_lines_is_left(encoding: str) -> None:
    assert check(message("<p>x</p>", charset="utf-16-le", encoding=encoding))[0].reason == "charset"


# -- 998 octets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize("name", ["Content-Transfer-Encoding", "X-Other"])
def test_a_line_that_would_get_too_long(name: str, newline: str) -> None:
    page = "<p>é = =3D  </p> \n<p>" + "x" * 900 + "<a href=https://a.example/>x</a></p>\t\n.\nFrom x\n"
    raw = message(page, newline=newline).replace(b"Content-Transfer-Encoding", name.encode())
    found = prepared(raw)
    out = rendered(found)
    read = headers.read(out)
    assert read.get("content-transfer-encoding") == "quoted-printable"
    assert len(read.all("content-transfer-encoding")) == 1
    assert max(len(line.rstrip(b"\r")) for line in out.split(b"\n")) <= 76 + 2
    expected = (page.replace("https://a.example/", href(0)).rstrip("\n") + MARKUP + "\n").replace("\n", newline)
    assert payload(leaves(out)[0]).decode() == expected


def test_a_field_that_is_there_twice_says_the_same_afterwards() -> None:
    raw = message(
        "<p>" + "x" * 950 + "<a href=https://a.example/>x</a></p>\n", extra="Content-Transfer-Encoding: 8bit\n"
    )
    out = rendered(prepared(raw))
    read = headers.read(out)
    said = [read.text(field) for field in read.all("content-transfer-encoding")]
    assert said == ["quoted-printable", "quoted-printable"]


def test_a_delimiter_in_the_middle_of_a_long_line_stays_there() -> None:
    text = "<p>" + "x" * 72 + "--b\n" + "x" * 950 + "<a href=https://a.example/>x</a></p>"
    raw = multipart("mixed", leaf(text.replace("\n", " ").encode()), boundary="b", extra="From: a@example.com\r\n")
    assert b"xxx--b xxx" in raw
    out = rendered(prepared(raw))
    assert out.count(b"\r\n--b") == raw.count(b"\r\n--b") == 2
    assert len(leaves(out)) == 1


def test_a_part_that_would_get_too_long() -> None:
    long = ("<p>" + "x" * 950 + "<a href=https://a.example/>x</a></p>").encode()
    raw = multipart("alternative", leaf(b"t", "text/plain"), leaf(long), extra="From: a@example.com\r\n")
    out = rendered(prepared(raw))
    assert b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" in out
    assert payload(leaves(out)[1]).decode() == long.decode().replace("https://a.example/", href(0)) + MARKUP
    assert payload(leaves(out)[0]) == b"t"


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_a_part_without_fields_that_would_get_too_long(newline: str) -> None:
    """Its new field stands in the part, not above the message."""
    text = "x" * 950 + " https://a.example/ x"
    raw = multipart("mixed", b"\r\n" + text.encode(), extra="From: a@example.com\r\n").replace(
        b"\r\n", newline.encode()
    )
    out = rendered(prepared(raw, text_links=True))
    assert out.startswith(b"From: ")
    assert [part["content-transfer-encoding"] for part in leaves(out)] == ["quoted-printable"]
    assert payload(leaves(out)[0]).decode() == text.replace("https://a.example/", href(0))


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_an_encoding_comes_with_the_version(newline: str) -> None:
    """RFC 2045 4: a message without MIME-Version has no encodings. One field, at the top, for all parts."""
    long = "<p>" + "x" * 950 + "<a href=https://a.example/>x</a></p>"
    end = newline.encode()
    one = message(long, newline=newline).replace(b"MIME-Version: 1.0" + end, b"")
    many = multipart("mixed", leaf(long.encode()), leaf(long.encode()), extra="From: a@example.com\r\n")
    for raw in (one, many.replace(b"\r\n", end)):
        _, out = check(raw)
        assert out.count(end + b"MIME-Version: 1.0" + end) == 1
        assert headers.read(out).get("mime-version") == "1.0"
        assert out.count(b"quoted-printable") == raw.count(b"<a ")
    short = one.replace(b"x" * 900, b"")
    assert b"MIME-Version" not in rendered(prepared(short))
    other = message(long, newline=newline).replace(b"MIME-Version: 1.0", b"Mime-version: 1.0 (Produced by x)")
    assert rendered(prepared(other)).lower().count(b"mime-version") == 1


def test_a_line_that_gets_longer_than_was_said() -> None:
    raw = message("<p>" + "x" * 700 + "<a href=https://a.example/>x</a></p>\n")
    found = prepared(raw)
    assert headers.read(rendered(found)).get("content-transfer-encoding") == "8bit"
    out = rendered(found, make=lambda index: href(index, 400))
    assert headers.read(out).get("content-transfer-encoding") == "quoted-printable"
    assert href(0, 400) in payload(leaves(out)[0]).decode()


def test_long_lines_that_are_not_edited_stay() -> None:
    page = "x" * 2_000 + "\n<a href=https://a.example/>x</a>\n"
    _, out = check(message(page))
    assert headers.read(out).get("content-transfer-encoding") == "8bit"


# -- alternatives and related --------------------------------------------------------------------------------------------


def where(raw: bytes) -> str | None:
    report = check(raw)[0].pixel_report
    return report.part if report else None


def test_where_the_pixel_goes() -> None:
    page, text = leaf(PAGE.encode()), leaf(b"t", "text/plain")
    bad = leaf(b"<p>x<!--")
    assert where(multipart("alternative", text, page, page)) == "1.3"
    assert where(multipart("mixed", page, leaf(b"x", "application/pdf"), page)) == "1.1"
    assert where(multipart("mixed", bad, page)) == "1.2"
    assert where(multipart("related", page, page)) == "1.1"
    assert where(multipart("alternative", text, multipart("mixed", page, page, boundary="i"))) == "1.2.1"
    assert where(multipart("alternative", page, text)) == "1.1"
    assert where(multipart("alternative", page, bad)) is None


def test_unquoted_values_get_quotes_where_they_need_them() -> None:
    found = prepared(message("<a href=https://a.example/>x</a>"))
    out = rendered(found, make=lambda _: f"{BASE}/?c=a&b")
    assert f'<a href="{BASE}/?c=a&amp;b">'.encode() in out


def test_outlook() -> None:
    page = (
        "<!--[if mso]><v:roundrect href=\"https://a.example/1\"><w:anchorlock/></v:roundrect><a href='https://a.example/2'><![endif]-->"
        '<!--[if !mso]><!--><a href="https://a.example/3">x</a><!--<![endif]--><!-- <a href="https://a.example/4"> -->'
    )
    found, _ = check(message(page))
    assert found.links == tuple(f"https://a.example/{n}" for n in (1, 2, 3))
    assert [report.tag for report in found.link_reports] == ["v:roundrect", "a", "a"]


def test_explain_what_was_not_looked_into() -> None:
    told = rewrite.explain(prepared(message(PAGE), opens=False, links=False), hrefs=[])
    assert [(part["path"], part["action"], part["reason"]) for part in told["parts"]] == [
        ("1", "untouched", "not_requested")
    ]
    assert told["links"] == []
    assert told["pixel"] == {"part": None, "place": None, "reason": "not_requested"}


def test_a_link_that_its_charset_does_not_have() -> None:
    raw = message(
        b"<a href='https://a.example/\x81'>x</a><a href='https://a.example/\x80'>y</a>", charset="windows-1252"
    )
    found, _ = check(raw)
    assert [report.reason for report in found.link_reports] == ["charset", None]
    assert found.links == ("https://a.example/€",)


@pytest.mark.parametrize(("charset", "mark"), [("utf-16", b""), ("utf-8", b"\xef\xbb\xbf")])
def test_a_byte_order_mark_stays_the_first(charset: str, mark: bytes) -> None:
    found, out = check(message(mark + "<p>x</p>".encode(charset), charset=charset, encoding="base64"), pixel="top")
    assert found.has_pixel
    assert payload(leaves(out)[0]) == mark + (MARKUP + "<p>x</p>").encode(charset)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n"])
def test_a_header_section_that_nothing_ends(end: bytes) -> None:
    """What were put behind it would be read as header: of a message, and of a part at its delimiter."""
    alone = b"From: a@example.com\r\nContent-Type: text/html" + end
    within = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html"
        + (end or b"\r\n")
        + b"--b--\r\n"
    )
    for raw in (alone, within):
        found, out = check(raw)
        assert out == raw
        assert found.reason == "unsafe_place"


def test_an_empty_part() -> None:
    """Its delimiter follows the empty line after the header: what were put there would be the delimiter's beginning."""
    raw = multipart("alternative", leaf(b"x", "text/plain"), leaf(b"")).replace(b"\r\n\r\n\r\n--", b"\r\n\r\n--")
    found, out = check(raw)
    assert out == raw
    assert found.reason == "unsafe_place"
    assert check(message(""))[0].has_pixel
