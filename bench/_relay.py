"""The relay as the load benches run it: its settings, its process, the newsletter it is given, and whether it did with
that what a bench says it did."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench import _load

SETTINGS = """
state_dir = "{state}"
[smtp]
listen = ["127.0.0.1:{smtp}"]
hostname = "relay.example"
{more_smtp}
[upstream]
url = "smtp://127.0.0.1:{sink}"
{more_upstream}
[tracking]
url = "https://t.example.com"
opens = {track}
links = {track}
[admin]
listen = "127.0.0.1:{admin}"
open = true
[http]
listen = "127.0.0.1:{http}"
{more}
"""


class Relay(NamedTuple):
    """One that runs: its ports, its process, its folder."""

    port: int
    admin: int
    http: int
    pid: int
    folder: Path


def start(
    stack: contextlib.ExitStack, folder: Path, sink: int, *, track: bool = True, smtp: str = "", upstream: str = "",
    more: str = "", state: Path | str = "state", env: Mapping[str, str] | None = None, only: str = "smtp,queue,admin",
) -> Relay:  # fmt: skip
    """One process, in `folder`, with `sink` as its upstream. `smtp`, `upstream` and `more` are further lines of its
    settings."""
    listen, admin, http = _load.free_ports(3)
    toml = SETTINGS.format(
        state=state, smtp=listen, more_smtp=smtp, sink=sink, more_upstream=upstream, track=str(track).lower(),
        admin=admin, http=http, more=more,
    )  # fmt: skip
    process = stack.enter_context(_load.relay(folder, toml, "--only", only, env=env))
    return Relay(listen, admin, http, process.pid, folder)


def newsletter(size: int) -> bytes:
    """About `size` octets: multipart/alternative, quoted-printable HTML, a link in every eighth paragraph."""
    head = (
        b"From: Sender <sender@example.com>\r\nTo: Recipient <recipient@example.org>\r\nSubject: What is new this week\r\n"
        b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative; boundary="=_part"\r\n\r\n--=_part\r\nContent-Type: text/plain\r\n\r\n'
        b"What is new this week: see the other part.\r\n--=_part\r\nContent-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<!doctype html><html><body>\r\n"
    )
    tail = b"</body></html>\r\n--=_part--\r\n"
    lines, length, number = [], len(head) + len(tail), 0
    while length < size:
        number += 1
        line = (
            b'<p style=3D"margin:0">Paragraph %d has something to say, and then it says more =\r\nof it.</p>\r\n'
            % number
        )
        if number % 8 == 0:
            line += b'<a href=3D"https://example.com/news/%d?week=3D1&amp;from=3Dmail">Read on</a>\r\n' % number
        lines.append(line)
        length += len(line)
    return head + b"".join(lines) + tail


def show(relay: Relay, message: bytes) -> bytes:
    """What this relay makes of the message, by its own dry run."""
    command = [sys.executable, "-m", "relay", "rewrite", "--config", str(relay.folder / "relay.toml")]
    return subprocess.run(command, input=message, capture_output=True, check=True, cwd=_load.HERE.parent).stdout


def proved(relay: Relay, messages: int, *, copies: int = 1, track: bool = True) -> dict[str, float]:
    """Ends the bench where the relay's own figures say that it did not take, track, record and hand on each of
    `messages`. Mail first: it would go out untracked, fast, and nobody would notice. Gives the figures."""
    found = _load.metrics(relay.admin)
    total = {name: sum(v for k, v in found.items() if k.split("{")[0] == name) for name in _names(found)}
    wanted = {
        "trackrelay_accepted_total": messages,
        'trackrelay_copies_total{tracked="yes"}': messages * copies * track,
        'trackrelay_outcomes_total{outcome="done"}': messages * copies,
        "trackrelay_failed_open_total": 0,
        "trackrelay_errors_total": 0,
        "trackrelay_queue_messages": 0,
    }
    both = total | found
    wrong = [f"{name} is {both.get(name, 0):.0f}, not {n}" for name, n in wanted.items() if both.get(name, 0) != n]
    if wrong:
        sys.exit(f"{relay.folder.name}: {'; '.join(wrong)}: see {relay.folder}/stderr.log")
    return both


def _names(found: Mapping[str, float]) -> set[str]:
    return {name.split("{")[0] for name in found}
