"""Nothing loops: not a message, not a bounce, not our own links."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import oracle
from tests.fakes.upstream import Upstream
from tests.peers import postfix
from tests.scenarios import hostile, service
from tests.until import eventually

Peers = tuple[service.Service, service.Service, Upstream]
HTML = (
    "<html><body><a href=\"https://example.com/a?x=1&amp;y=2\">a</a> <a href='http://example.com/b'>b</a></body></html>"
)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """A relay, and one before it of the same installation (tracking host and token keys): what the second sends, the first
    gets."""
    near, far = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("far")
    refusing = {"rcpt": lambda command: "550 5.1.1 no such user" if "gone@" in command else None}
    with hostile.sink(refusing) as upstream:
        ports = service.settings(near, upstream=upstream.port)
        others = service.settings(far, upstream=ports[0], url=f"http://127.0.0.1:{ports[1]}")
        with service.running(near, ports, only="smtp,queue,http") as first:
            (far / "var").mkdir(mode=0o700)
            shutil.copytree(near / "var" / "keys", far / "var" / "keys")
            with service.running(far, others, only="smtp,queue") as second:
                yield first, second, upstream


def test_twice_through_changes_nothing_more(peers: Peers) -> None:
    relay, _, upstream = peers
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(hostile.letter(HTML, "X-Track: opens, links")).startswith("250")
        once = upstream.taken[-1].content
        again = once.replace(b"Subject:", b"X-Track: opens, links\r\nSubject:", 1)
        assert client.mail(again).startswith("250")
    twice = upstream.taken[-1].content
    pixels, clicks = hostile.tokens(once)
    assert (len(pixels), len(clicks)) == (1, 2)
    assert hostile.tokens(twice)[1] == clicks  # not one link is wrapped again
    assert len(hostile.tokens(twice)[0]) == 1
    assert oracle.below_trace(oracle.below_trace(twice)) == oracle.below_trace(once)


def test_through_two_relays_is_tracked_once(peers: Peers) -> None:
    _, second, upstream = peers
    with hostile.Smtp(second.smtp) as client:
        assert client.mail(hostile.letter(HTML, "X-Track: opens, links")).startswith("250")
    pixels, clicks = hostile.tokens(upstream.taken[-1].content)
    assert (len(pixels), len(clicks)) == (1, 2)


def test_a_message_that_went_around_is_refused(peers: Peers) -> None:
    relay, _, upstream = peers
    before = len(upstream.taken)
    received = "\r\n".join(f"Received: from a by b; {i}" for i in range(51))
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(hostile.letter(HTML, received)).startswith("554 5.4.6 ")
        assert client.mail(hostile.letter(HTML, received.lower().replace(": ", ":"))).startswith("554 5.4.6 ")
        assert client.mail(hostile.letter(HTML, received.partition("\r\n")[2])).startswith("250")
    assert len(upstream.taken) == before + 1


def test_before_and_behind_another_server_is_no_loop(peers: Peers) -> None:
    """Mail that the relay has twice, since it stands before two servers; by its Received fields alone: who brings it again
    knows no DSN. It is refused the sixth time."""
    relay, _, upstream = peers
    content = hostile.letter(HTML, "X-Track: opens, links")
    with hostile.Smtp(relay.smtp) as client:
        for times in range(1, 6):
            assert client.mail(content).startswith("250"), times
            content = upstream.taken[-1].content
            assert (
                content.count(b"Received: from client.example.test ([127.0.0.1])\r\n\tby relay.example.test") == times
            )
        assert client.mail(content).startswith("554 5.4.6 This message left here 5 times")


def test_it_is_not_its_own_upstream(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("self")
    for url in (
        "smtp://127.0.0.1:2599", "smtp://localhost:2599", "smtp://LOCALHOST.:2599", "smtp://[::1]:2599", "smtp://0.0.0.0:2599",
        "smtp://me@127.0.0.1", "smtps://127.0.0.1:2599", "smtp://relay.example.test:2599",
    ):  # fmt: skip
        config = folder / "relay.toml"
        password = 'password = "x"' if "@" in url else ""
        config.write_text(
            '[smtp]\nlisten = ["0.0.0.0:2599", "127.0.0.1:587"]\nhostname = "relay.example.test"\nallow = ["10.0.0.0/8"]\n'
            f'[upstream]\nurl = "{url}"\n{password}\n[tracking]\nurl = "https://t.example.test"\n'
        )
        done = service.command("run", "--config", str(config))
        assert done.returncode == 2
        assert "upstream.url: is this relay itself" in done.stderr
        assert service.command("check", "--config", str(config)).stderr == done.stderr


PATIENT = 'patience = "60s"'


@pytest.fixture(params=["with DSN", "without DSN"])
def door(request: pytest.FixtureRequest) -> Iterator[tuple[int, list[int]]]:
    """A port that leads to whatever port is put into the list: another address of the same server. Where it takes DSN out
    of the offers, no envelope identifier comes through, and only Received fields tell."""
    target: list[int] = []

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if request.param == "without DSN":
                data = data.replace(b"250 DSN\r\n", b"250 HELP\r\n")
            writer.write(data)
        writer.close()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, out = await asyncio.open_connection("127.0.0.1", target[0])
        await asyncio.gather(pour(reader, out), pour(inner, writer))

    with hostile.elsewhere() as run:
        server = run(asyncio.start_server(met, "127.0.0.1", 0))
        yield server.sockets[0].getsockname()[1], target
        server.close()


def handled(relay: service.Service) -> list[str]:
    """What became of each message here, in order."""
    return re.findall(r" delivery (?:accepted|refused) .*outcome=(\w+)", relay.log)


def test_its_own_upstream_under_another_address(tmp_path: Path, door: tuple[int, list[int]]) -> None:
    """The client hears it at once, as long as nobody on the way loses patience."""
    ports = service.settings(tmp_path, upstream=door[0], out=PATIENT)
    door[1].append(ports[0])
    with service.running(tmp_path, ports, only="smtp,queue") as relay, hostile.Smtp(relay.smtp) as client:
        answer = client.mail(hostile.letter(HTML, "X-Track: opens, links"))
        assert answer.startswith("554 5.4.6 ")
        eventually(lambda: handled(relay) == ["refused"] * 6)
        assert client.mail(hostile.letter(HTML), sender="").startswith("554 5.4.6 ")
        assert "nothing waits" in relay.command("queue", "list").stdout


def test_two_relays_that_point_at_each_other(tmp_path: Path) -> None:
    """A message ends after a few rounds; so does the report on one whose client went home with a 250."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ports = service.settings(tmp_path / "a", upstream="smtp://127.0.0.1:1", out=PATIENT)
    others = service.settings(tmp_path / "b", upstream=ports[0], out=PATIENT, hostname="other.example.test")
    config = tmp_path / "a" / "relay.toml"
    config.write_text(config.read_text().replace('127.0.0.1:1"', f'127.0.0.1:{others[0]}"'))
    with service.running(tmp_path / "a", ports, only="smtp,queue") as one:
        with hostile.Smtp(one.smtp) as client:
            assert client.mail(hostile.letter(HTML)).startswith("250")  # kept: the other is not there yet
            with service.running(tmp_path / "b", others, only="smtp,queue") as other:
                assert client.mail(hostile.letter(HTML, "X-Track: opens, links")).startswith("554 5.4.6 ")
                eventually(lambda: (handled(one), handled(other)) == (["kept"] + ["refused"] * 6, ["refused"] * 5))
                one.command("queue", "retry", "--all")
                for relay in (one, other):
                    relay.emptied()
        assert one.log.count(" given_up ") == 2  # the message, and the report of that
        # Five rounds each; a report leaves without an identifier, and gets its own when it comes back.
        assert handled(other) == ["refused"] * (5 + 5 + 6)


