"""What every reader of others' octets takes for a megabyte of what is made to be slow, and for two: the time may double.

Goal: no ratio over 2.5. The attacks are those of `tests/core/attacks.py`; the tests count the work of the same ones over
a few kB, which does not see what one call into C does with a long text. CPU time of this thread. A ratio over the goal is
measured again, since a busy machine may spoil one, and at last from half the size to the size: a cache may be too small
for the larger of two, but not of each two.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time

from bench import _load
from tests.core.attacks import ATTACKS, Attack

OCTETS = 900_000  # of a text at most 2 MB are looked at, and base64 makes a third more of it
MOST = 2.5
LEAST = 0.02  # seconds: what takes less over twice OCTETS is not slow, however it grows
TRIES = 5
SLOWEST = 10


def spent(attack: Attack, size: int) -> float:
    """Seconds of CPU."""
    data = attack.make(size)
    gc.collect()
    began = time.thread_time()
    attack.read(data)
    return time.thread_time() - began


def growth(attack: Attack, size: int) -> tuple[float, float]:
    """(seconds for twice `size`, their ratio to those for `size`)."""
    seconds, ratio = tried(attack, size)
    return seconds, ratio if ratio <= MOST else min(ratio, tried(attack, size // 2)[1])


def tried(attack: Attack, size: int) -> tuple[float, float]:
    """The same, the best of some tries."""
    once, twice = spent(attack, size), spent(attack, 2 * size)
    for _ in range(TRIES):
        if twice < LEAST or twice <= MOST * once:
            break
        once, twice = min(once, spent(attack, size)), min(twice, spent(attack, 2 * size))
    return twice, twice / once if twice >= LEAST else 1.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.linear", description=__doc__)
    parser.add_argument("--octets", type=int, default=OCTETS)
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    options = parser.parse_args()
    _load.header()
    gc.disable()  # what it takes depends on all that was made before
    found = [(*growth(attack, options.octets), attack.name) for attack in ATTACKS if options.only in attack.name]
    print(f"\n{len(found)} attacks of {options.octets / 1e6:g} and {2 * options.octets / 1e6:g} MB; the slowest:")
    for seconds, ratio, name in sorted(found, reverse=True)[:SLOWEST]:
        print(f"  {seconds:7.2f} s {ratio:6.2f} x   {name[:90]}")
    wrong = [row for row in found if row[1] > MOST]
    for seconds, ratio, name in sorted(wrong, key=lambda row: -row[1]):
        print(f"  GROWS {ratio:.2f} x, {seconds:.2f} s: {name}", file=sys.stderr)
    print(f"  {len(wrong)} grow by more than {MOST} x: goal 0")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
