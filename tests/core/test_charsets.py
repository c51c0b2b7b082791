"""Charsets: what labels mean, what may be edited as bytes, what a link's octets mean. For every label that there is: the
octets outside the edits are those that came in, and each link is tracked."""

from __future__ import annotations

import base64
from functools import cache

import pytest
import webencodings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import charset_names
from relay.core.parts import charsets
from tests.core.rewriting import MARKUP, href, leaves, message, payload, prepared, rendered

URL = "https://a.example/x?a=1&amp;b=2"
LINK = f'<a href="{URL}">'.encode()
WIDE = ("utf-16-le", "utf-16-be", "utf-16")
SAMPLE = "\u00e9\u00fc\u00d1\u010d\u0142\u0160\u0416\u044f\u03a9\u05d0\u0639\u0e01\u20ac\u201c\u4e2d\u6587\u65e5\u672c\u8868\u30bd\u5341\u80fd\u8c79\ud55c\uae00\uff21\u3042\uff71\u2460\u7d5d"  # fmt: skip


def html(body: bytes, label: str, encoding: str = "base64") -> bytes:
    return message(body, charset=f'"{label}"', encoding=encoding)


def edited(raw: bytes) -> tuple[list[str], bytes]:
    """The links that are tracked, and the decoded body with them."""
    found = prepared(raw)
    return list(found.links), payload(leaves(rendered(found))[0])


@cache
def characters(label: str) -> str:
    """What an encoding has of the sample."""
    name = charset_names.codec(label)
    if name == "iso2022_cn" or name == charset_names.USER_DEFINED or not name:
        return "x"
    kept = [one for one in SAMPLE if one.encode("utf-8" if name == "us-ascii" else name, "ignore")]
    return "".join(kept) or "x"


def octets(text: str, label: str) -> bytes:
    name = charset_names.codec(label)
    if name == "iso2022_cn" or name == charset_names.USER_DEFINED or not name:
        return text.encode("ascii")
    return text.encode("utf-8" if name == "us-ascii" else name)


# -- labels --------------------------------------------------------------------------------------------------------------


