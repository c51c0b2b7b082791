"""What is too old goes, gently, by one process at a time."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay import journal, metrics, retention, store
from relay.retention import DAY, Retention, Times
from relay.store import Purged, PurgeMark
from relay.store.memory import Memory
from tests.store.contract import T0, event, sent

QUICK = Times(first=0.0, look=0.01, pause=0.0, rest=0.0)


def made(
    records: Any, folder: Path, *, now: Callable[[], float] = lambda: T0, holder: str = "a 1", **how: Any
) -> Retention:
    return Retention(records, folder=folder, clock=now, holder=holder, times=QUICK, **({"days": 30} | how))


async def filled(*ages: float) -> Memory:
    records = Memory(clock=lambda: T0)
    for number, age in enumerate(ages):
        await records.record_sent(sent(f"m{number}", submitted_at=T0 - age * DAY))
        await records.append(event(message_id=f"m{number}", at=T0 - age * DAY + 60))
    return records


async def test_what_is_older_than_the_setting_goes(tmp_path: Path) -> None:
    records = await filled(1, 29, 31, 400)
    gone = metrics.value("trackrelay_retention_deleted_rows_total", table="messages")
    await made(records, tmp_path).look()
    assert [m.message_id for m in await records.recent_sent()] == ["m0", "m1"]
    assert [e.message_id for e in await records.events()] == ["m0", "m1"]
    assert metrics.value("trackrelay_retention_oldest_seconds") == 29 * DAY
    assert metrics.value("trackrelay_retention_deleted_rows_total", table="messages") >= gone


@pytest.mark.parametrize(
    ("ip_days", "left"),
    [(0, ["8.8.8.8", "8.8.8.8", "8.8.8.8"]), (7, ["8.8.8.8", "", ""]), (30, ["8.8.8.8", "8.8.8.8", "8.8.8.8"])],
)
async def test_addresses_have_a_time_of_their_own(tmp_path: Path, ip_days: int, left: list[str]) -> None:
    records = await filled(1, 8, 29)
    await made(records, tmp_path, ip_days=ip_days).look()
    assert [e.ip for e in await records.events()] == left


async def test_addresses_that_came_late_are_cut_too(tmp_path: Path) -> None:
    records, now = await filled(8), T0
    kept = made(records, tmp_path, ip_days=7, now=lambda: now)
    await kept.look()
    await records.append(event(message_id="m0", at=T0 - 7.5 * DAY))
    now += DAY / 4
    await kept.look()
    assert [e.ip for e in await records.events()] == ["", ""]


class Steps(Memory):
    """Takes `took` seconds of nobody's for each step, and says how much was asked of it."""

    def __init__(self, number: int) -> None:
        super().__init__(clock=lambda: T0)
        self.left, self.asked = number, list[int]()
        self.slow = 0.0

    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
        self.asked.append(most)
        await asyncio.sleep(self.slow)  # it is slow: that is what this is about
        self.left -= 1
        return Purged({"events": most}, mark if self.left else None)


async def test_a_slow_store_is_asked_for_less(tmp_path: Path) -> None:
    records = Steps(6)
    records.slow = QUICK.step * 2
    await made(records, tmp_path).look()
    assert records.asked == sorted(records.asked, reverse=True)
    assert records.asked[-1] == retention.FEWEST


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    records = await filled(400)
    assert await records.take_leases([retention.LEASE], "b 2", 100)
    await made(records, tmp_path).look()
    assert len(await records.recent_sent()) == 1
    await records.release_leases("b 2")
    await made(records, tmp_path).look()
    assert await records.recent_sent() == []
    assert await records.take_leases([retention.LEASE], "b 2", 100)  # given back


async def test_a_store_that_is_away_is_asked_again(tmp_path: Path) -> None:
    class Away(Memory):
        asked = 0

        async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
            Away.asked += 1
            if Away.asked < 3:
                raise store.Unavailable("away")
            done.set()
            return Purged({}, None)

    done = asyncio.Event()
    task = asyncio.create_task(made(Away(), tmp_path).run())
    await asyncio.wait_for(done.wait(), 30)
    task.cancel()


async def test_a_clock_that_jumped_deletes_nothing_at_once(tmp_path: Path) -> None:
    records, now = await filled(1), T0
    kept = made(records, tmp_path, now=lambda: now)
    now += 3650 * DAY
    await kept.look()
    assert len(await records.recent_sent()) == 1
    await kept.look()
    assert await records.recent_sent() == []


async def test_old_files_that_nobody_takes_go(tmp_path: Path) -> None:
    for folder in ("journal", "spool/broken"):
        (tmp_path / folder).mkdir(parents=True)
    names = ["journal/1-1-1.jsonl", "journal/refused.jsonl", "spool/broken/1.msg", "spool/1.dropped", "spool/2.msg"]
    for name in names:
        (tmp_path / name).write_text("{}")
    os.utime(tmp_path / names[0], (T0 - DAY, T0 - DAY))
    for name in names[1:]:
        os.utime(tmp_path / name, (T0 - 31 * DAY, T0 - 31 * DAY))
    held = tmp_path / "journal/2-2-1.jsonl"  # of a process that is there
    held.write_text("")
    os.utime(held, (T0 - 31 * DAY, T0 - 31 * DAY))
    descriptor = journal.lock(held)
    assert descriptor is not None
    await made(Memory(clock=lambda: T0), tmp_path).look()
    os.close(descriptor)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["journal/1-1-1.jsonl", "journal/2-2-1.jsonl", "spool/2.msg"]


async def test_of_two_processes_over_one_store_one_purges(tmp_path: Path) -> None:
    """And whoever is killed in the middle leaves what the other one ends."""
    first = store.open("sqlite:test.db", tmp_path)
    await first.start()
    for number in range(40):
        await first.record_sent(sent(f"m{number}", submitted_at=time.time() - 40 * DAY))
    done = await first.purge(PurgeMark(), time.time() - 30 * DAY, 20)
    while done.next is not None and not done.rows:
        done = await first.purge(done.next, time.time() - 30 * DAY, 20)
    await first.stop()
    second = store.open("sqlite:test.db", tmp_path)
    await second.start()
    assert 0 < len(await second.recent_sent(limit=100)) < 40
    await Retention(second, days=30, holder="b 2", folder=tmp_path, times=QUICK).look()
    assert await second.recent_sent() == []
    await second.stop()
