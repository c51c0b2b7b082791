"""The alarms and the dashboard: sound, tried, as documented, and of figures that there are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests import peers, samples

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "monitoring"
DOCUMENT = ROOT / "docs" / "monitoring.md"
PAGE = "https://github.com/trackrelay/trackrelay/blob/main/docs/monitoring.md"


def alarms() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "trackrelay.rules.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def table() -> dict[str, tuple[str, bool, str, str]]:
    """What the document says of each alarm: expression, whether the first of its kind counts too, for how long, severity."""
    rows = re.findall(
        r"^\| \[(\w+)\]\(#\w+\) \| `([^`]+)`([^|]*) \| ([\w ]+) \| (\w+) \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    return {
        name: (when, first.startswith(", or the first"), how_long, how_bad)
        for name, when, first, how_long, how_bad in rows
    }


def test_the_rules_are_sound_and_fire_when_they_should():
    promtool = peers.require("promtool", package="prometheus")
    for words in (["check", "rules", "trackrelay.rules.yml"], ["test", "rules", "trackrelay.rules.test.yml"]):
        done = subprocess.run([promtool, *words], cwd=FOLDER, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alarm_is_tried_both_ways():
    """It fires in one case, and in the one where all is well its figure is there."""
    text = (FOLDER / "trackrelay.rules.test.yml").read_text()
    well, *cases = re.split(r"(?m)^  - name: ", text.partition("\ntests:\n")[2])[1:]
    fired = {
        name
        for case in cases
        for name in [
            *re.findall(r'ALERTS\{alertname="(\w+)",alertstate="firing"', case),
            *re.findall(r"- alertname: (\w+)\n *eval_time: \w+\n *exp_alerts:\n *- exp_labels", case),
        ]
    }
    assert fired == set(alarms())
    assert {name for name, rule in alarms().items() if not named(rule["expr"]) <= named(well) | {"up"}} == set()


def test_the_document_says_what_the_rules_say():
    said = table()
    assert list(said) == list(alarms())
    for name, rule in alarms().items():
        when, first, how_long, how_bad = said[name]
        expected = when
        if first:
            counted, window = re.fullmatch(r"increase\((.+)\[(\w+)\]\) > 0", when).groups()
            expected += f" or ({counted} unless {counted} offset {window}) > 0"
        assert rule["expr"] == expected
        assert rule.get("for", "at once") == how_long
        assert rule["labels"] == {"severity": how_bad}


def test_each_alarm_says_what_it_means_and_leads_to_what_to_do():
    headings = set(re.findall(r"^### (\w+)$", DOCUMENT.read_text(), re.MULTILINE))
    assert headings == set(alarms())
    for name, rule in alarms().items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"{PAGE}#{name.lower()}"


def named(expression: str) -> set[str]:
    return set(re.findall(r"\btrackrelay_\w+", expression))


def shown() -> set[str]:
    """The names of all samples in /metrics."""
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + end for family in samples.families() for end in ends.get(family.type, ("",))}


def test_every_figure_of_an_alarm_is_there():
    assert {name for rule in alarms().values() for name in named(rule["expr"])} - shown() == set()


# -- the dashboard -----------------------------------------------------------------------------------------------------


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return read


def test_the_dashboard_can_be_imported_with_any_source_of_data():
    """The source is a variable, as are job and instance; nothing names one of ours."""
    board = dashboard()
    source, *asked = board["templating"]["list"]
    assert (source["type"], source["query"], source["name"]) == ("datasource", "prometheus", "datasource")
    assert [variable["name"] for variable in asked] == ["job", "instance"]
    assert "id" not in board  # of another Grafana's database
    assert "__inputs" not in board
    sources = re.findall(r'"uid": "(.*?)"', json.dumps(board))
    assert sources.count("${datasource}") == len(sources) - 1  # its own
    named = set(re.findall(r"\$(?!__)(\w+)", " ".join(expressions())))
    assert named == {"job", "instance"}


def expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def test_every_figure_of_the_dashboard_is_there():
    assert {name for expression in expressions() for name in named(expression)} - shown() == set()


def test_the_panels_lie_side_by_side():
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_has_what_an_alarm_is_about():
    shown_there = {name for expression in expressions() for name in named(expression)}
    assert {name for rule in alarms().values() for name in named(rule["expr"])} - shown_there == set()
