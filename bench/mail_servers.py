"""Messages per second through a mail server with trackrelay in each of the ways that docs/postfix.md, docs/exim.md and
docs/sendmail.md have, and without, side by side in one run: from the first that it takes to the last that it, or
trackrelay, delivers, over SMTP to a sink in C. Opens and links are tracked and recorded in all of them. The blocks of the
documents run as they stand, but for the ports.

Beside the rates stands the CPU time of our process per message. What else a way costs is the mail server's: another hop,
a second time through its queue.
Needs Postfix (Debian package postfix), and Exim and Sendmail as the tests have them, as root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import _load, _relay
from tests.peers import exim, postfix, sendmail
from tests.scenarios import blocks

SESSIONS = 10
OCTETS = 5_000
SERVERS = {"Postfix": 400, "Exim": 150, "Sendmail": 150}  # messages a round
POSTFIX_WAYS = {
    "Milter": "milter",
    "Relay mode": "relay mode",
    "Before the queue": "before the queue (smtpd_proxy_filter)",
    "After the queue": "after the queue (content_filter)",
}
PATIENT = 'patience = "60s"'  # nothing goes by the spool: it is what arrives that is counted
MILTER = """
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
Proof = Callable[[int], object]
# Where to send to, our process (0: none), the folders of the queue, and what proves afterwards that all was tracked.
Subject = tuple[int, int, Sequence[Path], Proof]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mail_servers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", default=",".join(SERVERS), help='for example "Exim,Sendmail"')
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name:
        generator = _load.generator(Path(name))
        for server in options.servers.split(","):
            measure(Path(name) / server, generator, server, options.rounds)
    return 0


def milter(stack: contextlib.ExitStack, folder: Path) -> tuple[int, int, Proof]:
    """trackrelay as a milter: its port and process."""
    port, admin = _load.free_ports(2)
    process = stack.enter_context(
        _load.relay(folder, MILTER.format(milter=port, admin=admin), "--only", "milter,admin")
    )

    def proof(wanted: int) -> None:
        changed = _load.metrics(admin).get('trackrelay_milter_messages_total{answer="changed"}', 0)
        if changed != wanted:
            sys.exit(f"{changed:.0f} of {wanted} messages were tracked: see {folder}/stderr.log")

    return port, process.pid, proof


def door(stack: contextlib.ExitStack, folder: Path, document: str, way: str, upstream: int) -> tuple[int, int, Proof]:
    """trackrelay by SMTP, with the settings of the document: its port and process."""
    toml = tomllib.loads(blocks.read(document, way, "relay.toml"))
    relay = _relay.start(
        stack, folder, upstream,
        smtp=blocks.values(toml["smtp"], "listen"),
        upstream=blocks.values(toml["upstream"], "url", "password_file") + "\n" + PATIENT,
    )  # fmt: skip
    return relay.port, relay.pid, lambda wanted: _relay.proved(relay, wanted)


def by_postfix(stack: contextlib.ExitStack, folder: Path, sink: int) -> dict[str, Subject]:
    def started(transport: str, settings: dict[str, str], services: str) -> tuple[int, list[Path]]:
        server = stack.enter_context(postfix.running(transport=transport, settings=settings, services=services))
        return server.port, [server.folder / "queue" / name for name in ("maildrop", "incoming", "active", "deferred")]

    to_sink = f"smtp:[127.0.0.1]:{sink}"
    port, queue = started(to_sink, {}, "")
    subjects: dict[str, Subject] = {"Postfix": (port, 0, queue, lambda _: None)}
    for way, name in POSTFIX_WAYS.items():
        (back,) = _load.free_ports(1)
        if way == "Milter":
            ours, pid, proof = milter(stack, folder / way)
        else:
            ours, pid, proof = door(stack, folder / way, "postfix", way, sink if way == "Relay mode" else back)
        texts = [
            blocks.read("postfix", way, file)
            .replace(":8891", f":{ours}")
            .replace(":2525", f":{ours}")
            .replace(":10026", f":{back}")
            .replace("submission inet", "127.0.0.1:PORT inet")
            for file in ("main.cf", "master.cf")
        ]
        services = "" if way == "Milter" else texts[1]
        transport = "smtp" if way == "Relay mode" else to_sink
        port, queue = started(transport, blocks.main_cf(texts[0]), services)
        subjects[f"… {name}"] = (port, pid, queue, proof)
    return subjects


