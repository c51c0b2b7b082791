"""The file that says from which networks machines look at mail: the operator's own, or the one that comes with us.

Owns: reading it. Leaves to others: its form and the look-up (`core.origins`).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from relay.core import origins


def load(path: Path | None = None) -> origins.Origins:
    """Raises OSError, and `origins.Unreadable`."""
    if path is None:
        return origins.Origins((files("relay") / "networks.txt").read_text("utf-8"))
    return origins.Origins(path.read_text("utf-8", "replace"))
