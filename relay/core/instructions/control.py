"""Our own control headers: X-Track and X-Track-*.

Owns: their names and values. Every one of them is removed from every copy, known or not, readable or not.
Leaves to others: vendors' headers (`dialects`), and what wins over what (the package).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from relay.core import domains
from relay.core.instructions.values import (
    WORDS,
    Source,
    Unreadable,
    Voice,
    all_three,
    flag,
    label,
    mapping,
    printable,
    recipients,
    shown,
    switch,
)
from relay.core.model import Switch

NAMES: dict[str, Switch] = {
    "opens": "opens",
    "links": "links",
    "clicks": "links",
    "thread_replies": "thread_replies",
    "thread-replies": "thread_replies",
    "replies": "thread_replies",
}
SPECIFIC: dict[str, Switch] = {
    "X-Track-Opens": "opens",
    "X-Track-Links": "links",
    "X-Track-Thread-Replies": "thread_replies",
}
OTHERS = ("X-Track", "X-Track-Label", "X-Track-Options", "X-Track-Domain", "X-Track-Exclude")
KNOWN = frozenset(name.lower() for name in (*SPECIFIC, *OTHERS))
# Nylas' tracking_options; `payload` is what its second version called the label.
OPTIONS = frozenset({"opens", "links", "thread_replies", "label", "payload", "domain_name"})

MAX_HOSTS = 5  # as many of the configured hosts as a sentence names


def ours(name: str) -> bool:
    """Whether a field of this (lower-case) name must never leave."""
    return name == "x-track" or name.startswith("x-track-")


def unknown(source: Source) -> None:
    """A misspelt header is not ignored: `X-Track-Link: no` would be tracked all the same."""
    for name in source.fields:
        if ours(name) and name not in KNOWN:
            known = ", ".join(sorted((*SPECIFIC, *OTHERS)))
            spelt = source.head.spelling(source.fields[name][0])
            raise Unreadable(f"{shown(spelt)} is no control header; there are {known}")


def specific(source: Source) -> dict[Switch, tuple[bool, str]]:
    found: dict[Switch, tuple[bool, str]] = {}
    for name, which in SPECIFIC.items():
        value = source.one(name, switch)
        if value is not None:
            found[which] = (value, name)
    return found


def general(source: Source) -> dict[Switch, tuple[bool, str]]:
    """X-Track sets all three; what it does not name is off."""
    named = source.one("X-Track", tracked)
    if named is None:
        return {}
    return all_three("X-Track", opens="opens" in named, links="links" in named, replies="thread_replies" in named)


def legible(source: Source) -> dict[Switch, tuple[bool, str]]:
    """What can be read of the switches though something else can't be: what the sender would have to do without."""

    def asked(name: str, value: Any) -> dict[Switch, tuple[bool, str]]:
        given = mapping(name, value)
        return {which: (True, name) for word, which in NAMES.items() if given.get(word) is True}

    found: dict[Switch, tuple[bool, str]] = {}
    for read in (specific, general, lambda source: source.json("X-Track-Options", asked, OPTIONS) or {}):
        with contextlib.suppress(Unreadable):
            found = {**read(source), **found}
    return found


def tracked(name: str, value: str) -> frozenset[Switch]:
    words = [word for word in WORDS.split(value.lower()) if word]
    if words == ["all"]:
        return frozenset(NAMES.values())
    if words == ["none"]:
        return frozenset()
    if not words or any(word not in NAMES for word in words):
        raise Unreadable(
            f"{name}: {shown(value)} is not understood; write all, none, or a list of opens, links, thread_replies"
        )
    return frozenset(NAMES[word] for word in words)


def options(source: Source, hosts: Sequence[str]) -> Voice:
    """X-Track-Options: the JSON of Nylas' tracking_options. Sets all three switches; what it does not name is off."""
    return source.json("X-Track-Options", lambda name, value: tracking_options(name, value, hosts), OPTIONS) or Voice()


def tracking_options(name: str, value: Any, hosts: Sequence[str]) -> Voice:
    given = mapping(name, value)
    for key in given:
        if key not in OPTIONS:
            raise Unreadable(f"{name}: {shown(key)} is no option; there are {', '.join(sorted(OPTIONS))}")
    labels = [label_option(name, key, given[key]) for key in ("label", "payload") if given.get(key) is not None]
    if any(text != labels[0] for text in labels):
        raise Unreadable(f"{name}: label and payload are two names of one thing and contradict each other; give one")
    domain = given.get("domain_name")
    if domain is not None and not isinstance(domain, str):
        raise Unreadable(f"{name}, domain_name: a host name is needed")
    return Voice(
        all_three(
            name,
            opens=flag(name, "opens", given.get("opens")),
            links=flag(name, "links", given.get("links")),
            replies=flag(name, "thread_replies", given.get("thread_replies")),
        ),
        label=labels[0] if labels else None,
        domain=None if domain is None else host(f"{name}, domain_name", domain, hosts),
    )


def label_option(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{name}, {key}: a text is needed")
    return label(f"{name}, {key}", value)


def own_label(source: Source) -> str | None:
    return source.one("X-Track-Label", label)


def domain(source: Source, hosts: Sequence[str]) -> str | None:
    return source.one("X-Track-Domain", lambda name, value: host(name, value, hosts))


def host(name: str, value: str, hosts: Sequence[str]) -> str:
    """The one of `hosts` that is meant: a host name or a URL, in any spelling."""
    wanted = domains.of_url(value) if printable(value) else ""
    if wanted and wanted in map(domains.of_url, hosts):
        return wanted
    there = ", ".join(hosts[:MAX_HOSTS]) or "none"
    raise Unreadable(f"{name}: {shown(value)} is no tracking host of this installation; configured: {there}")


def excluded(source: Source) -> tuple[str, ...]:
    """X-Track-Exclude. Several add up: lists can't contradict each other."""
    name = "X-Track-Exclude"
    return tuple(dict.fromkeys(a for text in source.texts(name) for a in recipients(name, text)))
