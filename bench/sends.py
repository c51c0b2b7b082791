"""Messages per second by API beside the same by SMTP, tracked, stored and handed on to a sink in C: in one process, and
where admin is a process of its own and what it takes goes through the spool to another.

A call makes the message first (MIME, a text from its HTML, a Message-ID), which over SMTP the client has done, so the CPU
time stands beside. With Idempotency-Key a call is written down before and after.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import _load, _relay

CONNECTIONS, MESSAGES, OCTETS = 10, 600, 5_000
SMTP, ALONE = "SMTP", "generator alone (a sink in C)"
GRANT = '[[grants]]\nid = "default"\naddresses = ["*@example.com"]\n'
UNOSEND = {
    "from": "Sender <sender@example.com>", "to": ["recipient@example.org"], "subject": "What is new this week",
    "tracking": {"open": True, "click": True},
}  # fmt: skip
NYLAS = {
    "from": [{"email": "sender@example.com"}],
    "to": [{"email": "recipient@example.org"}], "subject": "What is new this week",
    "tracking_options": {"opens": True, "links": True, "thread_replies": False},
}  # fmt: skip


def html() -> str:
    paragraph = '<p style="margin:0">Paragraph {} has something to say, and then it says more of it.</p>'
    link = '<a href="https://example.com/news/{}?week=1&amp;from=mail">Read on</a>'
    return "".join((paragraph + (link if n % 8 == 0 else "")).format(n, n) for n in range(1, OCTETS // 100 + 1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sends", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        return measure(stack, Path(name), options.rounds)


def measure(stack: contextlib.ExitStack, folder: Path, rounds: int) -> int:
    generator = _load.generator(folder)
    files = {"smtp": folder / "message.eml", "v1": folder / "v1.call", "v3": folder / "v3.call"}
    files["smtp"].write_bytes(_relay.newsletter(OCTETS))
    files["v1"].write_text("/v1/emails\n" + json.dumps(UNOSEND | {"html": html()}))
    files["v3"].write_text("/v3/grants/default/messages/send\n" + json.dumps(NYLAS | {"body": html()}))
    sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
    whole = {
        name: _relay.start(stack, folder / name, sink.port, more=GRANT)
        for name in ("smtp", "v1", "v3")
    }  # fmt: skip
    admin = apart(stack, folder / "apart", sink.port)

    def subject(mode: str, port: int, what: str, pid: int = 0, times: int = 1) -> Callable[[], _load.Result]:
        def run() -> _load.Result:
            result = _load.load(generator, mode, port, CONNECTIONS, MESSAGES * times, files[what], pid=pid)
            if mode == "post" and set(result["statuses"]) != {"200"}:
                sys.exit(f"{what}: {result['statuses']}")
            return result

        return run

    found = _load.rounds(
        rounds,
        {
            SMTP: subject("smtp", whole["smtp"].port, "smtp", whole["smtp"].pid),
            "Unosend's call, one process": subject("post", whole["v1"].admin, "v1", whole["v1"].pid),
            "Nylas' call, one process": subject("post", whole["v3"].admin, "v3", whole["v3"].pid),
            "Unosend's call, admin by itself, kept in the spool": subject("post", admin.admin, "v1", admin.pid),
            ALONE: subject("smtp", sink.port, "smtp", 0, 5),
        },
    )
    title = f"sends, {MESSAGES} messages of 5 kB, {CONNECTIONS} connections, {rounds} rounds, medians"
    _load.table(title, found, SMTP, ALONE)
    return proved(whole, admin, (rounds + 1) * MESSAGES)


def apart(stack: contextlib.ExitStack, folder: Path, sink: int) -> _relay.Relay:
    """Two processes over one folder: admin, which takes, and the queue, which delivers."""
    state = folder / "state"
    _relay.start(stack, folder / "queue", sink, more=GRANT, only="queue", state=state)
    return _relay.start(stack, folder / "admin", sink, more=GRANT, only="admin", state=state)


def proved(whole: dict[str, _relay.Relay], admin: _relay.Relay, messages: int) -> int:
    """Whether each message was tracked, and arrived."""
    for name, relay in whole.items():
        figures = _load.metrics(relay.admin)
        for figure in ('trackrelay_copies_total{tracked="yes"}', 'trackrelay_outcomes_total{outcome="done"}'):
            if figures.get(figure, 0) != messages:
                print(f"{name}: {figure} is {figures.get(figure, 0):.0f}, not {messages}")
                return 1
    figures = _load.metrics(admin.admin)
    if figures.get('trackrelay_copies_total{tracked="yes"}', 0) != messages:
        print(f"apart: not all of {messages} were tracked")
        return 1
    print(f"  each of {messages} was tracked, is on record and arrived, or is in the spool")
    return 0


if __name__ == "__main__":
    sys.exit(main())
