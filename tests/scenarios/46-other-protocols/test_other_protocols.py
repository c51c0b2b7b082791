"""What is no SMTP ends the session at once: a browser's form can't hide commands in its body."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios import hostile, service
from tests.until import eventually

HIDDEN = b"EHLO x\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nx\r\n.\r\n"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI")


def test_what_is_no_smtp_is_not_answered_twice(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports) as relay:
            heads = [f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode() + HIDDEN for method in METHODS]
            heads += [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"SSH-2.0-OpenSSH_9.2\r\n" + HIDDEN]
            for head in heads:
                for after in (b"", b"EHLO x\r\n"):
                    if after and head.startswith((b"\x16", b"SSH")):
                        continue  # in the midst of a session it is a line that is no command
                    with hostile.Line(relay.smtp) as client:
                        client.send(after + head)
                        said = client.rest()
                    assert b"\r\n354" not in said, head
                    assert said.endswith(b"421 4.7.0 This is an SMTP server\r\n"), (head, said)
            assert not upstream.taken
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("250")


def test_the_bound_on_octets_in_flight_is_a_setting(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(
            tmp_path, upstream=upstream.port, smtp='max_in_flight = "2MB"\nmax_message_size = "1MB"'
        )
        with (
            service.running(tmp_path, ports) as relay,
            hostile.Smtp(relay.smtp) as one,
            hostile.Smtp(relay.smtp) as two,
            hostile.Smtp(relay.smtp) as other,
        ):
            for client in (one, two):
                client.envelope()
                client.send((b"y" * 998 + b"\r\n") * 900)

            def held() -> float:
                return hostile.metrics(relay.admin)["trackrelay_smtp_in_flight_bytes"]

            eventually(lambda: held() > 1_700_000)
            assert other.ask("MAIL FROM:<a@example.test> SIZE=900000").startswith("452 4.3.1 ")
            for client in (one, two):
                client.send(b".\r\n")
                assert client.reply().startswith("250")
            assert other.ask("MAIL FROM:<a@example.test> SIZE=900000").startswith("250")