def by_exim(stack: contextlib.ExitStack, folder: Path, sink: int) -> dict[str, Subject]:
    names = ("router/190_trackrelay", "transport/30_trackrelay")
    ours, pid, proof = door(stack, folder / "door", "exim", "", sink)
    subjects: dict[str, Subject] = {}
    for name, port, process, proved in (
        ("Exim", sink, 0, lambda _: None),
        ("… router to trackrelay", ours, pid, proof),
    ):
        texts = {each: blocks.read("exim", "", f"/etc/exim4/conf.d/{each}") for each in names}
        files = {each: text.replace("::2525", f"::{port}") for each, text in texts.items()}
        # By default only the first ten of a connection are delivered at once.
        server = stack.enter_context(exim.running({**files, "main/95_bench": "smtp_accept_queue_per_connection = 0\n"}))
        subjects[name] = (server.port, process, [server.folder / "spool" / "input"], proved)
    return subjects


def by_sendmail(stack: contextlib.ExitStack, folder: Path, sink: int) -> dict[str, Subject]:
    def host(port: int) -> str:
        return blocks.read("sendmail", "Smart host", "sendmail.mc").replace("2525", str(port))

    asked, asked_pid, asked_proof = milter(stack, folder / "milter")
    hop, hop_pid, hop_proof = door(stack, folder / "door", "sendmail", "Smart host", sink)
    ask = blocks.read("sendmail", "Milter", "sendmail.mc").replace("8891", str(asked))
    subjects: dict[str, Subject] = {}
    for name, lines, pid, proof in (
        ("Sendmail", host(sink), 0, lambda _: None),
        ("… milter", ask + host(sink), asked_pid, asked_proof),
        ("… smart host", host(hop), hop_pid, hop_proof),
    ):
        server = stack.enter_context(sendmail.running(lines))
        subjects[name] = (server.port, pid, [server.folder / "queue"], proof)
    return subjects


def waiting(queue: Sequence[Path]) -> bool:
    """Whether a file is in the queue. The mail server takes files away meanwhile."""
    return any(files for folder in queue for _, _, files in os.walk(folder, onerror=None))


def measure(folder: Path, generator: Path, server: str, count: int) -> None:
    messages = SERVERS[server]
    folder.mkdir()
    file = folder / "message.eml"
    file.write_bytes(_relay.newsletter(OCTETS))
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        ways = {"Postfix": by_postfix, "Exim": by_exim, "Sendmail": by_sendmail}
        subjects = ways[server](stack, folder, sink.port)

        def run(port: int, pid: int, queue: Sequence[Path]) -> _load.Result:
            began = time.perf_counter()
            before = _load.cpu(pid) if pid else 0.0
            found = _load.load(generator, "smtp", port, SESSIONS, messages, file)
            while waiting(queue):
                time.sleep(0.01)
            used = _load.cpu(pid) - before if pid else 0.0
            return found | {"per_second": messages / (time.perf_counter() - began), "cpu_us": used / messages * 1e6}

        found = _load.rounds(
            count,
            {
                name: lambda port=port, pid=pid, queue=queue: run(port, pid, queue)  # type: ignore[misc]
                for name, (port, pid, queue, _) in subjects.items()
            },
        )
        for _, _, _, proof in subjects.values():
            proof((count + 1) * messages)
    print(f"\n{server}, {OCTETS} octets, {messages} messages, {SESSIONS} sessions, {count} rounds, medians")
    for name, result in found.items():
        cpu = f"CPU of it {result['cpu_us']:6.0f} us" if result["cpu_us"] else " " * 19
        ratio = result["per_second"] / found[server]["per_second"]
        print(f"  {name:42} {result['per_second']:7.0f}/s   p99 {result['p99_ms']:7.2f} ms   {cpu}   {ratio:5.2f} x")


if __name__ == "__main__":
    sys.exit(main())
