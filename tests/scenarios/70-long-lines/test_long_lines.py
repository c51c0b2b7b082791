"""What is signed holds after a server that breaks lines at 998 octets, as Postfix does; what can't be had so goes unsigned, and
operators are told why. By SMTP, with Postfix as the upstream, and by the milter of another Postfix."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import dkim as dkimpy
import pytest

from relay.commands import dkim as keys
from relay.core import dkim
from tests.core.rewriting import leaf, multipart
from tests.fakes.upstream import Upstream
from tests.peers import perl_dkim, postfix
from tests.scenarios import hostile, milters, service
from tests.until import eventually

KEY = '[[dkim]]\ndomain = "{}"\nselector = "t1"\nkey = "dkim.pem"\n'
OURS = KEY.format("example.test") + KEY.format("replaced.test") + 'unsigned_headers = ["Message-ID", "Date"]\n'
# As Amazon SES does it, but for the mail of one test only.
REPLACES = (
    "regexp:{ {/^Message-ID: <replace-/ REPLACE Message-ID: <0102@eu-west-1.amazonses.com>},"
    " {/^Date: Thu, 01 Jan 1970/ REPLACE Date: Fri, 02 Jan 2026 00:00:00 +0000} }"
)
WORDS = "word " * 300
HTML = '<p>Hello <a href="https://example.com/a">offer</a></p>\r\n<p>{}</p>\r\n<p>bye</p>\r\n'
TOP = "From: Ada <ada@example.test>\r\nTo: b@example.test\r\nSubject: {}\r\nMIME-Version: 1.0\r\n"
LEAF = "Content-Type: {}\r\n\r\n{}\r\n"
LIST = ", ".join(f"user{n}@department{n}.example.test" for n in range(60))

# What leaves signed, and what does not, with the reason.
SIGNED = {
    "between": LEAF.format("text/html; charset=utf-8", HTML.format(WORDS)),
    "word": LEAF.format("text/html; charset=utf-8", HTML.format("x" * 5000)),
    "plain": LEAF.format("text/plain", WORDS),
    "eight": "Content-Transfer-Encoding: 8bit\r\n" + LEAF.format("text/plain; charset=utf-8", "Grüße " * 300),
    "greek": "Content-Transfer-Encoding: 8bit\r\n" + LEAF.format("text/plain; charset=utf-8", "λόγος " * 300),
    "998": LEAF.format("text/plain", "x" * 998),
    "999": LEAF.format("text/plain", "x" * 999),
    "base64": "Content-Transfer-Encoding: base64\r\n" + LEAF.format("text/plain", "QUJD" * 600),
    "quoted": "Content-Transfer-Encoding: quoted-printable\r\n" + LEAF.format("text/plain", "a=3Db " * 600),
    "alternative": multipart("alternative", leaf(WORDS.encode(), "text/plain"), leaf(HTML.format("").encode())).decode(),
    "cc": f"Cc: {LIST}\r\n" + LEAF.format("text/plain", "short"),
    "references": "References: " + " ".join(f"<{n}@example.test>" for n in range(99)) + "\r\n" + LEAF.format("text/plain", "x"),
    "note": f"X-Note: {WORDS}\r\n" + LEAF.format("text/html", HTML.format("short")),
    "enclosed": multipart("mixed", leaf(b"Subject: x\r\n\r\n" + WORDS.encode(), "message/rfc822")).decode(),
}  # fmt: skip
UNSIGNED = {
    "field": ("X-Note: " + "x" * 2000 + "\r\n" + LEAF.format("text/plain", "x"), "no white space"),
    "sealed": (multipart("signed", leaf(WORDS.encode()), leaf(b"x", "application/pgp-signature")).decode(), "a signed or"),
    "preamble": (f"Content-Type: multipart/mixed; boundary=b\r\n\r\n{WORDS}\r\n--b\r\n\r\nx\r\n--b--\r\n", "outside the parts"),
}  # fmt: skip


@dataclass
class House:
    relay: service.Service
    last: Upstream
    zone: dict[str, str]
    doors: dict[str, int]

    def arrived(self, name: str) -> bytes:
        found = eventually(lambda: [k for k in self.last.taken if f"\r\nSubject: {name}\r\n".encode() in k.content])
        return found[-1].content

    def told(self, name: str) -> dict[str, Any]:
        """The record's explanation, by the API."""
        (sent,) = self.asked(f"/api/messages?subject={quote(name)}")["data"]
        return dict(self.asked(f"/api/messages/{sent['id']}")["data"]["message"]["explanation"])

    def asked(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.relay.admin}{path}", timeout=15) as answer:
            return dict(json.load(answer))

    def good(self, content: bytes) -> bool:
        """By two verifiers."""
        first = dkimpy.DKIM(content).verify(dnsfunc=lambda n, timeout=5: self.zone[n.decode().rstrip(".")].encode())
        return first and perl_dkim.verify(content, self.zone) == "pass"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("relay")
    pem = keys.generated(False)
    (folder / "dkim.pem").write_bytes(pem)
    (folder / "dkim.pem").chmod(0o600)
    with ExitStack() as stack:
        last = stack.enter_context(hostile.sink())
        breaks = stack.enter_context(
            postfix.running(transport=f"smtp:[127.0.0.1]:{last.port}", settings={"header_checks": REPLACES})
        )
        _, milter = milters.settings(folder)
        listen = milters.table(milters.documented(0)[1].replace("8891", str(milter)))
        ports = service.settings(
            folder, upstream=breaks.port, tracking="opens = true\nlinks = true", more=listen + OURS
        )
        relay = stack.enter_context(service.running(folder, ports, only="smtp,queue,milter,admin"))
        asks = stack.enter_context(milters.mail_server(last, milter))
        record = dkim.record(dkim.load(pem, "example.test", "t1"))
        zone = {f"t1._domainkey.{domain}": record for domain in ("example.test", "replaced.test")}
        yield House(relay, last, zone, {"smtp": relay.smtp, "milter": asks.port})


