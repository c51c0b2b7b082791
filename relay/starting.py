"""How a start ends: where the service listens, or why it can't start.

Owns: the exit codes. Leaves to others: the start itself (`app`), what each role takes (`wiring`).
"""

from __future__ import annotations

Addresses = dict[str, list[tuple[str, int]]]  # by role; port 0 for a socket that is a file


def shown(addresses: Addresses) -> dict[str, str]:
    """For a line of the log."""
    return {role: " ".join(f"{h}:{p}" if p else h for h, p in found) for role, found in addresses.items()}


class CannotStart(Exception):
    """The service can't start. The text is a sentence for the operator. `code` is the exit code: 2 is a mistake in the
    settings, which starting again does not mend; 1 is all else, and systemd starts it again."""

    def __init__(self, sentence: str, code: int = 2) -> None:
        super().__init__(sentence)
        self.code = code
