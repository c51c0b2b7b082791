"""Addresses go on as they were written or not at all, and an upstream is asked for nothing that it does not offer."""

import base64
import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.fakes import certificates
from tests.fakes.upstream import USUAL, Upstream
from tests.scenarios import hostile, service

GOOD = [
    "a@example.test", '"a b"@example.test', '"a\\"b"@example.test', '"@"@example.test', "a+b=c@example.test",
    "a.@example.test", ".a..b@example.test", "!#$%&'*+/=?^_`{|}~-@example.test", "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]", "a@xn--bcher-kva.example", "A@EXAMPLE.Test", "prvs=1234=a@example.test",
    "a" * 64 + "@" + ".".join(["d" * 60] * 3) + ".test", "postmaster",
]  # fmt: skip
BAD = [
    "a b@example.test", "a@b@example.test", "a@example..test", "a@", "@example.test", "a@exa mple.test", "<a@x.test>",
    "a@example.test\x00", "a\x1b@x.test", '"a@example.test', "a@[192.0.2.1",
    "a@-x.test", "a" * 600 + "@x.test", "",
]  # fmt: skip
WIDE = ["jürgen@example.test", "用户@例子.测试", "a@bücher.example"]
Peers = tuple[service.Service, Upstream]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    folder = tmp_path_factory.mktemp("addresses")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, tracking="per_recipient = false")
        with service.running(folder, ports, only="smtp,queue") as relay:
            yield relay, upstream


def test_as_they_were_written(peers: Peers) -> None:
    relay, upstream = peers
    with hostile.Smtp(relay.smtp) as client:
        for address in GOOD:
            assert client.mail(hostile.letter("", "X-Track: all"), address, sender=address).startswith("250"), address
            assert upstream.taken[-1].commands[0].startswith(f"MAIL FROM:<{address}>")
            assert f"RCPT TO:<{address}>" in upstream.taken[-1].commands


def test_or_not_at_all(peers: Peers) -> None:
    relay, _ = peers
    for address in BAD:
        with hostile.Smtp(relay.smtp) as client:
            assert client.ask("MAIL FROM:<a@example.test>").startswith("250")
            answer = client.ask(f"RCPT TO:<{address}>")
            assert answer[:1] == "5", f"{address}: {answer}"
            if address:
                client.ask("RSET")
                assert client.ask(f"MAIL FROM:<{address}>")[:1] == "5"


@pytest.mark.parametrize("address", WIDE)
def test_beyond_ascii(peers: Peers, address: str) -> None:
    relay, upstream = peers
    with hostile.Smtp(relay.smtp) as client:
        client.ask("MAIL FROM:<a@example.test>")
        assert client.ask(f"RCPT TO:<{address}>").startswith("553 5.6.7")
        client.ask("RSET")
        assert client.mail(hostile.letter(), address, sender=address, options=" SMTPUTF8").startswith("250")
    assert upstream.taken[-1].recipients == [address]
    assert " SMTPUTF8" in upstream.taken[-1].commands[0]


KEY = ed25519.Ed25519PrivateKey.generate()
RECORD = b"v=DKIM1; k=ed25519; p=" + base64.b64encode(KEY.public_key().public_bytes_raw())


# From, and the domain whose key signs (None for none): what a name or a comment says is nobody's address.
AUTHORS = [
    ("Ada <ada@mine.test>", "mine.test"),
    ("=?utf-8?q?info=40other.test=2C?= <ada@mine.test>", "mine.test"),
    ("=?utf-8?b?PGluZm9Ab3RoZXIudGVzdD4=?= <ada@mine.test>", "mine.test"),
    ("=?utf-8?Q?Z=C3=BCrich_=28Team?= <ada@mine.test>", "mine.test"),
    ('"info@other.test, x" <ada@mine.test>', "mine.test"),
    ("(info@other.test) ada@mine.test (and (others) info@other.test)", "mine.test"),
    ("Ada (Team <ada@mine.test>", "mine.test"),
    ("Team: Ada <@other.test:ada@mine.test>, info@other.test;", "mine.test"),
    ("=?utf-8?q?ada=40mine.test=2C?=\r\n <info@other.test>", "other.test"),
    ("Ada <ada@xn--FA-HIA.test.>", "xn--fa-hia.test"),
    ("Ada <ada@fa\u00df.test>", "xn--fa-hia.test"),
    ("Ada <ada@fass.test>", None),
]


