"""Counting anew: the command, and the service that makes up for what is not counted."""

import asyncio
import gzip
from pathlib import Path

import pytest

from relay import __main__ as main
from relay import recounts, store
from relay.store import Unavailable
from relay.store.contract import Store
from tests.store.contract import click, sent

FIRST = Path(__file__).parents[1] / "store" / "schema-1.db.gz"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(f'state_dir = "{tmp_path}"\n[upstream]\nurl = "smtp://127.0.0.1:25"\n')
    return path


async def opened(tmp_path: Path) -> Store:
    known = store.open("sqlite:trackrelay.db", tmp_path)
    await known.start()
    return known


async def summed(known: Store) -> dict[str, int]:
    (one,) = await known.aggregates("", 0, 1 << 33, step="all")
    return {name: number for name, number in one.counters.items() if number}


async def test_a_rebuild_and_what_goes_on_after_it_ended_early(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = await opened(tmp_path)
    for number in range(450):
        await known.record_sent(sent(f"m{number:03d}"))
    await known.append(click(message_id="m007"))
    before = await summed(known)
    assert await asyncio.to_thread(main.main, ["counts", "rebuild", "--config", str(settings)]) == 0
    assert capsys.readouterr().out == "450 messages counted\n"
    assert await summed(known) == before
    await known.begin_recount()
    await known.recount()
    assert await asyncio.to_thread(main.main, ["counts", "resume", "--config", str(settings)]) == 0
    assert await summed(known) == before
    assert await asyncio.to_thread(main.main, ["counts", "resume", "--config", str(settings)]) == 0
    assert capsys.readouterr().out.endswith("\n0 messages counted\n")
    await known.stop()


async def test_what_an_earlier_program_left_is_counted_beside_the_service(tmp_path: Path) -> None:
    (tmp_path / "trackrelay.db").write_bytes(gzip.decompress(FIRST.read_bytes()))
    known = await opened(tmp_path)
    assert await known.counting()
    task = asyncio.create_task(recounts.run(known, pause=0.0, look=0.01))

    async def whole() -> bool:
        return not await known.counting()

    async with asyncio.timeout(10):
        while not await whole():
            await asyncio.sleep(0)  # the other task's turn
    assert (await summed(known))["sent"] >= 2
    await known.begin_recount()
    async with asyncio.timeout(10):
        while not await whole():
            await asyncio.sleep(0)  # the other task's turn
    task.cancel()
    await known.stop()


async def test_a_store_that_is_away_is_asked_again() -> None:
    class Away:
        asked = 0

        async def counting(self) -> bool:
            self.asked += 1
            if self.asked == 1:
                raise Unavailable("away")
            return True

        async def recount(self) -> int | None:
            return None

    away = Away()
    task = asyncio.create_task(recounts.run(away, pause=0.0, look=0.0))
    async with asyncio.timeout(10):
        while away.asked < 3:
            await asyncio.sleep(0)  # the other task's turn
    task.cancel()
