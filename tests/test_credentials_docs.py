"""docs/credentials.md against the program: every name and word of its tables, and what it says of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from relay.core import capabilities
from relay.core.capabilities import DOORS, NAMES, Table

PAGE = (Path(__file__).parent.parent / "docs" / "credentials.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The last cells of a section's rows, each as the words in it."""
    section = re.split(r"\n#{2,3} ", PAGE.partition(f"{heading}\n")[2])[0]
    cells = [line.strip("| ").rpartition(" | ")[2] for line in section.splitlines() if line.startswith("|")]
    return [words for cell in cells if (words := re.findall(r"`([^`]+)`", cell))]


def test_names() -> None:
    endings, others, proving, proofs, keys = rows("### Always")
    assert endings == list(capabilities.ENDINGS)
    told = [*endings, *others, *[f"{a}_{b}" for a, b in product(proving, proofs)], *[f"{key}_key" for key in keys]]
    assert sorted(told) == sorted(NAMES["always"])
    ((*opaque,),) = rows("### Where its value looks made by a machine, or the path is about getting in")
    ((*door,),) = rows("### Where the path is about getting in")
    ((*never,),) = rows("### Never")
    assert (opaque, door, never) == (list(NAMES["opaque"]), list(NAMES["door"]), list(NAMES["never"]))


def test_words_in_a_path() -> None:
    *doors, leaving = rows("## Words in a path")
    assert dict(zip(DOORS, doors, strict=True)) == {behind: list(words) for behind, words in DOORS.items()}
    assert leaving == list(capabilities.LEAVING)


@pytest.mark.parametrize(
    ("change", "counts", "not_any_more"),
    [
        ('["voucher"]', "?gift_voucher=1", ""), ('["key"]', "?key=shoes", ""), ('["-auth"]', "", "?user_auth=1"),
        ('["-csrf_token"]', "?token=1", "?csrf_token=1"), ('["/portal"]', "/portal/3f9c0a12", ""), ('["-/verify"]', "", "/verify/3f9c0a12"),
        ('["-*", "token"]', "?token=1", "?password=1"),
    ],
)  # fmt: skip
def test_changes(change: str, counts: str, not_any_more: str) -> None:
    assert f"| `{change}` |" in PAGE
    changed = Table(re.findall(r'"([^"]+)"', change))
    if counts:
        assert changed.within(f"https://a.example{counts}", 17)
    if not_any_more:
        assert not changed.within(f"https://a.example{not_any_more}", 17)
        assert Table(()).within(f"https://a.example{not_any_more}", 17)


def test_explained_with_the_settings_of_a_rule(tmp_path: Path) -> None:
    """As the page says: a dry run tells what becomes of each link, in HTML and in plain text."""
    config = tmp_path / "relay.toml"
    config.write_text(
        'state_dir = "var"\n[upstream]\nurl = "smtp://127.0.0.1:25"\n[tracking]\nurl = "https://t.example.com"\ntext_links = true\n'
        '[[rules]]\nfrom = "*@shop.example"\ncredential_params = ["-*", "voucher"]\n'
    )
    links = ("https://a.example/?voucher=1", "https://a.example/?reset_token=1", "https://a.example/verify/3f9c0a12")
    body = f"--x\nContent-Type: text/plain\n\n{' '.join(links)}\n--x\nContent-Type: text/html\n\n"
    body += "".join(f"<a href={link}>x</a>" for link in links) + "\n--x--\n"
    for domain, expected in (
        ("example.com", [None, "credentials", "credentials"]),
        ("shop.example", ["credentials", None, None]),
    ):
        message = f"From: a@{domain}\nTo: b@example.org\nContent-Type: multipart/alternative; boundary=x\n\n{body}"
        words = [sys.executable, "-m", "relay", "rewrite", "--links", "--explain", "--config", str(config)]
        done = subprocess.run(words, input=message.encode(), capture_output=True, check=True)
        assert [link["reason"] for link in json.loads(done.stdout)["links"]] == expected * 2