def test_the_table_of_the_standard() -> None:
    """Its 228 labels of 40 encodings, as another program has them."""
    assert dict(webencodings.labels.LABELS) == charset_names.NAMES
    assert (len(charset_names.NAMES), len(set(charset_names.NAMES.values()))) == (228, 40)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("", "us-ascii"), ("us-ascii", "us-ascii"), ("ANSI_X3.4-1968", "us-ascii"), ("UTF-8", "utf-8"), ("utf8", "utf-8"), ("unicode-1-1-utf-8", "utf-8"), ("x-unicode20utf8", "utf-8"),
        ("utf8mb4", "utf-8"), ("utf8mb3", "utf-8"), ("cp65001", "utf-8"), ("windows-65001", "utf-8"), (" 'utf-8' ", "utf-8"), ('"utf-8"', "utf-8"), ("\tUTF-8 \r\n", "utf-8"), ("utf-8; format=flowed", "utf-8"),
        ("utf-8, utf-8", "utf-8"), ("=utf-8", "utf-8"), ("charset=utf-8", "utf-8"), ('charset="utf-8"', "utf-8"), ("utf-8 (Unicode)", "utf-8"),
        ("iso-8859-1", "cp1252"), ("latin1", "cp1252"), ("l1", "cp1252"), ("iso_8859-1:1987", "cp1252"), ("x-cp1252", "cp1252"), ("windows-1252", "cp1252"), ("cp819", "cp1252"), ("windows1252", "cp1252"),
        ("iso-8859-9", "cp1254"), ("latin5", "cp1254"), ("iso-8859-11", "cp874"), ("tis-620", "cp874"), ("dos-874", "cp874"), ("windows-874", "cp874"), ("iso-8859-8-i", "iso8859-8"), ("logical", "iso8859-8"),
        ("visual", "iso8859-8"), ("iso-8859-8-e", "iso8859-8"), ("iso-8859-6-i", "iso8859-6"), ("iso-8859-15", "iso8859-15"), ("iso-8859-16", "iso8859-16"), ("koi8-ru", "koi8-u"), ("koi8-u", "koi8-u"), ("koi", "koi8-r"),
        ("866", "cp866"), ("macintosh", "mac-roman"), ("mac", "mac-roman"), ("x-mac-cyrillic", "mac-cyrillic"), ("x-mac-ukrainian", "mac-cyrillic"), ("x-mac-ce", "mac-latin2"), ("x-mac-turkish", "mac-turkish"),
        ("win-1251", "cp1251"), ("win1251", "cp1251"), ("cp-1250", "cp1250"), ("x-windows-1255", "cp1255"), ("ms-1257", "cp1257"), ("cp850", "cp850"), ("ibm437", "cp437"),
        ("gb2312", "gbk"), ("chinese", "gbk"), ("x-gbk", "gbk"), ("cp936", "gbk"), ("gb18030", "gb18030"), ("big5-hkscs", "big5"), ("cn-big5", "big5"), ("x-x-big5", "big5"), ("cp950", "big5"),
        ("shift-jis", "shift_jis"), ("ms_kanji", "shift_jis"), ("windows-31j", "shift_jis"), ("x-sjis", "shift_jis"), ("cp932", "cp932"), ("x-euc-jp", "euc_jp"), ("eucjp-ms", "euc_jp"), ("eucJP-win", "euc_jp"), ("CP51932", "euc_jp"), ("SJIS-win", "shift_jis"), ("cseucpkdfmtjapanese", "euc_jp"),
        ("ks_c_5601-1987", "cp949"), ("ks_c_5601-1989", "cp949"), ("windows-949", "cp949"), ("korean", "cp949"), ("euc-kr", "cp949"), ("x-windows-949", "cp949"), ("ms949", "cp949"), ("x-mac-korean", "cp949"),
        ("iso-2022-jp", "iso2022_jp"), ("csISO2022JP", "iso2022_jp"), ("cp50221", "iso2022_jp"), ("iso-2022-jp-ms", "iso2022_jp"), ("iso-2022-jp-2", "iso2022_jp_2"), ("iso-2022-kr", "iso2022_kr"), ("iso-2022-cn-ext", "iso2022_cn"),
        ("hz-gb-2312", "hz"), ("utf-16", "utf-16"), ("unicode", "utf-16"), ("ucs-2", "utf-16"), ("utf-16le", "utf-16-le"), ("utf-16be", "utf-16-be"), ("unicodefffe", "utf-16-be"), ("utf-7", "utf-7"), ("unicode-1-1-utf-7", "utf-7"),
        ("x-user-defined", "x-user-defined"), ("replacement", ""), ("x-unknown", ""), ("unknown-8bit", ""), ("base64", ""), ("rot13", ""), ("idna", ""), ("punycode", ""), ("unicode_escape", ""), ("undefined", ""), ("\0", ""),
        ("utf-8" * 20, ""), ("utf-8\u00e9", ""), ("windows-1", ""),
    ],
)  # fmt: skip
def test_labels(label: str, name: str) -> None:
    assert charset_names.codec(label) == name


@pytest.mark.parametrize("label", sorted(charset_names.NAMES))
def test_every_label_of_the_standard(label: str) -> None:
    """Text around a link, and in it. What the replacement encoding stands for is text too, but for its own name."""
    around = octets(characters(label), label)
    link = octets(LINK.decode(), label)
    body = around + link + around + octets("</a>", label) + around
    if charset_names.codec(label) == "utf-16":
        body = b"".join(octets(text, "utf-16le") for text in (characters(label), LINK.decode(), "</a>"))
        link = octets(LINK.decode(), "utf-16le")
    links, out = edited(html(body, label))
    assert links == ["https://a.example/x?a=1&b=2"]
    code = "utf-16-be" if charset_names.codec(label) == "utf-16-be" else "utf-16-le" if charset_names.codec(label) in WIDE else "ascii"  # fmt: skip
    assert out == body.replace(URL.encode(code), href(0).encode(code)) + MARKUP.encode(code)


