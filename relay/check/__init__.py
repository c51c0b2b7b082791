"""What `trackrelay check` tries: does what the settings say really work, from here, now?

Owns: the order, the form of a finding, that one check that fails stops no other. `state_dir` and `listeners` look at this
machine, `nodes` at what others said to the store, `upstreams` and `mailboxes` at other mail servers, `tracking_host` and `dkim_records` at what recipients and
their servers see. Where the service does a thing, its own code does it here, within its times, so that both say the same.
Nothing is changed anywhere; no mail is sent. Leaves to others: what is wrong with the file itself (`config`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from relay import causes
from relay.config import Settings

SECONDS = 10.0  # that a peer has to answer where the service asks nothing of it


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, and a sentence. A failure says what to do."""

    kind: Literal["ok", "warning", "failure"]
    what: str
    sentence: str

    def __str__(self) -> str:
        sign = {"ok": "ok     ", "warning": "warning", "failure": "FAILED "}[self.kind]
        return f"{sign}  {self.what}: {self.sentence}"


Check = Callable[[Settings], Awaitable[list[Finding]]]


def ok(what: str, sentence: str) -> Finding:
    return Finding("ok", what, sentence)


def warning(what: str, sentence: str) -> Finding:
    return Finding("warning", what, sentence)


def failure(what: str, sentence: str) -> Finding:
    return Finding("failure", what, sentence)


async def run(settings: Settings) -> AsyncIterator[Finding]:
    """All findings, in a fixed order, each as soon as those before it are known. This machine comes first, since the
    others listen on its ports; then all run side by side: a slow peer costs its own time only."""
    from relay.check import dkim_records, listeners, mailboxes, nodes, state_dir, tracking_host, upstreams

    here: list[tuple[str, Check]] = [
        ("state_dir", state_dir.folder),
        ("keys", state_dir.keys),
        ("logins", state_dir.logins),
        ("store", state_dir.store),
        ("workers", state_dir.processes),
        ("nodes", nodes.look),
        ("listeners", listeners.addresses),
        ("certificates", listeners.certificates),
    ]
    away: list[tuple[str, Check]] = [
        ("upstream", upstreams.look),
        ("mailboxes", mailboxes.look),
        ("tracking.url", tracking_host.look),
        ("dkim", dkim_records.look),
    ]
    for what, check in here:
        for finding in await findings(what, check, settings):
            yield finding
    for task in [asyncio.create_task(findings(what, check, settings)) for what, check in away]:
        for finding in await task:
            yield finding


async def findings(what: str, check: Check, settings: Settings) -> list[Finding]:
    try:
        return await check(settings)
    except Exception as error:  # the edge: a check that breaks is a finding, and the others go on
        return [failure(what, f"could not be tried: {type(error).__name__}: {causes.of(error)}")]
