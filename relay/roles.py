"""The roles of the service, as `trackrelay run --only` names them.

Owns: their names, and which of them this version does not have. Leaves to others: what a role does (`app`).
"""

from __future__ import annotations

ALL = ("smtp", "http", "admin", "mailbox", "webhooks", "queue")
MISSING = ("milter",)  # named already, and refused: nothing would listen
NAMES = (*ALL, *MISSING)
