"""Real servers, run privately on loopback as the tests' own processes, each with a folder of its own."""

import os
import shutil
import socket

import pytest


def require(program: str, *, package: str) -> str:
    """The path of `program`. Where it is missing the test skips and says so; with REQUIRE_SERVERS=1 it fails."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/usr/lib/dovecot")
    if path:
        return path
    words = f"{program} is not on this machine (Debian package {package})"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(words)
    pytest.skip(words)


GIVEN: set[int] = set()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now, and that was not given before: the kernel may name one
    that was just closed again."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        if port not in GIVEN:
            GIVEN.add(port)
            return port
