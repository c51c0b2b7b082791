"""Several processes of one service on one machine.

Owns: which of them the settings ask for. Leaves to others: what they come to (`core.workers`), everything else (the modules here).
"""

from __future__ import annotations

import os

from relay.config import Settings
from relay.core import workers


def parts(settings: Settings, roles: frozenset[str]) -> tuple[workers.Part, ...]:
    """One where one process does."""
    processors = len(os.sched_getaffinity(0))
    smtp = settings.smtp.workers
    if settings.smtp.auth == "upstream" and smtp == "auto":  # users' passwords are in the memory of one
        smtp = 1
    counts = {"smtp": workers.count(smtp, processors), "http": workers.count(settings.http.workers, processors)}
    return workers.parts(roles, counts)
