"""Real Postfix that asks the milter about its mail: what it delivers is what the relay would have sent."""

import re
import smtplib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import postfix
from tests.scenarios import hostile, service
from tests.until import eventually


def settings(folder: Path, more: str = "", *, tracking: str = "links = true\nopens = true") -> tuple[Any, int]:
    """No upstream: Postfix delivers."""
    port = peers.free_port()
    text = f'[milter]\nlisten = "inet:127.0.0.1:{port}"\n{more}'
    return service.settings(folder, upstream="", tracking=tracking, more=text), port


def asking(milter: int, **settings: str) -> dict[str, str]:
    """main.cf, as docs/postfix.md has it."""
    return {
        "smtpd_milters": f"inet:127.0.0.1:{milter}", "non_smtpd_milters": f"inet:127.0.0.1:{milter}",
        "milter_default_action": "accept", "milter_protocol": "6", "smtputf8_enable": "yes", **settings,
    }  # fmt: skip


@contextmanager
def mail_server(sink: Upstream, milter: int, **settings: str) -> Iterator[postfix.Server]:
    with postfix.running(transport=f"smtp:[127.0.0.1]:{sink.port}", settings=asking(milter, **settings)) as server:
        yield server


def send(port: int, content: bytes, *to: str, options: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("a@example.test", to or ("b@example.test",), content, options)


def test_tracked_mail_of_one_recipient_and_of_several(tmp_path: Path) -> None:
    ports, milter = settings(tmp_path)
    with (
        hostile.sink() as last,
        service.running(tmp_path, ports) as relay,
        mail_server(last, milter) as server,
    ):
        send(server.port, hostile.letter("", "X-Track-Label: spring", "Bcc: c@example.test"))
        (alone,) = eventually(lambda: list(last.taken))
        pixels, clicks = hostile.tokens(alone.content)
        assert (len(pixels), len(clicks)) == (1, 1)
        assert b"x-track" not in alone.content.lower()
        urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}{pixels[0]}", timeout=15).close()
        (event,) = eventually(relay.events)
        assert (event["type"], event["recipient"]) == ("message.opened", "b@example.test")
        queue_id = re.findall(r"postfix/cleanup.*?: (\w+): message-id=<letter-1@", server.log())[0]
        assert f"queue_id={queue_id} recipients=1" in relay.log

        send(server.port, hostile.letter(), "c@example.test", "d@example.test")
        several = eventually(lambda: last.taken[1:])
        pixels, _ = hostile.tokens(several[0].content)
        urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}{pixels[0]}", timeout=15).close()
        event = eventually(lambda: relay.events()[1:])[0]
        assert (event["type"], event["recipient"]) == ("message.opened", "")
