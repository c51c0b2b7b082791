"""The ranges of pyproject.toml and the versions of requirements.lock, which say the same."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
RANGES = [Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]
LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.M))


@pytest.mark.parametrize("wanted", RANGES, ids=lambda r: r.name)
def test_the_lock_has_a_version_in_the_range(wanted):
    assert wanted.specifier.contains(LOCKED[wanted.name], prereleases=False)


@pytest.mark.parametrize("wanted", RANGES, ids=lambda r: r.name)
def test_each_range_has_a_floor(wanted):
    """`make floors` installs it, and attacks the program with it."""
    assert any(part.operator == ">=" for part in wanted.specifier)


@pytest.mark.parametrize(
    ("name", "safe"), [("aiohttp", "3.13.4"), ("aiosmtpd", "1.4.6"), ("cryptography", "44.0.1"), ("dnspython", "2.6.1")]
)
def test_no_floor_is_below_the_mend_of_a_known_hole(name, safe):
    floors = [Version(p.version) for r in RANGES if r.name == name for p in r.specifier if p.operator == ">="]
    assert floors == [max(*floors, Version(safe))]


def test_every_line_is_a_version_with_hashes_and_no_place_to_get_it_from():
    """Which index is asked is the operator's choice; what it gives must have one of the hashes."""
    entries = re.split(r"^(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.M), flags=re.M)[1:]
    assert len(entries) == len(LOCKED)
    for entry in entries:
        head, *hashes = entry.replace("\\\n", "\n").split("\n")
        assert re.fullmatch(r"[a-z0-9-]+==[^\s;]+ ?(; .+?)? *", head)
        assert [
            line for line in hashes if line.strip() and not re.fullmatch(r" +--hash=sha256:[0-9a-f]{64} *", line)
        ] == []
        assert "sha256" in entry
