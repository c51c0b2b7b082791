"""The milter is killed, hangs or starts again while a real Postfix takes mail: every message arrives, once and whole."""

import signal
import smtplib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenarios import hostile, milters, service
from tests.until import eventually

SESSIONS, EACH = 5, 12


def body(name: str) -> str:
    return f"<html><body><p>{name} <a href='https://example.com/{name}'>x</a> end of {name}</p></body></html>"


class Load:
    """Sessions that send one message after the other. `sent` are those that Postfix took."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent: list[str] = []
        self.refused: list[tuple[int, bytes | str]] = []
        self.threads = [threading.Thread(target=self.session, args=(n,), daemon=True) for n in range(SESSIONS)]

    def session(self, number: int) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
            for n in range(EACH):
                name = f"m{number}x{n}"
                try:
                    client.sendmail(
                        "a@example.test",
                        [f"{name}@example.test"],
                        hostile.letter(body(name), to=f"{name}@example.test"),
                    )
                except smtplib.SMTPDataError as error:
                    self.refused.append((error.smtp_code, error.smtp_error))
                else:
                    self.sent.append(name)

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def after(self, many: int) -> None:
        """Returns once so many were taken."""
        eventually(lambda: len(self.sent) >= many, 60)

    def end(self) -> None:
        for thread in self.threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self.threads)


def killed(relay: service.Service, again: Callable[[], service.Service]) -> None:
    relay.kill()
    again()


def hung(relay: service.Service, again: Callable[[], service.Service]) -> None:
    """For longer than Postfix waits."""
    relay.process.send_signal(signal.SIGSTOP)


def stopped(relay: service.Service, again: Callable[[], service.Service]) -> None:
    assert relay.stop() == 0
    again()


@pytest.mark.parametrize("fault", [killed, hung, stopped])
def test_no_message_is_lost_or_damaged_or_held(
    tmp_path: Path, fault: Callable[[service.Service, Callable[[], service.Service]], None]
) -> None:
    ports, milter = milters.settings(tmp_path)
    with hostile.sink() as last, ExitStack() as stack:

        def start() -> service.Service:
            return stack.enter_context(service.running(tmp_path, ports, only="milter,admin"))

        relay = start()
        patience = {"milter_content_timeout": "1s", "milter_command_timeout": "1s", "milter_connect_timeout": "1s"}
        server = stack.enter_context(milters.mail_server(last, milter, **patience))
        load = Load(server.port)
        load.start()
        load.after(SESSIONS * EACH // 4)
        fault(relay, start)
        load.end()
        if fault is hung:
            relay.process.send_signal(signal.SIGCONT)
        assert load.refused == []
        assert len(load.sent) == SESSIONS * EACH
        eventually(lambda: len(last.taken) >= SESSIONS * EACH, 60)
        assert sorted(kept.recipients[0].partition("@")[0] for kept in last.taken) == sorted(load.sent)
        tracked = 0
        for kept in last.taken:
            name = kept.recipients[0].partition("@")[0].encode()
            assert b"<p>" + name in kept.content
            assert b"end of " + name + b"</p>" in kept.content
            assert kept.content.count(b"</body>") == 1
            _, clicks = hostile.tokens(kept.content)
            tracked += len(clicks)
            assert clicks or b"https://example.com/" + name in kept.content
        assert tracked >= SESSIONS * EACH // 4
