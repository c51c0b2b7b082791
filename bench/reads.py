"""Every list, find and sum of the APIs over 10,000 and over 1,000,000 events, each asked of a running program over one
connection that is kept, in turn of the small and of the large one. Goal: p99 over the large one at most 1.5 x.

Both databases have the same grants, labels, hosts and days, so there is something in every hour of each: what a sum costs
depends on these. The large one has a hundred times the messages, recipients, events and notifications. What is asked for
is chosen anew each time, such that both have a full page of it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import _database, _load

SMALL, LARGE = 10_000, 1_000_000
GOAL = 1.5
RELAY = """
state_dir = "state"
[upstream]
url = "smtp://127.0.0.1:9"
[tracking]
url = "https://t.example.com"
[admin]
listen = "127.0.0.1:{admin}"
open = true
calls_per_minute = 0
[[grants]]
id = "sales"
email = "sales@example.com"
[[grants]]
id = "news"
email = "news@example.com"
"""


class Subject(NamedTuple):
    """A program that runs over a database of that many events."""

    filled: _database.Filled
    connection: http.client.HTTPConnection
    now: float


class Asking:
    """What may be asked for, chosen anew at each call."""

    def __init__(self, subject: Subject, dice: random.Random) -> None:
        self.subject, self.dice = subject, dice

    @property
    def message(self) -> str:
        return self.dice.choice(self.subject.filled.messages)

    @property
    def own(self) -> str:
        """A message of the grant "sales"."""
        return self.dice.choice(self.subject.filled.messages[1 :: len(_database.GRANTS)])

    @property
    def recipient(self) -> str:
        return self.dice.choice(self.subject.filled.recipients)

    @property
    def event(self) -> str:
        return self.dice.choice(self.subject.filled.event_ids)

    @property
    def delivery(self) -> int:
        return self.dice.randrange(1, self.subject.filled.deliveries + 1)

    @property
    def label(self) -> str:
        return self.dice.choice(_database.LABELS)

    @property
    def day(self) -> str:
        """A day, as `since` and `until`."""
        since = int(self.subject.now) - self.dice.randrange(1, _database.DAYS) * 86400
        return f"since={since}&until={since + 86400}&limit=10"


V3 = "/v3/grants/sales"
ROUTES: dict[str, Callable[[Asking], str]] = {
    "messages": lambda a: "/api/messages",
    "messages of a day": lambda a: f"/api/messages?{a.day}",
    "messages of a grant and a day": lambda a: f"/api/messages?grant=sales&{a.day}",
    "messages by label": lambda a: f"/api/messages?label={a.label}&{a.day}",
    "messages by label and sender": lambda a: f"/api/messages?label={a.label}&sender=sales@example.com",
    "messages by recipient": lambda a: f"/api/messages?recipient={a.recipient}",
    "messages by sending domain": lambda a: f"/api/messages?sending_domain=example.com&{a.day}",
    "messages that failed (none)": lambda a: "/api/messages?state=never",
    "messages by Message-ID": lambda a: f"/api/messages?message_id={a.message}@example.com",
    "one message with its events": lambda a: f"/api/messages/{a.message}",
    "events": lambda a: "/api/events",
    "events of a day": lambda a: f"/api/events?{a.day}",
    "events of a grant and a day": lambda a: f"/api/events?grant=sales&{a.day}",
    "events of a rare type (none)": lambda a: "/api/events?type=thread.replied",
    "events of a message": lambda a: f"/api/events?message_id={a.message}",
    "events of a thread": lambda a: f"/api/events?thread_id={a.message}",
    "events by label": lambda a: f"/api/events?label={a.label}&{a.day}",
    "sums of a week": lambda a: "/api/aggregates",
    "sums by label and day": lambda a: "/api/aggregates?by=label",
    "sums by label and hour": lambda a: "/api/aggregates?by=label&step=hour",
    "sums by recipients' domain": lambda a: "/api/aggregates?by=recipient_domain",
    "sums by links' host": lambda a: "/api/aggregates?by=link_host",
    "notifications": lambda a: "/api/deliveries",
    "notifications that died (none)": lambda a: "/api/deliveries?state=dead",
    "notifications of a message": lambda a: f"/api/deliveries?message_id={a.message}",
    "one notification": lambda a: f"/api/deliveries/{a.delivery}",
    "endpoints and their backlog": lambda a: "/api/endpoints",
    "v3 messages": lambda a: f"{V3}/messages",
    "v3 messages to somebody": lambda a: f"{V3}/messages?to={a.recipient}",
    "v3 messages by subject": lambda a: f"{V3}/messages?subject=usual",
    "v3 one message": lambda a: f"{V3}/messages/{a.own}",
    "v3 threads": lambda a: f"{V3}/threads",
    "v3 one thread": lambda a: f"{V3}/threads/{a.own}",
    "v3 activity": lambda a: "/v3/activity/tracking",
    "v3 activity of a type (none)": lambda a: "/v3/activity/tracking?event_type=replied",
    "v3 one activity": lambda a: f"/v3/activity/tracking/{a.event}",
    "v1 emails": lambda a: "/v1/emails",
    "v1 emails, the tenth page": lambda a: "/v1/emails?offset=450",
    "v1 one email": lambda a: f"/v1/emails/{a.message}",
    "v1 events": lambda a: "/v1/events",
    "v1 events of a type (none)": lambda a: "/v1/events?event_type=bounced",
    "v1 metrics": lambda a: "/v1/metrics",
    "v1 metrics by hour": lambda a: "/v1/metrics?group_by=hour",
    "v1 links": lambda a: "/v1/metrics/links",
    "the page's messages": lambda a: "/live/messages",
    "/metrics": lambda a: "/metrics",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=100, help="of each route in a round")
    parser.add_argument("--large", type=int, default=LARGE, help="events")
    parser.add_argument("routes", nargs="*", help="parts of the names of those that are measured; all")
    options = parser.parse_args()
    _load.header()
    routes = {k: v for k, v in ROUTES.items() if not options.routes or any(word in k for word in options.routes)}
    if not routes:
        parser.error(f"no route is named so; there are {', '.join(ROUTES)}")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        subjects = [start(stack, Path(name) / str(count), count) for count in (SMALL, options.large)]
        return report(subjects, routes, options.rounds, options.calls)


def start(stack: contextlib.ExitStack, folder: Path, count: int) -> Subject:
    state, now = folder / "state", time.time()
    state.mkdir(parents=True, mode=0o700)
    filled = _database.fill(state / "trackrelay.db", count, now=now)
    size = (state / "trackrelay.db").stat().st_size / 1e6
    print(
        f"{count} events of {len(filled.messages)} messages: {time.time() - now:.0f} s to fill, {size:.0f} MB",
        flush=True,
    )
    (port,) = _load.free_ports(1)
    stack.enter_context(_load.relay(folder, RELAY.format(admin=port), "--only", "admin"))
    return Subject(filled, http.client.HTTPConnection("127.0.0.1", port, timeout=60), now)


def report(subjects: Sequence[Subject], routes: dict[str, Callable[[Asking], str]], rounds: int, calls: int) -> int:
    print(f"\nreads, {rounds} rounds of {calls} calls, medians of the rounds' p50 and p99, in ms")
    over = []
    for name, path in routes.items():
        found = [measure(subjects, path, calls, seed) for seed in range(rounds + 1)][1:]
        small, large = ([statistics.median(x) for x in zip(*(one[n] for one in found), strict=True)] for n in (0, 1))
        ratio = large[1] / small[1]
        over += [name] if ratio > GOAL else []
        print(
            f"  {name:34} p50 {small[0]:7.2f} -> {large[0]:7.2f}  {large[0] / small[0]:5.2f} x"
            f"   p99 {small[1]:7.2f} -> {large[1]:7.2f}  {ratio:5.2f} x{'   OVER' if ratio > GOAL else ''}", flush=True,
        )  # fmt: skip
    print(
        f"  {len(routes) - len(over)} of {len(routes)} within {GOAL} x" + (f"; not {', '.join(over)}" if over else "")
    )
    return 0


def measure(
    subjects: Sequence[Subject], path: Callable[[Asking], str], calls: int, seed: int
) -> list[tuple[float, float]]:
    """(p50, p99) in ms of each subject."""
    asking = [Asking(subject, random.Random(seed)) for subject in subjects]
    times: list[list[float]] = [[] for _ in subjects]
    for _ in range(calls):
        for subject, ask, taken in zip(subjects, asking, times, strict=True):
            target = path(ask)
            began = time.perf_counter()
            subject.connection.request("GET", target)
            answer = subject.connection.getresponse()
            body = answer.read()
            taken.append((time.perf_counter() - began) * 1e3)
            if answer.status != 200:
                sys.exit(f"{target}: {answer.status} {body[:300]!r}")
    return [(statistics.median(some), sorted(some)[int(len(some) * 0.99) - 1]) for some in times]


if __name__ == "__main__":
    sys.exit(main())
