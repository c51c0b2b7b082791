"""Nothing goes in circles: not a message, not a bounce, not our own links."""

from collections.abc import Iterator

import pytest

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service

Peers = tuple[service.Service, service.Service, Upstream]
HTML = (
    "<html><body><a href=\"https://example.com/a?x=1&amp;y=2\">a</a> <a href='http://example.com/b'>b</a></body></html>"
)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """A relay, and one before it with the same tracking host: what the second sends, the first gets."""
    near, far = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("far")
    refusing = {"rcpt": lambda command: "550 5.1.1 no such user" if "gone@" in command else None}
    with hostile.sink(refusing) as upstream:
        ports = service.settings(near, upstream=upstream.port)
        others = service.settings(far, upstream=ports[0])
        text = (far / "relay.toml").read_text()
        own = f'url = "http://127.0.0.1:{others[1]}"'
        assert own in text
        (far / "relay.toml").write_text(text.replace(own, f'url = "http://127.0.0.1:{ports[1]}"'))
        with (
            service.running(near, ports, only="smtp,queue,http") as first,
            service.running(far, others, only="smtp,queue") as second,
        ):
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
    assert twice == once


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


def test_it_is_not_its_own_upstream(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("self")
    for host in ("127.0.0.1", "localhost", "[::1]"):
        config = folder / "relay.toml"
        config.write_text(
            f'[smtp]\nlisten = ["0.0.0.0:2599"]\nallow = ["10.0.0.0/8"]\n[upstream]\nurl = "smtp://{host}:2599"\n'
        )
        done = service.command("run", "--config", str(config))
        assert done.returncode == 2
        assert "upstream.url" in done.stderr


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
    service.until(lambda: len(upstream.taken) == before + 3)
    told = [
        kept for kept in upstream.taken[before:] if kept.reverse_path == "" and kept.recipients != ["b@example.test"]
    ]
    assert [kept.recipients for kept in told] == [["c@x.test"]]  # the one who can be told, is
