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
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
FIGURES = ("per_second", "p50_ms", "p99_ms", "cpu_us")
Result = dict[str, Any]


class Peer(NamedTuple):
    """A server, by its port and its process."""

    port: int
    pid: int


def compiled(source: str, target: Path, *flags: str) -> Path:
    """A program or library in C. Ends the bench where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        sys.exit("this bench needs a C compiler (Debian package gcc): a generator in Python would flatter every server")
    done = subprocess.run([compiler, "-O2", "-o", target, HERE / source, *flags], stderr=subprocess.PIPE, text=True)
    if "openssl/" in done.stderr:
        sys.exit("this bench needs the headers of OpenSSL (Debian package libssl-dev)")
    if done.returncode:
        sys.exit(done.stderr)
    return target


def generator(folder: Path, *, tls: bool = False) -> Path:
    """The generator, compiled into `folder`."""
    return compiled("generator.c", folder / "generator", *(("-DTLS", "-lssl", "-lcrypto") if tls else ()))


def load(
    program: Path, mode: str, port: int, sessions: int, count: int, file: Path, *more: str, pid: int = 0
) -> Result:
    """The generator's report, with the CPU time per message of process `pid` where one is named."""
    words = [program, mode, "127.0.0.1", port, sessions, count, file, *more]
    before = cpu(pid) if pid else 0.0
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"the generator failed: {done.stderr}")
    result: Result = json.loads(done.stdout)
    if result["refused"] or result["done"] != count:
        sys.exit(f"not all was taken: {result}")
    result["cpu_us"] = (cpu(pid) - before) / count * 1e6 if pid else 0.0
    return result


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, all its threads together, and the processes that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(cpu, map(int, children)), own_cpu(pid))


def own_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(*command: object, log: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A server as a process; its stderr goes to `log`."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=HERE.parent,
            env=os.environ | (env or {}),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def printing_its_port(*command: object, log: Path) -> Iterator[Peer]:
    with running(*command, log=log) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            sys.exit(f"{command}: {line} {log.read_text()}")
        yield Peer(int(line), process.pid)


@contextlib.contextmanager
def relay(folder: Path, toml: str, *more: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The service itself, from "trackrelay ready" on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "relay.toml").write_text(toml)
    log = folder / "stderr.log"
    command = (sys.executable, "-m", "relay", "run", "--config", folder / "relay.toml", *more)
    with running(*command, log=log, env=env) as process:
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


def metrics(admin: int) -> dict[str, float]:
    """/metrics of the relay whose admin listener has this port: a sample by its name and labels, as it stands there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}


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
        name: {key: statistics.median(r.get(key, 0.0) for r in all_) for key in FIGURES}
        for name, all_ in results.items()
    }


def table(
    title: str, found: dict[str, Result], base: str, alone: str, goals: Mapping[str, float] | None = None
) -> None:
    """Figures and their ratio to `base`. A ratio counts only where the servers were the slow side: the generator, against
    a sink that does nothing (`alone`), is twice as fast as the fastest of them, or each kept a CPU busy."""
    print(f"\n{title}")
    for name, result in found.items():
        ratio = result["per_second"] / found[base]["per_second"]
        cpu = f"CPU {result['cpu_us']:6.0f} us" if result["cpu_us"] else " " * 13
        goal = f"   goal {goals[name]:g}" if goals and name in goals else ""
        print(
            f"  {name:44} {result['per_second']:9.0f}/s   p50 {result['p50_ms']:7.2f} ms   p99 {result['p99_ms']:7.2f} ms"
            f"   {cpu}   {ratio:5.2f} x{goal}"
        )
    others = [result for name, result in found.items() if name != alone]
    margin = found[alone]["per_second"] / max(result["per_second"] for result in others)
    busy = min(result["per_second"] * result["cpu_us"] / 1e6 for result in others)
    verdict = "the ratios count" if margin >= 2 or busy >= 0.9 else "TOO SLOW: THE RATIOS FLATTER WHAT IS SLOW"
    print(
        f"  the generator alone is {margin:.1f} x the fastest subject, all kept {busy:.1f} CPUs busy at least: {verdict}"
    )


def resident(pid: int) -> tuple[int, int]:
    """(now, at most so far) octets that a process has in memory."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def header() -> None:
    """The machine, and what an fsync costs where the benches have their files (TMPDIR says where): on a file system in
    memory it costs nothing, and a record that is stored would seem to be free."""
    print(
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, "
        f"{fsync_us():.0f} us for 4 kB and an fsync in {tempfile.gettempdir()}"
    )


def fsync_us() -> float:
    with tempfile.TemporaryFile() as file:
        times = []
        for _ in range(50):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6
