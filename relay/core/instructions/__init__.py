"""What a message asks for, and what is done for one recipient.

Owns: precedence (control headers, dialects, rules, defaults), which fields must not leave, who is never tracked, what
recipients who share a body have in common.
Leaves to others: the values of our headers (`control`, `values`) and of vendors' (`dialects`); doing it (`outbound`).

Precedence, per switch: the specific header, X-Track, X-Track-Options, the first dialect that speaks (in the order of
`dialects`), the first rule that matches, the defaults. X-Track, X-Track-Options and a dialect set all three switches.
A label comes from the first of X-Track-Label, X-Track-Options, dialect, rule, default that has one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from relay.core import addresses, domains, headers, structured
from relay.core.instructions import control
from relay.core.instructions.dialects import DIALECTS
from relay.core.instructions.values import Source, Unreadable, Voice
from relay.core.model import Decision, Instructions, Reason, Rule, Switch, Tracking

SWITCHES: tuple[Switch, ...] = ("opens", "links", "thread_replies")
NOTHING = Instructions()
NAMED = re.compile(r"'?([A-Za-z0-9-]+)")  # what a sentence about a field begins with
LARGEST_METADATA = 16_384  # characters of names and values together

# RFC 3462 (reports), 3464 (delivery), 8098 (disposition), 5965 (feedback), 6533 (the same in Unicode).
REPORTS = frozenset(
    {
        "multipart/report",
        "message/delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "message/global-delivery-status",
        "message/global-disposition-notification",
    }
)


def read(head: headers.Headers, *, dialects: Sequence[str], hosts: Sequence[str]) -> Instructions:
    """What the control headers and the dialects that are on say. `hosts` are the tracking hosts that X-Track-Domain
    may name. Never raises: what can't be read is `invalid`, a sentence; `strip` is complete in any case."""
    on = [DIALECTS[name] for name in dialects if name in DIALECTS]
    told = {name for name in head.named if name.startswith("x-track") and control.ours(name)}
    if on:
        told.update(name for name in head.named if any(dialect.has(name) for dialect in on))
    if not told:  # as nearly all
        return NOTHING
    fields: dict[str, list[headers.Field]] = {}
    strip: list[int] = []
    for index, field in enumerate(head.fields):
        if field.name in told:
            fields.setdefault(field.name, []).append(field)
            strip.append(index)
    source = Source(head, fields)
    try:
        voices = [dialect.read(source) for dialect in on]
        return replace(merged(source, voices, hosts), strip=tuple(strip))
    except Unreadable as reason:
        return Instructions(switches=control.legible(source), strip=tuple(strip), invalid=str(reason))


def merged(source: Source, voices: Sequence[Voice], hosts: Sequence[str]) -> Instructions:
    control.unknown(source)
    options = control.options(source, hosts)
    spoken: dict[Switch, tuple[bool, str]] = {}
    for said in (
        control.specific(source),
        control.general(source),
        options.switches,
        next((voice.switches for voice in voices if voice.switches), {}),
    ):
        spoken = {**said, **spoken}
    labels = (control.own_label(source), options.label, *(voice.label for voice in voices))
    metadata: dict[str, str] = {}
    for voice in voices:
        metadata = {**voice.metadata, **metadata}
    if sum(len(key) + len(value) for key, value in metadata.items()) > LARGEST_METADATA:
        raise Unreadable(
            f"the metadata has more than {LARGEST_METADATA:,} characters; send less, it is in every notification"
        )
    return Instructions(
        switches=spoken,
        label=next((label for label in labels if label is not None), None),
        metadata=metadata,
        domain=control.domain(source, hosts) or options.domain,
        pixel=next((voice.pixel for voice in voices if voice.pixel), None),
        text_links=next((voice.text_links for voice in voices if voice.text_links is not None), None),
        exclude=control.excluded(source),
    )


