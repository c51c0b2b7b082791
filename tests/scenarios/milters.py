"""The program as a milter, and a real Postfix that asks it."""

from __future__ import annotations

import smtplib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import postfix
from tests.scenarios import blocks, service


def documented(number: int) -> tuple[str, str]:
    """main.cf and relay.toml in the section on the milter in docs/postfix.md: by TCP, or by a unix socket."""
    first, second = (blocks.read("postfix", "Milter", name, number) for name in ("main.cf", "relay.toml"))
    return first, second


def table(text: str) -> str:
    """[milter] of a relay.toml again."""
    return f"[milter]\n{blocks.values(tomllib.loads(text)['milter'])}\n"


def settings(folder: Path, more: str = "", *, tracking: str = "links = true\nopens = true") -> tuple[Any, int]:
    """As docs/postfix.md has it by TCP, but for the port. No upstream: Postfix delivers."""
    port = peers.free_port()
    text = table(documented(0)[1].replace("8891", str(port)))
    return service.settings(folder, upstream="", tracking=tracking, more=text + more), port


def asking(milter: int, **settings: str) -> dict[str, str]:
    """main.cf, as docs/postfix.md has it."""
    return blocks.main_cf(documented(0)[0].replace("8891", str(milter))) | {"smtputf8_enable": "yes", **settings}


@contextmanager
def mail_server(sink: Upstream, milter: int, **settings: str) -> Iterator[postfix.Server]:
    with postfix.running(transport=f"smtp:[127.0.0.1]:{sink.port}", settings=asking(milter, **settings)) as server:
        yield server


def send(port: int, content: bytes, *to: str, options: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("a@example.test", to or ("b@example.test",), content, options)
