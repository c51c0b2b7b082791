"""`trackrelay classify`: hits in, verdicts out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from relay.__main__ import main
from tests.core import hit_traces

HITS = next(hit_traces.scenes(hit_traces.burst, 1))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hits").write_bytes(b"\n".join(hit_traces.lines(HITS)) + b"\n\n")
    return tmp_path


def out(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_for_each_hit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "hits"]) == 0
    lines = out(capsys)
    assert len(lines) == len(HITS)
    assert lines[0] == {"verdict": "scanner", "reason": "burst", "first_verdict": "human"}


@pytest.mark.parametrize("words", [[], ["-"]])
def test_standard_input(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "hits").read_bytes())))
    assert main(["classify", *words]) == 0
    assert len(out(capsys)) == len(HITS)


def test_several_files_are_one_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = hit_traces.lines(HITS)
    (folder / "one").write_bytes(lines[0])
    (folder / "two").write_bytes(b"\n".join(lines[1:]))
    assert main(["classify", "one", "two"]) == 0
    assert {line["reason"] for line in out(capsys)} == {"burst"}


def test_a_file_as_programs_on_windows_write_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hits").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(hit_traces.lines(HITS)) + b"\r\n")
    assert main(["classify", "hits"]) == 0
    assert {line["reason"] for line in out(capsys)} == {"burst"}


def test_a_line_that_can_not_be_read_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad").write_text('{"kind":"open","at":1}\n\n{"kind":"look","at":1}\n')
    assert main(["classify", "hits", "bad"]) == 2
    said, error = capsys.readouterr()
    assert (said, error.partition(": ")[2][:7]) == ("", "bad:3: ")


def test_a_file_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "gone"]) == 2
    assert capsys.readouterr().err.startswith("trackrelay classify: gone: ")


def test_networks_of_the_operator(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hit = HITS[0][0] | {"ip": "192.0.2.9"}
    (folder / "one").write_text(json.dumps(hit))
    (folder / "nets").write_text("192.0.2.0/24 gateway us\n")
    assert main(["classify", "--networks", "nets", "one"]) == 0
    assert out(capsys) == [{"verdict": "scanner", "reason": "gateway_network", "first_verdict": "scanner"}]
    (folder / "nets").write_text("\nhouse\n")
    assert main(["classify", "--networks", "nets", "one"]) == 2
    assert capsys.readouterr().err.startswith("trackrelay classify: nets:2: ")
