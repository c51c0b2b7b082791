"""What the spool costs a message that the upstream takes: nothing, since it is not touched.

Speed with on_defer = "spool" as a ratio to "pass" (goal 1), and what is fsynced meanwhile, counted in the process: of the
spool nothing; of the database one per transaction, which several messages share. The same relay without an upstream
shows what is counted once the spool is needed. A database on a file system in memory says what the disk costs.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench import _load, _relay

SESSIONS, MESSAGES, OCTETS = 10, 3000, 5_000
KEPT = 200  # messages for the relay without an upstream
PASS, SPOOL, IN_MEMORY = 'on_defer = "pass"', 'on_defer = "spool"', "the same, state in memory (/dev/shm)"
ALONE = "generator alone (a sink in C)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.spool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        counter = _load.compiled("fsyncs.c", folder / "fsyncs.so", "-shared", "-fPIC")
        file = folder / "message.eml"
        file.write_bytes(_relay.newsletter(OCTETS))
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        speed(folder, generator, sink.port, file, options.rounds)
        (nobody,) = _load.free_ports(1)
        return count(folder, generator, counter, sink.port, nobody, file)


def speed(folder: Path, generator: Path, sink: int, file: Path, rounds: int) -> None:
    with contextlib.ExitStack() as stack:
        states: dict[str, Path | str] = {PASS: "state", SPOOL: "state"}
        if Path("/dev/shm").is_dir():
            states[IN_MEMORY] = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        relays = {
            name: _relay.start(
                stack, folder / f"speed-{n}", sink, upstream=PASS if name == PASS else SPOOL, state=state
            )
            for n, (name, state) in enumerate(states.items())
        }

        def subject(port: int, pid: int, times: int = 1) -> Callable[[], _load.Result]:
            return lambda: _load.load(generator, "smtp", port, SESSIONS, MESSAGES * times, file, pid=pid)

        subjects = {name: subject(relay.port, relay.pid) for name, relay in relays.items()}
        found = _load.rounds(rounds, {**subjects, ALONE: subject(sink, 0, 5)})
        for relay in relays.values():
            _relay.proved(relay, (rounds + 1) * MESSAGES)
    title = f"relay, tracked and stored, {MESSAGES} messages of 5 kB, {SESSIONS} sessions, {rounds} rounds, medians"
    _load.table(title, found, PASS, ALONE, {SPOOL: 1})


def count(folder: Path, generator: Path, counter: Path, sink: int, nobody: int, file: Path) -> int:
    print('\nfsyncs with on_defer = "spool"')
    for upstream, messages in ((sink, MESSAGES), (nobody, KEPT)):
        taken = upstream == sink
        with contextlib.ExitStack() as stack:
            home = folder / ("taken" if taken else "kept")
            env = {"LD_PRELOAD": str(counter), "FSYNCS": str(folder / f"{home.name}.fsyncs")}
            relay = _relay.start(stack, home, upstream, upstream=SPOOL, env=env)
            log, spool = Path(env["FSYNCS"]), home / "state" / "spool"
            began, before = len(log.read_text().splitlines()), touched(spool)
            commits = _load.metrics(relay.admin)["trackrelay_store_batch_count"]
            _load.load(generator, "smtp", relay.port, SESSIONS, messages, file)
            found = Counter("spool" if f"{spool}" in x else "database" for x in log.read_text().splitlines()[began:])
            commits = _load.metrics(relay.admin)["trackrelay_store_batch_count"] - commits
            same = touched(spool) == before
        print(
            f"  {messages} messages, {'the upstream takes them' if taken else 'no upstream':24} "
            f"spool {found['spool'] / messages:5.2f} a message, database {found['database'] / messages:5.2f} "
            f"({messages / commits:.1f} messages a commit); {'no' if same else 'some'} file was made in the spool"
        )
        if taken != (found["spool"] == 0 and same):
            print("  THAT IS NOT WHAT IS PROMISED")
            return 1
    return 0


def touched(spool: Path) -> dict[Path, int]:
    """Its folders, and when a file was last made or removed in each (ns)."""
    return {each: each.stat().st_mtime_ns for each in (spool, *spool.rglob("*")) if each.is_dir()}


if __name__ == "__main__":
    sys.exit(main())
