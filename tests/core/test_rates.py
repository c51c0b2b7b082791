"""Percent as Unosend has it."""

import pytest

from relay.core import rates


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [(0, 0, 0.0), (3, 0, 0.0), (1, 3, 33.3), (2, 3, 66.7), (1, 1, 100.0), (1, 2000, 0.1), (1, 2001, 0.0), (16, 45, 35.6),
     (5, 4, 125.0), (1, 16, 6.3)],
)  # fmt: skip
def test_percent(part: int, whole: int, percent: float) -> None:
    assert rates.percent(part, whole) == percent


def test_what_is_divided_by_what() -> None:
    assert rates.of({"sent": 100, "delivered": 80, "bounced": 3}, 20, 8) == {
        "delivery_rate": 80.0, "bounce_rate": 3.0, "open_rate": 25.0, "click_rate": 10.0,
    }  # fmt: skip
