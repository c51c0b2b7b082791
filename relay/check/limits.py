"""How many files this process may have open, against the connections that the settings make room for."""

from __future__ import annotations

import resource

from relay import config
from relay.check import Finding, ok, warning
from relay.smtp import limits


async def files(settings: config.Settings) -> list[Finding]:
    """The hard limit counts: the service lifts the soft one towards it. That of a unit is its own (LimitNOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [of(settings, hard if hard != resource.RLIM_INFINITY else None)]


def of(settings: config.Settings, most: int | None) -> Finding:
    folders = sum(len(grant.mailbox) for grant in settings.grants)
    mailboxes = min(folders, settings.mailbox.max_connections)
    wanted = 2 * limits.MAX_CONNECTIONS + mailboxes + limits.RESERVED_FILES
    held = f"{limits.MAX_CONNECTIONS:,} clients with a connection to the upstream each" + (
        f", {mailboxes:,} mailboxes" if mailboxes else ""
    )
    if most is None or most >= wanted:
        return ok("files", f"as many files may be open as that takes: {held}")
    room = max(4, (most - limits.RESERVED_FILES - mailboxes) // 2)
    return warning("files", f"only {most:,} files may be open here, which do for {room:,} clients at a time; {wanted:,} would do for {held}: "
                   "raise the hard limit (ulimit -Hn; the unit has one of its own, LimitNOFILE)")  # fmt: skip
