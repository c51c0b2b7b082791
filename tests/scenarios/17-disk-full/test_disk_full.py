"""The disk of state_dir is full: mail passes untracked, what would have to be kept is answered 452, clicks lead on;
when there is room again all goes on, without a restart."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

LETTER = hostile.letter("", "X-Track: all", "Bcc: hidden@example.test")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder whose state_dir is a disk of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root only")
    disk = tmp_path / "var"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def send(port: int) -> str:
    with hostile.Smtp(port) as client:
        return client.mail(LETTER)


def click(port: int, path: str) -> int:
    with hostile.Http(port) as client:
        return client.get(path)[0]


def test_full_and_free_again(small: Path) -> None:
    deferring: list[str] = []
    with hostile.sink({"dot": lambda command: deferring[0] if deferring else None}) as upstream:
        ports = service.settings(small, upstream=upstream.port)
        with service.running(small, ports) as relay:
            assert send(relay.smtp).startswith("250")
            pixels, clicks = hostile.tokens(upstream.taken[-1].content)
            fill(small / "var")

            assert send(relay.smtp).startswith("250")  # it went on to the upstream, which has it
            assert b"/c/" not in upstream.taken[-1].content
            assert b"hidden" not in upstream.taken[-1].content
            assert click(relay.http, clicks[0]) == 302
            assert click(relay.http, pixels[0]) == 200

            deferring.append("451 4.3.0 later")
            assert send(relay.smtp).startswith("452 4.3.1 ")  # nobody has it but the client
            assert "nothing waits" in relay.command("queue", "list").stdout
            deferring.clear()
            assert len(upstream.taken) == 2

            (small / "var" / "filler").unlink()
            eventually(lambda: send(relay.smtp).startswith("250") and b"/c/" in upstream.taken[-1].content)
            deferring.append("451 4.3.0 later")
            assert send(relay.smtp).startswith("250")
            deferring.clear()
            eventually(lambda: "451 4.3.0 later" in relay.command("queue", "list").stdout)
            before = len(upstream.taken)
            relay.command("queue", "retry", "--all")
            eventually(lambda: len(upstream.taken) == before + 1)
            assert b"/c/" in upstream.taken[-1].content
            eventually(lambda: click(relay.http, clicks[0]) and "link_clicked" in relay.command("events").stdout)
            counted = hostile.metrics(relay.admin)
    assert counted['trackrelay_failed_open_total{stage="Unavailable"}'] >= 1
    assert counted["trackrelay_events_lost_total"] >= 1  # what neither the store nor the journal could take is counted
    assert "Traceback" not in relay.log
