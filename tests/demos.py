"""`trackrelay demo` as a process, and its page in a browser, for whoever has to look at it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import browser
from tests.until import eventually

ROOT = Path(__file__).parent.parent


@dataclass
class Running:
    """A running demo: `url` of its page, without a slash at the end, and the relay's SMTP port."""

    process: subprocess.Popen[str]
    url: str
    smtp: int
    folder: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(fields).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def messages(self, number: int = 1) -> list[dict[str, Any]]:
        """The inbox, newest first, once it has at least so many."""
        return eventually(lambda: found if len(found := self.get("/demo/inbox")["messages"]) >= number else None)

    def states(self, number: int = 0) -> list[str]:
        """What the live page says of the newest message, or of an earlier one."""
        return [s["name"] for s in self.get("/live/messages")["messages"][number]["states"]]


def begun(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "relay",
        "demo",
        *(words or ("--smtp-port", "0", "--http-port", "0", "--admin-port", "0")),
    ]
    with (tmp_path / "stderr").open("w") as stderr:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=ROOT,
            env={"PATH": "", "TMPDIR": str(tmp_path)},
        )


@contextmanager
def running(tmp_path: Path, *words: str) -> Iterator[Running]:
    process = begun(tmp_path, *words)
    assert process.stdout
    opened = process.stdout.readline()
    if not opened and process.wait(35) == 1 and "another program listens there" in (tmp_path / "stderr").read_text():
        process = begun(tmp_path, *words)  # a port that was free was taken meanwhile
        assert process.stdout
        opened = process.stdout.readline()
    try:
        smtp = process.stdout.readline()
        assert opened.startswith("Open http://127.0.0.1:"), (tmp_path / "stderr").read_text()
        port = re.search(r"127\.0\.0\.1:(\d+)", smtp)
        assert port
        yield Running(process, opened.split()[1].rstrip("/"), int(port[1]), tmp_path)
    finally:
        process.terminate()
        code = process.wait(35)
        process.stdout.close()
    assert code == 0, (tmp_path / "stderr").read_text()


def page_of(chromium: Any, started: Running, **how: Any) -> tuple[Any, browser.Seen]:
    for context in chromium.contexts:  # those of earlier tests, which would go on listening
        context.close()
    page = chromium.new_context(viewport={"width": 1440, "height": 900}, **how).new_page()
    page.set_default_timeout(browser.PATIENCE)
    seen = browser.watch(page)
    page.goto(started.url)
    page.get_by_text("Live", exact=True).and_(page.locator("#status")).wait_for()
    return page, seen
