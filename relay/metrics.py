"""What is counted, for /metrics. Names begin with trackrelay_; units are in the name.

A gauge says what it is over all processes of a service and all units: `LIVESUM`, `LIVEMAX`, or nothing, where each has its
own. Counters and histograms are added up. Leaves to others: where the values are kept (`samples`), whose there are (`units`).
"""

from __future__ import annotations

import contextlib
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import prometheus_client
from prometheus_client import REGISTRY, Gauge
from prometheus_client.metrics import MetricWrapperBase

from relay import samples

LIVESUM: Literal["livesum"] = "livesum"
LIVEMAX: Literal["livemax"] = "livemax"


class Counter(prometheus_client.Counter):
    """Theirs asks each time whether it has its labels: one that lacks them raises AttributeError here."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        self._value.inc(amount)


class Histogram(prometheus_client.Histogram):
    """The same. And the bucket is found without a look at those before it; five stages of each message are observed."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        self._sum.inc_with(amount, self._buckets[bisect_left(self._upper_bounds, amount)])


SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

ACCEPTED = Counter("trackrelay_accepted", "Messages accepted from clients")
REFUSED = Counter("trackrelay_refused", "Messages refused, by reply code", ["code"])
NORMALIZED = Counter("trackrelay_bare_newlines", "Messages with bare line feeds, which were made CRLF")
COPIES = Counter("trackrelay_copies", "Copies made, tracked or not", ["tracked"])
UNTRACKED = Counter("trackrelay_untracked", "Copies not tracked, by reason code", ["reason"])
OUTCOMES = Counter("trackrelay_outcomes", "Recipients by the upstream's answer", ["outcome"])
REPORTS = Counter(
    "trackrelay_reports", "Recipients reported to the sender: failed (bounced), delayed, relayed", ["action"]
)
FAILED_OPEN = Counter("trackrelay_failed_open", "Messages that went out untracked because tracking failed", ["stage"])
HITS = Counter("trackrelay_hits", "Pixel and link requests", ["type"])
VERDICTS = Counter(
    "trackrelay_verdicts", "Pixel and link requests that were recorded, by what each was taken for then",
    ["type", "verdict"],
)  # fmt: skip
BLOCKED = Counter("trackrelay_blocked_clicks", "Requests for links that the operator has blocked")
FOLDED = Counter(
    "trackrelay_folded_hits", "Requests only counted, beyond http.hits_per_token or http.hits_per_message", ["type"]
)
SUPPRESSED = Counter("trackrelay_suppressed", "Recipients put on the list of suppressed ones by an event", ["reason"])
WISHES = Counter("trackrelay_wishes", "What recipients asked for on the page about a message", ["wish", "outcome"])
JOURNALED = Counter("trackrelay_journaled", "Events kept in the journal because the store did not take them")
LOST = Counter("trackrelay_events_lost", "Events that neither the store nor the journal took")
WEBHOOKS = Counter("trackrelay_webhook_attempts", "Attempts to deliver a notification", ["outcome"])
LOGINS = Counter("trackrelay_smtp_logins", "SMTP login attempts: good, bad, locked, spent, unavailable", ["outcome"])
SMTP_CONNECTIONS = Gauge("trackrelay_smtp_connections", "SMTP connections of clients", multiprocess_mode=LIVESUM)
TURNED_AWAY = Counter("trackrelay_smtp_turned_away", "SMTP connections refused because there were too many")
SMTP_REFUSED = Counter("trackrelay_smtp_refused_commands", "SMTP commands refused, by reply code", ["code"])
SMTP_IN_FLIGHT = Gauge(
    "trackrelay_smtp_in_flight_bytes", "Bytes of messages being received or delivered", multiprocess_mode=LIVESUM
)
MILTER_CONNECTIONS = Gauge(
    "trackrelay_milter_connections", "Connections of mail servers to the milter", multiprocess_mode=LIVESUM
)
MILTER_IN_FLIGHT = Gauge(
    "trackrelay_milter_in_flight_bytes", "Bytes of messages that the milter is being asked about",
    multiprocess_mode=LIVESUM,
)  # fmt: skip
MILTER_MESSAGES = Counter(
    "trackrelay_milter_messages",
    "Messages by the milter's answer: changed, unchanged, refused, failed (went on untracked), put_off, passed (not of a "
    "submitter), unfinished",
    ["answer"],
)
MILTER_TURNED_AWAY = Counter(
    "trackrelay_milter_turned_away", "Connections to the milter closed: too many, or no milter's"
)
ERRORS = Counter("trackrelay_errors", "Unexpected exceptions, by room", ["room"])
QUEUE = Gauge("trackrelay_queue_messages", "Messages in the spool", multiprocess_mode=LIVEMAX)
QUEUE_AGE = Gauge(
    "trackrelay_queue_oldest_seconds", "Age of the oldest message in the spool", multiprocess_mode=LIVEMAX
)
STAGE = Histogram(
    "trackrelay_stage_seconds",
    "Time per stage of a message: receive, track (with record within it), record, render, connect, upstream",
    ["stage"],
    buckets=FAST,
)
STORE_QUEUE = Gauge("trackrelay_store_queue", "Operations waiting for the database", multiprocess_mode=LIVESUM)
STORE_BATCH = Histogram(
    "trackrelay_store_batch", "Messages, hits and other operations per database transaction", buckets=SIZES
)
STORE_SECONDS = Histogram(
    "trackrelay_store_seconds", "Time per database transaction, including its fsync", buckets=FAST
)
JOURNAL = Gauge(
    "trackrelay_journal_bytes", "Bytes of events that wait in the journal for the database", multiprocess_mode=LIVEMAX
)
CONNECTIONS = Gauge(
    "trackrelay_upstream_connections", "Connections to each upstream: idle, busy", ["upstream", "state"],
    multiprocess_mode=LIVESUM,
)  # fmt: skip
UPSTREAM_TROUBLE = Gauge(
    "trackrelay_upstream_trouble",
    "1 while no mail gets to an upstream, whatever the message: unreachable, tls, greeting, name, login",
    ["upstream", "kind"],
    multiprocess_mode=LIVEMAX,
)
FAILOVERS = Counter("trackrelay_upstream_failovers", "Messages that went to a fallback, by its name", ["upstream"])
PASSED_OVER = Counter(
    "trackrelay_mailbox_messages_passed_over", "Messages in mailboxes that their server could not hand out"
)
MAILBOX_TROUBLE = Gauge(
    "trackrelay_mailbox_trouble",
    "Mailboxes that can't be read now: unreachable, or refused (the login, or the folder)",
    ["kind"],
    multiprocess_mode=LIVESUM,
)
MAILBOX_TROUBLES = ("unreachable", "refused")
ENDPOINTS = Gauge(
    "trackrelay_webhook_endpoints",
    "Endpoints of webhooks, by status: active, failing, failed, pause",
    ["status"],
    multiprocess_mode=LIVEMAX,
)
NODE_TROUBLE = Gauge(
    "trackrelay_node_trouble",
    "What is wrong among the nodes: gone (with mail in its spool), name, keys, endpoints; as many as it concerns",
    ["kind"],
    multiprocess_mode=LIVEMAX,
)
WORKERS = Gauge("trackrelay_workers", "Processes of the service, by role: up, missing", ["role", "state"])
WORKER_DEATHS = Counter("trackrelay_worker_deaths", "Processes of the service that died and were replaced")

