"""Reports that other people collected are read as they are: 99 of 100 in each column, and nobody's answer as a report."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator

import pytest

from relay.core import reports
from tests import corpus

KINDS = {"arf": "complaint", "autoreply": "auto_reply", "normal": "other"}
REPORTS = ("bounce", "delay", "complaint")


def rows() -> Iterator[dict[str, str]]:
    with (corpus.folder() / "reports.csv").open() as file:
        yield from (row for row in csv.DictReader(file) if row["scored"] == "1")


def kind(row: dict[str, str]) -> str:
    """What the label says, as it was corrected; delays are bounces in the set that they come from."""
    named = row["corrected_kind"] or row["kind"]
    delayed = not row["corrected_kind"] and set(row["action"].split("|")) == {"delayed"}
    return "delay" if named == "bounce" and delayed else KINDS.get(named, named)


def told(row: dict[str, str], found: reports.Report) -> Iterator[tuple[str, bool]]:
    """The columns that the row has, each with whether it is told rightly. Of one status with several addresses each
    stands for the recipient: where it ended, and where it was sent to."""
    yield "kind", found.kind.replace("read_receipt", "other") == kind(row)
    if kind(row) not in REPORTS:
        return
    if statuses := row["expected_status"]:
        yield "status class", {s[0] for s in statuses.split("|")} == {(e.status or "-")[0] for e in found.concerned}
    if row["expected_recipient"]:
        expected = set(row["expected_recipient"].lower().split("|"))
        named = {a.lower() for a in found.recipients}, {e.final.lower() for e in found.concerned}
        single = "|" not in statuses
        yield "recipient", expected in named or (single and any(a < expected and len(a) == 1 for a in named))
    if row["orig_message_id"]:
        yield "original Message-ID", found.original_message_id == row["orig_message_id"]


def test_each_column_is_right_in_99_of_100() -> None:
    right: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for row in rows():
        found = reports.read((corpus.folder() / row["path"]).read_bytes())
        for column, good in told(row, found):
            right[column] += good
            if not good:
                wrong.setdefault(column, []).append(row["path"])
    shares = {column: count / (count + len(wrong.get(column, ()))) for column, count in right.items()}
    print({column: f"{share:.4f}" for column, share in shares.items()}, wrong)
    assert set(shares) == {"kind", "status class", "recipient", "original Message-ID"}
    assert min(shares.values()) >= 0.99, wrong


def test_an_answer_is_no_report() -> None:
    for row in rows():
        if kind(row) not in REPORTS:
            assert reports.read((corpus.folder() / row["path"]).read_bytes()).kind not in REPORTS, row["path"]


def test_a_message_without_the_parts_of_a_report_is_none() -> None:
    """Real messages of all sorts."""
    read = 0
    for path in corpus.messages("messages", "template-messages"):
        raw = path.read_bytes()
        if not any(mark in raw.lower() for mark in (b"/delivery-status", b"/feedback-report")):
            read += 1
            assert reports.read(raw).kind not in REPORTS, path
    assert read > 100


CASES = {
    "bounce": "message.bounce_detected",
    "complaint": "message.complained",
    "auto_reply": "message.auto_replied",
    "reply": "thread.replied",
}


@pytest.mark.parametrize("name", ["16-automatic-answers", "17-reports-in-other-wrappers", "18-bounces-in-words"])
def test_cases_from_public_reports(name: str) -> None:
    folder = corpus.folder().parent / "cases" / "signals" / name
    if not folder.is_dir():
        pytest.skip("cases not here")
    with (folder / "expected.csv").open() as file:
        expected = {row["file"]: row["expected_event"] for row in csv.DictReader(file)}
    for path, event in expected.items():
        found = reports.read((folder / path).read_bytes())
        assert CASES.get(found.kind, "none") == event, path
        if found.kind in REPORTS:
            assert (found.recipients, found.original_message_id) == (("b@rcpt.test",), "offer-1@sender.test"), path
