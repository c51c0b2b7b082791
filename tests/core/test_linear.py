"""For any input: twice as much is at most some twice the work, whichever reader it is.

Work is counted, in lines that run and functions that are called (those of the standard library and of C too), over inputs
of a few kB: the same on any machine. What one call into C does with a long text is not seen here; `python -m bench linear`
takes the time that the same attacks need at a megabyte."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.core.attacks import ATTACKS, Attack

SMALL, LARGER = 1_500, 15_000  # octets
MOST = 2.4  # times the work for twice the octets
NOTHING = 2_000  # steps; what a reader does anyway


def work(read: Callable[[bytes], object], data: bytes) -> int:
    """Lines run and functions called."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.setprofile(profile)
    sys.settrace(trace)
    try:
        read(data)
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_twice_as_much_is_twice_the_work(attack: Attack) -> None:
    attack.read(attack.make(10))  # what is read once and remembered is not counted
    for size in (SMALL, LARGER):  # the second where a limit is passed between the first and its double
        few, many = (work(attack.read, attack.make(n)) for n in (size, 2 * size))
        if many <= MOST * few + NOTHING:
            return
    pytest.fail(f"{few} steps over {size} octets, {many} over twice as many")


def test_the_count_sees_what_is_quadratic() -> None:
    def again_and_again(data: bytes) -> None:
        found: list[int] = []
        for octet in data:
            if sum(1 for other in found if other == octet) < 2 * len(data):
                found.append(octet)

    assert work(again_and_again, bytes(600)) > 3 * work(again_and_again, bytes(300))
