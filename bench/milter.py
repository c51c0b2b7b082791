"""Messages per second through a real Postfix with the milter and without, side by side in one run: from the first that it
takes to the last that it delivers, over SMTP to a sink in C.

The milter tracks opens and links and stores its record before it answers. Beside it stands a milter that answers at once
and changes nothing: what Postfix spends on asking at all. Goal: 0.85 x. The CPU time of our process per message stands
beside that of the SMTP door, which also sends the message.
Needs Postfix (Debian package postfix), as root.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from bench import _load, _relay
from tests.peers import postfix

SESSIONS = 10
SIZES = {"5 kB": (5_000, 1000), "50 kB": (50_000, 400)}  # octets, messages a round
WITHOUT, IDLE = "Postfix", "Postfix with a milter that changes nothing"
WITH, DOOR = "Postfix with the milter, opens and links tracked", "relay by SMTP, the same"
GOAL = 0.85

SETTINGS = """
state_dir = "state"
[milter]
listen = "inet:127.0.0.1:{milter}"
[tracking]
url = "https://t.example.com"
opens = true
links = true
[admin]
listen = "127.0.0.1:{admin}"
open = true
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.milter", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES), help='for example "5 kB"')
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name:
        generator = _load.generator(Path(name))
        for size in options.sizes.split(","):
            measure(Path(name) / size.replace(" ", ""), generator, size, options.rounds)
    return 0


def emptied(server: postfix.Server) -> None:
    """Returns once nothing is in the queue."""
    queues = [server.folder / "queue" / name for name in ("maildrop", "incoming", "active")]
    while any(path.is_file() for queue in queues for path in queue.rglob("*")):
        time.sleep(0.01)


def measure(folder: Path, generator: Path, size: str, count: int) -> None:
    octets, messages = SIZES[size]
    folder.mkdir()
    file, mail = folder / "message.eml", _relay.newsletter(octets)
    file.write_bytes(mail)
    milter, admin = _load.free_ports(2)
    with contextlib.ExitStack() as stack:
        asking = {"smtpd_milters": f"inet:127.0.0.1:{milter}", "milter_default_action": "tempfail"}
        toml = SETTINGS.format(milter=milter, admin=admin)
        ours = stack.enter_context(_load.relay(folder / "relay", toml, "--only", "milter,admin"))
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        door = _relay.start(stack, folder / "door", sink.port)
        nothing = stack.enter_context(
            _load.printing_its_port(sys.executable, "-m", "bench._subjects", "milter", log=folder / "nothing.log")
        )
        transport = f"smtp:[127.0.0.1]:{sink.port}"
        idle = asking | {"smtpd_milters": f"inet:127.0.0.1:{nothing.port}"}
        plain, idles, asks = (
            stack.enter_context(postfix.running(transport=transport, settings=settings))
            for settings in ({}, idle, asking)
        )

        def queued(server: postfix.Server, pid: int = 0) -> _load.Result:
            emptied(server)
            began = time.perf_counter()
            found = _load.load(generator, "smtp", server.port, SESSIONS, messages, file, pid=pid)
            emptied(server)
            return found | {"per_second": messages / (time.perf_counter() - began)}

        found = _load.rounds(
            count,
            {
                WITHOUT: lambda: queued(plain),
                IDLE: lambda: queued(idles, nothing.pid),
                WITH: lambda: queued(asks, ours.pid),
                DOOR: lambda: _load.load(generator, "smtp", door.port, SESSIONS, messages, file, pid=door.pid),
            },
        )
        figures = _load.metrics(admin)
        wanted = (count + 1) * messages
        changed = figures.get('trackrelay_milter_messages_total{answer="changed"}', 0)
        if changed != wanted or figures.get('trackrelay_copies_total{tracked="yes"}', 0) != wanted:
            sys.exit(f"{changed:.0f} of {wanted} messages were tracked: see {folder}/relay/stderr.log")
    print(f"\n{size} ({len(mail)} octets), {messages} messages, {SESSIONS} sessions, {count} rounds, medians")
    for name, result in found.items():
        ratio = f"{result['per_second'] / found[WITHOUT]['per_second']:5.2f} x" if name != DOOR else ""
        cpu = f"CPU of it {result['cpu_us']:6.0f} us" if result["cpu_us"] else " " * 19
        goal = f"   goal {GOAL:g}" if name == WITH else ""
        print(f"  {name:50} {result['per_second']:7.0f}/s   p99 {result['p99_ms']:7.2f} ms   {cpu}   {ratio}{goal}")


if __name__ == "__main__":
    sys.exit(main())
