"""Real servers, run privately on loopback as the tests' own processes, each with a folder of its own."""

import collections
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.until import eventually


def require(program: str, *, package: str) -> str:
    """The path of `program`. Where it is missing the test skips and says so; with REQUIRE_SERVERS=1 it fails."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/usr/lib/dovecot")
    if path:
        return path
    words = f"{program} is not on this machine (Debian package {package})"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(words)
    pytest.skip(words)


START_SECONDS = 60.0  # how long a server may take, on a machine that is busy with much else
HELD: collections.deque[socket.socket] = collections.deque()
MAX_HELD = 500  # far more than a test needs; then the oldest are let go


def free_port() -> int:
    """A TCP port on 127.0.0.1 for a server that the test starts. It is held, bound but not listening: until a server
    listens there (with SO_REUSEADDR, as servers do) a client is refused, and neither another test, in whatever
    process, nor the kernel gives it to anybody else."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    HELD.append(held)
    if len(HELD) > MAX_HELD:
        HELD.popleft().close()
    return int(held.getsockname()[1])


def listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    """Returns once the server that was started listens there. Fails if it ends before; `output` says why."""

    def there() -> bool:
        with socket.socket() as client:
            return process.poll() is not None or client.connect_ex(("127.0.0.1", port)) == 0

    eventually(there, START_SECONDS)
    if process.poll() is not None:
        pytest.fail(f"{process.args!r} ended with exit code {process.returncode}:\n{output.read_text()[-2000:]}")


def greeted(process: subprocess.Popen[bytes], port: int, said: Callable[[], str]) -> None:
    """Returns once a mail server greets there with 220. Fails if it ends before, or says nothing in time; `said` is what
    it tells of itself."""

    def there() -> bool:
        if process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
                return client.recv(200).startswith(b"220")
        return process.poll() is not None

    with contextlib.suppress(TimeoutError):
        eventually(there, START_SECONDS)
        if process.poll() is None:
            return
    pytest.fail(f"{process.args!r} did not start (exit code {process.poll()}):\n{said()}")