@pytest.mark.parametrize(
    "label",
    ["x-unknown", "utf8mb4", "unknown-8bit", "ascii-8bit", "cp037", "utf-16", "utf-32", "utf-7", "utf-5", "replacement", "iso-2022-xx", "hz", "johab", "8bit", "none", "{charset}", "binary", "x-user-defined", "\u00e9", "a" * 80],
)  # fmt: skip
def test_ascii_alone_is_edited_under_any_label(label: str) -> None:
    body = b"<p>" + LINK + b"offer</a></p>"
    for encoding in ("7bit", "8bit", "base64", "quoted-printable"):
        links, out = edited(html(body, label, encoding) if label.isascii() else message(body, charset=label))
        assert links == ["https://a.example/x?a=1&b=2"]
        assert out == body.replace(URL.encode(), href(0).encode()) + MARKUP.encode()


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("x-unknown", b"\xe9"), ("x-unknown", b"\x1b$B!!\x1b(B"), ("x-unknown", b"\x0ex\x0f"), ("x-unknown", "\u00e9".encode()), ("replacement", b"\xe9"), ("utf-7", b"a+b"),
        ("utf-8", b"\0"), ("utf-8", b"\x1b$B!!\x1b(B"), ("us-ascii", b"\x1b$B!!\x1b(B"), ("", b"\x1b(Ja\x1b(B"), ("iso-8859-1", b"\x1b$B!!\x1b(B"), ("shift_jis", b"\x1b$B!!\x1b(B"), ("gb2312", b"\0"), ("koi8-r", b"\0"),
        ("utf-8", b"\xc0\xbca\xc0\xbe"), ("utf-8", b"\xe0\x80\xbc"), ("utf-8", b"\xf0\x80\x80\xbc"), ("utf-8", b"\xff\x01\x02"), ("iso-2022-jp", b"\0"), ("hz", b"\0"), ("idna", b"\xe9"), ("rot13", b"\xe9"),
    ],
)  # fmt: skip
def test_what_is_not_edited(label: str, body: bytes) -> None:
    """What the label does not say, or says so that readers do not agree."""
    for raw in (html(b"<p>" + body + LINK + b"x</a></p>", label), html(LINK + b"x</a>" + body, label)):
        found = prepared(raw)
        assert (found.reason, rendered(found)) == ("charset", raw)


def test_a_byte_order_mark_is_believed_before_the_label() -> None:
    body = b"\xef\xbb\xbf<a href='https://a.example/\xc3\xa9'>x</a>"
    assert edited(html(body, "iso-8859-1"))[0] == ["https://a.example/\u00e9"]
    for code, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        for label in ("", "utf-8", "iso-8859-1", "utf-16", "unicode"):
            links, out = edited(html(mark + LINK.decode().encode(code), label))
            assert links == ["https://a.example/x?a=1&b=2"]
            assert out == mark + (LINK.decode().replace(URL, href(0)) + MARKUP).encode(code)