@pytest.mark.parametrize("door", ["smtp", "milter"])
def test_a_signature_holds_where_lines_are_broken(house: House, door: str) -> None:
    for name, content in SIGNED.items():
        name = f"{door} {name}"
        milters.send(house.doors[door], (TOP.format(name) + content).encode())
        after = house.arrived(name)
        assert house.good(after), name
        assert max(map(len, after.split(b"\r\n"))) <= 998
        assert house.told(name).get("lines_shortened", False) is (name.split()[1] != "998")
        if "offer" in content:
            assert len(hostile.tokens(after)[1]) == 1


@pytest.mark.parametrize("door", ["smtp", "milter"])
def test_what_can_not_be_had_goes_unsigned_and_says_why(house: House, door: str) -> None:
    for name, (content, why) in UNSIGNED.items():
        name = f"{door} {name}"
        milters.send(house.doors[door], (TOP.format(name) + content).encode())
        after = house.arrived(name)
        assert b"DKIM-Signature" not in after
        assert re.search(rb"\r\n [^\r\n]+", after)  # Postfix broke the line, as it breaks all of them
        told = house.told(name)["unsigned"]
        assert told.startswith("a line has over 998 octets, and ")
        assert why in told
        assert told in house.relay.log


@pytest.mark.parametrize(("domain", "holds"), [("replaced.test", True), ("example.test", False)])
def test_what_the_next_server_replaces_is_named_in_the_settings(house: House, domain: str, holds: bool) -> None:
    name = f"replaced {domain}"
    fields = "Message-ID: <replace-1@example.test>\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
    content = TOP.format(name).replace("ada@example.test", f"ada@{domain}") + fields + LEAF.format("text/plain", "x")
    milters.send(house.doors["smtp"], content.encode())
    after = house.arrived(name)
    assert b"Message-ID: <0102@eu-west-1.amazonses.com>\r\nDate: Fri, 02 Jan 2026" in after
    assert house.good(after) is holds
