"""Sendmail in front, as docs/sendmail.md has it, as a milter and as the smart host: its blocks run as they stand, but for the
ports, in Debian's sendmail.mc."""

import json
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
from tests.peers import sendmail
from tests.scenarios import blocks, clients, hostile, service
from tests.until import eventually

MILTER, SMART_HOST = "Milter", "Smart host"
BOTH = pytest.mark.parametrize("way", [MILTER, SMART_HOST])


@dataclass
class House:
    """Sendmail and the relay put together in one way; `last` is who gets what Sendmail, or the relay, delivers."""

    folder: Path
    ports: tuple[int, int, int]
    last: Upstream
    sendmail: sendmail.Server

    def relay(self) -> Any:
        return service.running(self.folder, self.ports)

    def send(self, content: bytes, *to: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.sendmail.port, timeout=20) as client:
            client.sendmail("a@example.test", to, content)

    def tried_again(self) -> bool:
        self.sendmail.retry()
        return True

    def arrived(self, to: str) -> list[bytes]:
        return [kept.content for kept in self.last.taken if kept.recipients == [to]]


def delivering(port: int) -> str:
    return f"define(`SMART_HOST', `relay:[127.0.0.1]')dnl\ndefine(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl\n"


@contextmanager
def house(way: str, folder: Path, script: Any = None, milter: str = "", lines: str = "") -> Iterator[House]:
    toml = tomllib.loads(blocks.read("sendmail", way, "relay.toml"))
    mine = blocks.read("sendmail", way, "sendmail.mc")
    with hostile.sink(script) as last:
        port = peers.free_port()
        ports = service.settings(
            folder,
            hostname="sendmail.test",  # as by default: it is the same machine
            upstream=last.port if way == SMART_HOST else "",
            tracking=blocks.values(toml["tracking"], "url") + '\non_invalid = "reject"',
            more=f'[milter]\nlisten = "inet:127.0.0.1:{port}"\n{milter}' if way == MILTER else "",
        )
        if way == MILTER:
            assert toml["milter"] == {"listen": "inet:127.0.0.1:8891"}
            mine = mine.replace("inet:8891@", f"inet:{port}@") + delivering(last.port)
        with sendmail.running(mine.replace(" 2525'", f" {ports[0]}'") + lines) as server:
            yield House(folder, ports, last, server)


def refusing(command: str) -> str | None:
    return "550 5.1.1 nobody of that name" if "<gone@" in command else None


def test_by_milter(tmp_path: Path) -> None:
    with house(MILTER, tmp_path, {"rcpt": refusing, "rcpt2": refusing}) as mail:
        with mail.relay() as relay:
            mail.send(hostile.letter("", "X-Track-Label: spring"), "b@example.test")
            (alone,) = eventually(lambda: mail.arrived("b@example.test"))
            assert [len(each) for each in hostile.tokens(alone)] == [1, 1]
            assert b"x-track" not in alone.lower()
            # Sendmail's queue identifier leads to the record.
            (queue_id,) = re.findall(rb"by sendmail\.test .* id (\w+)", alone)
            shown = json.loads(relay.command("messages", "show", "--json", queue_id.decode()).stdout)
            assert shown["queue_id"] == queue_id.decode()
            assert [(copy["recipient"], copy["state"]) for copy in shown["copies"]] == [("b@example.test", "handed")]

            # One body for all.
            mail.send(hostile.letter(), "c@example.test", "d@example.test")
            several = eventually(lambda: mail.last.taken[1:])[0]
            assert sorted(several.recipients) == ["c@example.test", "d@example.test"]
            assert [len(each) for each in hostile.tokens(several.content)] == [1, 1]

            # The last server's refusal is Sendmail's to bounce; ours is the client's.
            mail.send(hostile.letter(), "gone@example.test")
            bounce = eventually(lambda: mail.arrived("a@example.test"))[0]
            assert b"gone@example.test" in bounce
            with pytest.raises(smtplib.SMTPDataError, match="X-Track"):
                mail.send(hostile.letter("", "X-Track: whatever"), "b@example.test")

        # We are away: mail goes on.
        mail.send(hostile.letter(), "meanwhile@example.test")
        (untracked,) = eventually(lambda: mail.arrived("meanwhile@example.test"))
        assert hostile.tokens(untracked) == ([], [])
        with mail.relay():
            mail.send(hostile.letter(), "end@example.test")
            (tracked,) = eventually(lambda: mail.arrived("end@example.test"))
            assert [len(each) for each in hostile.tokens(tracked)] == [1, 1]


def test_by_smart_host(tmp_path: Path) -> None:
    with house(SMART_HOST, tmp_path, {"rcpt": refusing, "rcpt2": refusing}) as mail:
        with mail.relay():
            mail.send(hostile.letter(), "b@example.test", "c@example.test")
            eventually(lambda: len(mail.last.taken) == 2)
            tracked = [hostile.tokens(mail.arrived(f"{name}@example.test")[0]) for name in "bc"]
            assert all((len(pixels), len(links)) == (1, 1) for pixels, links in tracked)
            assert tracked[0] != tracked[1]  # each recipient has tokens of its own

            # Refusals, the provider's and ours, become Sendmail's bounce.
            mail.send(hostile.letter(), "gone@example.test")
            bounce = eventually(lambda: mail.arrived("a@example.test"))[0]
            assert b"gone@example.test" in bounce
            assert hostile.tokens(bounce) == ([], [])
            mail.send(hostile.letter("", "X-Track: whatever"), "b@example.test")
            assert b"X-Track" in eventually(lambda: mail.arrived("a@example.test")[1:])[0]

        # We are away: it waits in Sendmail's queue.
        mail.send(hostile.letter(), "late@example.test")
        eventually(lambda: "Deferred" in mail.sendmail.queue())
        assert mail.arrived("late@example.test") == []
        with mail.relay():
            late = eventually(lambda: mail.tried_again() and mail.arrived("late@example.test"), pause=0.2)
            assert len(hostile.tokens(late[0])[1]) == 1
            eventually(lambda: "Total requests: 0" in mail.sendmail.queue())
        assert len(mail.arrived("late@example.test")) == 1
        assert len(mail.arrived("b@example.test")) == 1


@BOTH
def test_the_programs_that_people_send_with(tmp_path: Path, way: str) -> None:
    with house(way, tmp_path) as mail, mail.relay():
        for send in clients.ALL:
            to = f"{send.__name__}@example.test"
            send(mail.sendmail.port, hostile.letter("", "X-Track: links"), to)
            (content,) = eventually(lambda to=to: mail.arrived(to))  # type: ignore[misc]
            pixels, links = hostile.tokens(content)
            assert (len(pixels), len(links)) == (0, 1)
