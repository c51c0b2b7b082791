"""What 500 slow clients cost a good one: its latency beside them, as a ratio to its latency alone, in turns.

Goal: its p99 stays under twice what it is alone.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

from bench import _load
from bench.relay import RELAY, message

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
        file = folder / "message.eml"
        file.write_bytes(message(OCTETS))
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        smtp, admin, http = _load.free_ports(3)
        toml = RELAY.format(smtp=smtp, sink=sink, track="true", admin=admin, http=http)
        stack.enter_context(_load.relay(folder / "relay", toml, "--only", "smtp,queue"))
        for number in range(options.rounds + 1):
            alone = _load.load(generator, "smtp", smtp, SESSIONS, MESSAGES, file)
            slow = (sys.executable, "-m", "bench._slow", smtp, options.slow)
            with _load.running(*slow, log=folder / "slow.log") as process:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    sys.exit(f"the slow clients are not in: {(folder / 'slow.log').read_text()}")
                beside = _load.load(generator, "smtp", smtp, SESSIONS, MESSAGES, file)
            if number:  # the first round warms up
                found["alone"].append(alone)
                found["beside"].append(beside)
    print(f"\n{MESSAGES} messages of {OCTETS / 1e3:.0f} kB over {SESSIONS} sessions, tracked; {options.rounds} rounds")
    for key in ("p50_ms", "p99_ms", "per_second"):
        alone, beside = (statistics.median(r[key] for r in found[n]) for n in ("alone", "beside"))
        ratio = statistics.median(b[key] / a[key] for a, b in zip(found["alone"], found["beside"], strict=True))
        print(f"  {key:12} alone {alone:8.2f}   beside {options.slow} slow ones {beside:8.2f}   {ratio:5.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
