"""What relay.toml may already say and this version does not do yet.

Owns: the list, by setting and by value, and its warnings; relay.toml and docs/config.md are marked from it too.
Whoever makes one of these work takes its line out: `tests/test_gaps.py` compares the list with what the code reads.
Leaves to others: what is wrong (`contradictions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relay.config.settings import Settings

Path = tuple[str | int, ...]
Warn = Callable[[Path, str], None]


@dataclass(frozen=True)
class Gap:
    """A setting that no room reads. `instead` says what happens all the same."""

    section: str
    key: str
    instead: str

    @property
    def sentence(self) -> str:
        return f"has no effect in this version: {self.instead}"


SETTINGS: tuple[Gap, ...] = ()

VERDICTS = ("self",)  # that no notification has: a sender's own hit is never notified


def find(section: str, key: str) -> Gap | None:
    return next((gap for gap in SETTINGS if (gap.section, gap.key) == (section, key)), None)


def look(found: Settings, warn: Warn, settings: Sequence[Gap] = SETTINGS) -> None:
    """Warns of everything that is set to something other than its default and has no effect."""
    for gap in settings:
        for path, values in _places(found, gap):
            if getattr(values, gap.key) != getattr(type(values)(), gap.key):
                warn((*path, gap.key), gap.sentence)
    for index, hook in enumerate(found.webhooks):
        path = ("webhooks", index)
        if hook.verdicts and set(hook.verdicts) <= set(VERDICTS):
            warn((*path, "verdicts"), "names only verdicts that are never sent, so no open and no click is "
                 "sent at all; leave it out")  # fmt: skip
            continue
        for number, verdict in enumerate(hook.verdicts):
            if verdict in VERDICTS:
                warn((*path, "verdicts", number), f'"{verdict}" is a verdict that is never sent')


def _places(found: Settings, gap: Gap) -> Iterator[tuple[Path, Any]]:
    """Where the setting can stand: in its section, and in each rule that names it."""
    yield (gap.section,), getattr(found, gap.section)
    if gap.section == "tracking":
        for index, rule in enumerate(found.rules):
            if gap.key in rule.keys:
                yield ("rules", index), rule.tracking
