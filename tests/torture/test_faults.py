"""For the Nth step of each kind that fails, alone or with those after it, while the program runs under load: what a
client heard 250 for arrives, whole and once; nobody hears a 5xx for it; what was answered is stored; nothing has to be
repaired or restarted, and mail is tracked again.

A disk that is full, broken or read-only, a process without descriptors, a database that does not commit. Tracking may
fail open meanwhile, and clients may be told to come again. TORTURE_FAULTS and TORTURE_SEED change how many and which.
"""

from __future__ import annotations

import contextlib
import os
import time

import pytest

from tests import torture
from tests.torture import dying, letters
from tests.torture.world import World

MESSAGES, AFTER = 50, 5
SEED = int(os.environ.get("TORTURE_SEED", "1"))
TIMES = int(os.environ.get("TORTURE_FAULTS", "20" if torture.FULL else "1"))  # each
LAST = (4, 30, 1)  # steps that fail in a row

# What fails together, and as what.
FAULTS = {kind: ((kind,), ("ENOSPC", "EIO")) for kind in dying.FAILING} | {
    "unlink": (("unlink",), ("EIO", "EROFS")),
    "open": (("open",), ("EMFILE", "ENOSPC")),
    "socket": (("socket",), ("EMFILE", "ENOBUFS")),
    "disk": (("fsync", "rename", "unlink", "write"), ("EIO", "EROFS")),
}
# About how many steps of a kind there are in a load.
STEPS = {"fsync": 70, "commit": 100, "rename": 20, "unlink": 40, "write": 45, "open": 90, "socket": 30}
# What fails before there is a listener ends the program with a sentence; that is the operator's to see, and no fault
# under load. So many steps of a kind belong to a start, the first one (which makes keys and database) apart.
START = {"fsync": 8, "commit": 8, "rename": 4, "unlink": 2, "write": 4, "open": 16, "socket": 8}

pytestmark = pytest.mark.timeout(3600 if torture.FULL else 180)


async def suffer(world: World, fault: str, number: int, last: int) -> list[letters.Letter]:
    """One life of the program with one fault in it. Gives the letters that were sent when it was over."""
    kinds, errors = FAULTS[fault]
    at = sum(START[k] for k in kinds) + int((number + world.dice.random()) * sum(STEPS[k] for k in kinds) / TIMES)
    before = world.log.count(dying.STRUCK)
    error = world.dice.choice(errors)
    assert await world.start(kinds=",".join(kinds), at=at, error=error, last=last)
    began = time.monotonic()
    world.upstream.calm = False
    while world.log.count(dying.STRUCK) < before + last:
        assert time.monotonic() - began < 60, f"{fault}: step {at} does not come"
        await world.load(MESSAGES, 25)
        assert world.running, world.log[-3000:]
        await world.retry()
    await world.empty(60)
    begun = len(world.books.letters)
    await world.load(AFTER, AFTER)
    await world.stop()
    return list(world.books.letters.values())[begun:]


@pytest.mark.parametrize("faults", [(name,) for name in FAULTS] if torture.FULL else [tuple(FAULTS)], ids=" ".join)
async def test_the_nth_step_fails(tmp_path, capsys, faults):
    async with World(tmp_path, SEED, polite=True) as world:
        after: list[letters.Letter] = []
        times = 0
        assert await world.start()
        await world.stop()
        for number in range(TIMES):
            for fault in faults:
                after += await suffer(world, fault, number, LAST[times % len(LAST)])
                times += 1
        assert await world.start()
        well = {letter.subject for letter in after if letter.accepted}
        assert len(well) == len(after)
        wrong = [w for w in world.wrong() if ": not tracked: " not in w or w.partition(":")[0] in well]
        assert not wrong, "\n".join(wrong[:20])
        assert world.books.repeated == world.books.cut == 0
        found = world.books.letters.values()
        assert not [letter for letter in found if letter.reply.startswith("5")]
        await world.quiet()
        stored = await world.events(without=())
        lost = [tid for tid in world.hits if tid not in stored]
        assert not lost, f"{len(lost)} of {len(world.hits)} answered hits are not stored"
        assert not [tid for tid, count in stored.items() if count > 1]
        owed = await world.owed()
        assert not owed, "\n".join(owed[:20])
        assert "Traceback" not in world.log, world.log[world.log.index("Traceback") - 500 :][:4000]
        errors = [line for line in world.log.splitlines() if line.split(" ")[1:2] == ["ERROR"]]
        assert len(errors) < len(found), errors  # some are about a message each, none is said over and over
        with capsys.disabled() if torture.FULL else contextlib.nullcontext():
            print(
                f"\n{' '.join(faults)}: {times} times, {world.log.count(dying.STRUCK)} steps that failed; {len(found)} messages "
                f"begun, {sum(x.accepted for x in found)} accepted, 0 lost, 0 repeated; {len(world.hits)} hits answered, 0 lost; "
                f"{len(errors)} errors logged"
            )
