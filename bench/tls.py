"""What TLS costs: from the clients, to the upstream, both; as ratios to an aiosmtpd that discards and to the relay without.

The relay verifies its upstream (tls = "required"); it tracks opens and links and stores its record, as in bench.relay.
Once with sessions that are kept, once with a connection per message, which is mostly handshakes: none is resumed.
Needs libssl-dev for the generator.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import _load, _relay
from tests.fakes import certificates

SESSIONS = 10
SIZES = {"5 kB": (5_000, 2000), "50 kB": (50_000, 800)}  # octets, messages a round
CONNECTIONS = 800  # a round
PLAIN, STARTTLS, IMPLICIT = (f"aiosmtpd that discards, {how}" for how in ("in clear", "STARTTLS", "TLS at once"))
CLEAR, IN, AT_ONCE, OUT, BOTH = (
    f"relay, {how}"
    for how in ("in clear", "STARTTLS from clients", "TLS at once", "STARTTLS to the upstream", "STARTTLS both ways")
)
ALONE = "generator alone, STARTTLS (a sink in C)"

SUBJECT = (sys.executable, "-m", "bench._subjects")

Peers = Mapping[str, _load.Peer]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES), help='for example "5 kB"; empty for connections only')
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = _load.generator(folder, tls=True)
        with contextlib.ExitStack() as stack:
            peers, relays = start(stack, folder, generator, certificates.make(folder))
            for size, (octets, messages) in SIZES.items():
                file = folder / f"{octets}.eml"
                file.write_bytes(_relay.newsletter(octets))
                if size in options.sizes.split(","):
                    title = f"{size}, {messages} messages over sessions that are kept"
                    measure(title, generator, peers, list(MODES), options.rounds, messages, file)
            title = f"5 kB, {CONNECTIONS} messages, each over a connection of its own"
            names = [STARTTLS, IMPLICIT, ALONE, CLEAR, IN, AT_ONCE]
            measure(title, generator, peers, names, options.rounds, CONNECTIONS, folder / "5000.eml", "each=1")
            for relay in relays:
                _relay.proved(relay, int(_load.metrics(relay.admin)["trackrelay_accepted_total"]))
    return 0


def start(
    stack: contextlib.ExitStack, folder: Path, generator: Path, pem: certificates.Pair
) -> tuple[Peers, list[_relay.Relay]]:
    def peer(name: str, *command: object) -> _load.Peer:
        return stack.enter_context(_load.printing_its_port(*command, log=folder / f"{name}.log"))

    peers = {ALONE: peer("sink", generator, "sink", 0, *pem), PLAIN: peer("discard", *SUBJECT, "discard")}
    for name, subject in ((STARTTLS, "discard_starttls"), (IMPLICIT, "discard_tls")):
        peers[name] = peer(subject, *SUBJECT, subject, *pem)
    (port,) = _load.free_ports(1)
    certificate = f'certificate = "{pem.certificate}"\nkey = "{pem.key}"\nlisten_tls = ["127.0.0.1:{port}"]'
    relays = []
    for name, smtp, tls in ((CLEAR, "", "never"), (IN, certificate, "never"), (OUT, "", "required"),
                            (BOTH, certificate.replace("listen_tls", "#"), "required")):  # fmt: skip
        relay = _relay.start(
            stack, folder / name.replace(" ", "-"), peers[ALONE].port, smtp=smtp, upstream=f'tls = "{tls}"',
            env={"SSL_CERT_FILE": str(pem.certificate)},
        )  # fmt: skip
        relays.append(relay)
        peers[name] = _load.Peer(relay.port, relay.pid)
    peers[AT_ONCE] = _load.Peer(port, peers[IN].pid)
    return peers, relays


MODES = {PLAIN: "smtp", STARTTLS: "starttls", IMPLICIT: "smtps", ALONE: "starttls", CLEAR: "smtp", IN: "starttls",
         AT_ONCE: "smtps", OUT: "smtp", BOTH: "starttls"}  # fmt: skip


def measure(
    title: str, generator: Path, peers: Peers, names: Sequence[str], count: int, messages: int, file: Path, *more: str
) -> None:
    def subject(name: str) -> Callable[[], _load.Result]:
        port, pid = peers[name]
        times = 1 if more or name != ALONE else 5
        return lambda: _load.load(
            generator, MODES[name], port, SESSIONS, messages * times, file, *more, pid=pid
        )  # fmt: skip

    found = _load.rounds(count, {name: subject(name) for name in names})
    _load.table(f"{title}, {SESSIONS} sessions, {count} rounds, medians", found, STARTTLS, ALONE)
    for name in names:
        if name in (IN, AT_ONCE, OUT, BOTH):
            ratio = found[name]["per_second"] / found[CLEAR]["per_second"]
            more_cpu = found[name]["cpu_us"] - found[CLEAR]["cpu_us"]
            print(f"  {name}: {ratio:.2f} x {CLEAR}, {more_cpu:+.0f} us of CPU")


if __name__ == "__main__":
    sys.exit(main())
