"""Structured field values: comments, words, parameters; what readers can disagree about is not sound."""

from __future__ import annotations

import email.message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import structured


@pytest.mark.parametrize(
    ("text", "word", "parameters"),
    [
        ('text/html; charset="utf-8"', "text/html", {"charset": "utf-8"}),
        ("TEXT/Plain; Format=flowed; delsp=yes", "text/plain", {"format": "flowed", "delsp": "yes"}),
        ("text/html;charset=utf-8;", "text/html", {"charset": "utf-8"}),
        ("text/html ; charset = utf-8 ; ; x=y", "text/html", {"charset": "utf-8", "x": "y"}),
        ("text/html; utf-8", "text/html", {}),
        ("7bit", "7bit", {}),
        ("8bit;", "8bit", {}),
        # comments: RFC 2045 5.1, RFC 5322 3.2.2
        ("text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        ("multipart/signed(signed mail); boundary=x", "multipart/signed", {"boundary": "x"}),
        ("(a) multipart (b) / (c) signed (d) ; (e) boundary (f) = (g) x (h)", "multipart/signed", {"boundary": "x"}),
        ('multipart/mixed; boundary="x" (it; "is")', "multipart/mixed", {"boundary": "x"}),
        ("multipart/mixed; boundary=x (a (b; boundary=y) c)", "multipart/mixed", {"boundary": "x"}),
        (r"multipart/mixed (\); boundary=y \() ; boundary=x", "multipart/mixed", {"boundary": "x"}),
        ('text/html (a "b); charset=utf-8', "text/html", {"charset": "utf-8"}),
        ("text/html; charset=us-ascii(7bit)", "text/html", {"charset": "us-ascii"}),
        ('multipart/mixed; boundary="a(b)c"', "multipart/mixed", {"boundary": "a(b)c"}),
        ("(quoted-printable) base64", "base64", {}),
        ("inline (shown)\r\n (here); filename=a.html", "inline", {"filename": "a.html"}),
        ("auto-replied (vacation)", "auto-replied", {}),
        # quotes
        (r'attachment; filename="a\"b;c\\.txt"', "attachment", {"filename": r'a"b;c\.txt'}),
        ('text/html; charset="utf-8', "text/html", {"charset": "utf-8"}),
        ('multipart/mixed; boundary="x; charset=utf-8', "multipart/mixed", {"boundary": "x", "charset": "utf-8"}),
        ('text/html; charset="utf-8" format=flowed', "text/html", {"charset": "utf-8", "format": "flowed"}),
        ("text/html; name=my report (1).html", "text/html", {"name": "my report (1).html"}),
        ("text/html; name=a=b; charset=utf-8", "text/html", {"name": "a=b", "charset": "utf-8"}),
        ("text/html; name=(c); charset=utf-8", "text/html", {"name": "(c)", "charset": "utf-8"}),
        ("text/html; name=; charset=utf-8", "text/html", {"name": "", "charset": "utf-8"}),
        ("multipart/mixed; boundary=(it)", "multipart/mixed", {"boundary": "(it)"}),
        ("multipart/mixed; boundary = ==x=", "multipart/mixed", {"boundary": "==x="}),
        ("multipart/mixed; boundary=a=b", "multipart/mixed", {"boundary": "a=b"}),
        ("text/html; charset=utf-8; charset=UTF-8", "text/html", {"charset": "utf-8"}),
        ('text/html; charset="utf-8"; charset*=us-ascii\'\'UTF-8', "text/html", {"charset": "UTF-8"}),
        # semicolons that are missing or too many
        ('a/b; name="smime.p7m"\r\n smime-type=enveloped-data', "a/b", {"name": "smime.p7m", "smime-type": "enveloped-data"}),
        ("multipart/mixed; boundary=x charset=utf-8", "multipart/mixed", {"boundary": "x", "charset": "utf-8"}),
        ('multipart/mixed; charset = "utf-8" boundary = x', "multipart/mixed", {"charset": "utf-8"}),
        ("text/html; , charset=utf-8", "text/html", {"charset": "utf-8"}),
        ('multipart/mixed; boundary="x";; charset=utf-8', "multipart/mixed", {"boundary": "x", "charset": "utf-8"}),
        # RFC 2231
        ("multipart/mixed; boundary*0=ab; boundary*1=cd", "multipart/mixed", {"boundary": "abcd"}),
        ('multipart/mixed; boundary*1="cd" (c); boundary*0="ab" (d)', "multipart/mixed", {"boundary": "abcd"}),
        ("attachment; filename*=utf-8''h%C3%A9.txt", "attachment", {"filename": "hé.txt"}),
        ("attachment; filename=h_.txt; filename*=utf-8''h%C3%A9.txt", "attachment", {"filename": "hé.txt"}),
        ("attachment; filename*0*=iso-8859-1'de'h%E9; filename*1=%20x", "attachment", {"filename": "hé%20x"}),
        ("attachment; filename*0*=utf-8''%C3; filename*1*=%A9", "attachment", {"filename": "é"}),
        ("attachment; filename*0=a; filename*2=c", "attachment", {"filename": "a"}),
        ("attachment; filename*1=b; filename=a", "attachment", {"filename": "a"}),
        ("text/html; charset*=us-ascii'en'utf-8", "text/html", {"charset": "utf-8"}),
        ("attachment; filename*=nonsense''h%E9", "attachment", {"filename": "hé"}),
    ],
)  # fmt: skip
def test_sound(text: str, word: str, parameters: dict[str, str]) -> None:
    assert structured.read(text) == (word, parameters, True)
    assert structured.of(b" " + text.encode("latin-1") + b"\r\n") == (word, parameters, True)


@pytest.mark.parametrize(
    ("text", "word", "parameters"),
    [
        ("", "", {}),
        ("; charset=utf-8", "", {"charset": "utf-8"}),
        ("(text/html)", "", {}),
        ("text/html charset=utf-8", "text/html", {"charset": "utf-8"}),
        ("text/html, charset=utf-8", "text/html", {"charset": "utf-8"}),
        ("text/html: charset=utf-8", "text/html", {"charset": "utf-8"}),
        ("multipart/signed boundary=x; micalg=y", "multipart/signed", {"boundary": "x", "micalg": "y"}),
        ('"multipart/signed"; boundary=x', "multipart/signed", {"boundary": "x"}),
        ("multipart/signed/x; boundary=x", "multipart/signed", {"boundary": "x"}),
        ("multipart/; boundary=x", "multipart", {"boundary": "x"}),
        ("/html", "", {}),
        ("text/ht(c)ml", "text/ht", {}),
        ("te xt/html", "te", {}),
        ("text/html (unended; charset=utf-8", "text/html", {"charset": "utf-8"}),
        ("text/html)", "text/html", {}),
        ('text/html"', "text/html", {}),
        ("<text/html>", "", {}),
        ("text/html\u00a0; charset=utf-8", "text/html", {"charset": "utf-8"}),
        ("attachment filename=a.html", "attachment", {"filename": "a.html"}),
        ("base64 quoted-printable", "base64", {}),
        # contradictions: readers differ in which one counts
        ("multipart/mixed; boundary=x; boundary=X", "multipart/mixed", {"boundary": "x"}),
        ("multipart/mixed; boundary=x boundary=y", "multipart/mixed", {"boundary": "x"}),
        ("multipart/mixed; boundary=x; boundary=y", "multipart/mixed", {"boundary": "x"}),
        ("multipart/mixed; boundary=x; boundary*=utf-8''y", "multipart/mixed", {"boundary": "y"}),
        ("multipart/mixed; boundary*0=x; boundary*0=y", "multipart/mixed", {"boundary": "x"}),
        ("text/plain; " + "a=b;" * 9000, "text/plain", {}),
    ],
)  # fmt: skip
def test_unsound(text: str, word: str, parameters: dict[str, str]) -> None:
    assert structured.read(text) == (word, parameters, False)


WORDS = st.text("abcXYZ019!#$&+-.^_", min_size=1, max_size=8)
COMMENTS = st.recursive(
    st.sampled_from(["", "x", ";", '"', "\\(", "\\)", " ", "a=b"]),
    lambda inside: st.lists(inside, max_size=3).map(lambda texts: f"({''.join(texts)})"),
).map(lambda text: f"({text})")
GAPS = st.lists(st.one_of(st.sampled_from([" ", "\t", "\r\n "]), COMMENTS), max_size=2).map("".join)


@given(st.data())
def test_comments_and_white_space_mean_nothing(data: st.DataObject) -> None:
    """For any value: with comments and folding white space between its lexemes it says what it says without."""
    kind, subtype = data.draw(WORDS), data.draw(WORDS)
    parameters = data.draw(st.dictionaries(WORDS.map(str.lower), st.one_of(WORDS, st.text(' ;()"\\ab', max_size=8))))
    lexemes = [kind, "/", subtype]
    for name, value in parameters.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        bare = value if value and not set(value) & set(' ;()"\\') else f'"{escaped}"'
        lexemes += [";", name, "=", bare]
    text = "".join([piece for lexeme in lexemes for piece in (data.draw(GAPS), lexeme)]) + data.draw(GAPS)
    expected = (f"{kind}/{subtype}".lower(), parameters, True)
    assert structured.read("".join(lexemes)) == structured.read(text) == expected


SOUP = [
    "a",
    "/",
    ";",
    "=",
    '"',
    "\\",
    "(",
    ")",
    " ",
    "\r\n ",
    "*",
    "*0",
    "*0*",
    "*1",
    "''",
    "%41",
    "text/html",
    "; a=b",
    "é",
    ",",
]


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(SOUP), max_size=40).map("".join)))
def test_any_text(text: str) -> None:
    """For any text: a sound word is a token, or two with a slash between, and stands in the text; the standard library finds
    the same type in what is sound and has no comment."""
    word, parameters, sound = structured.read(text)
    assert word == word.lower()
    assert all(name == name.lower() for name in parameters)
    assert not sound or structured.PLAIN.fullmatch(word)
    if sound and "(" not in text and "/" in word and "".join(text.split()) == text:
        witness = email.message.Message()
        witness["Content-Type"] = text
        assert witness.get_params(failobj=[("", "")])[0][0].lower() == word


@given(st.binary(max_size=300))
def test_any_bytes(value: bytes) -> None:
    structured.of(value)
