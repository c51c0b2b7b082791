"""The program as its operator runs it: a process of its own, a folder of its own, ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import peers
from tests.until import eventually

ROOT = Path(__file__).parent.parent.parent
store_url = ""  # of the settings that are written from now on; "" is the usual file


@dataclass
class Service:
    """A running `trackrelay run`. `log` is its stderr so far."""

    folder: Path
    smtp: int
    http: int
    admin: int
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "relay.toml"

    @property
    def log(self) -> str:
        return (self.folder / "stderr.log").read_text()

    def command(self, *words: str, code: int = 0, **how: Any) -> subprocess.CompletedProcess[str]:
        """Another command with the same configuration; its exit code must be `code`."""
        done = command(*words, "--config", str(self.config), **how)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def waiting(self) -> list[Path]:
        """What is in the spool."""
        return sorted((self.folder / "var" / "spool").glob("*.msg"))

    def emptied(self) -> None:
        """Returns once nothing waits in the spool; the operator hears so too."""
        eventually(lambda: not self.waiting())
        assert self.command("queue", "list").stdout == "nothing waits\n"

    def events(self, **how: Any) -> list[dict[str, Any]]:
        """What `trackrelay events` shows, oldest first."""
        shown = self.command("events", "--json", "--limit", "100000", **how).stdout
        return [json.loads(line) for line in shown.split("\n") if line]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 35) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop within {seconds} s\n{self.log}") from None


def files(service: Service) -> int:
    """How many files and sockets the program has open, by its own count: it lets nobody but root look."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.admin}/metrics", timeout=15) as answer:
        (line,) = (each for each in answer.read().splitlines() if each.startswith(b"process_open_fds "))
    return int(float(line.split()[1]))


def command(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    how.setdefault("text", True)
    how.setdefault("timeout", 60)
    return subprocess.run([sys.executable, "-m", "relay", *words], capture_output=True, cwd=how.pop("cwd", ROOT), **how)


def settings(
    folder: Path,
    *,
    upstream: int | str,
    more: str = "",
    tracking: str = "",
    smtp: str = "",
    out: str = "",
    http: str = "",
    admin: str = "open = true",
    url: str = "http://127.0.0.1:{port}",
    hostname: str = "relay.example.test",
) -> tuple[int, int, int]:
    """Writes relay.toml; gives the ports of SMTP, tracking and admin. `upstream` is a port on loopback, a URL, or "" for
    none. `more` is appended; `tracking`, `smtp`, `out`, `http` and `admin` go into the tables tracking, smtp, upstream,
    http and admin. `url` is the public address of the tracking server, `port` in it its own."""
    if isinstance(upstream, int):
        upstream = f"smtp://127.0.0.1:{upstream}"
    ports = peers.free_port(), peers.free_port(), peers.free_port()
    if store_url and "[store]" not in more:
        more += f'\n[store]\nurl = "{store_url}"\n'
    (folder / "relay.toml").write_text(f"""
state_dir = "var"
[smtp]
listen = ["127.0.0.1:{ports[0]}"]
hostname = "{hostname}"
{smtp}
[upstream]
{f'url = "{upstream}"' if upstream else ""}
{out}
[tracking]
url = "{url.format(port=ports[1])}"
{tracking}
[http]
listen = "127.0.0.1:{ports[1]}"
{http}
[admin]
listen = "127.0.0.1:{ports[2]}"
{admin}
{more}
""")
    return ports


@contextmanager
def running(
    folder: Path,
    ports: tuple[int, int, int],
    *,
    only: str = "",
    env: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    words: Sequence[str] = (),
) -> Iterator[Service]:
    """`trackrelay run` with the relay.toml of `folder`, from "trackrelay ready" to a clean stop. `prefix`: the command
    that starts it, such as one that sets limits; `words`: further arguments."""
    words = [*prefix, sys.executable, "-m", "relay", "run", "--config", str(folder / "relay.toml"), *words]
    if only:
        words += ["--only", only]
    with (folder / "stderr.log").open("ab") as stderr:
        began = stderr.tell()
        process = subprocess.Popen(words, stderr=stderr, cwd=ROOT, env={**os.environ, **(env or {})})
    service = Service(folder, *ports, process)
    try:
        eventually(
            lambda: b"trackrelay ready\n" in (folder / "stderr.log").read_bytes()[began:] or process.poll() is not None,
            peers.START_SECONDS,
        )
        assert process.poll() is None, f"ended at once\n{service.log}"
        yield service
    finally:
        if process.poll() is None:
            assert service.stop() == 0, service.log
