"""Of a message's Authentication-Results only that of the receiving server is believed, and only what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import authentication, headers

SERVER = "mx.example.org"


def read(*values: str | bytes, server: str = SERVER) -> dict[str, str]:
    lines = [value if isinstance(value, bytes) else value.encode() for value in values]
    section = b"".join(b"Authentication-Results: " + line + b"\r\n" for line in lines)
    return authentication.results(headers.read(section + b"From: a@example.net\r\n\r\n"), server)


# Values as servers write them (RFC 8601 appendix B, Gmail, Fastmail, OpenDMARC), and as attackers would.
VALUES: list[tuple[str, dict[str, str]]] = [
    ("mx.example.org; none", {}),
    ("mx.example.org", {}),
    ("mx.example.org 1; none", {}),
    ("mx.example.org 1; spf=pass smtp.mailfrom=example.net", {"spf": "pass"}),
    ("mx.example.org 2; spf=pass smtp.mailfrom=example.net", {}),
    ("MX.Example.Org; DMARC=Pass header.from=example.net", {"dmarc": "pass"}),
    ('"mx.example.org"; dmarc=pass', {"dmarc": "pass"}),
    ("(by us) mx.example.org (on port 25) 1; dmarc=fail (p=none dis=none)\r\n header.from=x.example", {"dmarc": "fail"}),
    (
        "mx.example.org;\r\n dkim=pass header.i=@example.net header.s=a header.b=\"x/y=\";\r\n spf=softfail (google.com: "
        "domain of a@example.net does not (really; no) say) smtp.mailfrom=a@example.net;\r\n dmarc=pass (p=REJECT "
        "sp=REJECT dis=NONE) header.from=example.net",
        {"dmarc": "pass", "spf": "softfail", "dkim": "pass"},
    ),
    ("mx.example.org; dkim=fail reason=\"bad\" header.d=a; dkim=pass header.d=b", {"dkim": "pass"}),
    ("mx.example.org; dkim=fail header.d=a; dkim=neutral header.d=b", {"dkim": "fail"}),
    ("mx.example.org; spf=pass smtp.helo=x; spf=fail smtp.mailfrom=y", {"spf": "fail"}),
    ("mx.example.org; dmarc=fail; dmarc=pass", {"dmarc": "fail"}),
    ("mx.example.org; dmarc = pass", {"dmarc": "pass"}),
    ("mx.example.org; dmarc/1=pass", {"dmarc": "pass"}),
    ("mx.example.org; (x) dmarc (y) = (z) pass (w)", {"dmarc": "pass"}),
    ("mx.example.org;dmarc=pass;", {"dmarc": "pass"}),
    ("mx.example.org; iprev=pass; x-dmarc=pass; arc=pass", {}),
    # Not the server's
    ("mx.example.net; dmarc=pass", {}),
    ("mx.example.org.evil.example; dmarc=pass", {}),
    ("evil.example (mx.example.org); dmarc=pass", {}),
    ("evil mx.example.org; dmarc=pass", {}),
    ("=?utf-8?q?mx.example.org?=; dmarc=pass", {}),
    ("spf=pass mx.example.org; dmarc=pass", {}),
    ("", {}),
    # Nothing that the server said of DMARC
    ("mx.example.org; spf=fail (; dmarc=pass) smtp.mailfrom=x", {"spf": "fail"}),
    ("mx.example.org; spf=fail (a (b) ; dmarc=pass ; (", {"spf": "fail"}),
    ('mx.example.org; spf=fail reason="; dmarc=pass" x=y', {"spf": "fail"}),
    ('mx.example.org; spf=fail reason="\\"; dmarc=pass; \\"" x=y', {"spf": "fail"}),
    ('mx.example.org; spf=fail reason="; dmarc=pass', {"spf": "fail"}),
    ("mx.example.org; spf=fail (\\); dmarc=pass)", {"spf": "fail"}),
    ("mx.example.org; spf=fail =?utf-8?q?=3B_dmarc=3Dpass?=", {"spf": "fail"}),
    ("mx.example.org; spf=fail dmarc=pass", {"spf": "fail"}),
    ('mx.example.org; "dmarc"=pass', {}),
    ('mx.example.org; dmarc="pass"', {}),
    ("mx.example.org; dmarc=pass-through", {}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_a_field_says(value: str, expected: dict[str, str]) -> None:
    assert read(value) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["mx.example.org; dmarc=fail", "mx.example.org; dmarc=pass"], {"dmarc": "fail"}),
        (["mx.example.org; spf=pass", "mx.example.org; dmarc=pass"], {"spf": "pass"}),
        (["mx.example.org; none", "mx.example.org; dmarc=pass"], {}),
        (["mx.example.org 7; x", "mx.example.org; dmarc=pass"], {}),
        (["lists.example.net; dmarc=pass", "mx.example.org; dmarc=fail", "mx.example.org; dmarc=pass"], {"dmarc": "fail"}),
    ],
)  # fmt: skip
def test_the_servers_first_field_is_the_one(values: list[str], expected: dict[str, str]) -> None:
    assert read(*values) == expected


def test_what_is_long_is_read_as_far_as_servers_write() -> None:
    ours, room = "mx.example.org; dmarc=pass", authentication.LONGEST
    assert read(*["mx.example.net; none"] * (authentication.MAX_FIELDS - 1), ours) == {"dmarc": "pass"}
    assert read(*["mx.example.net; none"] * authentication.MAX_FIELDS, ours) == {}
    assert read(f"mx.example.org; spf=fail ({'x' * (room - 100)}); dmarc=pass") == {"spf": "fail", "dmarc": "pass"}
    assert read(f"mx.example.org; spf=fail ({'x' * room}); dmarc=pass") == {"spf": "fail"}


@given(st.binary(max_size=300))
def test_for_any_bytes_known_methods_and_words(raw: bytes) -> None:
    found = read(b"mx.example.org; " + raw)
    assert set(found) <= set(authentication.METHODS)
    assert all(result.isalpha() and result == result.lower() for result in found.values())


@given(st.text(alphabet='ab;()"\\ =', max_size=40))
def test_what_stands_in_a_comment_or_in_quotes_says_nothing(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    comment = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    assert read(f'mx.example.org; spf=fail reason="{quoted}" ({comment}; dmarc=pass)') == {"spf": "fail"}
