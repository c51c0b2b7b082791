"""What the journal keeps is there after anything, goes into the store once, and never grows without bound."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import journal
from relay.core import tally
from relay.core.model import Event
from tests.fakes.stores import MoodyStore
from tests.until import until


def quick(folder: Path, **how: int) -> journal.Journal:
    return journal.Journal(folder, pause=0.02, look=0.05, **how)


def event(number: int, **changes: object) -> Event:
    return Event(f"event-{number}", "message.opened", "0" * 20, 1_700_000_000.5 + number).with_(**changes)


@asynccontextmanager
async def running(kept: journal.Journal, store: MoodyStore) -> AsyncIterator[None]:
    task = asyncio.create_task(kept.run(store))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_kept_events_reach_the_store_in_order_when_it_takes_again(tmp_path: Path) -> None:
    kept, store = quick(tmp_path), MoodyStore("unavailable")
    events = [event(n, ip="192.0.2.1", data={"tid": "é\r\n"}) for n in range(600)]
    async with running(kept, store):
        assert all(await asyncio.gather(*(kept.append(e) for e in events)))
        await until(lambda: store.asked)
        assert not store.taken
        store.be("open")
        await until(lambda: len(store.taken) == 600)
        assert store.taken == events
        await until(lambda: not list(tmp_path.glob("*.jsonl")))


async def test_it_stops_also_when_something_comes_at_that_moment(tmp_path: Path) -> None:
    store = MoodyStore()
    kept = journal.Journal(tmp_path, pause=0.01, look=600.0)
    feeding = asyncio.create_task(kept.run(store))
    assert await kept.append(event(1))
    await until(lambda: store.taken and not list(tmp_path.glob("*.jsonl")))
    await asyncio.sleep(0.2)  # until it waits; where it does not yet, there is nothing to be seen
    assert await kept.append(event(2))
    feeding.cancel()
    ended, _ = await asyncio.wait({feeding}, timeout=20)
    assert ended == {feeding}
    await kept.stop()


async def test_what_a_stopped_process_kept_is_found_by_the_next(tmp_path: Path) -> None:
    first = quick(tmp_path)
    await first.append(event(1))
    await first.stop()
    store = MoodyStore()
    async with running(quick(tmp_path), store):
        await until(lambda: store.taken == [event(1)])


async def test_a_living_process_keeps_its_own_segment(tmp_path: Path) -> None:
    first, gone, store = quick(tmp_path), quick(tmp_path), MoodyStore()
    await first.append(event(1))
    await gone.append(event(3))
    await gone.stop()
    async with running(quick(tmp_path), store):
        await until(lambda: store.taken)
        assert store.taken == [event(3)]  # the older one was stepped over: its owner will hand it over
        await first.append(event(2))
        await first.stop()
        await until(lambda: store.taken == [event(3), event(1), event(2)])


async def test_a_line_cut_short_and_a_line_that_rotted_are_skipped_alone(tmp_path: Path) -> None:
    lines = [journal.encode(event(n)) for n in range(4)]
    rotted = lines[1].replace(b"event-1", b"event-9")
    (tmp_path / "00000000000000000001-1-1.jsonl").write_bytes(lines[0] + rotted + b"\n\0\0" + lines[2] + lines[3][:50])
    store = MoodyStore()
    async with running(quick(tmp_path), store):
        await until(lambda: not list(tmp_path.glob("*.jsonl")))
    assert [e.event_id for e in store.taken] in (["event-0"], ["event-0", "event-2"])


async def test_a_full_journal_says_so_and_takes_again_when_it_was_emptied(tmp_path: Path) -> None:
    size = len(journal.encode(event(1)))
    kept, store = quick(tmp_path, limit=size * 10), MoodyStore("unavailable")
    async with running(kept, store):
        results = await asyncio.gather(*(kept.append(event(n)) for n in range(10, 30)))
        assert results.count(True) == 9 or results.count(True) == 10
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= size * 10
        store.be("open")
        await until(lambda: len(store.taken) == results.count(True))
        await until(lambda: not list(tmp_path.glob("*.jsonl")))
        await until(lambda: kept.append(event(99)))  # it is measured again once it was emptied
        await until(lambda: store.taken[-1] == event(99))


async def test_an_event_that_breaks_the_store_is_put_aside(tmp_path: Path) -> None:
    kept, store = quick(tmp_path), MoodyStore("broken")
    async with running(kept, store):
        await kept.append(event(1))
        await until(lambda: (tmp_path / "refused.jsonl").exists())
        store.be("open")
        await kept.append(event(2))
        await until(lambda: store.taken == [event(2)])
    assert journal.decode((tmp_path / "refused.jsonl").read_bytes().strip()) == event(1)
    assert (tmp_path / "refused.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_folder_that_can_not_be_made_loses_the_event_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert await journal.Journal(tmp_path / "file" / "journal").append(event(1)) is False


KEEPER = """
import asyncio, sys
from pathlib import Path
from relay import journal
from relay.core.model import Event
async def main():
    kept = journal.Journal(Path(sys.argv[1]))
    for n in range(10**6):
        await kept.append(Event(f"event-{n}", "message.opened", "0" * 20, 1.0))
        print(n, flush=True)
asyncio.run(main())
"""


async def test_a_segment_that_can_not_be_made_whole_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = quick(tmp_path)
    real, store = os.open, MoodyStore()

    def full(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, *mode)

    open_before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        assert [await kept.append(event(n)) for n in range(5)] == [False] * 5
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert await kept.append(event(9))
    async with running(kept, store):
        await until(lambda: list(tmp_path.iterdir()) == [])
    assert [e.event_id for e in store.taken] == [event(9).event_id]


async def test_a_process_killed_while_it_writes_loses_nothing_it_had_answered_for(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split(b"\n") if line]
    process.wait()
    store = MoodyStore()
    async with running(quick(tmp_path), store):
        await until(lambda: not list(tmp_path.glob("*.jsonl")))
    assert {f"event-{n}" for n in said} <= {e.event_id for e in store.taken}


def test_an_address_that_is_not_to_be_kept_is_not_written() -> None:
    line = journal.encode(event(1, data={"peer": "203.0.113.77", "tid": "x"}))
    assert b"203.0.113.77" not in line
    assert journal.decode(line.strip()) == event(1, data={"tid": "x"})


@given(st.binary(max_size=200))
def test_for_any_bytes_a_line_is_an_event_or_none(line: bytes) -> None:
    assert journal.decode(line) is None


KEPT = st.text().filter(lambda name: name != tally.TRANSIENT)


@given(st.text(max_size=50), st.floats(allow_nan=False, allow_infinity=False), st.dictionaries(KEPT, st.text()))
def test_an_event_comes_back_as_it_was(text: str, at: float, data: dict[str, str]) -> None:
    text = text.encode("utf-8", "replace").decode()
    given_event = event(1, at=at, user_agent=text, data=data)
    line = journal.encode(given_event)
    assert line.count(b"\n") == 1
    assert journal.decode(line[:-1]) == given_event
