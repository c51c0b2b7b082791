"""What was recorded of a message, and its events, in lines for people.

Owns: these lines. Leaves to others: finding them (`messages`, `events`), characters that a terminal may act upon (`log.safe`,
by whoever prints a line), the words of reason codes (`core.reasons`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from relay import log
from relay.core import reasons, suppressions
from relay.core.model import Event, Sent, SentCopy

MAX_EVENTS = 1_000  # of one message that are shown
ERASED = "(erased)"  # for the address of a recipient of whom nothing is kept any more


def line(sent: Sent) -> str:
    """Time, id, sender, recipients with their states, whether it is tracked or why not, label, subject."""
    people = ",".join(f"{copy.recipient or ERASED}={copy.state}" for copy in sent.copies[:5]) or "-"
    more = f" and {len(sent.copies) - 5} more" if len(sent.copies) > 5 else ""
    queued = [f"queue_id={sent.queue_id}"] if sent.queue_id else []
    label = [f"label={sent.label}"] if sent.label else []
    words = [stamp(sent.submitted_at), sent.message_id, sent.sender or "-", people + more, *queued, tracking(sent), *label,
             sent.subject]  # fmt: skip
    return log.safe(" ".join(words))


def submitted(sent: Sent) -> str:
    """The same among the lines of events."""
    at, rest = line(sent)[:19], line(sent)[20:]
    return f"{at} {'submitted':<22} {rest}"


def tracking(sent: Sent) -> str:
    """In a word or two: all of it, some of the copies, or the reason code."""
    if sent.reason:
        return f"untracked:{sent.reason}"
    codes = dict.fromkeys(copy.reason for copy in sent.copies if copy.reason)
    return f"tracked,partly:{','.join(map(str, codes))}" if codes else "tracked"


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def happened(event: Event, *, message: bool = True) -> str:
    """Time, type, message (unless it is known), recipient, then what only this type has."""
    more = [event.url] if event.url else []
    more += [f"{k}={v}" for k, v in event.data.items() if isinstance(v, str | int) and v != ""]
    verdict = event.verdict + (f" ({event.reason})" if event.reason else "")
    verdict += f", at first {event.first_verdict}" if event.first_verdict else ""
    counted = "" if event.counted else " not counted"
    of = [event.message_id] if message else []
    return " ".join([stamp(event.at), f"{event.type:<22}", *of, event.recipient or "-", verdict + counted, *more])


def lines(sent: Sent, events: Sequence[Event]) -> list[tuple[str, str]]:
    """A line each: its name, and what there is to say."""
    by = f"by the login {sent.login}" if sent.login else ""
    at = f"from {sent.submitter_ip}" if sent.submitter_ip else ""
    found = [
        ("message", sent.message_id),
        ("Message-ID", f"<{sent.internet_message_id}>" if sent.internet_message_id else "none"),
        ("submitted", " ".join(word for word in (stamp(sent.submitted_at), by, at) if word)),
        ("queue ID", f"{sent.queue_id} {f'of {sent.daemon}' if sent.daemon else ''}" if sent.queue_id else ""),
        ("grant", sent.grant_id),
        ("thread", sent.thread_id if sent.thread_id != sent.message_id else ""),
        ("sender", sent.sender or "-"),
        ("reverse-path", f"<{sent.reverse_path}>" if sent.reverse_path != sent.sender else ""),
        ("to", ", ".join(sent.to)),
        ("cc", ", ".join(sent.cc)),
        ("subject", sent.subject),
        ("label", sent.label),
        *(("metadata", f"{name} = {value}") for name, value in sent.metadata.items()),
        ("size", f"{sent.size} octets"),
        *tracked(sent),
        *(("recipient", person(copy)) for copy in sent.copies),
        *(("link", f"{number}: {url}") for number, url in enumerate(sent.links)),
        *left(sent.explanation),
        *(("event", happened(event, message=False)) for event in events),
    ]
    if not events:
        found.append(("events", "none yet"))
    elif len(events) >= MAX_EVENTS:
        found.append(
            ("events", f"the last {len(events)}; the others: trackrelay events --message {sent.message_id} --limit N")
        )
    return [(name, value) for name, value in found if value]


def tracked(sent: Sent) -> list[tuple[str, str]]:
    what = [
        word
        for word, on in (("opens", sent.opens), ("links", sent.links_tracked), ("replies", sent.thread_replies))
        if on
    ]
    code = sent.reason
    said = ", ".join(what) or "nothing" + (f": {code}, {reasons.said(code)}" if code else "")
    invalid, name = sent.explanation.get("invalid"), sent.explanation.get("invalid_header")
    found = [("tracked", said)]
    if grounds := sent.explanation.get("suppressed"):
        found.append(("suppressed", "; ".join(suppressions.said(grounds))))
    if invalid:
        found.append(
            (
                "invalid",
                f"{name}: {invalid}" if name and not str(invalid).lstrip("'").startswith(str(name)) else str(invalid),
            )
        )
    return found


def person(copy: SentCopy) -> str:
    """One envelope recipient: what became of it, and what is tracked in this copy, or why nothing is."""
    why = f" ({copy.reason}, {reasons.said(copy.reason)})" if copy.reason else ""
    words = [f"{copy.recipient or ERASED}: {copy.state};", ("tracked" if copy.tracked else "not tracked") + why]
    if copy.reply:
        words.append(f"; upstream: {copy.reply}" if not copy.reply.startswith("given up: ") else f"; {copy.reply}")
    if copy.upstream_id:
        words.append(f"; it calls the message {copy.upstream_id}")
    return " ".join(words).replace(" ;", ";")


def left(explanation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was left as it was, and why; in the record's compact form (`outbound.records.explanation`), of which an older
    one may lack some."""
    found = []
    for part, place, code, number in rows(explanation.get("left"), 4):
        many = "a link" if number == 1 else f"{number} links"
        to = f" to {place}" if place else ""
        found.append(("left", f"{many}{to} in part {part}: {code}, {reasons.said(str(code))}"))
    for path, kind, code in rows(explanation.get("parts"), 3):
        if code:
            said = "edited" if code == "edited" else f"as it was: {code}, {reasons.said(str(code))}"
            found.append(("part", f"{path or '1'} {kind}: {said}"))
    for part, place, code in rows([explanation.get("pixel")], 3):
        found.append(
            ("pixel", f"none: {code}, {reasons.said(str(code))}" if code else f"in part {part or '1'}, {place}")
        )
    removed = explanation.get("signatures_removed")
    if removed:
        found.append(("signatures", f"{removed} DKIM-Signature of others taken out, which would not hold any more"))
    if unsigned := explanation.get("unsigned"):
        found.append(("signature", f"none of ours: {unsigned}"))
    if explanation.get("lines_shortened"):
        found.append(("signature", "over lines of at most 998 octets; longer ones were encoded or folded before"))
    return found


def rows(value: Any, length: int) -> list[Any]:
    """Those of a list that have so many items."""
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, list | tuple) and len(each) == length]
