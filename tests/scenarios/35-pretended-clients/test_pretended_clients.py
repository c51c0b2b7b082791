"""A client pretends to be another: by XCLIENT and XFORWARD from where nobody may, within a session or a pipeline that
somebody else began, by a value that would end its line, by header fields. Whoever was named for a proxy stays who it is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import peers
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

PROXY, PERSON, STRANGER = "127.0.0.3", "127.0.0.1", "127.0.0.66"
PASSWORD = "correct horse"
REFUSED = "550 5.7.0 "


@dataclass
class House:
    relay: service.Service
    last: Upstream

    def client(self, source: str) -> hostile.Smtp:
        return hostile.Smtp(self.relay.smtp, source=source)

    def peers(self) -> list[str]:
        """Who submitted what was taken, as the operator sees it."""
        return re.findall(r" accepted .*? peer=(\S+)", self.relay.log)

    def taken(self) -> int:
        """How many messages were, once the log has them all."""
        taken = int(hostile.metrics(self.relay.admin)["trackrelay_accepted_total"])
        eventually(lambda: len(self.peers()) == taken)
        return taken


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("pretended")
    with hostile.sink() as last:
        ports = service.settings(
            folder,
            upstream=last.port,
            smtp=f'allow = ["{PERSON}/32"]\nproxies = ["{PROXY}/32"]\nauth = "users"',
            tracking="links = true",
        )
        done = service.command("user", "add", "jane", "--config", str(folder / "relay.toml"), input=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        with service.running(folder, ports, only="smtp,admin") as relay:
            yield House(relay, last)


def test_who_is_not_listed_names_nobody(house: House) -> None:
    """Neither one who may submit nor a stranger, before a login or after it; it is logged."""
    for source in (PERSON, STRANGER):
        with house.client(source) as client:
            assert "XCLIENT" not in client.hello + client.greeting
            assert "XFORWARD" not in client.hello
            for words in ("XCLIENT ADDR=127.0.0.1", "xclient addr=127.0.0.1 LOGIN=jane", "XFORWARD ADDR=127.0.0.1"):
                assert client.ask(words).startswith(REFUSED)
            assert client.ask("MAIL FROM:<a@example.test>").startswith("250" if source == PERSON else "530")
    with house.client(STRANGER) as client:
        assert client.login("jane", PASSWORD).startswith("235")
        for words in ("XCLIENT LOGIN=joe", f"XCLIENT ADDR={PERSON}", f"XFORWARD ADDR={PERSON} IDENT=4Zx"):
            assert client.ask(words).startswith(REFUSED)
        assert client.mail(hostile.letter()).startswith("250")
    assert f" proxy_refused peer={STRANGER} client={STRANGER}" in house.relay.log
    eventually(lambda: house.peers()[-1:] == [STRANGER])


def test_within_a_pipeline_each_is_refused_by_itself(house: House) -> None:
    """And what follows is the client's own, not that of whom it named."""
    with house.client(STRANGER) as client:
        client.send(
            f"XCLIENT ADDR={PERSON}\r\nEHLO x\r\nXFORWARD ADDR={PERSON}\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n".encode()
        )
        assert [client.reply()[:3] for _ in range(6)] == ["550", "250", "550", "530", "503", "503"]
    with house.client(PERSON) as client:  # behind the end of a message, as if the message went on
        client.envelope()
        client.send(hostile.letter() + f".\r\nXCLIENT ADDR={PROXY}\r\nXCLIENT ADDR={STRANGER}\r\nNOOP\r\n".encode())
        assert [client.reply()[:3] for _ in range(4)] == ["250", "550", "550", "250"]


def test_a_proxy_s_client_stays_who_it_is(house: House) -> None:
    """It was named by a proxy that hands its commands on: it gets no right of the proxy, nor of whom it names."""
    for first in ("MAIL FROM:<a@b>", "AUTH PLAIN AGphbmUAd3Jvbmc=", "RSET\r\nMAIL FROM:<a@b>"):
        with house.client(PROXY) as client:
            assert client.ask(f"XCLIENT ADDR={STRANGER} NAME=localhost").startswith("220")
            client.ask("EHLO localhost")
            for line in first.split("\r\n"):
                client.ask(line)
            for words in (f"XCLIENT ADDR={PERSON}", "XCLIENT LOGIN=jane", f"XFORWARD ADDR={PERSON}"):
                assert client.ask(words).startswith(REFUSED)
            assert client.ask("MAIL FROM:<a@b>").startswith("530")
    with house.client(PROXY) as client:  # XFORWARD is for the record, and lets nobody in
        assert client.ask(f"XFORWARD ADDR={PERSON} NAME=localhost SOURCE=LOCAL").startswith("250")
        assert client.ask("MAIL FROM:<a@b>").startswith("530")
    with house.client(PROXY) as client:  # from one login to another
        assert client.ask("XCLIENT LOGIN=jane").startswith("220")
        client.ask("EHLO x")
        assert client.ask(f"XCLIENT ADDR={PERSON} LOGIN=joe").startswith(REFUSED)
    with house.client(PROXY) as client:  # a proxy that knows nothing of its client lets in nobody
        assert client.ask("XCLIENT ADDR=[UNAVAILABLE] NAME=[UNAVAILABLE]").startswith("220")
        client.ask("EHLO x")
        assert client.ask("MAIL FROM:<a@b>").startswith("530")


