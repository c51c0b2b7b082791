"""The grants' mailboxes: opened, looked at and left, by the service's own code and within its times.

A grant is one finding, however many folders it has.
"""

from __future__ import annotations

import asyncio

from relay import config
from relay import store as stores
from relay.check import Finding, failure, ok, warning
from relay.mailbox import MAX_LOGINS, open_source
from relay.mailbox.source import LoginRefused, Source, Times, Unreachable

SHOWN = 10  # messages that were passed over, of those that are known


async def look(settings: config.Settings, times: Times | None = None) -> list[Finding]:
    """`times` are the service's; a test has shorter ones."""
    logins = asyncio.Semaphore(MAX_LOGINS)
    return await asyncio.gather(
        *(
            _grant(
                settings,
                grant,
                [open_source(grant, url, settings, times=times, logins=logins) for url in grant.mailbox],
            )
            for grant in settings.grants
            if grant.mailbox
        )
    )


async def _grant(settings: config.Settings, grant: config.Grant, sources: list[Source]) -> Finding:
    found = await asyncio.gather(*map(_probe, sources))
    sentences = list(dict.fromkeys(sentence for _, sentence in found))
    passed = [sentence for source in sources for sentence in await _passed(settings, source)]
    if passed:
        sentences.append(
            f"{len(passed)} message{'s' if len(passed) > 1 else ''} could not be read and were passed over, the last: "
            + ", ".join(passed[-SHOWN:])
        )
    good = all(good for good, _ in found)
    return (failure if not good else warning if passed else ok)(f"grants.{grant.id}", "; ".join(sentences))


async def _passed(settings: config.Settings, source: Source) -> tuple[str, ...]:
    try:
        return await stores.passed_over(settings.store.url, settings.state_dir, source.name, settings.store.password)
    except stores.Unavailable:  # the store's own line says so
        return ()


async def _probe(source: Source) -> tuple[bool, str]:
    try:
        return True, await source.probe()
    except (LoginRefused, Unreachable) as reason:
        return False, str(reason)
