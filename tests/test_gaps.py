"""The settings against the code: each is read by a room of the service, or `config.gaps` says that it has no effect.

mypy tells whose attribute is read, so that a common name (`key`, `url`) proves nothing for another class's.
"""

from __future__ import annotations

import ast
import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mypy import build, plugin
from mypy.find_sources import create_source_list
from mypy.options import Options

from relay import config
from relay.config import gaps, table
from relay.core.model import Rule

ROOT = Path(__file__).parent.parent
CLASSES = {f"{s.values.__module__}.{s.values.__name__}" for s in (*table.SECTIONS, table.OAUTH2)}
# What reads settings and is not the service: the settings' own room, what prints, tries or shows them.
NO_ROOMS = ("relay/config/", "relay/core/model.py", "relay/check/", "relay/commands/", "relay/demo/")


class Reads(plugin.Plugin):
    """Files by the setting that they read, as "module.Class.field"."""

    found: Mapping[str, set[str]] = defaultdict(set)

    def get_attribute_hook(self, fullname: str) -> Callable[[plugin.AttributeContext], Any] | None:
        if fullname.rpartition(".")[0] not in CLASSES:
            return None

        def note(context: plugin.AttributeContext) -> Any:
            self.found[fullname].add(os.path.relpath(context.api.path, ROOT))
            return context.default_attr_type

        return note


def reads_of(*sources: Path) -> Mapping[str, set[str]]:
    options = Options()
    options.incremental = False
    options.ignore_missing_imports = True
    options.check_untyped_defs = True
    options.mypy_path = [str(ROOT)]
    reads = Reads(options)
    reads.found = defaultdict(set)
    result = build.build(create_source_list([str(s) for s in sources], options), options, extra_plugins=[reads])
    assert result.errors == []
    return reads.found


# A `listen` of something else is no `milter.listen`; one behind an alias is.
PROBES = {
    "another": "from relay import config\n\nclass Other:\n    listen = ''\n\n"
    "def run(settings: config.Settings, other: Other) -> str:\n    return settings.http.listen[0] + other.listen\n",
    "alias": "from relay.config import Settings\n\ndef run(settings: Settings) -> str:\n    m = settings.milter\n"
    "    return m.listen\n",
}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """The program and the probes at once: a scan takes seconds."""
    folder = tmp_path_factory.mktemp("probes")
    for name, text in PROBES.items():
        (folder / f"{name}.py").write_text(text)
    return reads_of(ROOT / "relay", ROOT / "tracking_http", *(folder / f"{name}.py" for name in PROBES))


@pytest.fixture(scope="module")
def reads(scanned: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
    ours = ("relay/", "tracking_http/")
    return {
        name: {f for f in files if f.startswith(ours) and not f.startswith(NO_ROOMS)} for name, files in scanned.items()
    }


def readers(reads: Mapping[str, set[str]], values: type[Any], attribute: str) -> set[str]:
    """The rooms that read it of this class, or of the one that it takes the field from."""
    names = (f"{c.__module__}.{c.__name__}.{attribute}" for c in values.__mro__)
    return {file for name in names for file in reads.get(name, ())}


@pytest.mark.timeout(600)  # mypy looks at the whole program
def test_each_setting_is_read_or_is_a_gap(reads):
    unread = {
        (section.key, option.key)
        for section in (*table.SECTIONS, table.OAUTH2)
        for option in section.options
        if not readers(reads, section.values, option.attribute)
    }
    assert unread == {(gap.section, gap.key) for gap in gaps.SETTINGS}


@pytest.mark.timeout(600)
def test_the_scan_is_not_fooled_by_a_common_name(scanned):
    def probes(setting: str) -> set[str]:
        return {Path(file).stem for file in scanned[f"relay.config.settings.{setting}"]} & PROBES.keys()

    assert probes("Http.listen") == {"another"}
    assert probes("Milter.listen") == {"alias"}


# -- values ------------------------------------------------------------------------------------------------------------


def literals(*files: str) -> set[str]:
    trees = [ast.parse((ROOT / file).read_text()) for file in files]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value for node in nodes if isinstance(node.value, str)}


def test_each_verdict_is_given_or_is_a_gap():
    """`core.agents` and `core.classify` give them; `core.tally` adds "self", of which nobody is notified."""
    given = literals("relay/core/agents.py", "relay/core/classify.py")
    assert set(table.VERDICTS) - set(gaps.VERDICTS) == set(table.VERDICTS) & given
    assert set(table.VERDICTS) & literals("relay/core/tally.py") == {"self"}


# -- warnings ----------------------------------------------------------------------------------------------------------


def warnings(found: config.Settings, *settings: gaps.Gap) -> dict[str, str]:
    said: dict[str, str] = {}
    gaps.look(found, lambda path, sentence: said.update({".".join(map(str, path)): sentence}), settings)
    return said


def other(value: Any) -> Any:
    """A value that is not that one; nobody reads these, so any will do."""
    return value + 1 if isinstance(value, int) else f"{value}x"


MADE = (gaps.Gap("tracking", "suppress", "it is made up"), gaps.Gap("privacy", "retention_days", "it is made up"))


@pytest.mark.parametrize("gap", [*gaps.SETTINGS, *MADE], ids=lambda g: f"{g.section}.{g.key}")
def test_a_gap_that_is_set_is_warned_of(gap):
    section = getattr(config.Settings(), gap.section)
    set_ = dataclasses.replace(section, **{gap.key: other(getattr(section, gap.key))})
    assert warnings(config.Settings(), gap) == {}
    assert warnings(config.Settings(**{gap.section: set_}), gap) == {f"{gap.section}.{gap.key}": gap.sentence}
    if gap.section == "tracking":
        rule = Rule("*", "*", set_, frozenset({gap.key}))
        assert warnings(config.Settings(rules=(rule,)), gap) == {f"rules.0.{gap.key}": gap.sentence}


def hook(verdicts: tuple[str, ...] = (), triggers: tuple[str, ...] = ("message.opened",)) -> config.Settings:
    return config.Settings(webhooks=(config.Webhook("https://x.test/", triggers, "s", verdicts),))


def test_verdicts_that_never_come_are_warned_of():
    assert warnings(hook()) == warnings(hook(("unknown", "human"))) == {}
    assert warnings(hook(("self",))) == {
        "webhooks.0.verdicts": "names only verdicts that are never sent, so no open and no click is sent at all; leave it out"
    }
    assert warnings(hook(("human", "self"))) == {"webhooks.0.verdicts.1": '"self" is a verdict that is never sent'}
