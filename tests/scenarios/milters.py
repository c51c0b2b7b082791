"""The program as a milter, and a real Postfix that asks it."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import postfix
from tests.scenarios import service


def settings(folder: Path, more: str = "", *, tracking: str = "links = true\nopens = true") -> tuple[Any, int]:
    """No upstream: Postfix delivers."""
    port = peers.free_port()
    text = f'[milter]\nlisten = "inet:127.0.0.1:{port}"\n{more}'
    return service.settings(folder, upstream="", tracking=tracking, more=text), port


def asking(milter: int, **settings: str) -> dict[str, str]:
    """main.cf, as docs/postfix.md has it."""
    return {
        "smtpd_milters": f"inet:127.0.0.1:{milter}", "non_smtpd_milters": f"inet:127.0.0.1:{milter}",
        "milter_default_action": "accept", "milter_protocol": "6", "smtputf8_enable": "yes", **settings,
    }  # fmt: skip


@contextmanager
def mail_server(sink: Upstream, milter: int, **settings: str) -> Iterator[postfix.Server]:
    with postfix.running(transport=f"smtp:[127.0.0.1]:{sink.port}", settings=asking(milter, **settings)) as server:
        yield server


def send(port: int, content: bytes, *to: str, options: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("a@example.test", to or ("b@example.test",), content, options)
