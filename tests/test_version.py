"""The version stands in one place, `relay.__version__`, and everything that says it says that."""

import datetime
import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from relay import __version__
from relay.__main__ import main

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
SECTIONS = re.findall(r"^## (.*)$", CHANGELOG, re.M)
RELEASE = re.compile(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)")


def test_the_package_has_it_from_there():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "relay.__version__"}
    assert str(Version(__version__)) == __version__


def test_the_program_says_it(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"trackrelay {__version__}\n")


def test_the_changelog_has_a_section_for_it_and_for_what_comes_next():
    """The form of Keep a Changelog: newest first, each with its day, each with its link."""
    assert SECTIONS[0] == "[Unreleased]"
    releases = [RELEASE.fullmatch(section) for section in SECTIONS[1:]]
    assert None not in releases, SECTIONS
    versions = [release[1] for release in releases]
    assert versions[0] == __version__
    assert sorted(versions, key=Version, reverse=True) == versions
    days = [datetime.date.fromisoformat(release[2]) for release in releases]
    assert sorted(days, reverse=True) == days
    assert re.findall(r"^\[(.+)\]: https://", CHANGELOG, re.M) == ["Unreleased", *versions]
    assert f"compare/v{versions[0]}...HEAD" in CHANGELOG


def test_what_changed_stands_under_the_usual_headings():
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.M)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


def test_the_licence_is_an_expression_of_spdx():
    """PEP 639, and no classifier that says it a second time."""
    assert PROJECT["project"]["license"] == "MIT"
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert [c for c in PROJECT["project"]["classifiers"] if c.startswith("License")] == []
