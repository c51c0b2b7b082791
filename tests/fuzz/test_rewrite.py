"""For any bytes: `prepare` never raises, and outside the edits the bytes are equal; a rewritten message is left as it is
when it comes again. A fixed number of examples runs in every test run; FUZZ_EXAMPLES asks for more."""

from __future__ import annotations

import base64
import quopri
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import headers, parts
from tests import fuzz
from tests.core.rewriting import BASE, MARKUP, leaf, message, multipart
from tests.fuzz.targets import hold

many = settings(max_examples=fuzz.EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

HTML = st.lists(
    st.sampled_from(
        ["<html>", "<head>", "</head>", "<body>", "</body>", "</html>", "<a href='https://a.example/x?a=1&amp;b=2'>", "</a>", "<a\r\nhref=https://b.example/>",
         '<A HREF="https://c.example/é">', "<a href='{{x}}'>", f"<a href='{BASE}/c/x'>", "<img src='https://a.example/i.png'>", MARKUP, "<base href='https://d.example/'>",
         "<a href=rel>", "<!--", "-->", "<!--[if mso]>", "<![endif]-->", "<textarea>", "</textarea>", "<title>", "</title>", "<plaintext>", "<noscript>", "text ",
         "é", "日本", "=", "\r\n", "\n", " \r\n", "x" * 400, "<a data-track=off href='https://e.example/'>", "<a", "<", "&", "-----BEGIN PGP MESSAGE-----", "<template>",
         "<blockquote>", "https://f.example/ ", "\0", "\x1b", "<area href=//g.example>", "<v:rect href='https://h.example/'>"]
    ),
    max_size=25,
).map("".join)  # fmt: skip
CHARSETS = st.sampled_from(
    ["utf-8", "", "us-ascii", "iso-8859-1", "gb18030", "iso-2022-jp", "utf-16", "utf-7", "x-none", "shift_jis"]
)
ENCODINGS = st.sampled_from(["7bit", "8bit", "quoted-printable", "base64", "binary", "x-none", ""])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "text_links": st.booleans(), "pixel": st.sampled_from(["top", "bottom"]), "max_links": st.integers(0, 3), "skip_visible_urls": st.booleans(),
        "append": st.just({"utm_source": "m"}), "opens": st.booleans(), "links": st.booleans(), "pixel_min_text": st.integers(0, 20),
    },
)  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    text, charset, encoding = draw(HTML), draw(CHARSETS), draw(ENCODINGS)
    try:
        body = text.encode(charset or "utf-8", "replace")
    except LookupError:
        body = text.encode()
    if encoding == "base64":
        body = base64.encodebytes(body)
    elif encoding == "quoted-printable":
        body = quopri.encodestring(body)
    kind = draw(
        st.sampled_from(["text/html", "text/plain", "text/x-amp-html", "application/octet-stream", "TEXT/HTML"])
    )
    fields = [f"Content-Transfer-Encoding: {encoding}"] if encoding else []
    if draw(st.integers(0, 6)) == 0:
        fields.append("Content-Disposition: attachment")
    return leaf(body, f"{kind}; charset={charset}" if charset else kind, *fields)


TREES = st.recursive(
    texts(),
    lambda children: st.tuples(
        st.sampled_from(["mixed", "alternative", "related", "signed", "encrypted", "digest"]), st.lists(children, max_size=3), st.sampled_from(["b", "=_c=", "d e"])
    ).map(lambda node: multipart(node[0], *node[1], boundary=node[2])),
    max_leaves=5,
)  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A message in which some octets were changed, taken out or put in."""
    raw = bytearray(b"From: a@example.com\r\nList-Unsubscribe: <https://c.example/>\r\n" + draw(TREES))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from([b"", b"\n", b"\r\n", b"=", b"--", b"<", b">", b'"', b"\0", b"\xff", b":", b"\r\n\r\n"])
        )
    return bytes(raw)


@many
@given(broken(), OPTIONS)
def test_messages(raw: bytes, options: dict[str, Any]) -> None:
    hold(raw, options)


@many
@given(st.binary(max_size=400), OPTIONS)
def test_bytes(raw: bytes, options: dict[str, Any]) -> None:
    hold(raw, options)
    hold(b"Content-Type: text/html\n\n" + raw, options)


BOMBS = {
    "depth": b"".join(b"Content-Type: multipart/mixed; boundary=b%d-\r\n\r\n--b%d-\r\n" % (n, n) for n in range(2_000)),
    "parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 50_000,
    "fields": b"X: y\r\n" * 20_000 + b"\r\n",
    "field": b"X: " + b"y" * 10_000_000 + b"\r\n\r\n",
    "boundary": b"Content-Type: multipart/mixed; boundary=" + b"b" * 10_000_000 + b"\r\n\r\n",
    "continuations": b"Content-Type: multipart/mixed;"
    + b"".join(b" b*%d=x;\r\n" % n for n in range(100_000))
    + b"\r\n",
    "nothing": b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"\r\n" * 2_000_000,
    "soft breaks": b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + b"=\r\n" * 1_000_000,
    "partial": b"Content-Type: message/partial; id=x; number=1\r\n\r\n" + b"x" * 1_000_000,
    "delimiters": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bx\n" * 2_000_000,
    **{
        f"html {unit}": message(unit * (1_900_000 // len(unit)))
        for unit in (
            "<a ",
            "<!--",
            "<a href=https://a.example/>",
            "<!--[if mso]>href",
            "&amp;",
            "<a href='",
            "=",
            "<",
            "<template>",
            "<noscript>",
        )
    },
    "attributes": message("<a " + "x " * 900_000 + ">"),
    "relative": message("<base href=https://b.example/>" + "<a href=x>" * 100_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    """Made to be slow or deep: they pass, edited or as they came."""
    hold(BOMBS[name], {"text_links": True})


def test_scan_stops_at_its_limits() -> None:
    for name, reason in (
        ("depth", "limit_depth"),
        ("parts", "limit_parts"),
        ("fields", "limit_headers"),
        ("field", "limit_headers"),
    ):
        assert parts.scan(BOMBS[name], headers.read(BOMBS[name])).reason == reason
