"""What the load benches share: the generator in C, servers as processes, alternating rounds, medians."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Result = dict[str, Any]


def generator(folder: Path) -> Path:
    """The generator, compiled into `folder`. Ends the bench where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        sys.exit("this bench needs a C compiler (Debian package gcc): a generator in Python would flatter every server")
    program = folder / "generator"
    subprocess.run([compiler, "-O2", "-o", program, HERE / "generator.c"], check=True)
    return program


def load(program: Path, mode: str, port: int, sessions: int, count: int, file: Path, *more: int) -> Result:
    words = [program, mode, "127.0.0.1", port, sessions, count, file, *more]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"the generator failed: {done.stderr}")
    result: Result = json.loads(done.stdout)
    if result["refused"] or result["done"] != count:
        sys.exit(f"not all was taken: {result}")
    return result


@contextlib.contextmanager
def running(*command: object, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A server as a process; its stderr goes to `log`."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=HERE.parent
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def printing_its_port(*command: object, log: Path) -> Iterator[int]:
    with running(*command, log=log) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            sys.exit(f"{command}: {line} {log.read_text()}")
        yield int(line)


@contextlib.contextmanager
def relay(folder: Path, toml: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """The service itself, from "trackrelay ready" on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "relay.toml").write_text(toml)
    log = folder / "stderr.log"
    with running(sys.executable, "-m", "relay", "run", "--config", folder / "relay.toml", *more, log=log) as process:
        for _ in range(600):
            if "trackrelay ready" in log.read_text():
                break
            if process.poll() is not None:
                sys.exit(f"the relay ended: {log.read_text()}")
            time.sleep(0.05)
        else:
            sys.exit(f"the relay is not ready after 30 s: {log.read_text()}")
        yield process


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def rounds(count: int, subjects: dict[str, Callable[[], Result]]) -> dict[str, Result]:
    """The median of each figure over alternating rounds, after one that is not counted: what slows the machine for
    a while slows all alike."""
    results: dict[str, list[Result]] = {name: [] for name in subjects}
    for number in range(count + 1):
        for name, subject in subjects.items():
            result = subject()
            if number:
                results[name].append(result)
    return {
        name: {key: statistics.median(r[key] for r in all_) for key in ("per_second", "p50_ms", "p99_ms")}
        for name, all_ in results.items()
    }


def table(title: str, found: dict[str, Result], base: str, alone: str) -> None:
    """Figures and their ratio to `base`. A ratio counts only where the generator, against a sink that does nothing
    (`alone`), is twice as fast as the fastest of the others."""
    print(f"\n{title}")
    for name, result in found.items():
        ratio = result["per_second"] / found[base]["per_second"]
        print(
            f"  {name:44} {result['per_second']:9.0f}/s   p50 {result['p50_ms']:7.2f} ms   p99 {result['p99_ms']:7.2f} ms"
            f"   {ratio:5.2f} x"
        )
    fastest = max(result["per_second"] for name, result in found.items() if name != alone)
    margin = found[alone]["per_second"] / fastest
    verdict = "the ratios count" if margin >= 2 else "TOO SLOW: THE RATIOS FLATTER"
    print(f"  the generator alone is {margin:.1f} x the fastest subject: {verdict}")


def resident(pid: int) -> tuple[int, int]:
    """(now, at most so far) octets that a process has in memory."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def header() -> None:
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
