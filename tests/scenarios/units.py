"""The program as systemd runs it, on a machine of the test's own (`tests.peers.systemd`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes.upstream import Upstream
from tests.peers import systemd
from tests.scenarios import hostile
from tests.until import eventually

SMTP, HTTP, ADMIN = 2525, 8080, 8081  # the defaults; the ports are the machine's own
LONG = 120.0  # seconds; a start takes two, or twenty on a busy machine
CONFIG = "/etc/trackrelay/relay.toml"
ROLES = "smtp", "queue", "http", "admin", "mailbox", "webhooks"


class Relay:
    """The program on that machine, as its units run it."""

    def __init__(self, machine: systemd.Machine) -> None:
        self.machine = machine
        self.run, self.inside = machine.run, machine.inside
        self._began = machine.cursor()

    def settings(
        self, text: str = "", *, upstream: int | str = 9, smtp: str = "", http: str = "", out: str = ""
    ) -> None:
        self.machine.write(
            CONFIG,
            f"""
state_dir = "/var/lib/trackrelay"
[smtp]
hostname = "relay.example.test"
{smtp}
[upstream]
url = "smtp://{upstream if isinstance(upstream, str) else f"127.0.0.1:{upstream}"}"
{out}
[tracking]
url = "http://127.0.0.1:{HTTP}"
[http]
{http}
[admin]
open = true
{text}
""",
        )

    def journal(self, unit: str = "trackrelay") -> str:
        """What it has written in this test, and systemd about it."""
        return self.machine.journal(unit, self._began)

    def drop_in(self, unit: str, text: str) -> None:
        self.machine.write(f"/etc/systemd/system/{unit}.d/tests.conf", text)
        self.run("systemctl", "daemon-reload")

    def start(self, *units: str) -> None:
        done = self.run("systemctl", "start", *units, code=None, timeout=LONG)
        assert done.returncode == 0, done.stderr + "".join(map(self.journal, units))

    def smtp(self, port: int = SMTP, **how: Any) -> hostile.Smtp:
        return self.inside(hostile.Smtp, port, **how)

    def get(self, port: int, path: str) -> tuple[int, bytes]:
        with self.inside(hostile.Http, port) as client:
            status, _, body = client.get(path)
        return status, body

    def mail(self, port: int = SMTP) -> str:
        with self.smtp(port) as client:
            return client.mail(hostile.letter("", "X-Track: all"))

    @contextlib.contextmanager
    def upstream(self, **how: Any) -> Iterator[Upstream]:
        """A server that delivers, on that machine."""
        with contextlib.ExitStack() as stack:
            yield self.inside(stack.enter_context, hostile.sink(**how))

    @contextlib.contextmanager
    def thinking(self) -> Iterator[tuple[Upstream, Callable[[], None]]]:
        """One that says nothing to the last dot of a message until it is told to go on."""
        gate = asyncio.Event()

        async def go_on() -> None:
            gate.set()

        with contextlib.ExitStack() as stack:
            run = self.inside(stack.enter_context, hostile.elsewhere())
            upstream = Upstream(gates={"dot": gate})
            run(upstream.start())
            try:
                yield upstream, lambda: run(go_on())
            finally:
                run(go_on())
                run(upstream.stop())

    def command(self, *words: str) -> str:
        """`trackrelay …` as root, as docs/operations.md has it."""
        return self.run("trackrelay", *words, "--config", CONFIG).stdout

    def figure(self, name: str) -> float:
        return self.inside(hostile.metrics, ADMIN).get(f"trackrelay_{name}", 0.0)

    def kill(self, name: str, unit: str = "trackrelay") -> None:
        """A signal for its main process."""
        self.run("systemctl", "kill", "--kill-who=main", "--signal", name, unit)

    def becomes(self, state: str, unit: str = "trackrelay") -> None:
        eventually(lambda: self.machine.state(unit) == state, LONG, pause=0.2)

    def gone(self, before: int, unit: str = "trackrelay") -> None:
        """That is its main process no more."""
        eventually(lambda: self.machine.main_pid(unit) != before, LONG, pause=0.1)

    def again(self, before: int, unit: str = "trackrelay") -> int:
        """Its main process once it is ready and another one than that."""

        def there() -> int:
            shown = self.machine.show(unit, "MainPID", "ActiveState")
            return int(shown["MainPID"]) if shown["ActiveState"] == "active" and shown["MainPID"] != str(before) else 0

        return eventually(there, LONG, pause=0.2)

    def clear(self) -> None:
        """Nothing of it runs or is left there."""
        units = [
            "trackrelay.service",
            "trackrelay.target",
            *(f"trackrelay-{role}.service" for role in (*ROLES, "milter")),
        ]
        sockets = [path.name for path in (self.machine.root / "etc/systemd/system").glob("trackrelay*.socket")]
        self.run("systemctl", "stop", *sockets, *units, code=None, timeout=LONG)
        left = "/etc/systemd/system/trackrelay*.d /var/lib/trackrelay /etc/trackrelay"
        self.run("sh", "-c", f"rm -rf {left}; mkdir -p /etc/trackrelay/secrets")
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "reset-failed")