RETENTION_DELETED = Counter(
    "trackrelay_retention_deleted_rows", "Rows (and files) that went because they were too old, by table", ["table"]
)
RETENTION_CUT = Counter("trackrelay_retention_cut_rows", "Rows whose addresses were cut by privacy.ip_days", ["table"])
RETENTION_OLDEST = Gauge(
    "trackrelay_retention_oldest_seconds", "Age of the oldest message that is kept, at the last look",
    multiprocess_mode=LIVEMAX,
)  # fmt: skip
RETENTION_SECONDS = Counter("trackrelay_retention_seconds", "Time that the store took to let go of what is too old")
CPU = Counter("trackrelay_cpu_seconds", "Processor time that the processes have used")
MEMORY = Gauge("trackrelay_resident_bytes", "Memory of the processes, shared pages in each", multiprocess_mode=LIVESUM)

PAGE = os.sysconf("SC_PAGE_SIZE")
SPENT = [0.0]  # seconds that are counted

BY_NAME: dict[str, MetricWrapperBase] = {
    next(iter(each.describe())).name: each for each in list(vars().values()) if isinstance(each, MetricWrapperBase)
}
FOLLOWED: dict[Gauge, Callable[[], float]] = {}


def follow(gauge: Gauge, now: Callable[[], float]) -> None:
    """The gauge is what `now` says, whenever it is looked at."""
    FOLLOWED[gauge] = now


