"""The upstream room against a real LMTP server: Dovecot."""

from pathlib import Path

from relay import config
from relay.core.model import Done, Envelope, Recipient
from relay.upstream import client
from tests.peers import dovecot

MESSAGE = b"From: a@here.example\r\nTo: b@there.example\r\nSubject: x\r\nMessage-ID: <1@here.example>\r\n\r\nHello\r\n.dot\r\n"


async def test_each_recipient_has_a_word_and_the_message_is_in_the_mailbox(tmp_path: Path):
    with dovecot.running(tmp_path, {"b@there.example": "pw", "c@there.example": "pw"}) as server:
        upstream = config.Upstream(url=f"lmtp://127.0.0.1:{server.lmtp_port}", tls="never")
        out = client.UpstreamClient(upstream, hostname="relay.test")
        to = tuple(Recipient(f"{name}@there.example") for name in ("b", "c"))
        first, second = await out.send(Envelope("a@here.example", to), MESSAGE)
        assert isinstance(first, Done)
        assert isinstance(second, Done)
        assert "<b@there.example>" in first.reply.text
        assert "<c@there.example>" in second.reply.text
        (again,) = await out.send(Envelope("", to[:1]), MESSAGE)  # the same connection
        assert isinstance(again, Done)
        await out.close()
        found = [
            path.read_bytes()
            for path in server.mail.rglob("*")
            if path.is_file() and path.parent.name in ("new", "cur")
        ]
        assert len(found) == 3
        assert all(content.replace(b"\r\n", b"\n").endswith(MESSAGE.replace(b"\r\n", b"\n")) for content in found)
