"""What was revoked ends while it is in use: a login's open session, a key's open stream."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.scenarios import hostile, service

LOGINS = 'auth = "users"\nallow = []'


def test_a_removed_login_sends_no_further_message(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, smtp=LOGINS)
        (tmp_path / "password").write_text("secret words\n")
        with service.running(tmp_path, ports) as relay:
            add = ("user", "add", "--password-file", str(tmp_path / "password"))
            for name in ("jane", "joe", "ann"):
                relay.command(*add, name)
            with hostile.Smtp(relay.smtp) as jane, hostile.Smtp(relay.smtp) as joe, hostile.Smtp(relay.smtp) as ann:
                for client, name in ((jane, "jane"), (joe, "joe"), (ann, "ann")):
                    assert client.login(name, "secret words").startswith("235")
                    assert client.mail(hostile.letter()).startswith("250")
                jane.envelope()
                relay.command("user", "remove", "jane")
                relay.command(*add, "joe")  # the same password, but set anew
                jane.send(hostile.letter() + b".\r\n")
                assert jane.reply().startswith("250")  # what had begun
                assert jane.ask("MAIL FROM:<a@example.test>").startswith("421 4.7.0 ")
                assert jane.reply() == ""
                assert joe.reply().startswith("421 4.7.0 ")  # by the clock: it asks for nothing
                assert joe.reply() == ""
                assert ann.mail(hostile.letter()).startswith("250")
            assert len(upstream.taken) == 5
            assert relay.log.count(" login_ended ") == 2


def test_a_revoked_keys_stream_ends(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports) as relay:
            keys = [relay.command("api-key", "create", name).stdout.strip() for name in ("quiet", "busy", "good")]
            streams = [hostile.Http(relay.admin) for _ in keys]
            for stream, key in zip(streams, keys, strict=True):
                head = f"Host: relay.example\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n"
                stream.send(f"GET /live/events HTTP/1.1\r\n{head}\r\n".encode())
                assert b"200 OK" in stream.read()
            relay.command("api-key", "revoke", "quiet")
            assert b"event:" not in streams[0].rest()  # nothing happens, and it ends all the same
            relay.command("api-key", "revoke", "busy")
            assert ends_while_mail_goes_on(relay, streams[1])
            seen = b""
            while b"event: message" not in seen:
                seen += streams[2].read()
            for stream in streams:
                stream.close()
        assert "Traceback" not in relay.log


def ends_while_mail_goes_on(relay: service.Service, stream: hostile.Http) -> bool:
    stream.socket.settimeout(0.05)
    with hostile.Smtp(relay.smtp) as client:
        for _ in range(200):
            assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            with contextlib.suppress(TimeoutError):
                if not stream.socket.recv(1 << 20):
                    return True
    return False