@pytest.mark.parametrize("label", ["utf-16", "unicode", "ucs-2", "iso-10646-ucs-2", "utf-32"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_without_a_byte_order_mark_the_markup_says_it(label: str, order: str) -> None:
    code = f"{'utf-32' if label == 'utf-32' else 'utf-16'}-{order}"
    links, out = edited(html(("\u4e2d" + LINK.decode()).encode(code), label))
    assert links == ["https://a.example/x?a=1&b=2"]
    assert out == ("\u4e2d" + LINK.decode().replace(URL, href(0)) + MARKUP).encode(code)


# -- broken octets -------------------------------------------------------------------------------------------------------

SEVERAL = ("gb2312", "gb18030", "big5", "big5-hkscs", "shift_jis", "cp932", "euc-jp", "euc-kr", "windows-949", "cp950")
ONE = ("utf-8", "", "us-ascii", "iso-8859-1", "windows-1252", "windows-1255", "koi8-u", "macintosh", "x-user-defined")


@pytest.mark.parametrize("label", [*SEVERAL, *ONE, "iso-2022-jp"])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_one_broken_octet_does_not_cost_the_part(label: str, encoding: str) -> None:
    for octet in (b"\x80", b"\x81", b"\xa0", b"\xe9", b"\xfe", b"\xff"):
        body = b"<p>caf" + octet + b" au lait</p>" + LINK + b"x</a>\r\n<p>" + octet + b" x" + octet * 3 + b" </p>"
        links, out = edited(html(body, label, encoding))
        assert links == ["https://a.example/x?a=1&b=2"]
        assert out.replace(b"\r\n", b"\n") == (body.replace(URL.encode(), href(0).encode()) + MARKUP.encode()).replace(
            b"\r\n", b"\n"
        )


@pytest.mark.parametrize("label", SEVERAL)
@pytest.mark.parametrize(
    "body",
    [b"caf\x81<p>", b"\x81 \x81<p>", b"<p>x\x81>", b"<i title='\x81'>", b"<i title=\"a\" id=\x81 b>", b"<i title=\"a \x81' b\">", b"<i title=\"a\"b=\"\x81\" c='d'>", b"<i\x81 title=x>", b"<!-- \x81-->", b"<!-- > \x81-->",
     b"<p>\x81", b"<p>\x81\"x", b"<i title='>'\x81'>"],
)  # fmt: skip
def test_a_broken_octet_that_touches_markup(label: str, body: bytes) -> None:
    """There some readers take the octet that follows for a part of the character, and others do not."""
    raw = html(LINK + b"x</a>" + body, label)
    found = prepared(raw)
    assert (found.reason, rendered(found)) == ("charset", raw)


@pytest.mark.parametrize("label", SEVERAL)
@pytest.mark.parametrize(
    "body",
    [b"<i title=\"a \x81 b\">", b"<i title='\x81 b'>", b"<i class=x title = 'a' data-x=\"> \x81 \x81 >\">", b"<!-- \x81 x -->", b"<style>\x81 x { }</style>",
     b"<!--[if mso]><i title='\x81 x'><![endif]-->"],
)  # fmt: skip
def test_a_broken_octet_inside_a_value_or_a_comment(label: str, body: bytes) -> None:
    links, out = edited(html(body + LINK + b"x</a>" + body, label))
    assert links == ["https://a.example/x?a=1&b=2"]
    assert out == (body + LINK + b"x</a>" + body).replace(URL.encode(), href(0).encode()) + MARKUP.encode()


@pytest.mark.parametrize("label", SEVERAL)
def test_a_broken_octet_inside_a_link(label: str) -> None:
    found = prepared(html(LINK + b"x</a><a title=x href='https://a.example/?\x81 x'>x</a>", label))
    assert found.links == ("https://a.example/x?a=1&b=2",)
    assert [report.reason for report in found.link_reports] == [None, "charset"]


@pytest.mark.parametrize(
    ("label", "broken"),
    [("gb18030", b"\x81\x30<"), ("gb18030", b"\x81\x30\x81<"), ("gb18030", b"\x81\x30\x81\x30\x81<"), ("euc-jp", b"\x8f\xa1<"), ("euc-jp", b"\x8e<"),
     ("big5", b"\x81\x81\xa1<"), ("shift_jis", b"\x81\xfd\x81<"), ("euc-kr", b"\xa1\xff\xa1<")],
)  # fmt: skip
def test_a_broken_sequence_that_may_take_markup(label: str, broken: bytes) -> None:
    assert charsets.view(b"<p>" + broken + b"/p>", label) is None


@pytest.mark.parametrize("label", ["utf-8", "", "us-ascii", "iso-8859-1", "windows-1255"])
@pytest.mark.parametrize("body", [b"caf\xe9<p>", b"<i title='\xe9'>", b"<!-- \xe9 -->", b"<p>\xe9", b"\xff\xfe<b>"])
def test_of_utf_8_and_single_octets_none_takes_another(label: str, body: bytes) -> None:
    links, out = edited(html(LINK + b"x</a>" + body, label))
    assert links == ["https://a.example/x?a=1&b=2"]
    assert out == (LINK + b"x</a>" + body).replace(URL.encode(), href(0).encode()) + MARKUP.encode()


@pytest.mark.parametrize("label", ["utf-8", "iso-8859-1", "us-ascii", "gbk"])
def test_an_escape_that_is_none_of_iso_2022(label: str) -> None:
    body = b"<pre>\x1b[31mred\x1b[0m</pre>" + LINK + b"x</a>"
    assert edited(html(body, label))[0] == ["https://a.example/x?a=1&b=2"]


def test_broken_utf_16() -> None:
    body = LINK.decode().encode("utf-16-le") + b"\x00\xd8x\x00" + b"\x00\xdc" + "</a>".encode("utf-16-le")
    links, out = edited(html(body, "utf-16le"))
    assert links == ["https://a.example/x?a=1&b=2"]
    assert out == body.replace(URL.encode("utf-16-le"), href(0).encode("utf-16-le")) + MARKUP.encode("utf-16-le")
    assert prepared(html(body + b"x", "utf-16le")).reason == "charset"


# -- escape sequences ----------------------------------------------------------------------------------------------------

JAPANESE = {
    "plain": b"\x1b$BF|K\\\x1b(B",
    "markup in characters": b"\x1b$B!!$\"$&$'$/<>=\x1b(B",
    "NEC row 13": b'\x1b$B-!-"-j\x1b(B',
    "NEC selected rows of IBM": b'\x1b$By!y"\x1b(B',
    "rows of the user": b"\x1b$B~~\x1b(B",
    "1978": b"\x1b$@F|K\\\x1b(J",
    "1990": b"\x1b&@\x1b$BF|\x1b(B",
    "katakana": b'\x1b(I123<=>"&/\x1b(B',
    "katakana, then kanji": b"\x1b(I1<\x1b$BF|\x1b(I>\x1b(B",
    "katakana of eight bits": b"\xb1\xb2\xb3 ",
    "katakana by SO": b"\x0e123\x0f",
    "Roman": b"\x1b(Jabc \\100\x1b(B",
    "Roman that stays": b"\x1b$BF|\x1b(J",
    "an old mistake for Roman": b"\x1b$@F|\x1b(Habc\x1b(B",
    "JIS X 0212": b"\x1b$(D0!<\">'\x1b(B",
    "JIS X 0208 with a parenthesis": b"\x1b$(BF|\x1b(B",
    "JIS X 0213": b"\x1b$(O.!\x1b$(P!!\x1b$(Q.!\x1b(B",
    "Chinese and Korean": b"\x1b$AVP\x1b$(C<<>>\x1b(B",
    "Greek by SS2": b"\x1b.F\x1bNA\x1bNB",
    "pictures of phones": b'\x1b$Gj<\x0f x \x1b$Bu!z~\x1b(B\x1b$O!"\x0f',
    "broken: half a character": b"\x1b$BF|K\x1b(B",
    "broken: eight bits": b"\x1b$BF\xff\x1b(B \xff ",
    "broken: an escape alone": b"\x1b \x1bx ",
    "broken: twice": b"\x1b(B\x1b(B\x1b$B\x1b$BF|\x1b(B",
    "broken: a line's end, without markup": b"\x1b$BF|\r\nK\\\x1b(B",
}


@pytest.mark.parametrize("name", JAPANESE)
@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
def test_japanese(name: str, encoding: str) -> None:
    """Links and pixel go between whatever programs write there, which stays octet by octet."""
    text = JAPANESE[name]
    body = b"<p title='" + text + b"'>" + text + LINK + text + b"</a>" + text + b"<br>\r\n" + text + b"</p></body>"
    raw = html(body, "iso-2022-jp", encoding)
    found = prepared(raw)
    assert found.links == ("https://a.example/x?a=1&b=2",)
    out = payload(leaves(rendered(found))[0])
    expected = body.replace(URL.encode(), href(0).encode()).replace(b"</body>", MARKUP.encode() + b"</body>")
    assert out.replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    "body",
    [b"\x1b$BF|", b"\x1b$BF|</p>", b"x\x0e", b"\x1b$BF|\r\n<p>\x1b(B", b"\x0e<\x0f", b"\x1b.F\x1bN<", b"\x1b(I1", b"\x1b(Kabc\x1b(B", b"\x1b(I1\n=\x1b(B"],
)  # fmt: skip
def test_japanese_that_readers_read_differently(body: bytes) -> None:
    """The text does not end in ASCII; a line does not, and markup follows; a shift that few know covers markup."""
    assert charsets.view(b"<p>" + body, "iso-2022-jp") is None


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("iso-2022-kr", b"\x1b$)C\r\n<p>\x0e<<>>\"&\x0f"), ("iso-2022-kr", b"\x1b$)C\x0eGQ\x0f\r\n\x0e1[\x0f"), ("csiso2022kr", b"\x1b$)C\x0e<>\x0f"),
        ("iso-2022-cn", b"\x1b$)A\x0e<:;;=;\x0f \x1b$*H\x1bN!!"), ("iso-2022-cn-ext", b"\x1b$)A\x0e<>\x0f"), ("hz-gb-2312", b"~{<:Ky2;~}~~ ~\n"), ("hz-gb-2312", b"~{<>~}"), ("hz", b"~{VPND~} ~x "),
    ],
)  # fmt: skip
def test_shifts(label: str, text: bytes) -> None:
    body = text + b"<p>" + LINK + text + b"</a>" + text
    links, out = edited(html(body, label))
    assert links == ["https://a.example/x?a=1&b=2"]
    stripped = out.replace(MARKUP.encode(), b"")
    assert out.count(MARKUP.encode()) == 1
    assert stripped == body.replace(URL.encode(), href(0).encode())


