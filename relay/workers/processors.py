"""How many processors this machine lets the service use: those that it may run on, and of their time what its control group
is allowed (systemd's CPUQuota=, a container's --cpus).

Owns: that number, for Linux. Leaves to others: what it is used for (`relay.workers`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
GROUPS = "sys/fs/cgroup"


def available(root: Path = ROOT) -> int:
    """At least 1; of a quota each begun processor counts."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), quota(root))))


def quota(root: Path = ROOT) -> float:
    """Processors, by the narrowest of the groups that this process is in; infinity where none has a limit."""
    found = math.inf
    for group in groups(root):
        for folder in (group, *group.parents):
            found = min(found, of(folder))
    return found


def groups(root: Path) -> Iterator[Path]:
    """The folders of this process' groups that say something of processors: of version 2, and of version 1. In a container
    that does not see where it stands itself, the path leads nowhere, and the mount point is its group."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        below = PurePosixPath(path).relative_to("/")
        if not kinds:
            mounts = [root / GROUPS, root / GROUPS / "unified"]
        elif "cpu" in kinds.split(","):
            mounts = [root / GROUPS / kinds, root / GROUPS / "cpu"]
        else:
            continue
        for mount in mounts:
            yield mount / below
            yield mount


def of(folder: Path) -> float:
    """What the group in that folder is allowed by itself."""
    try:
        if (both := folder / "cpu.max").exists():
            most, period = both.read_text().split()
        else:
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return int(most) / int(period) if most not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
