"""Every target over its seeds, over what was once found, and over a fixed number of mutated seeds."""

from __future__ import annotations

import random

import pytest

from tests import fuzz
from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    for seed in seeds.SEEDS[target]:
        TARGETS[target](seed)
        TARGETS[target](seed.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_seeds(target: str) -> None:
    for number in range(fuzz.EXAMPLES):
        data = seeds.mutated(target, random.Random(f"{target} {number}"))
        try:
            TARGETS[target](data)
        except Exception as reason:
            raise AssertionError(f"{target}, example {number}: {data!r}") from reason


@pytest.mark.parametrize(("target", "data"), seeds.FOUND)
def test_found(target: str, data: bytes) -> None:
    TARGETS[target](data)