def test_the_author_chooses_key_and_upstream(tmp_path: Path) -> None:
    certificates.written(tmp_path / "dkim.pem", KEY)
    with hostile.sink() as upstream, hostile.sink() as others:
        more = f'[[upstreams]]\nid = "o"\nurl = "smtp://127.0.0.1:{others.port}"\nfrom = ["*@other.test"]\n'
        for domain in ("mine.test", "Other.test", "fa\u00df.test"):
            more += f'[[dkim]]\ndomain = "{domain}"\nselector = "s"\nkey = "dkim.pem"\n'
        ports = service.settings(tmp_path, upstream=upstream.port, more=more)
        with service.running(tmp_path, ports, only="smtp,queue") as relay, hostile.Smtp(relay.smtp) as client:
            for written, author in AUTHORS:
                content = hostile.letter("", "X-Track: all").replace(b"A <a@example.test>", written.encode())
                utf8 = "" if written.isascii() else " SMTPUTF8"
                assert client.mail(content, sender="a@example.test", options=utf8).startswith("250"), written
                taken = (others if author == "other.test" else upstream).taken.pop()
                signed = re.search(rb"DKIM-Signature:[^:]*? d=([^;]+);", taken.content)
                assert (signed and signed[1].decode()) == author, written
                if signed and written.isascii():
                    assert dkimpy.DKIM(taken.content).verify(dnsfunc=lambda name, timeout=5: RECORD), written
            assert not upstream.taken
            assert not others.taken


EIGHT = hostile.letter("<html><body>\u00fc <a href='https://example.com/'>x</a></body></html>", "X-Track: all")
DSN = " RET=HDRS ENVID=QQ314159"


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """An upstream whose offers can be changed: it ends each connection after one message."""
    folder = tmp_path_factory.mktemp("lacks")
    certificates.written(folder / "dkim.pem", KEY)
    with hostile.sink({"after": "drop"}) as upstream:
        signing = '[[dkim]]\ndomain = "example.test"\nselector = "s"\nkey = "dkim.pem"\n'
        ports = service.settings(folder, upstream=upstream.port, more=signing)
        with service.running(folder, ports, only="smtp,queue") as relay:
            yield relay, upstream


@pytest.mark.parametrize("missing", [None, *USUAL])
def test_an_upstream_that_lacks_something(changing: Peers, missing: str | None) -> None:
    """With each extension off: what can be sent without it is, what can't is refused for good. 8bit becomes 7bit
    where nothing else is offered, and only there."""
    relay, upstream = changing
    offers = upstream.offers = tuple(offer for offer in USUAL if offer != missing)
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(hostile.letter()).startswith("250")  # by the connection that was left, if one was
        upstream.taken.clear()
        upstream.lines.clear()
        plain = client.mail(hostile.letter("", "X-Track: all"), options=DSN)
        declared = client.mail(EIGHT, options=" BODY=8BITMIME SIZE=500")
        undeclared = client.mail(EIGHT)
        utf8 = client.mail(EIGHT, WIDE[0], options=" SMTPUTF8")
    assert plain.startswith("250")
    assert declared.startswith("250"), declared
    assert undeclared.startswith("250")
    assert utf8.startswith("553 5.6.7" if missing == "SMTPUTF8" else "250"), utf8
    said = " ".join(line for line in upstream.lines if line.startswith(("MAIL", "RCPT")))
    words = {"SIZE 52428800": "SIZE=", "8BITMIME": "BODY=", "SMTPUTF8": "SMTPUTF8", "DSN": "ENVID="}
    for offer, word in words.items():
        assert (word in said) == (offer in offers), said
    assert ("ENVID=QQ314159" in said) == (missing != "DSN")
    assert b"/c/" in upstream.taken[0].content
    for kept in upstream.taken:
        assert dkimpy.DKIM(kept.content).verify(dnsfunc=lambda name, timeout=5: RECORD)
    for kept in upstream.taken[1:]:
        assert ("\u00fc".encode() in kept.content) is (missing != "8BITMIME")
        assert "\u00fc" in email.message_from_bytes(kept.content, policy=email.policy.default).get_content()


def test_a_message_that_is_too_large_for_the_upstream(changing: Peers) -> None:
    """It hears so at once, and the upstream hears nothing of it."""
    relay, upstream = changing
    upstream.offers = ("PIPELINING", "SIZE 1000")
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(hostile.letter()).startswith("250")  # by the connection that was left, if one was
        upstream.lines.clear()
        assert client.mail(hostile.letter("x" * 2000)).startswith("552 5.3.4 The upstream takes messages up to 1000")
        assert not any(line.startswith(("MAIL", "DATA")) for line in upstream.lines)
        assert client.mail(hostile.letter()).startswith("250")
    assert relay.command("queue", "list").stdout == "nothing waits\n"