def refresh() -> None:
    """Gauges that are followed are what they are now. Others read them then."""
    spent = time.process_time()
    CPU.inc(spent - SPENT[0] if spent >= SPENT[0] else spent)  # less: this process was forked meanwhile
    SPENT[0] = spent
    for gauge, now in FOLLOWED.items():
        with contextlib.suppress(OSError):  # of a disk: it stays as it was
            gauge.set(now())


def resident() -> float:
    """Octets."""
    with open("/proc/self/statm") as file:
        return float(file.read().split()[1]) * PAGE


FOLLOWED[MEMORY] = resident


def share(page: samples.Page) -> None:
    """From now on the figures are in that page, where others see them: what this process has counted is added to what
    its predecessor had."""
    samples.move(page)
    for key, _ in list(page.read()):
        there(key)


def exposition(others: Iterable[tuple[samples.Page, bool]] = ()) -> bytes:
    """All figures in Prometheus' text format: this process' and the others', with whether each of them runs."""
    refresh()
    elsewhere = {key: found for key, found in samples.added(others).items() if there(key)}
    try:
        for key, found in elsewhere.items():
            samples.ALL[key].elsewhere = found
        return prometheus_client.generate_latest()
    finally:
        for key in elsewhere:
            samples.ALL[key].elsewhere = 0.0


def there(key: samples.Key) -> bool:
    """Whether it is a sample of ours; one with labels that have not been seen here is made."""
    if key in samples.ALL:
        return True
    metric = BY_NAME.get(key.metric)
    if metric is None:
        return False
    of = [value for label, value in zip(key.labels, key.values, strict=True) if label != "le"]
    with contextlib.suppress(ValueError):  # of a version with other labels
        metric.labels(*of)
    return key in samples.ALL


def value(name: str, **labels: str) -> float:
    """A sample of this process as /metrics would show it, or 0 if there is none yet: value("trackrelay_accepted_total")."""
    refresh()
    return REGISTRY.get_sample_value(name, labels) or 0.0


MAIN = {
    "accepted": "trackrelay_accepted_total",
    "clients": "trackrelay_smtp_connections",
    "in_flight": "trackrelay_smtp_in_flight_bytes",
    "queue": "trackrelay_queue_messages",
    "oldest": "trackrelay_queue_oldest_seconds",
}


def figures() -> dict[str, float]:
    """The main figures of this process."""
    return {key: value(name) for key, name in MAIN.items()}


def added(found: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several processes, of which one has the queue."""
    total = dict.fromkeys(MAIN, 0.0)
    for each in found:
        for key, number in each.items():
            total[key] += number
    return total


def sentence(found: Mapping[str, float]) -> str:
    """The main figures in one line."""
    age = f", the oldest for {found['oldest'] / 60:.0f} min" if found["oldest"] else ""
    return (
        f"{found['accepted']:.0f} accepted; {found['clients']:.0f} clients, {found['in_flight'] / 1e6:.1f} MB in flight; "
        f"{found['queue']:.0f} in the queue{age}"
    )
