"""Real messages that other people wrote, where they are: $CORPUS_DIR, or a folder beside the checkout."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent


def folder() -> Path:
    """The corpus; where it is not here, the test skips and says so."""
    named = os.environ.get("CORPUS_DIR")
    for path in [Path(named)] if named else [HERE.parent / "shared" / "corpus"]:
        if path.is_dir():
            return path
    pytest.skip("corpus not here: set CORPUS_DIR")


def messages(*groups: str) -> list[Path]:
    """The raw messages of these folders of the corpus, in order."""
    found = sorted(path for group in groups for path in (folder() / group).rglob("*.eml"))
    assert found, f"the corpus has no messages in {', '.join(groups)}"
    return found
