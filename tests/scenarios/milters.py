"""The program as a milter, and a real Postfix that asks it."""

from __future__ import annotations

import re
import smtplib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import postfix
from tests.scenarios import service


def documented(number: int) -> tuple[str, str]:
    """main.cf and relay.toml in the section on the milter in docs/postfix.md: by TCP, or by a unix socket."""
    (section,) = re.findall(r"(?ms)^## Milter\n(.*?)^## ", (service.ROOT / "docs" / "postfix.md").read_text())
    found = [re.findall(rf"(?ms)^```\w+\n# {name}\n(.*?)^```$", section) for name in (r"main\.cf", r"relay\.toml")]
    assert [len(blocks) for blocks in found] == [2, 2]
    return found[0][number], found[1][number]


def table(text: str) -> str:
    """[milter] of a relay.toml again."""
    return "\n".join(
        ["[milter]", *(f"{name} = {value!r}" for name, value in tomllib.loads(text)["milter"].items()), ""]
    )


def settings(folder: Path, more: str = "", *, tracking: str = "links = true\nopens = true") -> tuple[Any, int]:
    """As docs/postfix.md has it by TCP, but for the port. No upstream: Postfix delivers."""
    port = peers.free_port()
    text = table(documented(0)[1].replace("8891", str(port)))
    return service.settings(folder, upstream="", tracking=tracking, more=text + more), port


def main_cf(text: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def asking(milter: int, **settings: str) -> dict[str, str]:
    """main.cf, as docs/postfix.md has it."""
    return main_cf(documented(0)[0].replace("8891", str(milter))) | {"smtputf8_enable": "yes", **settings}


@contextmanager
def mail_server(sink: Upstream, milter: int, **settings: str) -> Iterator[postfix.Server]:
    with postfix.running(transport=f"smtp:[127.0.0.1]:{sink.port}", settings=asking(milter, **settings)) as server:
        yield server


def send(port: int, content: bytes, *to: str, options: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("a@example.test", to or ("b@example.test",), content, options)
