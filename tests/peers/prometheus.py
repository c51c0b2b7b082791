"""Debian's Prometheus, with a configuration that a test gives it, and its API."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import peers


@dataclass
class Prometheus:
    port: int

    def get(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value now of each series."""
        found = self.get("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]


@contextlib.contextmanager
def running(folder: Path, config: str) -> Iterator[Prometheus]:
    """With this prometheus.yml, all in `folder`."""
    path = peers.require("prometheus", package="prometheus")
    (folder / "prometheus.yml").write_text(config)
    port, log = peers.free_port(), folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                path, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        peers.listening(process, port, log)
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)
