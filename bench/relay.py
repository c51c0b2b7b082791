"""Messages per second through the relay, as ratios to an aiosmtpd that discards: same loop, one process each.

The relay tracks opens and links, stores its record before it sends, and hands on to a sink in C that pipelines.
Goal at 5 kB without DKIM: 0.75 x, at 50 kB 2 x; with Ed25519 at 5 kB 0.65 x.

With --workers N the relay has so many processes that take mail, and the CPU is that of all of them (of a database's server
none); --store postgresql has it store in PostgreSQL.

With --sessions 1 one client sends one message after another, over one connection and over one each: p50 is what
a message takes.

The relay offers PIPELINING and aiosmtpd does not, so the generator asks it for less round trips, as Postfix would; the
same without, as most libraries send, stands beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from bench import _load, _relay, _stores
from tests.fakes import certificates

SESSIONS = 10
SIZES = {"5 kB": (5_000, 3000), "50 kB": (50_000, 800)}  # octets, messages a round
BASE, ALONE = "aiosmtpd that discards", "generator alone (a sink in C)"
TRACKED, SIGNED = "relay, opens and links tracked, stored", "relay, the same with Ed25519"
GOALS = {"5 kB": {TRACKED: 0.75, SIGNED: 0.65}, "50 kB": {TRACKED: 2.0}}

DKIM = """
[[dkim]]
domain = "example.com"
selector = "t1"
key = "key.pem"
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES), help='for example "5 kB"')
    parser.add_argument(
        "--sessions", type=int, default=SESSIONS, help=f"clients that send at once (default {SESSIONS})"
    )
    _stores.arguments(parser)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        url = _stores.urls(stack, options.store)
        for size in options.sizes.split(","):
            at = folder / size.replace(" ", "")
            measure(at, generator, size, options.rounds, options.workers, options.sessions, url)
    return 0


def measure(
    folder: Path, generator: Path, size: str, count: int, workers: int, sessions: int, url: Callable[[], str]
) -> None:
    octets, messages = SIZES[size]
    folder.mkdir()
    file, mail = folder / "message.eml", _relay.newsletter(octets)
    file.write_bytes(mail)
    with contextlib.ExitStack() as stack:
        peers: dict[str, _load.Peer | _relay.Relay] = {}
        for name in ("discard", "ours"):
            peers[name] = stack.enter_context(
                _load.printing_its_port(sys.executable, "-m", "bench._subjects", name, log=folder / f"{name}.log")
            )
        peers["sink"] = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        sink = peers["sink"].port

        def relay(name: str, more: str = "", *, track: bool = True) -> _relay.Relay:
            peers[name] = found = _relay.start(
                stack, folder / name, sink, track=track, smtp=f"workers = {workers}", more=more + _stores.toml(url())
            )
            return found

        tracked, untracked = relay("tracked"), relay("untracked", track=False)
        certificates.written(folder / "signed" / "key.pem", ed25519.Ed25519PrivateKey.generate())
        signed = relay("signed", DKIM)
        if b"DKIM-Signature: " not in _relay.show(signed, mail):
            sys.exit("the relay does not sign")

        def subject(name: str, times: int = 1, *more: str) -> Callable[[], _load.Result]:
            port, pid = peers[name].port, peers[name].pid
            return lambda: _load.load(generator, "smtp", port, sessions, messages * times, file, *more, pid=pid)

        each = {
            "a connection each: aiosmtpd that discards": subject("discard", 1, "each=1"),
            "a connection each: relay, tracked, stored": subject("tracked", 1, "each=1"),
        }
        found = _load.rounds(
            count,
            {
                BASE: subject("discard"),
                ALONE: subject("sink", 5),
                "SMTP in alone, discarding": subject("ours", 2),
                TRACKED: subject("tracked"),
                "  from a client that does not pipeline": subject("tracked", 1, "apart"),
                SIGNED: subject("signed"),
                "relay, nothing tracked": subject("untracked"),
                **(each if sessions == 1 else {}),
            },
        )
        sent = (3 if sessions == 1 else 2) * (count + 1) * messages
        figures = _relay.proved(tracked, sent)
        _relay.proved(signed, (count + 1) * messages)
        _relay.proved(untracked, (count + 1) * messages, track=False)
    links = _relay.show(tracked, mail).count(b"https://t.example.com/c/")
    title = f"{workers} worker{'s' * (workers > 1)}, {size} ({len(mail)} octets, {links} links), {messages} messages, {sessions} session{'s' * (sessions > 1)}, {count} rounds, medians"
    _load.table(title, found, BASE, ALONE, GOALS[size] if sessions == SESSIONS else {})
    commits = figures["trackrelay_store_batch_count"]
    print(f"  every message was tracked and is on record: {sent} in {commits:.0f} commits")


if __name__ == "__main__":
    sys.exit(main())