@pytest.mark.parametrize(
    "value",
    [
        "HELO=x+0D+0AReceived:+20from+20me",  # a line ending, in xtext
        "HELO=x+0ABcc:+20all@example.test",
        "HELO=x+00", "NAME=x+1B[2J", "HELO=" + "a" * 256, "HELO=" + "+41" * 256, "IDENT=" + "4" * 256,
        "IDENT=4Zx+0A", "ADDR=127.0.0.1+0A", "ADDR=" + "1" * 300, "ADDR=127.0.0.1/8", "ADDR=localhost", "PORT=65536",
        "PROTO=ESMTP+0D+0A", "PROTO=" + "A" * 65, "SOURCE=ME", "HELO=\u202eevil", "HELO=x HELO", "LOGIN=jane", "=x",
    ],
)  # fmt: skip
def test_values_are_bounded_and_end_no_line(house: House, value: str) -> None:
    """Refused whole: nothing of that command is remembered."""
    with house.client(PROXY) as client:
        answer = client.ask(f"XFORWARD ADDR=192.0.2.9 {value}")
        assert answer[:4] in ("501 ", "500 ")
        assert "\n" not in answer
        assert client.ask("XFORWARD ADDR=192.0.2.10").startswith("250")


def test_a_line_without_an_end_ends_the_command(house: House) -> None:
    with house.client(PROXY) as client:
        client.send(b"XCLIENT ADDR=" + b"1" * 100_000 + b"\r\n")
        assert client.reply()[:3] in ("500", "501", "421")
    with house.client(PERSON) as client:
        assert client.ask("NOOP").startswith("250")


def test_header_fields_of_other_servers_name_nobody(house: House) -> None:
    """Who submitted is who connected, whatever the message says; what it says leaves as it came."""
    says = [
        f"Received: from localhost (localhost [{PROXY}]) by relay.example.test with ESMTPA id 1",
        f"X-Originating-IP: [{PROXY}]", f"X-Forwarded-For: {PROXY}", f"X-Real-IP: {PROXY}", "X-Authenticated-User: jane",
        f"XCLIENT: ADDR={PROXY} LOGIN=jane", f"XFORWARD: ADDR={PROXY} IDENT=4Zx", "Authentication-Results: relay.example.test; auth=pass",
    ]  # fmt: skip
    with house.client(STRANGER) as client:
        client.ask("MAIL FROM:<a@example.test>")
        assert client.ask("DATA").startswith("503")
    before = house.taken()
    with house.client(PERSON) as client:
        assert client.mail(hostile.letter("", *says)).startswith("250")
    eventually(lambda: house.peers()[before:] == [PERSON])
    content = house.last.taken[-1].content
    assert all(line.encode() + b"\r\n" in content for line in says)


@pytest.mark.parametrize("source", [PERSON, STRANGER])
def test_swaks_from_elsewhere(house: House, source: str) -> None:
    """It is not offered, so it is not even said."""
    done = swaks(house, source, "--xclient-addr", PERSON)
    assert "did not advertise XCLIENT" in done.stderr
    assert done.returncode != 0


def test_swaks_as_a_proxy(house: House) -> None:
    done = swaks(house, PROXY, "--xclient-addr", STRANGER)
    assert "<** 530" in done.stdout
    before = house.taken()
    done = swaks(house, PROXY, "--xclient-addr", STRANGER, "--xclient-login", "jane")
    assert done.returncode == 0, done.stdout
    eventually(lambda: house.peers()[before:] == [STRANGER])


def swaks(house: House, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        peers.require("swaks", package="swaks"), "--server", "127.0.0.1", "--port", str(house.relay.smtp),
        "--local-interface", source, "--from", "a@example.test", "--to", "b@example.test", *words,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=30)