def unreadable(told: Instructions, head: headers.Headers) -> str:
    """The name, as it is written there, of the field that `told.invalid` is about; "" where that is about none alone."""
    named = NAMED.match(told.invalid or "")
    found = (head.fields[place] for place in told.strip)
    return next((head.spelling(field) for field in found if named and field.name == named[1].lower()), "")


def never(head: headers.Headers, reverse_path: str) -> Reason | None:
    """Why this message is tracked in no case: a bounce, an answer by a program (RFC 3834 5), a report. A program's
    own mail (`auto-generated`) may be tracked."""
    if reverse_path in ("", "<>"):
        return "null_sender"
    for field in head.all("auto-submitted"):
        text = head.text(field)
        said = structured.read(text)
        if said.word == "auto-replied" or not (said.sound or "auto-replied" not in text.lower()):
            return "auto_reply"
    for field in head.all("content-type"):
        if structured.read(head.text(field)).word in REPORTS:
            return "auto_reply"
    return None


def decide(i: Instructions, *, tracking: Tracking, rules: Sequence[Rule], sender: str, recipient: str) -> Decision:
    """What is done for the copy of one envelope recipient. `sender` is the From header's address; `tracking` the
    defaults. Globs and addresses are compared without regard to case."""
    return decided(i, ruling(rules, sender, recipient), tracking, recipient)


def ruling(rules: Sequence[Rule], sender: str, recipient: str) -> Rule | None:
    """The first rule that matches."""
    for rule in rules:
        if matches(rule, sender, recipient):
            return rule
    return None


def decided(i: Instructions, rule: Rule | None, tracking: Tracking, recipient: str = "") -> Decision:
    """The same under this rule. Of a message that says NOTHING it is the same for all recipients."""
    options = rule.tracking if rule else tracking
    ruled = rule.keys if rule else frozenset()
    fallback: dict[Switch, bool] = {
        "opens": options.opens,
        "links": options.links,
        "thread_replies": options.thread_replies,
    }
    values = {
        s: i.switches[s] if s in i.switches else (fallback[s], "rule" if s in ruled else "default") for s in SWITCHES
    }
    reason: Reason | None = None
    if i.invalid:
        reason = "invalid_instruction"
    elif i.exclude and addresses.comparable(recipient) in i.exclude:
        reason = "excluded_recipient"
    elif not any(value for value, _ in values.values()):
        reason = "not_requested"
    return Decision(
        opens=reason is None and values["opens"][0],
        links=reason is None and values["links"][0],
        thread_replies=reason is None and values["thread_replies"][0],
        label=options.label if i.label is None else i.label,
        metadata=i.metadata,
        source={s: origin for s, (_, origin) in values.items()},
        tracking=chosen(i, options, tracking),
        reason=reason,
    )


def common(decisions: Sequence[Decision]) -> Decision:
    """What is done where all recipients get one body: what is done for every one of them, and nothing where one of them
    is not tracked at all. Label and options are the first one's."""
    first = decisions[0]
    if all(decision == first for decision in decisions):
        return first
    switches = {switch: all(getattr(decision, switch) for decision in decisions) for switch in SWITCHES}
    reason: Reason | None = None
    if not any(switches.values()):
        reason = next((decision.reason for decision in decisions if decision.reason), "not_requested")
    return first.with_(reason=reason, **switches)


def matches(rule: Rule, sender: str, recipient: str) -> bool:
    return addresses.matches(sender, (rule.sender,)) and addresses.matches(recipient, (rule.recipient,))


def chosen(i: Instructions, options: Tracking, defaults: Tracking) -> Tracking:
    """The options in force: what the message asks for laid over them, `url` the tracking host that it names."""
    if i.domain is None and i.pixel is None and i.text_links is None:
        return options
    urls = (options.url, *options.domains, defaults.url, *defaults.domains)
    named = next((url for url in urls if i.domain and domains.of_url(url) == i.domain), None)
    return replace(
        options,
        url=options.url if named is None else named if "://" in named else f"https://{named}",
        pixel=i.pixel or options.pixel,
        text_links=options.text_links if i.text_links is None else i.text_links,
    )
