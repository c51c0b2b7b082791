"""Several processes of one service on one machine.

Owns: which of them the settings ask for. Leaves to others: what they come to (`core.workers`), how many processors there are (`processors`), everything else (the modules here).
"""

from __future__ import annotations

from relay.config import Settings
from relay.core import workers
from relay.workers import processors


def parts(settings: Settings, roles: frozenset[str]) -> tuple[workers.Part, ...]:
    """One where one process does."""
    there = processors.available()
    smtp = settings.smtp.workers
    if settings.smtp.auth == "upstream" and smtp == "auto":  # users' passwords are in the memory of one
        smtp = 1
    counts = {"smtp": workers.count(smtp, there), "http": workers.count(settings.http.workers, there)}
    return workers.parts(roles, counts)
