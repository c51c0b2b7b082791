"""The table of what a machine needs is what follows from the figures beside it."""

from pathlib import Path

from bench import sizing

TEXT = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()


def test_what_is_needed_follows_from_what_was_measured():
    assert "\n".join(sizing.needed(sizing.read(TEXT))) in TEXT


def test_the_figures_are_written_as_the_bench_prints_them():
    assert "\n".join(sizing.written(sizing.read(TEXT))) in TEXT
