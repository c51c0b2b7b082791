"""What is remembered of a submission: all mail, tracked or not, with the reasons.

Owns: the record's content. Leaves to others: keeping it (`store`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from relay.core import addresses, headers, identifiers, instructions, rewrite, threads, urls
from relay.core.model import Recipient, Sent, SentCopy, Submission
from relay.outbound import copies, plans

MAX_ROWS = 200  # parts or links in a recorded explanation
# Characters of the author's address: RFC 5321 4.5.3.1 allows 320 octets, and what an index of PostgreSQL takes (2,704 octets) is more
# than 640 of any characters.
MAX_SENDER = 640

UNNAMED = ("credentials", "not_requested")  # reasons for which a link is counted and not named

Share = tuple[int, tuple[Recipient, ...], plans.Group]


def sent(
    message: plans.Message,
    groups: Sequence[plans.Group],
    shares: Sequence[Share],
    now: float,
    *,
    handed: bool = False,
    grounds: Sequence[str] = (),
) -> Sent:
    """The record of what is about to leave. `shares` has (token index, recipients, group) per set of bytes. `handed`
    where whoever asked delivers it, and no more is heard of it. `grounds`: why recipients of it are suppressed."""
    state: Literal["pending", "handed"] = "handed" if handed else "pending"
    head, submission = message.headers, message.submission
    links: list[str] = []
    for group in groups:
        if group.prepared and len(links) == group.first_link:
            links += group.prepared.links
    made = {
        recipient.address: SentCopy(
            recipient.address, index, group.tracked, group.reason, state, thread_replies=group.decision.thread_replies
        )
        for index, recipients, group in shares
        for recipient in recipients
    }
    first = groups[0].decision if groups else None
    tracked = any([group.tracked for group in groups])
    return Sent(
        message_id=message.message_id,
        grant_id=message.grant.id,
        internet_message_id=message.identifier,
        submitted_at=submission.received_at or now,
        sender=message.sender[:MAX_SENDER],
        reverse_path=submission.reverse_path,
        to=addresses.listed(head, "to"),
        cc=addresses.listed(head, "cc"),
        subject=head.get("subject")[:998],
        label=first.label if first else "",
        metadata={**(first.metadata if first else {}), **submission.metadata},
        submitter_ip=submission.peer,
        size=len(submission.content),
        opens=any([g.decision.opens and g.prepared is not None and g.prepared.has_pixel for g in groups]),
        links_tracked=bool(links),
        thread_replies=any([group.decision.thread_replies for group in groups]),
        reason=None if tracked else next((group.reason for group in groups if group.reason), None),
        links=tuple(links),
        copies=tuple(made.values()),
        references=threads.references(head),
        explanation={
            **({"suppressed": list(grounds)} if grounds else {}),
            **invalid(message),
            **(signing(groups) if message.signer else {}),
            **(explanation(told_by(groups)) if groups else {}),
        },
        login=submission.login,
        queue_id=submission.queue_id,
        daemon=submission.daemon,
    )


def failed(
    message_id: str,
    submission: Submission,
    head: headers.Headers,
    sender: str,
    grant_id: str,
    now: float,
    *,
    handed: bool,
) -> Sent:
    """The record of what leaves as it came, since tracking failed: the envelope, and what names the message."""
    state: Literal["pending", "handed"] = "handed" if handed else "pending"
    alike = {r.address: SentCopy(r.address, 0, False, "internal_error", state) for r in submission.recipients}
    return Sent(
        message_id,
        grant_id,
        identifiers.own(head),
        now,
        sender=sender[:MAX_SENDER],
        reverse_path=submission.reverse_path,
        to=addresses.listed(head, "to"),
        cc=addresses.listed(head, "cc"),
        subject=head.get("subject")[:998],
        metadata=dict(submission.metadata),
        submitter_ip=submission.peer,
        size=len(submission.content),
        reason="internal_error",
        copies=tuple(alike.values()),
        explanation={"reason": "internal_error"},
        login=submission.login,
        queue_id=submission.queue_id,
        daemon=submission.daemon,
    )


def invalid(message: plans.Message) -> dict[str, str]:
    """Which field could not be read, and the sentence that says why; nothing where there was none."""
    told = message.instructions
    if told.invalid:
        return {"invalid": told.invalid, "invalid_header": instructions.unreadable(told, message.headers)}
    return {"invalid": message.doubt, "invalid_header": "From"} if message.doubt else {}


def signing(groups: Sequence[plans.Group]) -> dict[str, Any]:
    """Why a copy is not signed, and that lines of one were made shorter for its signature; nothing where neither is so."""
    found: dict[str, Any] = {}
    if why := next((group.unsigned for group in groups if group.unsigned), ""):
        found["unsigned"] = why
    if any(group.shortened for group in groups):
        found["lines_shortened"] = True
    return found


def told_by(groups: Sequence[plans.Group]) -> plans.Group:
    """The group that has most to say of the content: of those that were read, one that is tracked."""
    return groups[0] if len(groups) == 1 else max(groups, key=lambda group: (group.prepared is not None, group.tracked))


def explanation(group: plans.Group) -> dict[str, Any]:
    """The explanation as it is recorded, compact: per part "edited" or its reason, which links were left and why (the
    tracked ones are the record's own `links`), where the pixel went or why not, how many signatures of others went."""
    prepared = group.prepared
    found: dict[str, Any] = {}
    if group.broken:
        found["signatures_removed"] = len(group.broken)
    if prepared is None:
        return {**found, "reason": group.reason} if group.reason else found
    pixel = prepared.pixel_report
    return {
        **found,
        "parts": [
            [p.path, p.content_type, "edited" if p.edited else p.reason] for p in prepared.part_reports[:MAX_ROWS]
        ],
        "left": left(prepared.link_rows)[:MAX_ROWS],
        "pixel": [pixel.part, pixel.place, pixel.reason] if pixel else None,
    }


def left(rows: Iterable[rewrite.LinkRow]) -> list[list[Any]]:
    """The links that were left as they were: [part, scheme and host, reason, how many]. A link may let in whoever has it
    (a login, a token for a new password), so no more of it is remembered; and nothing at all of one that nobody asked to
    track, or that is known to be such."""
    found: dict[tuple[str, str, Any], int] = {}
    for part, _, _, _, url, number, why in rows:
        if number < 0:
            key = (part, "" if why in UNNAMED else urls.place(url), why)
            found[key] = found.get(key, 0) + 1
    return [[*key, count] for key, count in found.items()]


def report(message: plans.Message, group: plans.Group, made: copies.Copy) -> dict[str, Any]:
    """What `rewrite --explain` shows of one copy, but for parts, links and pixel where there was a scan."""
    decision, head = group.decision, message.headers
    removed = (*message.taken, *(head.fields[place] for place in group.broken))
    added = [
        *message.added,
        *(["References"] if group.reference else []),
        *(["DKIM-Signature"] if made.rendering.signature else []),
    ]
    found: dict[str, Any] = {
        "tracked": group.tracked,
        "reason": group.reason,
        "instructions": {
            "opens": decision.opens,
            "links": decision.links,
            "thread_replies": decision.thread_replies,
            "label": decision.label,
            "source": dict(decision.source),
        },
        "parts": [],
        "links": [],
        "pixel": {"part": None, "place": None, "reason": group.reason or "not_requested"},
        "headers": {"removed": [head.spelling(field) for field in removed], "added": added},
        "dkim": made.dkim,
    }
    if made.rendering.shortened:
        found["lines_shortened"] = True
    return found | invalid(message)
