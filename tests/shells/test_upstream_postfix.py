"""The upstream room against a real Postfix."""

import email
import re
import shutil
import ssl
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from relay import config
from relay.core import dkim
from relay.core.model import Done, Envelope, Later, Never, Recipient
from relay.upstream import client
from tests.core.rewriting import leaf, multipart
from tests.fakes import certificates
from tests.fakes import upstream as fake
from tests.peers import dovecot, postfix
from tests.until import until

MESSAGE = b"From: a@here.example\r\nTo: b@there.example\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@here.example>\r\nSubject: x\r\n\r\nHello\r\n.dot\r\n"


def envelope(*to: str, sender: str = "a@here.example", options: tuple[str, ...] = ()) -> Envelope:
    return Envelope(sender, tuple(Recipient(r) for r in to or ("b@there.example",)), options)


async def arrived(sink: fake.Upstream, count: int) -> None:
    await until(lambda: len(sink.kept) >= count)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory):
    pair = certificates.make(tmp_path_factory.mktemp("tls"))
    return pair, certificates.trusting(pair.certificate)


async def test_messages_pass_whole_and_words_come_back(tls):
    pair, trust = tls
    async with fake.Upstream(lmtp=True) as sink:
        settings = {
            "message_size_limit": "200000",
            "smtpd_recipient_restrictions": "check_recipient_access inline:{no@x.example=REJECT, later@x.example=DEFER}",
        }
        with postfix.running(
            transport=f"lmtp:inet:127.0.0.1:{sink.port}", settings=settings,
            certificate=pair.certificate, key=pair.key,
        ) as server:  # fmt: skip
            upstream = config.Upstream(url=f"smtp://127.0.0.1:{server.port}", tls="required")
            out = client.UpstreamClient(upstream, hostname="relay.test", trust=trust)
            (outcome,) = await out.send(envelope(), MESSAGE)
            assert isinstance(outcome, Done)
            assert "queued as" in outcome.reply.text
            await arrived(sink, 1)
            assert sink.kept[0].content.endswith(MESSAGE)
            outcomes = await out.send(envelope("no@x.example", "yes@x.example", "later@x.example"), MESSAGE)
            assert [type(o) for o in outcomes] == [Never, Done, Later]
            (outcome,) = await out.send(envelope(), b"Subject: large\r\n\r\n" + b"x" * 998 + b"\r\n" * 150_000)
            assert isinstance(outcome, Never)
            assert outcome.reply.code == 552
            await arrived(sink, 2)
            assert sink.kept[1].recipients == ["yes@x.example"]
            # the same connection all along, and it is in order
            assert isinstance((await out.send(envelope(sender=""), MESSAGE))[0], Done)
            await arrived(sink, 3)
            assert sink.kept[2].reverse_path == ""
            assert server.log().count("connect from") - server.log().count("disconnect from") <= 2
            await out.close()


async def test_after_a_refused_data_the_next_message_has_its_own_sender():
    """Postfix keeps the MAIL of a transaction whose DATA it refused."""
    async with fake.Upstream(lmtp=True) as sink:
        settings = {"smtpd_data_restrictions": "check_sender_access inline:{first@x.example=REJECT}"}
        with postfix.running(transport=f"lmtp:inet:127.0.0.1:{sink.port}", settings=settings) as server:
            out = client.UpstreamClient(
                config.Upstream(url=f"smtp://127.0.0.1:{server.port}", tls="never"), hostname="relay.test"
            )
            (outcome,) = await out.send(envelope(sender="first@x.example"), MESSAGE)
            assert isinstance(outcome, Never)
            assert outcome.reply.code == 554
            (outcome,) = await out.send(envelope(sender="second@x.example"), MESSAGE)
            assert isinstance(outcome, Done)
            await arrived(sink, 1)
            assert [k.reverse_path for k in sink.kept] == ["second@x.example"]
            await out.close()


