"""What 500 slow clients cost a good one: its latency beside them, as a ratio to its latency alone, in turns.

Goal: its p99 stays under twice what it is alone. `_slow` says of which kinds they are. Each round of a good client ends
with a look at whether they were there all the while.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

from bench import _load, _relay
from tests.fakes import certificates

SLOW = 500
SESSIONS, MESSAGES, OCTETS = 2, 2000, 5_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.slow_clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slow", type=int, default=SLOW)
    options = parser.parse_args()
    _load.header()
    found: dict[str, list[_load.Result]] = {"alone": [], "beside": []}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        pem = certificates.make(folder)
        file = folder / "message.eml"
        file.write_bytes(_relay.newsletter(OCTETS))
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        smtp = f'certificate = "{pem.certificate}"\nkey = "{pem.key}"'
        relay = _relay.start(stack, folder / "relay", sink.port, smtp=smtp)
        for number in range(options.rounds + 1):
            alone = _load.load(generator, "smtp", relay.port, SESSIONS, MESSAGES, file)
            slow = (sys.executable, "-m", "bench._slow", relay.port, options.slow)
            with _load.running(*slow, log=folder / "slow.log") as process:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    sys.exit(f"the slow clients are not in: {(folder / 'slow.log').read_text()}")
                beside = _load.load(generator, "smtp", relay.port, SESSIONS, MESSAGES, file)
                there = _load.metrics(relay.admin)["trackrelay_smtp_connections"]
            if there < 0.9 * options.slow:
                sys.exit(f"only {there:.0f} slow clients were there")
            if number:  # the first round warms up
                found["alone"].append(alone)
                found["beside"].append(beside)
        _relay.proved(relay, 2 * (options.rounds + 1) * MESSAGES)
    print(f"\n{MESSAGES} messages of {OCTETS / 1e3:.0f} kB over {SESSIONS} sessions, tracked; {options.rounds} rounds")
    for key in ("p50_ms", "p99_ms", "per_second"):
        alone, beside = (statistics.median(r[key] for r in found[n]) for n in ("alone", "beside"))
        ratio = statistics.median(b[key] / a[key] for a, b in zip(found["alone"], found["beside"], strict=True))
        goal = "   goal: under 2" if key == "p99_ms" else ""
        print(f"  {key:12} alone {alone:8.2f}   beside {options.slow} slow ones {beside:8.2f}   {ratio:5.2f} x{goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