def test_back_through_a_postfix(tmp_path: Path) -> None:
    with postfix.running(transport="discard:") as hub:
        ports = service.settings(tmp_path, upstream=hub.port)
        subprocess.run(
            ["postconf", "-c", hub.folder / "etc", f"default_transport=smtp:[127.0.0.1]:{ports[0]}"], check=True
        )
        subprocess.run(["postfix", "-c", hub.folder / "etc", "reload"], check=True, capture_output=True)
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter(HTML)).startswith("250")
            # Postfix brings a message back before it has answered for it, so the sixth line may come before the fifth.
            eventually(lambda: {"refused", "sent"} <= set(handled(relay)) and len(handled(relay)) >= 6)
            assert sorted(handled(relay)[:6]) == ["refused"] + ["sent"] * 5
            assert "5.4.6 This message left here 5 times" in relay.log


@pytest.mark.parametrize(
    "fields",
    [
        ["Auto-Submitted: auto-replied"], ["Auto-Submitted: auto-replied (vacation)"],
        ["Content-Type: multipart/report; report-type=delivery-status; boundary=b"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("sender", ["", "a@example.test"])
def test_automatic_mail_is_not_tracked_and_not_answered(peers: Peers, sender: str, fields: list[str]) -> None:
    relay, _, upstream = peers
    before = len(upstream.taken)
    content = hostile.letter(HTML, "X-Track: all", *fields)
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(content, "b@example.test", sender=sender).startswith("250")
    assert len(upstream.taken) == before + 1
    assert hostile.tokens(upstream.taken[-1].content) == ([], [])


def test_no_report_to_nobody(peers: Peers) -> None:
    """Of a message from <> that is refused for one of two recipients, nobody is told: the other has it, and that is all."""
    relay, _, upstream = peers
    before = len(upstream.taken)
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(hostile.letter(HTML), "gone@example.test", sender="").startswith("550 5.1.1")
        assert client.mail(hostile.letter(HTML), "gone@example.test", "b@example.test", sender="").startswith("250")
        assert client.mail(hostile.letter(HTML), "gone@example.test", "b@example.test", sender="c@x.test").startswith(
            "250"
        )
    eventually(lambda: len(upstream.taken) == before + 3)
    told = [
        kept for kept in upstream.taken[before:] if kept.reverse_path == "" and kept.recipients != ["b@example.test"]
    ]
    assert [kept.recipients for kept in told] == [["c@x.test"]]  # the one who can be told, is