@pytest.mark.parametrize("body", [b"~{<:", b"~{VP\n<p>~}", b"~{V~}<p>"])
def test_hz_that_does_not_end(body: bytes) -> None:
    assert charsets.view(b"<p>" + body, "hz") is None


@pytest.mark.parametrize("label", ["iso-2022-jp", "hz", "iso-2022-kr"])
def test_a_host_whose_address_would_mean_something_else_there(label: str) -> None:
    own = "https://t.example.net/~t"
    raw = html(LINK + b"x</a>", label)
    assert prepared(raw).reason is None
    assert prepared(raw, own=(own,)).reason == "charset"
    assert prepared(html(LINK + b"x</a>", "shift_jis"), own=(own,)).reason is None


@pytest.mark.parametrize(
    "text",
    [b"+AOk-", b"+AOk x", b"1 +- 1", b"+ADw-b+AD4-x+ADw-/b+AD4-", b"+2D3cAA-", b"a+ACY-b"],
)  # fmt: skip
def test_utf_7_however_it_is_encoded(text: bytes) -> None:
    link, end = b"+ADw-a href+AD0AIg-https://a.example/x?a+AD0-1+ACIAPg-", b"+ADw-/a+AD4-"
    links, out = edited(html(b"<p>" + text + link + text + end + text + b" x ", "utf-7"))
    assert links == ["https://a.example/x?a=1"]
    value = b"https://a.example/x?a+AD0-1"
    assert out == b"<p>" + text + link.replace(value, href(0).encode()) + text + end + text + b" x" + MARKUP.encode() + b" "  # fmt: skip


