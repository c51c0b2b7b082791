"""A message that waits: its state, and how an attempt changes it.

Owns: the form of an entry (one line of JSON), when it is tried next, when a recipient is given up, who is told.
Leaves to others: files (`spool.disk`), attempts (`upstream`), the reports themselves (`core.dsn`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import msgspec

from relay.core import domains, dsn, envelopes, retry
from relay.core.model import Done, Envelope, Later, Never, Outcome, Recipient, Reply

# Pauses in seconds before the 1st, 2nd, … attempt; the last one is repeated. Greylisting ends after minutes, an outage
# after hours. RFC 5321 4.5.4.1 asks for at least 30 minutes after the first attempts.
SCHEDULE = (0.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 1800.0, 3600.0, 3600.0, 7200.0)
DELAY_AFTER = 14_400.0  # seconds after which the sender is told of the delay


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recipient. `index` is its place in the submission; `reply` is the upstream's last answer."""

    address: str
    options: tuple[str, ...] = ()
    index: int = 0
    state: Literal["waiting", "done", "never"] = "waiting"
    reply: str = ""

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.address, self.options)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message on disk. `message_id` is ours; it is "" for a report of ours (`kind`), about which no report is made.
    With a `login`, the message goes out over that user's own session and waits until there is one, and so does a report
    about it. `duplicates` counts the attempts after which the upstream may have had it, but gave no answer. `upstream`
    is the name of the upstream that it is for. Times are Unix seconds."""

    entry_id: str
    message_id: str
    created_at: float
    next_at: float
    reverse_path: str
    recipients: tuple[Waiting, ...]
    options: tuple[str, ...] = ()
    kind: Literal["mail", "report"] = "mail"
    login: str = ""
    attempts: int = 0
    duplicates: int = 0
    told_of_delay: bool = False
    upstream: str = "default"

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        return tuple(r for r in self.recipients if r.state == "waiting")

    @property
    def last_reply(self) -> str:
        return next((r.reply for r in self.waiting if r.reply), "")

    @property
    def domain(self) -> str:
        """The domain of the first recipient that waits, by which concurrent attempts are counted."""
        return domains.of_address(self.waiting[0].address) if self.waiting else ""

    def envelope(self, credentials: tuple[str, str] | None) -> Envelope:
        """For the recipients that still wait."""
        return Envelope(
            self.reverse_path, tuple(r.recipient for r in self.waiting), self.options, credentials, self.upstream
        )


def entry_id(now: float, random_bytes: bytes) -> str:
    """A name for a new entry: 11 hexadecimal digits that sort by time, then some random ones."""
    return f"{int(now * 1000):011x}{random_bytes.hex()}"


class Unreadable(ValueError):
    """The bytes are no entry; the text says why."""


def write(entry: Entry) -> bytes:
    """One line, with its line ending."""
    return msgspec.json.encode(entry) + b"\n"


def read(line: bytes) -> Entry:
    try:
        return msgspec.json.decode(line, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as reason:
        raise Unreadable(str(reason)) from reason


@dataclass(frozen=True, slots=True)
class Policy:
    """`lifetime` is the time in seconds after which a message is given up, provided that it had its `tries`.
    `bounce_from` is the sender of a report if the null one was refused."""

    lifetime: float = 432_000.0
    bounce_from: str = ""
    schedule: Sequence[float] = SCHEDULE
    delay_after: float = DELAY_AFTER


@dataclass(frozen=True, slots=True)
class Settled:
    """An attempt's consequences: the entry as it continues (None if nobody waits any more), and the recipients whose
    state is now final, or who are late for the first time. `relayed` are those of `done` whose sender asked to be
    told."""

    entry: Entry | None
    done: tuple[Waiting, ...] = ()
    failed: tuple[tuple[Waiting, dsn.Notice], ...] = ()
    delayed: tuple[tuple[Waiting, dsn.Notice], ...] = ()
    relayed: tuple[tuple[Waiting, dsn.Notice], ...] = ()


def settle(
    entry: Entry, outcomes: Sequence[Outcome], *, now: float, jitter: float, policy: Policy, remote: str = ""
) -> Settled:
    """`outcomes` belong to `entry.waiting`, in order. `jitter` is a number from 0 to 1."""
    # In a user's own session, the user's own address may certainly send.
    sender = policy.bounce_from or (entry.recipients[0].address if entry.login else "")
    if _refuses_the_null_sender(entry, outcomes) and sender:
        again = msgspec.structs.replace(entry, reverse_path=sender, attempts=entry.attempts + 1, next_at=now)
        return Settled(again)
    over = now >= entry.created_at + policy.lifetime and entry.attempts + 1 >= tries(policy.schedule, policy.lifetime)
    words = iter(outcomes)
    recipients, done, failed, relayed = [], [], [], []
    for recipient in entry.recipients:
        if recipient.state != "waiting":
            recipients.append(recipient)
            continue
        outcome = next(words)
        state: Literal["waiting", "done", "never"] = "waiting"
        match outcome:
            case Done():
                state = "done"
            case Never():
                state = "never"
            case Later():
                state = "never" if over else "waiting"
        after = msgspec.structs.replace(recipient, state=state, reply=str(outcome.reply))
        recipients.append(after)
        if state == "done":
            done.append(after)
            if isinstance(outcome, Done) and outcome.unconfirmed:
                relayed.append((after, notice(after, outcome, "relayed", remote)))
        elif state == "never":
            failed.append((after, notice(after, outcome, "failed", remote)))
    attempts = entry.attempts + 1
    pause = retry.after(policy.schedule, min(attempts, len(policy.schedule) - 1), jitter) or 0.0
    next_at = now + pause
    if now < entry.created_at + policy.lifetime < next_at:
        next_at = entry.created_at + policy.lifetime  # one last try at the very end
    unsure = any(isinstance(o, Later) and o.uncertain for o in outcomes)
    late = now >= entry.created_at + policy.delay_after and attempts >= tries(policy.schedule, policy.delay_after)
    late = late and not entry.told_of_delay
    after_all = msgspec.structs.replace(
        entry,
        recipients=tuple(recipients),
        attempts=attempts,
        next_at=next_at,
        duplicates=entry.duplicates + unsure,
        told_of_delay=entry.told_of_delay or late,
    )
    if not after_all.waiting:
        return Settled(None, tuple(done), tuple(failed), relayed=tuple(relayed))
    delayed = [(r, notice(r, Later(_reply(r.reply)), "delayed", remote)) for r in after_all.waiting] if late else []
    return Settled(after_all, tuple(done), tuple(failed), tuple(delayed), tuple(relayed))


def tries(schedule: Sequence[float], seconds: float) -> int:
    """How often a message is tried within that time, as far as the schedule goes. It is not given up, and its sender is
    not told of a delay, before it has been tried as often: after a long stop, or if the clock was set forward, the time
    alone would be over at the first attempt."""
    return max(1, sum(at <= seconds for at in accumulate(schedule)))


def given_up(why: str, last: str = "") -> str:
    """What stands in the record in place of the upstream's reply, where nobody tries any more; `last` is its last one."""
    return f"given up: {why}" + (f"; the last reply was {last}" if last else "")


def _refuses_the_null_sender(entry: Entry, outcomes: Sequence[Outcome]) -> bool:
    """Whether a report was refused that has the null reverse-path. Gmail and Microsoft 365 may refuse all such mail."""
    return entry.kind == "report" and not entry.reverse_path and all(isinstance(o, Never) for o in outcomes)


def notice(recipient: Waiting, outcome: Outcome, action: dsn.Action, remote: str) -> dsn.Notice:
    """What a report says about the recipient, after that outcome at the host `remote`."""
    status = envelopes.status(outcome.reply)
    if action == "failed" and isinstance(outcome, Later):
        status = dsn.EXPIRED
    return dsn.Notice(recipient.recipient, action, status, str(outcome.reply), remote)


def _reply(text: str) -> Reply:
    code, _, words = text.partition(" ")
    return Reply(int(code) if code.isdigit() else 451, words)


def due(entry: Entry, now: float, policy: Policy) -> bool:
    """Is it time? Also true if the clock was set back, so that no entry waits longer than the longest pause."""
    return entry.next_at <= now or entry.next_at > now + 1.2 * max(policy.schedule)
