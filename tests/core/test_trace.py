"""The trace field: RFC 5321 syntax whatever a client says, and found again."""

from __future__ import annotations

import email
import email.utils
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, trace

AT = 1_767_607_200.0  # Mon, 05 Jan 2026 10:00:00 +0000
ID = "06fv3k9r3m3bg5tvo6d0"
# RFC 5321 4.4 and 4.1.2, as far as the field goes, with FWS as CRLF and a tab or a space.
FWS = r"(?:\r\n\t| )"
DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
LITERAL = r"\[(?:IPv6:)?[0-9A-Fa-f.:]+\]"
COMMENT = r"\((?:[ !-'*-\[\]-~]|\\[ -~])*\)"
STAMP = re.compile(
    rf"Received:(?:{FWS}from{FWS}(?:{DOMAIN}|{LITERAL})(?:{FWS}\({LITERAL}\))?(?:{FWS}{COMMENT})?)?"
    rf"{FWS}by{FWS}(?:{DOMAIN}|{LITERAL}){FWS}with{FWS}(?:SMTP|(?:ESMTP|UTF8SMTP)S?A?){FWS}id{FWS}[0-9a-v]{{20}}"
    rf"(?:{FWS}for{FWS}<[!-;=?-~]+>)?;{FWS}[A-Z][a-z]{{2}}, \d\d [A-Z][a-z]{{2}} \d{{4}} \d\d:\d\d:\d\d \+0000\r\n"
)


def field(
    helo: str = "client.example.com", peer: str = "192.0.2.1", host: str = "relay.example.com", protocol: str = "ESMTPS",
    recipient: str = "",
) -> str:  # fmt: skip
    made = trace.field(
        helo=helo, peer=peer, host=host, protocol=protocol, identifier=ID, recipient=recipient, at=AT + 0.9
    )
    return made.decode("ascii")


def test_as_every_server_writes_it() -> None:
    assert field(recipient="ann@example.org") == (
        "Received: from client.example.com ([192.0.2.1])\r\n"
        f"\tby relay.example.com with ESMTPS id {ID}\r\n"
        "\tfor <ann@example.org>; Mon, 05 Jan 2026 10:00:00 +0000\r\n"
    )


def test_nothing_of_the_client() -> None:
    assert field(helo="", peer="", protocol="ESMTPSA") == (
        f"Received: by relay.example.com with ESMTPSA id {ID};\r\n\tMon, 05 Jan 2026 10:00:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("helo", "peer", "expected"),
    [
        ("client.example.com", "2001:db8::1", "from client.example.com ([IPv6:2001:db8::1])"),
        ("[192.0.2.9]", "192.0.2.1", "from [192.0.2.9] ([192.0.2.1])"),
        ("[IPv6:2001:db8::9]", "2001:db8::1", "from [IPv6:2001:db8::9] ([IPv6:2001:db8::1])"),
        ("localhost", "", "from localhost"),
        ("client.example.com", "unix", "from client.example.com"),
        ("my computer", "192.0.2.1", r"from [192.0.2.1] ([192.0.2.1]) (helo=my computer)"),
        ("a_b", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) (helo=a_b)"),
        ("a..b", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) (helo=a..b)"),
        ("x) by evil (y", "192.0.2.1", r"from [192.0.2.1] ([192.0.2.1]) (helo=x\) by evil \(y)"),
        ("back\\slash", "", r"from unknown (helo=back\\slash)"),
        ("a\r\nBcc: b@example.org", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) (helo=a??Bcc: b@example.org)"),
        ("büro", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) (helo=b?ro)"),
        ("\udce9", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) (helo=?)"),
        ("=?utf-8?q?x?=", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) (helo=??utf-8?q?x??)"),
        ("a" * 300, "192.0.2.1", f"from [192.0.2.1] ([192.0.2.1]) (helo={'a' * 60})"),
        ("", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1])"),
    ],
)
def test_what_a_client_may_say(helo: str, peer: str, expected: str) -> None:
    made = field(helo, peer)
    assert re.sub(r"\r\n\t", " ", made).startswith(f"Received: {expected} by relay.example.com with ")
    assert STAMP.fullmatch(made)


@pytest.mark.parametrize(
    ("host", "expected"),
    [        ("[192.0.2.1]", "[192.0.2.1]"), ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
("relay", "relay"), ("my_relay.example.com", "my-relay.example.com"), ("-", "unknown"), ("ü", "unknown"), ("", "unknown")],
)  # fmt: skip
def test_our_own_name(host: str, expected: str) -> None:
    assert f"by {expected} with" in field(host=host)
    assert trace.passes(headers.read(field(host=host).encode()), host) == 1


@pytest.mark.parametrize(
    "recipient", ["", "ann@exämple.org", '"a b"@example.org', "a<b>@example.org", "a\r\n@b", "a" * 255]
)
def test_a_recipient_that_can_not_stand_there(recipient: str) -> None:
    assert "for" not in field(recipient=recipient)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("", "SMTP"), ("t", "SMTP"), ("e", "ESMTP"), ("et", "ESMTPS"), ("el", "ESMTPA"), ("etl", "ESMTPSA"),
        ("eu", "UTF8SMTP"), ("eut", "UTF8SMTPS"), ("eul", "UTF8SMTPA"), ("eutl", "UTF8SMTPSA"),
    ],
)  # fmt: skip
def test_protocols(how: str, expected: str) -> None:
    """RFC 3848, RFC 6531 4.3."""
    assert trace.protocol(extended="e" in how, utf8="u" in how, tls="t" in how, login="l" in how) == expected


texts = st.text(max_size=300) | st.binary(max_size=300).map(lambda said: said.decode("utf-8", "surrogateescape"))


@given(texts, texts | st.ip_addresses().map(str), texts, texts | st.emails())
def test_any_texts(helo: str, peer: str, host: str, recipient: str) -> None:
    """For any texts: one field, of the syntax of RFC 5321; the standard library reads it."""
    made = field(helo, peer, host, recipient=recipient)
    assert STAMP.fullmatch(made)
    assert all(len(line) <= 998 for line in made.split("\r\n"))
    read = email.message_from_string(made + "Subject: x\r\n\r\nbody")
    assert (len(read), read["Subject"], read.get_payload()) == (2, "x", "body")
    assert email.utils.parsedate_to_datetime(read["Received"].rpartition(";")[2]).timestamp() == AT
    assert trace.passes(headers.read(made.encode()), host) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], 0),
        ([field()], 1),
        ([field(), "Received: from a by b; now\r\n", field(helo="other", recipient="x@y.example")], 2),
        ([field(host="RELAY.example.com")], 1),
        ([re.sub(r"\s+", "\r\n  ", field()) + "\r\n"], 1),  # folded anew on the way
        ([field(host="other.example.com")], 0),
        ([field(host="relay.example.com.evil.example")], 0),
        ([f"Received: from a by relay.example.com (Postfix) with ESMTP id {ID}; now\r\n"], 0),
        (["Received: by relay.example.com with ESMTP id 4XYZ; now\r\n"], 0),
        ([f"X-Received: by relay.example.com with ESMTP id {ID}; now\r\n"], 0),
    ],
)
def test_how_often_it_was_here(fields: list[str], expected: int) -> None:
    head = headers.read(("".join(fields) + "Subject: x\r\n\r\n" + field()).encode())
    assert trace.passes(head, "relay.example.com") == expected