@pytest.mark.parametrize("body", [b"<p>+AOk", b"+ADw-p+AD4APA-/body+AD4-", b"<a href=+AOk", b"<p>+ZZZZZZZ", b"<p>\xe9", b"+ADwAYQ href=+ACI https://a.example/+ACI-+AD4-"])  # fmt: skip
def test_utf_7_where_what_is_put_in_would_be_read_as_more_of_it(body: bytes) -> None:
    raw = html(body, "utf-7")
    found = prepared(raw)
    assert found.reason in ("charset", "unsafe_place")
    assert rendered(found) == raw


# -- links ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value", "url"),
    [
        ("iso-8859-1", b"it\x92s", "it\u2019s"), ("latin1", b"\x80", "\u20ac"), ("iso-8859-9", b"\x93\xfd", "\u201c\u0131"), ("iso-8859-11", b"\x85\xa1", "\u2026\u0e01"), ("us-ascii", b"it\x92s", "it\u2019s"), ("us-ascii", "\u00e9".encode(), "\u00e9"),
        ("utf-8", "\u2019".encode(), "\u2019"), ("windows-1252", b"\x81", None), ("iso-8859-1", b"\x9d", None), ("iso-8859-2", b"\x92", None), ("iso-8859-15", b"\x92", None), ("utf-8", b"\xc2\x92", None), ("utf-8", b"\x92", None),
        ("utf-8", b"\xe9", None), ("", b"\xe9", None), ("", "\u00e9".encode(), "\u00e9"), ("", b"&#146;", "\u2019"), ("utf-8", b"&#x81;", None), ("iso-8859-8-i", b"\xf9", "\u05e9"), ("windows-1255", b"\xca", None), ("koi8-u", b"\xa4", "\u0454"),
        ("macintosh", b"\xdb", "\u20ac"), ("x-mac-cyrillic", b"\xff", "\u20ac"), ("dos-874", b"\xa1", "\u0e01"), ("x-user-defined", b"\xe9", None), ("gb2312", b"\xd6\xd0", "\u4e2d"), ("gb2312", b"\xe9F", "\u9555"), ("big5", b"\xa4\xa4", "\u4e2d"), ("shift_jis", b"\x95\\", "\u8868"), ("shift_jis", b"\x87@", "\u2460"), ("shift_jis", b"\xb1", "\uff71"), ("euc-jp", b"\xad\xa1", "\u2460"), ("euc-jp", b"\xf9\xa1\x8e\xb1x", "\u7e8a\uff71x"),
        ("ks_c_5601-1987", b"\xb0\xa1", "\uac00"), ("ks_c_5601-1987", b"\x8cc", "\ub620"), ("iso-2022-jp", b"\x1b$BF|\x1b(B", "\u65e5"), ("iso-2022-jp", b"\x1b$B-!\x1b(B", "\u2460"), ("iso-2022-jp", b"\x1b(I1\x1b(B", "\uff71"),
        ("iso-2022-jp", b"\x1b$@F|\x1b(Jx\x1b(B", "\u65e5x"), ("iso-2022-jp", b"\x1b(J~\x1b(B", None), ("iso-2022-jp", b"\x1b$BF\x1b(B", None), ("iso-2022-jp", b"\xb1", None), ("iso-2022-kr", b"\x1b$)C\x0eGQ\x0f", "\ud55c"), ("iso-2022-kr", b"\x0eGQ\x0f", "\ud55c"), ("iso-2022-cn", b"\x0eVP\x0f", None), ("hz", b"~{VP~}", "\u4e2d"), ("hz", b"~x", None),
    ],
)  # fmt: skip
def test_what_the_octets_of_a_link_mean(label: str, value: bytes, url: str | None) -> None:
    """As the standard has it; where that is nothing, or a control (U+0080 to U+009F), the link is left, and others are not."""
    body = b"<p>x" + LINK + b'x</a><a href="https://a.example/' + value + b'">x</a></p>'
    found = prepared(html(body, label))
    assert found.links == ("https://a.example/x?a=1&b=2", *([f"https://a.example/{url}"] if url else []))
    assert [report.reason for report in found.link_reports] == [None, None if url else "charset"]