async def test_8bit_passes_a_postfix_that_takes_7bit_only():
    """What arrives behind it decodes to the same texts, and our signature holds: Postfix, whose own next hop takes 7bit only
    as well, finds nothing that it has to convert."""
    made = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = dkim.load(made, "here.example", "t1")
    eight = "Content-Transfer-Encoding: 8bit"
    forwarded = b"Subject: y\r\nMIME-Version: 1.0\r\n\r\nGr\xfc\xdfe \r\n"
    top = MESSAGE.partition(b"\r\n\r\n")[0]
    message = multipart(
        "mixed",
        multipart("alternative", leaf("Grüße, \r\n.\r\nFrom here\r\n".encode(), "text/plain; charset=utf-8", eight),
                  leaf("<p>Grüße</p>".encode() + b" " * 2000, "text/html; charset=utf-8", eight), boundary="a"),
        leaf(b"plain\r\n", "text/x-plain", eight),
        leaf(bytes(range(256)).replace(b"\r", b"").replace(b"\n", b""), "image/x", "Content-Transfer-Encoding: binary"),
        leaf(forwarded, "message/rfc822", eight),
        extra=f"{top.decode()}\r\nMIME-Version: 1.0\r\n{eight}\r\n",
    )  # fmt: skip
    message = dkim.sign(message, key, int(time.time())) + message
    async with fake.Upstream(lmtp=True, offers=("PIPELINING",)) as sink:
        settings = {"smtpd_discard_ehlo_keywords": "8bitmime"}
        with postfix.running(transport=f"lmtp:inet:127.0.0.1:{sink.port}", settings=settings) as server:
            upstream = config.Upstream(url=f"smtp://127.0.0.1:{server.port}", tls="never")
            out = client.UpstreamClient(upstream, hostname="relay.test", signers=[key])
            (outcome,) = await out.send(envelope(options=("BODY=8BITMIME",)), message)
            assert isinstance(outcome, Done), server.log()
            await arrived(sink, 1)
            await out.close()
    came = sink.kept[0].content
    assert came.isascii()
    zone = {b"t1._domainkey.here.example.": dkim.record(key).encode()}
    assert dkimpy.DKIM(came).verify(dnsfunc=lambda name, timeout=5: zone.get(name))
    before, after = (email.message_from_bytes(raw) for raw in (message, came))
    texts = [
        [part.get_payload(decode=True) for part in read.walk() if not part.is_multipart()] for read in (before, after)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 5


async def test_a_certificate_that_is_not_trusted_sends_nothing(tls):
    pair, _ = tls
    with postfix.running(certificate=pair.certificate, key=pair.key) as server:
        upstream = config.Upstream(url=f"smtp://127.0.0.1:{server.port}", tls="required")
        out = client.UpstreamClient(upstream, hostname="relay.test", trust=ssl.create_default_context())
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)
        assert outcome.reply.text.startswith("4.7.5 ")
        await out.close()
        assert "MAIL" not in server.log()


async def test_a_postfix_that_knows_helo_only_and_is_strict_about_names():
    """Of helo.test it takes EHLO for no command, and offers nothing: all goes in 7bit, one command after another. An address
    literal stands for a name that is none; a name that it does not want makes mail wait. Its next hop has no SMTPUTF8, and
    what was declared so without need passes."""
    async with fake.Upstream(lmtp=True, offers=("PIPELINING", "8BITMIME")) as sink:
        settings = {
            "smtpd_command_filter": r"regexp:{{/^EHLO helo\.test.*/ UNHEARD}}",
            "smtpd_helo_required": "yes",
            "smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, "
            "check_helo_access inline:{unwanted.test=REJECT}",
        }
        eight = MESSAGE.replace(b"Subject: x", b"MIME-Version: 1.0").replace(b"Hello", "Grüße".encode())
        with postfix.running(transport=f"lmtp:inet:127.0.0.1:{sink.port}", settings=settings) as server:
            upstream = config.Upstream(url=f"smtp://127.0.0.1:{server.port}", tls="opportunistic")
            for count, name in enumerate(("helo.test", "srv1", "my_host.test", "relay.test", "unwanted.test")):
                out = client.UpstreamClient(upstream, hostname=name)
                (outcome,) = await out.send(envelope(options=("SMTPUTF8", "BODY=8BITMIME")), eight)
                told = out.troubles.now
                await out.close()
                assert isinstance(outcome, Later if name == "unwanted.test" else Done), server.log()
                await arrived(sink, min(count + 1, 4))
            assert told
            assert told.kind == "name"
            assert "refuses our name unwanted.test; set smtp.hostname" in told.sentence
            assert "Helo command rejected: Access denied" in outcome.reply.text
            assert "SMTPUTF8 is required" not in server.log()
    assert [kept.content.isascii() for kept in sink.kept] == [True, False, False, False]
    # what Postfix says of HELO and EHLO (RFC 3848), and of whom
    assert [re.findall(rb"from (\S+) .*? with (\w+) id", kept.content, re.S)[0] for kept in sink.kept] == [
        (b"helo.test", b"SMTP"), (b"[127.0.0.1]", b"ESMTP"), (b"[127.0.0.1]", b"ESMTP"), (b"relay.test", b"ESMTP"),
    ]  # fmt: skip


async def test_a_login_at_a_postfix_step_by_step(tls, tmp_path):
    """Postfix with Dovecot's logins, by LOGIN alone, which it offers in the old form too."""
    pair, trust = tls
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postfix-")))
        home.chmod(0o755)
        (home / "queue" / "private").mkdir(parents=True)
        shutil.chown(home / "queue" / "private", "postfix")
        there = home / "queue" / "private" / "auth"
        stack.enter_context(dovecot.running(tmp_path / "dovecot", {"ann@x.example": "word"}, logins=there))
        sink = await stack.enter_async_context(fake.Upstream(lmtp=True))
        settings = {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": "private/auth",
            "smtpd_sasl_mechanism_filter": "login",
            "broken_sasl_auth_clients": "yes",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        }
        transport = f"lmtp:inet:127.0.0.1:{sink.port}"
        server = stack.enter_context(
            postfix.running(home, transport=transport, settings=settings, certificate=pair.certificate, key=pair.key)
        )
        url = f"smtp://ann%40x.example@127.0.0.1:{server.port}"
        out = client.UpstreamClient(
            config.Upstream(url=url, tls="required", password="word"), hostname="relay.test", trust=trust
        )
        (outcome,) = await out.send(envelope(), MESSAGE)
        await out.close()
        assert isinstance(outcome, Done), server.log()
        await until(lambda: "sasl_method=LOGIN, sasl_username=ann@x.example" in server.log())
