"""Never an open relay: it does not start as one, and a stranger gets no mail through however the recipient is spelt."""

from pathlib import Path

import pytest

from tests.scenarios import hostile, service

# Sources: RFC 5321 appendix C (source routes), sendmail's %-hack and bang paths, what scanners of open relays try.
SPELLINGS = [
    "RCPT TO:<victim@y.test>", "RCPT TO:<victim%y.test@relay.example.test>", "RCPT TO:<y.test!victim>",
    "RCPT TO:<@relay.example.test:victim@y.test>", "RCPT TO:<@a.test,@b.test:victim@y.test>",
    'RCPT TO:<"victim@y.test">', 'RCPT TO:<"victim%y.test"@relay.example.test>', "RCPT TO:<victim@[192.0.2.1]>",
    "RCPT TO:<victim@[IPv6:2001:db8::1]>", "RCPT TO:victim@y.test", "RCPT TO:<victim@y.test@relay.example.test>",
    "RCPT TO:<victim@127.0.0.1>", "RCPT TO:<victim>", "RCPT TO:<victim@y.test> NOTIFY=NEVER",
]  # fmt: skip
SENDERS = [
    "<>",
    "<postmaster@relay.example.test>",
    "<a@localhost>",
    "<a@[127.0.0.1]>",
    "<a@x.test> AUTH=<admin@x.test>",
]


@pytest.mark.parametrize(
    ("smtp", "key"),
    [
        ('listen = ["0.0.0.0:0"]', "smtp.listen"),
        ('listen = ["[::]:0"]', "smtp.listen"),
        ('listen = [":0"]', "smtp.listen"),
        ('listen = ["0.0.0.0:0"]\nallow = ["0.0.0.0/0"]', "smtp.allow"),
        ('listen = ["0.0.0.0:0"]\nallow = ["0.0.0.0/1", "128.0.0.0/1"]', "smtp.allow"),
        ('listen = ["0.0.0.0:0"]\nallow = ["::/0"]', "smtp.allow"),
        ('listen = ["0.0.0.0:0"]\nallow = ["0.0.0.0/1"]', "smtp.allow"),
        ('listen = ["0.0.0.0:0"]\nallow = ["::ffff:0:0/96"]', "smtp.allow"),
        ('listen = ["localhost.localdomain:0"]', "smtp.listen"),
        ('listen = ["0.0.0.0:0"]\nauth = "users"', "smtp.auth"),
        ('listen = ["0.0.0.0:0"]\nauth = "upstream"', "smtp.auth"),
    ],
)
def test_it_does_not_start_as_one(tmp_path: Path, smtp: str, key: str) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(f'[smtp]\n{smtp}\n[upstream]\nurl = "smtp://127.0.0.1:9"\n')
    done = service.command("run", "--config", str(config))
    assert done.returncode == 2
    assert f"{config}:" in done.stderr
    assert key in done.stderr
    assert "ready" not in done.stderr
    assert "Traceback" not in done.stderr
    checked = service.command("check", "--config", str(config))
    assert checked.returncode == 2
    assert checked.stderr == done.stderr


def test_a_stranger_gets_nothing_through(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, smtp='allow = ["127.0.0.1/32"]')
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            for sender in SENDERS:
                with hostile.Smtp(relay.smtp, source="127.0.0.2") as client:
                    assert "AUTH" not in client.hello
                    answer = client.ask(f"MAIL FROM:{sender}")
                    assert answer.startswith("550 5.7.1"), f"{sender}: {answer}"
                    for recipient in SPELLINGS:
                        assert client.ask(recipient).startswith(("503", "553")), recipient
                    assert client.ask("DATA").startswith("503")
            # Headers of a stranger are honoured as little as its mail: there is no other way in.
            with hostile.Smtp(relay.smtp, source="127.0.0.2", hello="") as client:
                client.send(
                    b"EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nX-Track: all\r\n.\r\n"
                )
                assert client.reply().startswith("250-")
                assert [client.reply()[:3] for _ in range(3)] == ["550", "503", "503"]
            assert upstream.lines == []
            # Who may submit has its spellings handed on as they are, or refused: never mended into another's address.
            with hostile.Smtp(relay.smtp) as client:
                for recipient in SPELLINGS:
                    client.ask("MAIL FROM:<a@example.test>")
                    if client.ask(recipient).startswith("250") and client.ask("DATA").startswith("354"):
                        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                        assert client.reply().startswith("250"), recipient
                    client.ask("RSET")
    named = [line[8 : line.index(">") + 1] for line in upstream.lines if line.startswith("RCPT")]
    assert named == [
        "<victim@y.test>", "<victim%y.test@relay.example.test>", "<y.test!victim>", "<victim@y.test>",
        "<victim@y.test>", '<"victim@y.test">', '<"victim%y.test"@relay.example.test>', "<victim@[192.0.2.1]>",
        "<victim@[IPv6:2001:db8::1]>", "<victim@y.test>", "<victim@127.0.0.1>", "<victim>", "<victim@y.test>",
    ]  # fmt: skip