@pytest.mark.parametrize(
    ("label", "base", "url"),
    [("utf-8", "\u00e9".encode(), "\u00e9"), ("iso-8859-1", b"\x92", "\u2019"), ("iso-2022-jp", b"\x1b$BF|\x1b(B", "\u65e5"), ("utf-8", b"&eacute;", "\u00e9"), ("utf-8", b"\xff", None)],
)  # fmt: skip
def test_a_base_beyond_ascii(label: str, base: bytes, url: str | None) -> None:
    found = prepared(html(b'<base href=" https://a.example/' + base + b'/ "><a href="x">x</a>', label))
    assert found.links == ((f"https://a.example/{url}/x",) if url is not None else ())
    assert [report.reason for report in found.link_reports] == [None if url is not None else "relative"]


@pytest.mark.parametrize(
    ("label", "value", "meant"),
    [
        ("iso-8859-1", "/caf\u00e9?q=\u00e9#\u00e9", "/caf\u00e9?q=%E9#\u00e9"), ("iso-8859-1", "?q=\u2019", "?q=%92"), ("windows-1251", "?q=\u0416x", "?q=%C6x"), ("gb2312", "?q=\u4e2d", "?q=%D6%D0"), ("gb18030", "?q=\u4e2d", "?q=%D6%D0"),
        ("big5", "?q=\u4e2d", "?q=%A4%A4"), ("shift_jis", "?q=\u8868", "?q=%95%5C"), ("euc-jp", "?q=\u65e5", "?q=%C6%FC"), ("euc-kr", "?q=\ud55c", "?q=%C7%D1"), ("iso-2022-jp", "?q=\u65e5", "?q=%1B%24BF%7C%1B%28B"),
        ("utf-8", "?q=\u00e9", "?q=\u00e9"), ("", "?q=\u00e9", "?q=\u00e9"), ("us-ascii", "?q=\u00e9", "?q=\u00e9"), ("utf-16", "?q=\u00e9", "?q=\u00e9"), ("hz", "?q=\u4e2d", "?q=\u4e2d"), ("x-unknown", "?q=\u4e2d", "?q=\u4e2d"),
        ("iso-8859-2", "?q=\u4e2d", "?q=\u4e2d"), ("iso-8859-1", "#\u00e9?\u00e9", "#\u00e9?\u00e9"), ("iso-8859-1", "mailto:a?subject=\u00e9", "mailto:a?subject=\u00e9"), ("iso-8859-1", " HTTPS://a/?\u00e9", " HTTPS://a/?%E9"), ("iso-8859-1", "?%E9", "?%E9"),
    ],
)  # fmt: skip
def test_the_query_is_of_the_documents_charset(label: str, value: str, meant: str) -> None:
    assert charsets.queried(value, label) == meant


@pytest.mark.parametrize(
    ("label", "follows", "reason"),
    [
        ("iso-2022-jp", b"\x1b$BF|\x1b(B", "unsafe_place"), ("iso-2022-jp", b"\x1b$B!#\x1b(B", None), ("iso-2022-jp", b"\x1b(I1\x1b(B", "unsafe_place"), ("hz", b"~{VP~}", "unsafe_place"), ("hz", b"~{!#~}", None),
        ("shift_jis", b"\x93\xfa", "unsafe_place"), ("shift_jis", b"\x81B", None), ("gb2312", b"\xd6\xd0", "unsafe_place"), ("utf-8", "\u3002".encode(), None), ("utf-8", b"\xff", None), ("iso-8859-1", b"\xe9", "unsafe_place"), ("iso-8859-1", b"\x94", None),
    ],
)  # fmt: skip
def test_what_follows_a_url_in_plain_text(label: str, follows: bytes, reason: str | None) -> None:
    body = b"x\r\nhttps://a.example/x" + follows + b" \r\nhttps://b.example/ x\r\n"
    found = prepared(message(body, kind="text/plain", charset=label), text_links=True)
    assert [report.reason for report in found.link_reports] == [reason, None]


