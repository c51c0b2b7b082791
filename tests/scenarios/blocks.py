"""The blocks of configuration in the documents, so that what is tried is what operators copy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.scenarios import service


def read(document: str, section: str, name: str, number: int = 0) -> str:
    """The block of a section of docs/DOCUMENT.md whose first line is a comment with the name of its file, without that
    line; "" where there is none. `number` chooses one of several. The section is what stands below `## SECTION`, or above the first for ""."""
    text = (service.ROOT / "docs" / f"{document}.md").read_text()
    first, *others = re.split(r"(?m)^## ", text)
    (text,) = (each for each in others if each.startswith(section + "\n")) if section else (first,)
    found = re.findall(rf"(?ms)^```\w*\n(?:#|--|dnl #) {re.escape(name)}\n(.*?)^```$", text)
    return found[number] if found else ""


def main_cf(text: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def values(table: Mapping[str, Any], *but: str) -> str:
    """A table of relay.toml again, without what the test has otherwise."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items() if key not in but)
