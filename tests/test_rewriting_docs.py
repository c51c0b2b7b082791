"""docs/rewriting.md against the program: every reason, every key of --explain, the limits it names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from relay.core import parts
from relay.core.links import grammar, judge
from relay.core.model import Reason
from relay.core.rewrite import survey

PAGE = (Path(__file__).parent.parent / "docs" / "rewriting.md").read_text()
MESSAGE = b"From: a@example.com\nTo: b@example.org\nX-Track: opens, links\nContent-Type: text/html\n\n<a href=https://a.example/>x</a>\n"


def table(heading: str) -> dict[str, str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return {name: row[1].strip() for row in rows for name in re.findall(r"`(\w+)`", row[0])}


def test_every_reason_has_one_sentence() -> None:
    told = table("Reason codes")
    assert list(told) == list(get_args(Reason))
    assert all(sentence.endswith(".") and len(sentence) < 160 for sentence in told.values())


def test_limits() -> None:
    for number, word in (
        (survey.LARGEST // 1_000_000, "2 MB"), (grammar.ATTRIBUTES, "200 attributes"), (parts.PARTS, "1,000 parts"), (parts.DEPTH, "100 deep"),
        (parts.FIELDS, "1,000 header fields"), (parts.HEADER_BYTES // 1024, "256 kB"), (judge.LONGEST, "2,000 characters"), (survey.CLIPPED // 1_000, "102 kB"),
    ):  # fmt: skip
        assert word in PAGE
        assert f"{number:,}" == word.split()[0]


def test_explain() -> None:
    """The keys are those that the page tells of."""
    done = subprocess.run(
        [sys.executable, "-m", "relay", "rewrite", "--explain"], input=MESSAGE, capture_output=True, check=True
    )
    report = json.loads(done.stdout)
    told = table("What `--explain` says")
    assert set(report) == set(told) - {"invalid", "invalid_header", "lines_shortened", "canary"}
    assert set(report["instructions"]) == {"opens", "links", "thread_replies", "label", "source"}
    assert set(report["headers"]) == {"removed", "added"}
    for key, values in (("parts", report["parts"][0]), ("links", report["links"][0]), ("pixel", report["pixel"])):
        assert set(values) == set(re.findall(r"`([a-z_]+)`", told[key])) - {
            "edited",
            "untouched",
            "tracked",
            "left",
            "bottom",
            "top",
        }
    assert report["links"][0]["action"] == "tracked"
