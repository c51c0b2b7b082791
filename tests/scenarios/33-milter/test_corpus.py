"""Every message of the corpus through a real Postfix that asks the milter: what it delivers is what the relay would have
sent of the same message, to the last byte, the signature too."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from relay import config, keys, milter, outbound
from relay.config.settings import Milter
from relay.core import dkim
from relay.core.model import Reason, Submission, Tracking
from relay.store import memory
from tests import corpus
from tests.peers import postfix
from tests.scenarios import hostile
from tests.until import eventually

BASE = "http://t.example.test"
PEM = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
# What Postfix does by itself, on its way in or out, and what would differ from one run to the next.
PLAIN = {
    "smtp_line_length_limit": "0", "local_header_rewrite_clients": "", "smtputf8_enable": "no", "header_size_limit": "1000000",
    "smtpd_milters": "", "message_drop_headers": "return-path", "smtpd_client_connection_count_limit": "0",
}  # fmt: skip

# Postfix cuts a header field at 60,000 octets where it asks any milter, whatever that answers.
CUT = re.compile(rb"^[^\n]*(?:\n[ \t][^\n]*){600,}", re.M)


class Known:
    """A tracker whose tokens are foreseeable; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Submission] = {}
        domains = sorted({"example.test", "example.com", "example.org"})
        given = config.Settings(
            tracking=Tracking(url=BASE, opens=True, links=True, thread_replies=True, references="always"),
            grants=(config.Grant("default", mailbox=("maildir:/nowhere",)),),
        )
        self.tracker = outbound.Tracker(
            given, keys.dry_run, memory.Memory(), [dkim.load(PEM, domain, "s1") for domain in domains],
            clock=lambda: 1_770_000_000.0, random_bytes=bytes, cpu=lambda: 0.0,
        )  # fmt: skip
        secrets = keys.dry_run()
        self.tracker.keys = self.tracker.planner.keys = self.tracker.renderer.keys = lambda: secrets

    async def track(self, submission: Submission, *, one_group: bool = False) -> outbound.Tracked:
        self.asked[submission.reverse_path] = submission
        return await self.tracker.track(submission, one_group=one_group)

    async def pass_by(self, submission: Submission, reason: Reason, size: int) -> None:
        await self.tracker.pass_by(submission, reason, size)


def crlf(raw: bytes) -> bytes:
    text = re.sub(rb"(?<!\r)\n", b"\r\n", raw)
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def send(port: int, paths: list[Path]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo("client.example.test")
        for number, path in enumerate(paths):
            client.mail(f"m{number}@example.test", ["BODY=8BITMIME"])
            client.rcpt("b@example.test")
            client.putcmd("DATA")
            assert client.getreply()[0] == 354
            content = crlf(path.read_bytes())
            client.sock.sendall(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
            assert client.getreply()[0] == 250, path


def without_trace(content: bytes) -> bytes:
    """Postfix's own Received field stands on top."""
    return re.sub(rb"\A(Received: [^\n]*\n(?:[ \t][^\n]*\n)+)", b"", content, count=1)


@contextmanager
def delivered(paths: list[Path], **settings: str) -> Iterator[dict[str, bytes]]:
    """reverse-path -> what Postfix delivers of it."""
    with (
        hostile.sink() as sink,
        postfix.running(transport=f"smtp:[127.0.0.1]:{sink.port}", settings=PLAIN | settings) as server,
    ):
        send(server.port, paths)
        eventually(lambda: len(sink.taken) == len(paths), 60)
        yield {kept.reverse_path: without_trace(kept.content) for kept in sink.taken}


def test_postfix_delivers_what_the_relay_would_send() -> None:
    every = corpus.messages("messages", "template-messages")
    paths = [path for path in every if not CUT.search(crlf(path.read_bytes()).partition(b"\r\n\r\n")[0])]
    assert len(every) - len(paths) == 1
    with delivered(paths) as plain:
        pass
    known = Known()
    given = config.Settings(milter=Milter(listen="inet:127.0.0.1:0"))
    with hostile.elsewhere() as run:
        server: Any = run(milter.serve(given, known))
        with delivered(paths, smtpd_milters=f"inet:127.0.0.1:{server.addresses[0][1]}") as tracked:
            pass
        assert sorted(tracked) == sorted(plain)
        wrong, changed = [], 0
        for name, content in plain.items():
            path, asked = paths[int(name[1:].partition("@")[0])], known.asked.get(name)
            if asked is None or asked.content != content:
                wrong.append(f"{path}: another message was put together")
                continue
            done = run(known.tracker.track(asked.with_(content=content), one_group=True))
            if tracked[name] != done.copies[0].render():
                wrong.append(f"{path}: another message was delivered")
            changed += tracked[name] != content
        run(server.drain(5))
    assert wrong == []
    assert changed > len(paths) / 2