def test_a_broken_octet_before_a_url_in_plain_text() -> None:
    """It may take the first letter with it."""
    found = prepared(message(b"x \xffhttps://a.example/ https://b.example/ x", kind="text/plain", charset="gbk"), text_links=True)  # fmt: skip
    assert found.links == ("https://b.example/",)


@pytest.mark.parametrize(
    ("label", "before", "tracked"),
    [("shift_jis", b"\x83", False), ("shift_jis", b"\x93\xfa", True), ("shift_jis", b"\x93\xfa\x83", False), ("shift_jis", b"\xb1", True), ("gb2312", b"\xd6\xd0", True), ("gb2312", b"\xd6\xd0\xd6", False),
     ("big5", b"\xa4", False), ("euc-kr", b"\xb0", False), ("euc-jp", b"\xc6\xfc", True), ("utf-8", "\u65e5".encode(), True), ("iso-8859-1", b"\xe9", True), ("shift_jis", b"\x93\xfa" * 900, False)],
)  # fmt: skip
def test_a_url_does_not_begin_within_a_character(label: str, before: bytes, tracked: bool) -> None:
    body = b"x " + before + b"https://a.example/ \r\nhttps://b.example/"
    found = prepared(message(body, kind="text/plain", charset=label), text_links=True)
    assert [report.reason for report in found.link_reports] == [None if tracked else "charset", None]


# -- for every label -----------------------------------------------------------------------------------------------------


EVERY = sorted(label for label in charset_names.NAMES if charset_names.codec(label) not in (*WIDE, ""))


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([*EVERY, "", "iso-2022-jp-2", "cp850", "utf8mb4", "cp50221"]),
    st.sampled_from(["8bit", "quoted-printable", "base64"]),
    st.data(),
)
def test_any_text_under_any_label(label: str, encoding: str, data: st.DataObject) -> None:
    """For any text that the charset has: what is outside the edits is the same, and each link is tracked."""
    piece_of = st.lists(st.sampled_from([*characters(label), "a", " ", "<i>", "<br>", "'", "\\", "~"]), max_size=8)
    pieces = ["".join(piece) for piece in data.draw(st.lists(piece_of, min_size=1, max_size=6))]
    body, expected = b"", b""
    for number, piece in enumerate(pieces):
        text = octets(f"{piece} ", label)
        body += text + LINK + text + b"</a>"
        expected += text + LINK.replace(URL.encode(), href(number).encode()) + text + b"</a>"
    links, out = edited(html(body, label, encoding))
    assert len(links) == len(pieces)
    assert out == expected + MARKUP.encode()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([*EVERY, "", "utf-16le", "utf-7", "x-unknown"]), st.sampled_from(["8bit", "base64"]), st.data())
def test_broken_octets_under_any_label(label: str, encoding: str, data: st.DataObject) -> None:
    """For any octets among the text: the message as it came, or the same but for links and pixel."""
    body = bytearray(octets(characters(label) * 2, label) + LINK + octets(characters(label), label) + b"</a> x </p>")
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([b"\x1b$B", b"\x1b(B", b"\x0e", b"~{", b"~}", b"\x81", b"\xff", b"<"])
        )
    raw = html(bytes(body), label, encoding)
    found = prepared(raw)
    out = rendered(found)
    if found.reason:
        assert out == raw
        return
    made = payload(leaves(out)[0])
    before = payload(leaves(raw)[0])
    for report in reversed(found.link_reports):
        if report.number >= 0 and charset_names.codec(label) not in (*WIDE, "utf-7"):
            before = before[: report.start] + href(report.number).encode() + before[report.end :]
    if charset_names.codec(label) not in (*WIDE, "utf-7"):
        assert made.replace(MARKUP.encode(), b"") == before.replace(MARKUP.encode(), b"")


def test_the_base64_of_a_body_before_the_first_edit_stays() -> None:
    body = b"\xe9 x\r\n" * 40 + LINK + b"x</a>"
    raw = html(body, "windows-1252")
    kept = base64.encodebytes(body).split(b"\n")[0]
    assert kept in rendered(prepared(raw))
