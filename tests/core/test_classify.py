"""A verdict is given only where the request shows it."""

from __future__ import annotations

import pytest

from relay.core import classify


@pytest.mark.parametrize(("method", "reason"), [("GET", "unclassified"), ("HEAD", "head")])
def test_a_hit_is_unknown_with_its_reason(method: str, reason: str) -> None:
    assert classify.hit(method=method) == ("unknown", reason)
