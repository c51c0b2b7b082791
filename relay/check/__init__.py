"""What `trackrelay check` tries: does what the settings say really work, from here, now?

Owns: the order, the form of a finding, that one trial that fails stops no other. `local` looks at this machine, `mail`
at the upstream and the mailboxes, `world` at what recipients and other mail servers see. Nothing is changed anywhere;
no mail is sent. Leaves to others: what is wrong with the file itself (`config`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from relay.config import Settings

SECONDS = 10.0  # that a peer has to answer


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, and a sentence. A failure says what to do."""

    kind: Literal["ok", "warning", "failure"]
    what: str
    sentence: str

    def __str__(self) -> str:
        sign = {"ok": "ok     ", "warning": "warning", "failure": "FAILED "}[self.kind]
        return f"{sign}  {self.what}: {self.sentence}"


Trial = Callable[[Settings], Awaitable[list[Finding]]]


def ok(what: str, sentence: str) -> Finding:
    return Finding("ok", what, sentence)


def warning(what: str, sentence: str) -> Finding:
    return Finding("warning", what, sentence)


def failure(what: str, sentence: str) -> Finding:
    return Finding("failure", what, sentence)


async def run(settings: Settings) -> list[Finding]:
    """All findings, in a fixed order. This machine comes first, since the others listen on its ports; then all run
    side by side: a slow peer costs its own time only."""
    from relay.check import local, mail, world

    here: list[tuple[str, Trial]] = [
        ("state_dir", local.state),
        ("keys", local.keys),
        ("logins", local.logins),
        ("store", local.store),
        ("listeners", local.listeners),
        ("certificates", local.certificates),
    ]
    away: list[tuple[str, Trial]] = [
        ("upstream", mail.upstreams),
        ("mailboxes", mail.mailboxes),
        ("tracking.url", world.tracking_host),
        ("dkim", world.dkim),
    ]
    found = [await tried(what, trial, settings) for what, trial in here]
    found += await asyncio.gather(*(tried(what, trial, settings) for what, trial in away))
    return [finding for findings in found for finding in findings]


async def tried(what: str, trial: Trial, settings: Settings) -> list[Finding]:
    try:
        return await trial(settings)
    except Exception as error:  # the edge: a trial that breaks is a finding, and the others go on
        return [failure(what, f"could not be tried: {type(error).__name__}: {error}")]
