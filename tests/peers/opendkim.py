"""A private OpenDKIM on loopback: its own folder and port, gone afterwards.

    with opendkim.running(folder, settings) as server:
        ... server.port

`settings` are the lines of opendkim.conf; what they say of the socket, the user and the pid file is replaced.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import peers

OURS = re.compile(r"(?m)^(Socket|UserID|PidFile)\s.*\n")


@dataclass(frozen=True)
class Server:
    port: int
    folder: Path


@contextlib.contextmanager
def running(folder: Path, settings: str) -> Iterator[Server]:
    program = peers.require("opendkim", package="opendkim")
    port = peers.free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "opendkim.conf").write_text(
        # /tmp is not a place that OpenDKIM would take a key from.
        OURS.sub("", settings) + f"RequireSafeKeys no\nSocket inet:{port}@127.0.0.1\n"
    )
    output = folder / "output"
    process = subprocess.Popen(
        [program, "-f", "-x", folder / "opendkim.conf"],
        stdin=subprocess.DEVNULL, stdout=output.open("wb"), stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        peers.listening(process, port, output)
        yield Server(port, folder)
    finally:
        process.terminate()
        process.wait(20)
