"""What processes with one state folder tell each other, each of them a unit of its own."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay import metrics, samples, units
from relay.workers import board

UNIT = """
import asyncio, sys
from pathlib import Path
from relay import metrics, units

async def main():
    async def ask():
        return [], [f"[upstream]: {sys.argv[2]} can't reach it"]
    unit = units.Units(Path(sys.argv[1]), sys.argv[2], ask=ask)
    unit.start()
    for line in sys.stdin:
        match line.split():
            case ["count", more]:
                metrics.ACCEPTED.inc(int(more))
                metrics.SMTP_CONNECTIONS.set(int(more))
                await unit.tell()
                print(int(metrics.value("trackrelay_accepted_total")), flush=True)
            case ["stop"]:
                await unit.stop()
                return
asyncio.run(main())
"""


class Unit:
    """Another process. `count` counts so many messages, and says how many it has."""

    def __init__(self, state_dir: Path, roles: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", UNIT, str(state_dir), roles],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def count(self, more: int) -> int:
        assert self.process.stdout
        self.tell(f"count {more}")
        return int(self.process.stdout.readline())

    def stop(self) -> None:
        self.tell("stop")
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Unit] = []

    def start(roles: str) -> Unit:
        started.append(Unit(tmp_path, roles))
        return started[-1]

    yield start
    for unit in started:
        unit.kill()
        for pipe in (unit.process.stdin, unit.process.stdout):
            if pipe:
                pipe.close()


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[units.Units]:
    found = units.Units(tmp_path, "admin")
    found.start()
    yield found
    asyncio.run(found.stop())


def seen(admin: units.Units) -> dict[str, float]:
    found = samples.added(asyncio.run(admin.others()))
    names = ("trackrelay_accepted_total", "trackrelay_smtp_connections")
    return {name.removeprefix("trackrelay_"): sum(v for key, v in found.items() if key.name == name) for name in names}


def test_units_are_added_up_and_no_counter_goes_back(admin: units.Units, start: Any, tmp_path: Path) -> None:
    assert seen(admin) == {"accepted_total": 0, "smtp_connections": 0}
    smtp, other, milter = start("smtp"), start("smtp"), start("milter")
    assert [smtp.count(3), other.count(4), milter.count(5)] == [3, 4, 5]
    assert seen(admin) == {"accepted_total": 12, "smtp_connections": 12}
    smtp.kill()
    assert seen(admin) == {"accepted_total": 12, "smtp_connections": 9}
    milter.stop()
    assert seen(admin) == {"accepted_total": 12, "smtp_connections": 4}
    again = start("smtp")
    assert again.count(1) == 4  # it goes on from where its predecessor was
    assert seen(admin) == {"accepted_total": 13, "smtp_connections": 5}
    assert {path.name for path in (tmp_path / units.FOLDER).iterdir()} == {".lock", "admin", "smtp", "smtp-2", "milter"}
    for path in (tmp_path / units.FOLDER, *(tmp_path / units.FOLDER).iterdir()):
        assert not path.stat().st_mode & 0o077


def test_what_keeps_a_unit_from_working_is_known_while_it_runs(tmp_path: Path, start: Any) -> None:
    now = [0.0]
    admin = units.Units(tmp_path, "admin", clock=lambda: now[0])
    admin.start()
    smtp = start("smtp")
    smtp.count(1)
    now[0] = json.loads(note(tmp_path / units.FOLDER / "smtp"))["at"]
    said = ([], ["[upstream]: smtp can't reach it"])
    assert asyncio.run(admin.troubles()) == said
    now[0] += units.STALE + 1  # it hangs
    assert asyncio.run(admin.troubles()) == ([], [])
    now[0] -= units.STALE
    assert asyncio.run(admin.troubles()) == said
    smtp.kill()
    assert asyncio.run(admin.troubles()) == ([], [])


def note(path: Path) -> str:
    return json.dumps(samples.Page(memoryview(path.read_bytes().ljust(samples.SIZE, b"\0")), writes=False).note())


def test_a_service_that_starts_anew_counts_from_zero(tmp_path: Path, start: Any) -> None:
    for roles in ("smtp", "milter", "mailbox"):
        unit = start(roles)
        unit.count(3)
        unit.stop()
    smtp = start("smtp")
    assert smtp.count(1) == 1
    assert {path.name for path in (tmp_path / units.FOLDER).iterdir()} == {".lock", "smtp"}


@pytest.mark.parametrize("found", [b"", b"nothing of ours", os.urandom(300), b"figures1" + b"\xff" * 5000])
def test_files_of_others_are_left_out(admin: units.Units, start: Any, tmp_path: Path, found: bytes) -> None:
    (tmp_path / units.FOLDER / "queue").write_bytes(found)
    (tmp_path / units.FOLDER / "a folder").mkdir()
    assert start("queue").count(2) == 2
    (tmp_path / units.FOLDER / "other").write_bytes(found)
    assert seen(admin) == {"accepted_total": 2, "smtp_connections": 2}


async def test_a_folder_that_can_not_be_made_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / units.FOLDER).write_text("in its place")
    unit = units.Units(tmp_path, "smtp")
    unit.start()
    await unit.tell()
    assert await unit.others() == []
    assert await unit.troubles() == ([], [])
    await unit.stop()


async def test_a_full_disk_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file may not grow: with SIGXFSZ ignored, as Python has it, that is an error of the write."""
    unit = units.Units(tmp_path, "smtp")
    unit.start()
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        await unit.tell()
        await unit.tell()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record.getMessage() for record in caplog.records] == ["figures_not_shared"]
    await unit.tell()
    admin = units.Units(tmp_path, "admin")
    admin.start()
    assert dict((await admin.others())[0][0].read())
    await unit.stop()
    await admin.stop()


async def test_a_process_of_a_service_reads_the_memory_of_the_others(tmp_path: Path) -> None:
    made = board.create(2)
    page = samples.Page(board.Board(os.dup(made.fd), 1).page())
    page.cells[page.place(samples.Key("sum", "trackrelay_accepted", "trackrelay_accepted_total", (), ()))] = 7
    code = (
        "import asyncio, sys; from pathlib import Path; from relay import metrics, units; from relay.workers import board\n"
        "unit = units.Units(Path(sys.argv[1]), '', board.Board(int(sys.argv[2]), 0)); unit.start()\n"
        "metrics.ACCEPTED.inc(3)\n"
        "sys.stdout.buffer.write(metrics.exposition(asyncio.run(unit.others())))\n"
        "asyncio.run(unit.stop())\n"
    )
    for expected in (b"trackrelay_accepted_total 10.0\n", b"trackrelay_accepted_total 13.0\n"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(made.fd)],
            pass_fds=[made.fd],
            capture_output=True,
            check=True,
        )
        assert expected in done.stdout
    assert not (tmp_path / units.FOLDER).exists()
    assert metrics.value("trackrelay_accepted_total") >= 0
    made.close()
