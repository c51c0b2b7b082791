"""The ways into Postfix beside the milter, each as docs/postfix.md has it: its blocks run as they stand, but for the
ports. Tracked mail arrives, refusals reach who is to hear them, and nothing is lost while we are away."""

import re
import smtplib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import postfix
from tests.scenarios import blocks, clients, hostile, milters, service
from tests.until import eventually

RELAY, BEFORE, AFTER = "Relay mode", "Before the queue", "After the queue"
FAR = "127.0.0.2"  # where the client is


def block(way: str, name: str) -> str:
    return blocks.read("postfix", way, name)


@dataclass
class Way:
    """Postfix and the relay put together in one way; `last` is who gets what Postfix, or the relay, delivers."""

    folder: Path
    ports: tuple[int, int, int]
    last: Upstream
    server: postfix.Server

    def relay(self) -> Any:
        return service.running(self.folder, self.ports, only="smtp,queue,http")

    def send(self, content: bytes, *to: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.server.port, timeout=20, source_address=(FAR, 0)) as client:
            client.sendmail("a@example.test", to, content)

    def arrived(self, to: str) -> list[bytes]:
        return [kept.content for kept in self.last.taken if kept.recipients == [to]]


@contextmanager
def put_together(way: str, folder: Path, script: Any = None) -> Iterator[Way]:
    back = peers.free_port()
    toml = tomllib.loads(block(way, "relay.toml"))
    with hostile.sink(script) as last:
        ports = service.settings(
            folder,
            hostname="postfix.test",  # as by default: it is the same machine
            upstream=last.port if way == RELAY else back,
            smtp=blocks.values(toml["smtp"], "listen"),
            out=blocks.values(toml["upstream"], "url", "password_file"),
            tracking='opens = true\nlinks = true\non_invalid = "reject"',
        )

        def here(text: str) -> str:
            text = text.replace(":2525", f":{ports[0]}").replace(":10026", f":{back}")
            return text.replace("submission inet", "127.0.0.1:PORT inet")

        with postfix.running(
            transport=f"smtp:[127.0.0.1]:{last.port}" if way != RELAY else "smtp",
            settings=blocks.main_cf(here(block(way, "main.cf"))),
            services=here(block(way, "master.cf")),
        ) as server:
            yield Way(folder, ports, last, server)


@pytest.mark.parametrize("way", [RELAY, BEFORE, AFTER])
def test_mail_refusals_and_our_absence(tmp_path: Path, way: str) -> None:
    def script(command: str) -> str | None:
        return "550 5.1.1 nobody of that name" if "<gone@" in command else None

    with put_together(way, tmp_path, {"rcpt": script, "rcpt2": script}) as mail:
        with mail.relay() as relay:
            mail.send(hostile.letter(), "b@example.test", "c@example.test")
            eventually(lambda: len(mail.last.taken) == 2)
            tracked = [hostile.tokens(mail.arrived(f"{name}@example.test")[0]) for name in "bc"]
            assert all((len(pixels), len(links)) == (1, 1) for pixels, links in tracked)
            assert tracked[0] != tracked[1]  # each recipient has tokens of its own
            # Who handed it to Postfix, and what Postfix calls it.
            eventually(lambda: relay.log.count(f"peer={FAR}") == (2 if way == AFTER else 1))
            named = set(re.findall(r" queue_id=(\w+)", relay.log))
            taken = rf"smtpd\[\d+\]: (\w+): client=\S*\[{re.escape(FAR)}\]"
            assert len(named) == (way != BEFORE)
            eventually(lambda: named <= set(re.findall(taken, mail.server.log())))

            for send in clients.ALL:
                to = f"{send.__name__}@example.test"
                send(mail.server.port, hostile.letter("", "X-Track: links"), to)
                (content,) = eventually(lambda to=to: mail.arrived(to))  # type: ignore[misc]
                assert [len(each) for each in hostile.tokens(content)] == [0, 1]

            # The last server's refusal becomes a bounce of whoever has promised to deliver.
            mail.send(hostile.letter(), "gone@example.test")
            bounce = eventually(lambda: mail.arrived("a@example.test"))[0]
            assert b"gone@example.test" in bounce
            assert len(hostile.tokens(bounce)[0]) == (way != RELAY)  # of what it quotes; it is not tracked itself

            # Our own refusal: the client's, where it still waits.
            refused = hostile.letter("", "X-Track: whatever")
            if way == BEFORE:
                with pytest.raises(smtplib.SMTPDataError, match="X-Track"):
                    mail.send(refused, "b@example.test")
            else:
                mail.send(refused, "b@example.test")
                assert b"X-Track" in eventually(lambda: mail.arrived("a@example.test")[1:])[0]

        # We are away.
        if way == BEFORE:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as put_off:
                mail.send(hostile.letter(), "late@example.test")
            assert put_off.value.recipients["late@example.test"][0] == 451
        else:
            mail.send(hostile.letter(), "late@example.test")
            eventually(lambda: re.search(r"to=<late@.*status=deferred", mail.server.log()))
        assert mail.arrived("late@example.test") == []
        with mail.relay():
            if way == BEFORE:
                mail.send(hostile.letter(), "late@example.test")
            late = eventually(lambda: mail.arrived("late@example.test"))
            assert len(hostile.tokens(late[0])[1]) == 1
            mail.send(hostile.letter(), "end@example.test")
            eventually(lambda: mail.arrived("end@example.test"))
        assert len(mail.arrived("late@example.test")) == 1
        assert len(mail.arrived("b@example.test")) == 1


def test_the_programs_that_people_send_with_by_milter(tmp_path: Path) -> None:
    ports, milter = milters.settings(tmp_path)
    with (
        hostile.sink() as last,
        service.running(tmp_path, ports, only="milter,admin"),
        milters.mail_server(last, milter) as server,
    ):
        for send in clients.ALL:
            send(server.port, hostile.letter("", "X-Track: links"), f"{send.__name__}@example.test")
        eventually(lambda: len(last.taken) == len(clients.ALL))
        for kept in last.taken:
            assert [len(each) for each in hostile.tokens(kept.content)] == [0, 1]
