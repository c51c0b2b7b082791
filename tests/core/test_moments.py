"""Times as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import moments


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", 910.0), ("2m", 880.0), ("0d", 1000.0), (" 90s ", 910.0), ("1767225600", 1767225600.0),
        ("1767225600.5", 1767225600.5), ("1970-01-01T00:10:00+00:00", 600.0), ("1970-01-01T00:10:00Z", 600.0),
        ("2026-01-31T12:00+02:00", 1769853600.0),
        ("x", None), ("", None), ("s", None), ("-5m", None), ("2026-13-01", None), ("yesterday", None), ("9" * 5_000 + "s", None),
        ("9" * 5_000, None), ("\u0663d", None), ("5 m", None),
    ],
)  # fmt: skip
def test_times(text, at):
    assert moments.read(text, 1000.0) == at


@given(st.text(max_size=30))
def test_nothing_raises(text):
    moments.read(text, 1000.0)
