"""The service is told to stop while mail and clicks come in: what was answered 250 arrives once, what was not is its
client's, and no message is sent half."""

import contextlib
import itertools
import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

CLIENTS = 6


class Clients:
    """Threads that send numbered messages until the door is shut. `answered` has the numbers that were answered 250,
    `open_` those whose client heard nothing."""

    def __init__(self, port: int, size: int = 0) -> None:
        self.port, self.padding = port, "\r\n".join(["x" * 70] * (size // 72))
        self.numbers = itertools.count()
        self.answered: list[int] = []
        self.open_: list[int] = []
        self.told: list[str] = []
        self.threads = [threading.Thread(target=self.work) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def work(self) -> None:
        while True:
            try:
                with hostile.Smtp(self.port) as client:
                    while self.send(client):
                        pass
            except (OSError, AssertionError):
                return

    def send(self, client: hostile.Smtp) -> bool:
        number = next(self.numbers)
        content = hostile.letter("", "X-Track: all", f"X-Number: {number}", f"X-Padding: {self.padding[:40]}")
        content += self.padding.encode()
        client.envelope(sender=f"n{number}@example.test")
        with contextlib.suppress(OSError):
            client.send(content + b"\r\n.\r\n")
        answer = client.reply()
        if answer.startswith("250"):
            self.answered.append(number)
            return True
        self.open_.append(number)
        self.told.append(answer)
        return False

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)


@pytest.mark.parametrize(
    ("size", "slow"), [(0, 0.0), (400_000, 0.0), (0, 0.05)], ids=["small", "large", "slow upstream"]
)
def test_none_lost_none_twice(tmp_path: Path, size: int, slow: float) -> None:
    def dot(command: str) -> None:
        time.sleep(slow)  # an upstream that is slow

    with hostile.sink({"dot": dot} if slow else None) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports) as relay:
            clients = Clients(relay.smtp, size)
            eventually(lambda: len(clients.answered) > 30)
            assert relay.stop() == 0
            clients.join()
        assert list((tmp_path / "var" / "spool").glob("*.msg")) == []  # the upstream took all that was answered
        arrived = Counter(int(kept.reverse_path[1:].partition("@")[0]) for kept in upstream.taken)
    assert set(clients.answered) <= set(arrived), "lost"
    assert max(arrived.values()) == 1, "sent twice"
    # A client that had sent its dot is answered: it is not left to send again what has gone out.
    assert set(arrived) - set(clients.answered) == set()
    assert all(told == "" or told.startswith("421") for told in clients.told), clients.told
    for kept in upstream.taken:
        number = re.match(r"n(\d+)@", kept.reverse_path)[1]
        assert f"X-Number: {number}\r\n".encode() in kept.content
        assert kept.content.endswith(clients.padding.encode() + b"\r\n")
        assert len(hostile.tokens(kept.content)[1]) == 1
    assert "Traceback" not in relay.log


def test_clicks_are_answered_and_kept(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, http="hits_per_token = 0\nhits_per_message = 0")
        with service.running(tmp_path, ports) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            link = hostile.tokens(upstream.taken[0].content)[1][0]
            answered: list[int] = []

            def clicking(me: int) -> None:
                with contextlib.suppress(OSError), hostile.Http(relay.http) as client:
                    for turn in itertools.count():
                        status, _, _ = client.get(f"{link}?tid={me}-{turn}")
                        if status != 302:
                            return
                        answered.append(status)

            threads = [threading.Thread(target=clicking, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            eventually(lambda: len(answered) > 200)
            assert relay.stop() == 0
            for thread in threads:
                thread.join(30)
        with service.running(tmp_path, ports, only="http"):
            shown = service.command("events", "--limit", "100000", "--config", str(relay.config)).stdout
        assert shown.count("message.link_clicked") >= len(answered)
