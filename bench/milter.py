"""Messages per second through a real Postfix with the milter and without, side by side in one run: from the first that it
takes to the last that it delivers, over SMTP to a sink in C.

The milter tracks opens and links and stores its record before it answers; Postfix asks it by a unix socket, as
docs/postfix.md has it, and by TCP. Beside it stands what Postfix spends by itself: a milter in C that does not think, and
changes nothing, or tells every message the very changes that ours makes to it. No milter can be faster than that. Goal:
0.85 x. The CPU time of our process per message stands beside that of the SMTP door, which also sends the message.
Needs Postfix (Debian package postfix), as root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import _load, _relay
from relay import config, keys, outbound
from relay.core.milter import changes, packets
from relay.core.model import Recipient, Submission, Tracking
from relay.store import memory
from tests.peers import postfix

SESSIONS = 10
SIZES = {"5 kB": (5_000, 800), "50 kB": (50_000, 300)}  # octets, messages a round
WITHOUT, DOOR = "Postfix", "relay by SMTP, the same"
IDLE, SAME = "… and a milter in C that changes nothing", "… and a milter in C with the same changes for all"
BY_TCP, WITH = "… and ours by TCP, opens and links tracked", "… and ours by a unix socket, the same"
GOAL = 0.85

SETTINGS = """
state_dir = "state"
[milter]
listen = "{listen}"
mode = "0666"
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
        Path(name).chmod(0o755)  # Postfix' own user looks for sockets here
        generator = _load.generator(Path(name))
        _load.compiled("thoughtless.c", Path(name) / "thoughtless")
        for size in options.sizes.split(","):
            measure(Path(name) / size.replace(" ", ""), generator, size, options.rounds)
    return 0


def emptied(server: postfix.Server) -> None:
    """Returns once nothing is in the queue."""
    queues = [server.folder / "queue" / name for name in ("maildrop", "incoming", "active")]
    while any(path.is_file() for queue in queues for path in queue.rglob("*")):
        time.sleep(0.01)


def answer(mail: bytes) -> bytes:
    """What the milter tells of this message, to which Postfix has given a Message-ID."""
    head, _, body = mail.partition(b"\r\n\r\n")
    content = b"".join((head, b"\r\nMessage-ID: <1@postfix.test>\r\n\r\n", body))
    secrets = keys.dry_run()
    given = config.Settings(tracking=Tracking(url="https://t.example.com", opens=True, links=True))
    tracker = outbound.Tracker(given, lambda: secrets, memory.Memory())
    submission = Submission("sender@example.com", (Recipient("recipient@example.org"),), content)
    (copy,) = asyncio.run(tracker.track(submission, one_group=True)).copies
    return changes.answer(copy.edits(), leading_space=True)


def measure(folder: Path, generator: Path, size: str, count: int) -> None:
    octets, messages = SIZES[size]
    folder.mkdir()
    file, mail = folder / "message.eml", _relay.newsletter(octets)
    file.write_bytes(mail)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        door = _relay.start(stack, folder / "door", sink.port)

        def queued(server: postfix.Server, pid: int) -> _load.Result:
            emptied(server)
            began = time.perf_counter()
            found = _load.load(generator, "smtp", server.port, SESSIONS, messages, file, pid=pid)
            emptied(server)
            return found | {"per_second": messages / (time.perf_counter() - began)}

        def subject(milter: str, pid: int = 0) -> Callable[[], _load.Result]:
            asks = {"smtpd_milters": milter, "milter_default_action": "tempfail"} if milter else {}
            server = stack.enter_context(postfix.running(transport=f"smtp:[127.0.0.1]:{sink.port}", settings=asks))
            return lambda: queued(server, pid)

        def thoughtless(name: str, told: bytes) -> Callable[[], _load.Result]:
            (folder / f"{name}.answer").write_bytes(told)
            words = folder.parent / "thoughtless", folder / f"{name}.sock", folder / f"{name}.answer"
            peer = stack.enter_context(_load.printing_its_port(*words, log=folder / f"{name}.log"))
            return subject(f"unix:{words[1]}", peer.pid)

        def ours(name: str, listen: str) -> tuple[int, Callable[[], _load.Result]]:
            (admin,) = _load.free_ports(1)
            toml = SETTINGS.format(listen=listen, admin=admin)
            process = stack.enter_context(_load.relay(folder / name, toml, "--only", "milter,admin"))
            return admin, subject(listen, process.pid)

        admin, by_socket = ours("ours", f"unix:{folder}/ours.sock")
        _, by_tcp = ours("tcp", f"inet:127.0.0.1:{_load.free_ports(1)[0]}")
        found = _load.rounds(
            count,
            {
                WITHOUT: subject(""),
                IDLE: thoughtless("nothing", packets.ACCEPT),
                SAME: thoughtless("same", answer(mail)),
                WITH: by_socket,
                BY_TCP: by_tcp,
                DOOR: lambda: _load.load(generator, "smtp", door.port, SESSIONS, messages, file, pid=door.pid),
            },
        )
        figures = _load.metrics(admin)
        wanted = (count + 1) * messages
        changed = figures.get('trackrelay_milter_messages_total{answer="changed"}', 0)
        if changed != wanted or figures.get('trackrelay_copies_total{tracked="yes"}', 0) != wanted:
            sys.exit(f"{changed:.0f} of {wanted} messages were tracked: see {folder}/ours/stderr.log")
    print(f"\n{size} ({len(mail)} octets), {messages} messages, {SESSIONS} sessions, {count} rounds, medians")
    for name, result in found.items():
        ratio = f"{result['per_second'] / found[WITHOUT]['per_second']:5.2f} x" if name != DOOR else ""
        cpu = f"CPU of it {result['cpu_us']:6.0f} us" if result["cpu_us"] else " " * 19
        goal = f"   goal {GOAL:g}" if name == WITH else ""
        print(f"  {name:50} {result['per_second']:7.0f}/s   p99 {result['p99_ms']:7.2f} ms   {cpu}   {ratio}{goal}")
    ceiling = found[SAME]["per_second"] / found[WITHOUT]["per_second"]
    print(
        f"  {found[WITH]['per_second'] / found[SAME]['per_second']:.2f} of what a milter could reach, {ceiling:.2f} x"
    )


if __name__ == "__main__":
    sys.exit(main())
