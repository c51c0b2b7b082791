"""What `trackrelay check` tries: does what the settings say really work, from here, now?

Owns: the order, the form of a finding, that one check that fails stops no other. `state_dir`, `listeners`
and `limits` look at this machine, `nodes` at what others said to the store, `upstreams` and `mailboxes` at other mail servers, `webhooks`
at the programs that are notified, `tracking_host`, `tracking_names`, `dkim_records` and `standing` at what recipients and their servers see;
`clock` compares what is heard of the time meanwhile. Where the service does a thing, its own code does it here, within its times, so that both say the same.
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
    """One line of the report: what was looked at, and a sentence. A failure says what to do. Unknown is what could not be
    looked at from here, and may well be right."""

    kind: Literal["ok", "warning", "unknown", "failure"]
    what: str
    sentence: str

    def __str__(self) -> str:
        sign = {"ok": "ok     ", "warning": "warning", "unknown": "unknown", "failure": "FAILED "}[self.kind]
        return f"{sign}  {self.what}: {self.sentence}"


Check = Callable[[Settings], Awaitable[list[Finding]]]


def ok(what: str, sentence: str) -> Finding:
    return Finding("ok", what, sentence)


def warning(what: str, sentence: str) -> Finding:
    return Finding("warning", what, sentence)


def unknown(what: str, sentence: str) -> Finding:
    return Finding("unknown", what, sentence)


def failure(what: str, sentence: str) -> Finding:
    return Finding("failure", what, sentence)


async def run(settings: Settings, *, send_test: bool = False) -> AsyncIterator[Finding]:
    """All findings, in a fixed order, each as soon as those before it are known. This machine comes first, since the
    others listen on its ports; then all run side by side: a slow peer costs its own time only. `send_test`: one test
    notification goes to each webhook."""
    from relay.check import (
        dkim_records,
        limits,
        listeners,
        mailboxes,
        nodes,
        standing,
        state_dir,
        tracking_host,
        tracking_names,
        upstreams,
        webhooks,
    )

    here: list[tuple[str, Check]] = [
        ("state_dir", state_dir.folder),
        ("running", state_dir.running),
        ("keys", state_dir.keys),
        ("logins", state_dir.logins),
        ("store", state_dir.store),
        ("workers", state_dir.processes),
        ("nodes", nodes.look),
        ("listeners", listeners.addresses),
        ("certificates", listeners.certificates),
        ("files", limits.files),
    ]
    away: list[tuple[str, Check]] = [
        ("upstream", upstreams.look),
        ("mailboxes", mailboxes.look),
        ("webhooks", webhooks.look),
        *([("webhooks", webhooks.send_test)] if send_test else []),
        ("tracking.url", tracking_host.look),
        ("tracking.dns", tracking_names.look),
        ("dkim", dkim_records.look),
        ("domains", standing.look),
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
