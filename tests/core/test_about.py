"""The line below a message that leads to the page about it: where it stands, in which language, and what it leaves alone."""

import email
import email.policy
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import about, headers, rewrite
from tests.core import rewriting

PAGE = "https://t.example.net/about/TOKEN"
PIXEL = "https://t.example.net/o/TOKEN"


def rendered(raw: bytes, *, told: bool = True, **options: Any) -> bytes:
    head = headers.read(raw)
    plan = replace(rewriting.plan(**options), about=told)
    found = rewrite.prepare(raw, head, plan)
    hrefs = [f"https://t.example.net/c/{n}" for n in range(len(found.links))]
    return rewrite.render(found, hrefs=hrefs, pixel=PIXEL if found.has_pixel else None, page=PAGE).content()


def page(
    body: str = "<p>Hi</p>", html: str = "<html>", head: str = "", charset: str = "utf-8", encoding: str = "8bit"
) -> bytes:
    fields = f"Subject: x\r\nMIME-Version: 1.0\r\n{head}Content-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return fields.encode() + f"{html}<body>{body}</body></html>\r\n".encode(charset)


def both(plain: bytes, charset: str = "utf-8", encoding: str = "8bit") -> bytes:
    return (
        b'Subject: x\r\nMIME-Version: 1.0\r\nContent-Language: de\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\n'
        + f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        + plain + b"\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>Hi</p></body></html>\r\n--b--\r\n"
    )  # fmt: skip


def texts(raw: bytes) -> dict[str, str]:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return {part.get_content_type(): unescape(part.get_content()) for part in message.walk() if not part.is_multipart()}


def test_it_stands_at_the_end_of_the_page_above_the_pixel() -> None:
    raw = page()
    made = rendered(raw)
    line = about.html(about.LINKS["en"], PAGE)
    pixel = re.search(rb"<img[^>]*>", made)
    assert pixel
    assert made == raw.replace(b"</body>", line.encode() + pixel[0] + b"</body>")


def test_without_the_setting_nothing_of_it_is_there() -> None:
    assert b"/about/" not in rendered(page(), told=False)
    assert b"/about/" not in rendered(both(b"Hallo"), told=False)


@pytest.mark.parametrize(
    ("html", "head", "code"),
    [
        ("<html>", "", "en"),
        ('<html lang="de">', "", "de"),
        ("<html class=x lang=fr-CA>", "", "fr"),
        ("<HTML XML:LANG='ES'>", "", "es"),
        ('<html data-lang="de">', "", "en"),
        ('<html lang="ja">', "", "en"),
        ('<html lang="de">', "Content-Language: it, en\r\n", "it"),
        ("<html>", "Content-Language: pl-PL\r\n", "pl"),
        ("<html>", "Content-Language: x\r\n", "en"),
        ("<html>", "Content-Language: deutsch\r\n", "en"),
    ],
)
def test_it_is_in_the_message_s_language(html: str, head: str, code: str) -> None:
    made = texts(rendered(page(html=html, head=head)))["text/html"]
    assert about.LINKS[code] in made


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "us-ascii", "windows-1252", "shift_jis", "utf-16"])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_it_reads_the_same_in_any_coding(charset: str, encoding: str) -> None:
    raw = page(html='<html lang="de">', charset=charset)
    head, _, body = raw.partition(b"\r\n\r\n")
    if encoding != "8bit":
        import base64
        import quopri

        body = (
            base64.encodebytes(body).replace(b"\n", b"\r\n")
            if encoding == "base64"
            else quopri.encodestring(body).replace(b"\n", b"\r\n")
        )
        head = head.replace(b"Encoding: 8bit", f"Encoding: {encoding}".encode())
    whole = head + b"\r\n\r\n" + body
    made = rendered(whole)
    if charset == "utf-16":  # left alone, unless what stands there can be told for sure
        assert made == whole or PAGE in texts(made)["text/html"]
        return
    seen = texts(made)["text/html"]
    assert "Über diese Nachricht" in seen
    assert PAGE in seen


@pytest.mark.parametrize(
    ("charset", "plain", "words"),
    [
        ("utf-8", "Hallo, Grüße".encode(), about.LINKS["de"]),
        ("iso-8859-1", "Hallo, Grüße".encode("latin-1"), about.LINKS["de"]),
        ("us-ascii", b"Hallo", about.LINKS["en"]),
        ("shift_jis", "こんにちは".encode("shift_jis"), about.LINKS["en"]),
    ],
)
def test_the_text_beside_the_page_has_it_too(charset: str, plain: bytes, words: str) -> None:
    made = rendered(both(plain, charset))
    seen = texts(made)
    assert seen["text/plain"].replace("\r\n", "\n").rstrip("\n").endswith(f"\n\n{words}:\n{PAGE}")
    assert seen["text/plain"].startswith(plain.decode(charset))
    assert about.LINKS["de"] in seen["text/html"]
    assert max(map(len, made.split(b"\r\n"))) < 998


def test_what_is_not_tracked_has_none() -> None:
    for raw in (
        b"Subject: x\r\nContent-Type: text/plain\r\n\r\nhello\r\n",
        page().replace(b"Content-Type: text/html", b"Content-Type: text/html\r\nContent-Disposition: attachment"),
        page("<!-- "), page("<p>-----BEGIN PGP MESSAGE-----</p>"),
        b'Subject: x\r\nContent-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n--b--\r\n',
    ):  # fmt: skip
        assert rendered(raw) == raw
    mixed = both(b"-----BEGIN PGP MESSAGE-----\r\nx")
    assert texts(rendered(mixed))["text/plain"] == texts(mixed)["text/plain"]


def test_the_operator_s_words_go_before_and_are_text() -> None:
    made = rendered(page(html='<html lang="de">'), about_text='Why & <how> "you"?')
    assert b"Why &amp; &lt;how&gt;" in made
    assert "Über".encode() not in made


@pytest.mark.parametrize("charset", ["", "; charset=", "; charset=unknown-8bit", "; charset=x-user-defined"])
@pytest.mark.parametrize("words", ["", "Why this?", "Über uns"])
def test_a_text_of_no_charset_has_it_too(charset: str, words: str) -> None:
    made = rendered(both(b"Hallo").replace(b"; charset=utf-8", charset.encode(), 1), about_text=words)
    line = words if words.isascii() and words else about.LINKS["en"]
    assert f"Hallo\r\n\r\n{line}:\r\n{PAGE}\r\n".encode() in made


def test_a_message_that_comes_again_has_one() -> None:
    raw = page()
    once = rendered(raw)
    head = headers.read(once)
    plan = replace(rewriting.plan(), about=True, mine=lambda kind, text: text == "TOKEN")
    again = rewrite.prepare(once, head, plan)
    assert rewrite.render(again, hrefs=[], pixel=None, page=PAGE).content() == once


@given(st.binary(max_size=300))
def test_whatever_it_is_it_is_the_message_and_the_line(body: bytes) -> None:
    raw = b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    made = rendered(raw, links=False)
    if made != raw:
        line = about.html(about.LINKS["en"], PAGE).encode()
        assert made.count(line) == 1
        assert re.sub(rb"<img[^>]*/o/TOKEN[^>]*>", b"", made.replace(line, b"")) == raw or b"quoted-printable" in made
