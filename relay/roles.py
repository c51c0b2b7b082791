"""The roles of the service, as `trackrelay run --only` names them.

Owns: their names. Leaves to others: what a role does (`wiring`).
"""

from __future__ import annotations

ALL = ("smtp", "http", "admin", "mailbox", "webhooks", "queue", "milter")
OF_UPSTREAM = frozenset({"smtp", "queue"})  # those that need a server to hand mail on to
