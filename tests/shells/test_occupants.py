"""Who works with a state folder is known to who comes next, and to `trackrelay check`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay import config, occupants
from relay.check import state_dir
from relay.occupants import Occupant
from tests.scenarios import hostile, service
from tests.until import eventually

ALL = frozenset({"smtp", "queue", "http", "webhooks", "mailbox", "admin", "milter"})


def findings(folder: Path) -> list[tuple[str, str]]:
    found = asyncio.run(state_dir.running(config.Settings(state_dir=folder)))
    return [(one.kind, one.sentence) for one in found]


def test_who_leaves_or_dies_is_there_no_more(tmp_path: Path) -> None:
    assert occupants.there(tmp_path) == []
    first = occupants.enter(tmp_path, {"smtp"}, 7)
    assert first.others == ()
    killed = subprocess.run(
        [sys.executable, "-c", "import os, pathlib, sys; from relay import occupants; "
         "occupants.enter(pathlib.Path(sys.argv[1]), {'http'}, 8); os.kill(os.getpid(), 9)", str(tmp_path)],
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    user = occupants.user(os.geteuid())
    assert occupants.there(tmp_path) == [Occupant(7, user, ("smtp",))]
    second = occupants.enter(tmp_path, ALL, 9)
    assert second.others == (Occupant(7, user, ("smtp",)),)
    assert len(list((tmp_path / "running").iterdir())) == 3  # with the lock, and without the one that was killed
    asyncio.run(first.leave())
    assert [one.pid for one in occupants.there(tmp_path)] == [9]
    asyncio.run(second.leave())
    assert occupants.there(tmp_path) == []


def test_what_is_no_occupant_is_passed_over(tmp_path: Path) -> None:
    place = occupants.enter(tmp_path, {"smtp"}, 7)
    for path in [each for each in (tmp_path / "running").iterdir() if each.name != ".lock"]:
        path.write_text(json.dumps({"pid": 7}))
    (tmp_path / "running" / "folder").mkdir()
    assert occupants.there(tmp_path) == []
    assert occupants.enter(tmp_path, {"smtp"}, 8).others == ()
    asyncio.run(place.leave())


def test_roles_that_several_have() -> None:
    one, two, three = (
        Occupant(1, "a", ("smtp", "queue")),
        Occupant(2, "a", ("smtp", "queue", "http")),
        Occupant(3, "b", ("http",)),
    )
    assert occupants.twice([one]) == occupants.twice([one, three]) == {}
    assert occupants.twice([two, one, three]) == {("smtp", "queue"): [one, two], ("http",): [two, three]}


def test_check_says_what_two_have(tmp_path: Path) -> None:
    user = occupants.user(os.geteuid())
    shared = f"process 7 ({user}) and process 8 ({user}) both have queue with {tmp_path}: run each role once"
    first = occupants.enter(tmp_path, {"smtp", "queue"}, 7)
    assert [sentence for _, sentence in findings(tmp_path) if " both have " in sentence] == []
    second = occupants.enter(tmp_path, {"queue", "http"}, 8)
    assert ("warning", shared) in findings(tmp_path)
    asyncio.run(second.leave())
    assert ("warning", shared) not in findings(tmp_path)
    asyncio.run(first.leave())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")
def test_check_says_who_is_root(tmp_path: Path) -> None:
    ((kind, sentence),) = findings(tmp_path)
    assert (kind, sentence.partition(":")[0]) == (
        "warning",
        f"{tmp_path} is root's, so the service would have to run as root",
    )
    place = occupants.enter(tmp_path, {"smtp"}, 7)
    ((kind, sentence),) = findings(tmp_path)
    assert sentence.startswith("the service runs as root (process 7)")
    asyncio.run(place.leave())
    os.chown(tmp_path, 65534, 65534)
    assert findings(tmp_path) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_service_says_so_and_so_does_check(tmp_path: Path, workers: int) -> None:
    with hostile.sink() as upstream:
        several = {"smtp": f"workers = {workers}"}
        ports = service.settings(tmp_path, upstream=upstream.port, **several)
        with service.running(tmp_path, ports) as first:
            assert "state_dir_shared" not in first.log
            assert ("runs_as_root" in first.log) == (os.geteuid() == 0)
            again = tmp_path / "again"
            again.mkdir()
            ports = service.settings(again, upstream=upstream.port, **several)
            text = (again / "relay.toml").read_text()
            (again / "relay.toml").write_text(text.replace('state_dir = "var"', f'state_dir = "{tmp_path}/var"'))
            with service.running(again, ports) as second:
                assert f'by="process {first.process.pid} (' in second.log
                assert second.log.count(" state_dir_shared ") == 1
                said = service.command("check", "--config", str(first.config)).stdout
                user = occupants.user(os.geteuid())
                pids = sorted((first.process.pid, second.process.pid))
                assert " and ".join(f"process {pid} ({user})" for pid in pids) + " both have smtp, " in said
            said = service.command("check", "--config", str(first.config)).stdout
            assert " both have " not in said
        assert occupants.there(tmp_path / "var") == []
        with service.running(tmp_path, ports := service.settings(tmp_path, upstream=upstream.port)) as killed:
            killed.kill()
        eventually(lambda: occupants.there(tmp_path / "var") == [])
