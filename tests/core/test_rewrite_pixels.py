"""What is our pixel: by host, path and a token of this very message, never by a string in a URL or by where it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, identifiers, rewrite, threads, tokens
from relay.core.links import judge
from relay.core.model import Keys, Token, TokenKind, Tracking
from tests.core import rewriting
from tests.core.rewriting import message

KEYS = Keys(1, {0: b"a" * 32, 1: b"b" * 32})
OTHERS = Keys(1, {1: b"c" * 32})
BASES = ("https://www.example.com/t", "https://mail.example.com", "http://127.0.0.1:8080", "https://t.ex\u00e4mple.com")
OWN = "new@mine.example"
RANDOM = tokens.message_key(1_770_000_000, b"abcdef")
THIS, OLDER = tokens.bound(RANDOM, OWN, KEYS), tokens.bound(RANDOM, "older@mine.example", KEYS)


def pixel(key: bytes, keys: Keys = KEYS, kind: TokenKind = "open") -> str:
    return tokens.write(Token(kind, key, 0, 0, "https://a.example/" if kind == "click" else ""), keys)


def prepared(html: str, **options: Any) -> rewrite.Prepared:
    raw = message(html, extra=f"Message-ID: <{OWN}>\n")
    head = headers.read(raw)

    def mine(kind: TokenKind, text: str) -> bool:
        token = tokens.read(text, kind, KEYS)
        return token is not None and threads.names(identifiers.own(head), token.message_key, KEYS)

    plan = replace(rewriting.plan(own=BASES, **options), mine=mine)
    return rewrite.prepare(raw, head, plan)


MINE, THEIRS = pixel(THIS), pixel(OLDER)


@pytest.mark.parametrize(
    "image",
    [
        f"<img src='https://mail.example.com/o/{MINE}'>",
        f"<img src=https://mail.example.com/o/{MINE}>",
        f'<img width="1" SRC = "https://mail.example.com/o/{MINE}" alt="">',
        f"<img src='HTTPS://Mail.Example.COM/o/{MINE}'>",
        f"<img src='https://mail.example.com:443/o/{MINE}'>",
        f"<img src='http://mail.example.com/o/{MINE}'>",
        f"<img src='//mail.example.com/o/{MINE}'>",
        f"<img src=' https://mail.example.com/o/{MINE}\n'>",
        f"<img src='https://mail.example.com/o/{MINE}?x=1'>",
        f"<img src='https://mail.example.com/o/{MINE}#x'>",
        f"<img src='https://mail.example.com/%6f/{MINE}'>",
        f"<img src='https://mail.example.com/o/{MINE}?a=1&amp;b=2'>",
        f"<img src='https://www.example.com/t/o/{MINE}'>",
        f"<img src='http://127.0.0.1:8080/o/{MINE}'>",
        f"<blockquote><img src='https://mail.example.com/o/{MINE}'></blockquote>",
        f"<img src='https://mail.example.com/o/{THEIRS}'><p>x</p><img src='https://mail.example.com/o/{MINE}'>",
        f"<img src='https://mail.example.com/o/{pixel(THIS, Keys(0, KEYS.secrets))}'>",  # a retired key still verifies
    ],
)
def test_its_own_pixel_is_a_duplicate_wherever_it_stands(image: str) -> None:
    found = prepared(f"<html><body><p>x</p>{image}<p>y</p></body></html>")
    assert not found.has_pixel
    assert found.pixel_report is not None
    assert found.pixel_report.reason == "duplicate_pixel"


@pytest.mark.parametrize(
    "image",
    [
        # the customer's pictures, on the tracking host or on one whose name has it
        "<img src='https://www.example.com/logo.png'>",
        "<img src='https://www.example.com/o/logo.png'>",
        "<img src='https://www.example.com/t/logo.png'>",
        "<img src='https://www.example.com/tracks/o/x.png'>",
        "<img src='https://webmail.example.com/logo.png'>",
        "<img src='https://mail.example.com/o/logo.png'>",
        "<img src='https://mail.example.com.evil.example/o/x'>",
        "<img src='https://a.example/?u=https://mail.example.com/o/x'>",
        "<img src='https://127.0.0.1:80801/o/x'>",
        "<img src='cid:mail.example.com'>",
        "<img alt='https://mail.example.com/o/x' src='cid:1'>",
        # the right token at the wrong place
        f"<img src='https://webmail.example.com/o/{MINE}'>",
        f"<img src='https://www.example.com/o/{MINE}'>",
        f"<img src='https://www.example.com/tt/o/{MINE}'>",
        f"<img src='https://www.example.com/T/o/{MINE}'>",
        f"<img src='https://mail.example.com:8443/o/{MINE}'>",
        f"<img src='https://mail.example.com/c/{MINE}'>",
        f"<img src='https://mail.example.com/x/o/{MINE}'>",
        f"<img src='https://mail.example.com/o/{MINE}.gif'>",
        f"<img src='https://mail.example.com/o/{MINE}/'>",
        f"<img src='https://a.example/?u=https://mail.example.com/o/{MINE}'>",
        f"<img src='https://mail.example.com@a.example/o/{MINE}'>",
        f"<img data-src='https://mail.example.com/o/{MINE}'>",
        f"<p title='https://mail.example.com/o/{MINE}'>",
        f"<!-- <img src='https://mail.example.com/o/{MINE}'> -->",
        f"<a href='https://mail.example.com/o/{MINE}'>x</a>",
        # the right place with another token
        f"<img src='https://mail.example.com/o/{THEIRS}'>",
        f"<img src='https://mail.example.com/o/{pixel(THIS, OTHERS)}'>",
        f"<img src='https://mail.example.com/o/{pixel(THIS, kind='click')}'>",
        f"<img src='https://mail.example.com/o/{pixel(THIS, kind='reference')}'>",
        f"<img src='https://mail.example.com/o/{pixel(RANDOM)}'>",
        f"<img src='https://mail.example.com/o/{MINE[:-1]}'>",
        "<img src='https://mail.example.com/o/AAAA'>",
        "<img src='https://mail.example.com/o/'>",
        "<img src=''><img src><img>",
    ],
)
def test_no_pixel_of_this_message(image: str) -> None:
    for place in ("bottom", "top"):
        found = prepared(f"<html><body>{image}<p>x</p>{image}</body></html>", pixel=place)
        assert found.has_pixel


OLD = f"<p>old <a href='https://mail.example.com/c/{pixel(OLDER, kind='click')}'>offer</a></p>"
OLD += f"<img src='https://mail.example.com/o/{THEIRS}' width='1' height='1' alt='' style='border:0'>"


@pytest.mark.parametrize(
    "html",
    [
        # as these programs forward and quote
        f"<p>fyi</p><div class='moz-forward-container'><br>-------- Forwarded Message --------<table class='moz-email-headers-table'></table>{OLD}</div>",
        f"<p>fyi</p><div class='moz-cite-prefix'>On 1 Jan Ada wrote:</div><blockquote type='cite' cite='mid:1@x'>{OLD}</blockquote>",
        f"<div>fyi</div><hr id='zwchr' data-marker='__DIVIDER__'><div data-marker='__HEADERS__'><b>From: </b>Ada</div><div data-marker='__QUOTED_TEXT__'>{OLD}</div>",
        f"<p>fyi</p><p>-------- Original Message --------</p><table border='0'><tr><th>Subject:</th></tr></table><br>{OLD}",
        f"<div dir='auto'>fyi</div><div id='composer_signature'></div><div><br></div><div style='font-size:100%'><div>-------- Original message --------</div></div>{OLD}",
        f"<div dir='auto'>fyi</div><br><br><div class='gmail_quote'>-------- Original Message --------<br><b>From:</b> Ada<br><br></div>{OLD}",
        f"<div dir='auto'>fyi<br><br><div class='k9mail-signature'>--</div></div><br><br><div class='gmail_quote'><blockquote class='gmail_quote'>{OLD}</blockquote></div>",
        f"<div class='WordSection1'><p class='MsoNormal'>fyi</p><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in'><p><b>From:</b></p></div>{OLD}</div>",
        f"<div class='WordSection1'><p>fyi</p><div style='border:none;border-top:solid #B5C4DF 1.0pt'><p>From:</p></div>{OLD}</div>",
        f"<div>fyi</div><div id='appendonsend'></div><hr style='display:inline-block;width:98%'><div id='divRplyFwdMsg' dir='ltr'></div>{OLD}",
        f"<div>fyi<br><div><br><blockquote type='cite'><div>Begin forwarded message:</div></blockquote></div><div>{OLD}</div></div>",
        f"<div dir='ltr'>fyi<br><br><div class='gmail_quote gmail_quote_container'><div class='gmail_attr'>---------- Forwarded message ---------</div>{OLD}</div></div>",
        f"<div>fyi</div><div id='yahoo_quoted_1' class='yahoo_quoted'><div>----- Forwarded Message -----</div>{OLD}</div>",
        f"<div>fyi</div><div class='protonmail_quote'>------- Forwarded Message -------<br><blockquote class='protonmail_quote'>{OLD}</blockquote></div>",
        f"<div>fyi</div><div name='quote' style='margin:10px 5px 5px 10px'><b>Gesendet:</b>{OLD}</div>",
        f"<p>fyi</p><div class='OLK_SRC_BODY_SECTION'>{OLD}</div>",
        f"<div>fyi</div>-------- Forwarded Message --------<br><span><!--more-->{OLD}</span>",
        f"<p>fyi</p><font size='1'>----- Forwarded by Ada/Mine -----</font>{OLD}",
        f"fyi{OLD}",
        OLD,
        f"{OLD}{OLD}",
        f"<blockquote>{OLD}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["bottom", "top"])
def test_a_forwarded_message_has_a_pixel_of_its_own_and_the_old_one_stays(html: str, place: str) -> None:
    for whole in (f"<html><head></head><body>{html}</body></html>", html):
        found = prepared(whole, pixel=place)
        assert found.has_pixel
        assert {row.reason for row in found.link_reports} == {
            "own_link"
        }  # an old link leads on, and counts for its message
        out = rewrite.render(found, hrefs=[], pixel=f"https://mail.example.com/o/{MINE}").content()
        assert out.count(b"/o/") == whole.count("/o/") + 1
        again = prepared(headers_gone(out), pixel=place)
        assert not again.has_pixel
        assert again.pixel_report is not None
        assert again.pixel_report.reason == "duplicate_pixel"


def headers_gone(raw: bytes) -> str:
    return raw[headers.read(raw).body :].decode()


def test_the_links_of_others_use_up_no_place() -> None:
    """Only those of an earlier run of this message count for `max_links`."""

    def link(key: bytes) -> str:
        return f"<a href='https://mail.example.com/c/{pixel(key, kind='click')}'>x</a>"

    new = "<a href='https://a.example/'>y</a>"
    assert prepared(link(OLDER) * 3 + new, max_links=1).links == ("https://a.example/",)
    assert prepared(link(THIS) + new, max_links=1).links == ()
    assert prepared(link(THIS) + new, max_links=2).links == ("https://a.example/",)


@given(st.text(max_size=60), st.text(max_size=60), st.binary(min_size=6, max_size=6), st.integers(0, 2**40))
def test_a_key_is_bound_to_one_message(identifier: str, other: str, octets: bytes, now: int) -> None:
    """For any two Message-IDs: the key is bound to its own and to no other, sorts as it did, and needs no other length."""
    key = tokens.message_key(now, octets)
    bound = tokens.bound(key, identifier, KEYS)
    assert len(bound) == len(key)
    assert bound[:9] == key[:9]
    assert tokens.is_bound(bound, identifier, KEYS) == bool(identifier)
    assert tokens.is_bound(bound, identifier, Keys(2, {2: b"z" * 32, **KEYS.secrets})) == bool(identifier)
    assert other == identifier or not tokens.is_bound(bound, other, KEYS)
    assert not tokens.is_bound(bound, identifier, OTHERS)


def test_an_identifier_of_ours_names_its_message() -> None:
    entry = threads.entry("t.example", tokens.write(Token("reference", RANDOM, 0), KEYS))
    assert threads.names(entry, RANDOM, KEYS)
    assert not threads.names(entry, OLDER, KEYS)
    assert not threads.names(entry, RANDOM, OTHERS)
    assert not threads.names("", RANDOM, KEYS)
    assert threads.names(f"{tokens.message_id(RANDOM)}@mine.example", RANDOM, KEYS)
    assert not threads.names(f"{tokens.message_id(OLDER)}@mine.example", RANDOM, KEYS)


URLS = [
    "https://",
    "http://",
    "//",
    "mail.example.com",
    "www.example.com",
    ":443",
    "/t",
    "/o/",
    "/c/",
    "?",
    "#",
    "%2f",
    "\\",
    "@",
    " ",
    "\u00e4",
]


@given(st.lists(st.sampled_from(URLS), max_size=8).map("".join))
def test_any_url(url: str) -> None:
    """For any URL: what is below a tracking host begins with a slash, and a link to it is one of ours."""
    criteria = judge.criteria(Tracking(), BASES, (), len)
    path = judge.path_of_ours(url, criteria)
    assert not path or path[0] == "/"
    assert not path or judge.judge(url, "", criteria)[1] in ("own_link", "credentials")
