"""How many processors a service may use, by a /proc and a /sys as systemd and containers make them."""

import math
import os
from pathlib import Path

import pytest

from relay.workers import processors

OTHERS = "5:memory:/system.slice\n"
TWO, ONE, BOTH = "sys/fs/cgroup", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/unified"
UNIT = "/system.slice/trackrelay.service"


@pytest.mark.parametrize(
    ("said", "files", "found"),
    [
        pytest.param(f"0::{UNIT}\n", {}, math.inf, id="nothing said"),
        pytest.param(f"0::{UNIT}\n", {TWO + UNIT + "/cpu.max": "max 100000\n"}, math.inf, id="no limit"),
        pytest.param(f"0::{UNIT}\n", {TWO + UNIT + "/cpu.max": "150000 100000\n"}, 1.5, id="CPUQuota=150%"),
        pytest.param(
            f"0::{UNIT}\n",
            {TWO + UNIT + "/cpu.max": "max 100000\n", TWO + "/system.slice/cpu.max": "50000 100000\n"},
            0.5,
            id="of the slice",
        ),
        pytest.param(
            f"0::{UNIT}\n",
            {TWO + UNIT + "/cpu.max": "200000 100000\n", TWO + "/system.slice/cpu.max": "800000 100000\n"},
            2.0,
            id="the narrowest",
        ),
        pytest.param("0::/\n", {TWO + "/cpu.max": "300000 100000\n"}, 3.0, id="container with a namespace"),
        pytest.param("0::/docker/f00\n", {TWO + "/cpu.max": "300000 100000\n"}, 3.0, id="container without one"),
        pytest.param(
            OTHERS + f"4:cpu,cpuacct:{UNIT}\n0::/x\n",
            {ONE + UNIT + "/cpu.cfs_quota_us": "250000\n", ONE + UNIT + "/cpu.cfs_period_us": "100000\n"},
            2.5,
            id="version 1",
        ),
        pytest.param(
            "1:cpu:/\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            math.inf,
            id="version 1, no limit",
        ),
        pytest.param(f"0::{UNIT}\n", {BOTH + UNIT + "/cpu.max": "100000 100000\n"}, 1.0, id="both versions"),
        pytest.param(f"0::{UNIT}\n", {TWO + UNIT + "/cpu.max": "what\n"}, math.inf, id="not understood"),
        pytest.param("", {}, math.inf, id="no groups"),
        pytest.param(None, {}, math.inf, id="no /proc"),
    ],
)
def test_a_quota_is_found(tmp_path: Path, said: str | None, files: dict[str, str], found: float) -> None:
    for name, text in [*files.items(), *([("proc/self/cgroup", said)] if said is not None else [])]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert processors.quota(tmp_path) == found
    here = len(os.sched_getaffinity(0))
    assert processors.available(tmp_path) == (here if found == math.inf else max(1, min(here, math.ceil(found))))


def test_those_that_it_may_run_on_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert processors.available() == 1
    finally:
        os.sched_setaffinity(0, before)
