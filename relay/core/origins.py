"""Whose network an address is in: a table of networks, as text, and the look-up in it.

Owns: the form of the table, and what is wrong with one. Leaves to others: reading the file (`relay.network_list`), what
follows from it (`classify`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from relay.core import networks

Kind = Literal["gateway", "cloud"]
KINDS: tuple[Kind, ...] = ("gateway", "cloud")
LINE = re.compile(r"(\S+)\s+(\S+)(?:\s+(\S+))?\s*\Z")
REMEMBERED = 4096
FIRST = {4: 24, 6: 120}  # bits behind an address' first octet, by version


class Unreadable(ValueError):
    """`line` is its number, from 1; the text says what is wrong with it."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


class Origins:
    """The table. Called with an address it gives "gateway", "cloud", "local" (this machine), or "" where it knows nothing."""

    def __init__(self, text: str = "") -> None:
        """One network a line: NETWORK KIND NAME; "#" begins a remark. Raises Unreadable."""
        # By version and the bits behind the prefix; and which of these there are for an address that begins with this octet:
        # for most there is none.
        self._kinds: dict[tuple[int, int], dict[int, Kind]] = {}
        self._near: dict[tuple[int, int], list[tuple[int, dict[int, Kind]]]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            line = line.partition("#")[0].strip()
            if line:
                self._add(number, line)
        for (version, shift), kinds in self._kinds.items():
            down = FIRST[version] - shift
            for first in {
                first
                for prefix in kinds
                for first in ([prefix >> down] if down >= 0 else range(prefix << -down, prefix + 1 << -down))
            }:
                self._near.setdefault((version, first), []).append((shift, kinds))
        self.of = lru_cache(REMEMBERED)(self._of)

    def _add(self, number: int, line: str) -> None:
        found = LINE.match(line)
        kind = next((kind for kind in KINDS if found and found[2] == kind), None)
        if not found or kind is None:
            raise Unreadable(
                number, f"is no line of the form NETWORK KIND NAME, with one of the kinds {', '.join(KINDS)}"
            )
        try:
            network = networks.network(found[1])
        except ValueError:
            raise Unreadable(number, f'"{found[1][:60]}" is no network') from None
        shift = network.max_prefixlen - network.prefixlen
        self._kinds.setdefault((network.version, shift), {})[int(network.network_address) >> shift] = kind

    def _of(self, address: str) -> str:
        found = networks.peer(address)
        if found is None:
            return ""
        if found.is_loopback:
            return "local"
        number, version = int(found), found.version
        for shift, kinds in self._near.get((version, number >> FIRST[version]), ()):
            if kind := kinds.get(number >> shift):
                return kind
        return ""
