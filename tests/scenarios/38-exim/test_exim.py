"""Exim in front, as docs/exim.md has it: its blocks run as they stand, but for the ports, in Debian's configuration."""

import re
import smtplib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import Upstream
from tests.peers import exim
from tests.scenarios import blocks, clients, hostile, service
from tests.until import eventually

DEBIAN = "/etc/exim4/conf.d/"
ROUTER, TRANSPORT = "router/190_trackrelay", "transport/30_trackrelay"
LOGINS = """logins:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if eq{$auth3}{word}}
  server_set_id = $auth2
  server_prompts = :
"""


def files(port: int, **more: str) -> dict[str, str]:
    found = {name: blocks.read("exim", "", DEBIAN + name) for name in (ROUTER, TRANSPORT)}
    assert all(found.values())
    return {name: text.replace("::2525", f"::{port}") + more.get(name, "") for name, text in found.items()}


@dataclass
class House:
    """Exim, and the relay behind it; `last` is the provider."""

    folder: Path
    ports: tuple[int, int, int]
    last: Upstream
    exim: exim.Server

    def relay(self) -> Any:
        return service.running(self.folder, self.ports, only="smtp,queue,http,admin")

    def send(self, content: bytes, *to: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.exim.port, timeout=20) as client:
            client.sendmail("a@example.test", to, content)

    def tried_again(self) -> bool:
        self.exim.retry()
        return True

    def arrived(self, to: str) -> list[bytes]:
        return [kept.content for kept in self.last.taken if kept.recipients == [to]]


@contextmanager
def house(folder: Path, script: Any = None, files: Any = files) -> Iterator[House]:
    toml = tomllib.loads(blocks.read("exim", "", "relay.toml"))
    with hostile.sink(script) as last:
        ports = service.settings(
            folder,
            hostname="exim.test",  # as by default: it is the same machine
            upstream=last.port,
            smtp=blocks.values(toml["smtp"], "listen"),
            tracking=blocks.values(toml["tracking"], "url") + '\non_invalid = "reject"',
        )
        with exim.running(files(ports[0])) as server:
            yield House(folder, ports, last, server)


def test_mail_refusals_and_our_absence(tmp_path: Path) -> None:
    def script(command: str) -> str | None:
        return "550 5.1.1 nobody of that name" if "<gone@" in command else None

    with house(tmp_path, {"rcpt": script, "rcpt2": script}) as mail:
        with mail.relay() as relay:
            mail.send(hostile.letter(), "b@example.test", "c@example.test")
            eventually(lambda: len(mail.last.taken) == 2)
            tracked = [hostile.tokens(mail.arrived(f"{name}@example.test")[0]) for name in "bc"]
            assert all((len(pixels), len(links)) == (1, 1) for pixels, links in tracked)
            assert tracked[0] != tracked[1]  # each recipient has tokens of its own
            # Exim's log names the message as the record does.
            eventually(lambda: mail.exim.log().count(" => ") == 1)
            (named,) = set(re.findall(r'C="250 2\.0\.0 Ok.*?(\w+)"', mail.exim.log()))
            eventually(lambda: named in relay.log)

            # The provider's refusal becomes Exim's bounce.
            mail.send(hostile.letter(), "gone@example.test")
            bounce = eventually(lambda: mail.arrived("a@example.test"))[0]
            assert b"gone@example.test" in bounce
            assert hostile.tokens(bounce) == ([], [])

            # Our own refusal too.
            mail.send(hostile.letter("", "X-Track: whatever"), "b@example.test")
            assert b"X-Track" in eventually(lambda: mail.arrived("a@example.test")[1:])[0]

        # We are away: it waits in Exim's queue.
        mail.send(hostile.letter(), "late@example.test")
        eventually(lambda: re.search(r"== late@.* defer ", mail.exim.log()))
        assert mail.arrived("late@example.test") == []
        with mail.relay():
            late = eventually(lambda: mail.tried_again() and mail.arrived("late@example.test"), pause=0.2)
            assert len(hostile.tokens(late[0])[1]) == 1
            mail.send(hostile.letter(), "end@example.test")
            eventually(lambda: mail.arrived("end@example.test"))
            eventually(lambda: mail.exim.queue() == "0")
        assert len(mail.arrived("late@example.test")) == 1
        assert len(mail.arrived("b@example.test")) == 1


def test_only_mail_of_those_who_logged_in(tmp_path: Path) -> None:
    """With the line of the document; what goes on is seen by the router that was there before."""
    (line,) = re.findall(r"`(condition = [^`]+)`", (service.ROOT / "docs" / "exim.md").read_text())

    def some(port: int) -> dict[str, str]:
        mine = files(port, **{ROUTER: f"  {line}\n"})
        others = mine[ROUTER].replace("trackrelay:", "others:", 1).replace(line, "").replace("no_more", "more")
        return mine | {"auth/30_logins": LOGINS, "router/195_others": others.replace(f"::{port}", f"::{last_port}")}

    with hostile.sink() as other:
        last_port = other.port
        with house(tmp_path, files=some) as mail, mail.relay():
            with smtplib.SMTP("127.0.0.1", mail.exim.port, timeout=20) as client:
                client.ehlo()
                client.user, client.password = "jane", "word"
                client.auth("PLAIN", client.auth_plain)
                client.sendmail("a@example.test", ["b@example.test"], hostile.letter())
            mail.send(hostile.letter(), "c@example.test")
            eventually(lambda: mail.last.taken and other.taken)
            assert [kept.recipients for kept in mail.last.taken] == [["b@example.test"]]
            assert [kept.recipients for kept in other.taken] == [["c@example.test"]]
            assert len(hostile.tokens(mail.last.taken[0].content)[1]) == 1
            assert hostile.tokens(other.taken[0].content) == ([], [])


@pytest.mark.parametrize("kind", ["internet", "smarthost", "satellite", "local"])
@pytest.mark.parametrize("split", [True, False], ids=["split", "one file"])
def test_where_mail_goes_in_each_of_debians_configurations(kind: str, split: bool) -> None:
    with exim.configured(files(2525), kind=kind, split=split) as server:
        away = server.command("-bt", "ada@example.net")
        assert "router = trackrelay, transport = trackrelay\n  host 127.0.0.1 [127.0.0.1] port=2525" in away
        incoming = server.command("-bt", f"nobody@{exim.HOSTNAME}")
        assert "local_user" in incoming or "hub_user" in incoming
        assert "trackrelay" not in incoming


def test_the_programs_that_people_send_with(tmp_path: Path) -> None:
    with house(tmp_path) as mail, mail.relay():
        for send in clients.ALL:
            send(mail.exim.port, hostile.letter("", "X-Track: links"), f"{send.__name__}@example.test")
            (content,) = eventually(lambda name=send.__name__: mail.arrived(f"{name}@example.test"))  # type: ignore[misc]
            pixels, links = hostile.tokens(content)
            assert (len(pixels), len(links)) == (0, 1)
