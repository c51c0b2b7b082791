"""That a webhook is failing or has failed -> the mail to those who want to hear of it.

Owns: its words. Nothing secret stands in it: of the URL scheme and host only, since paths and queries may let somebody
in. Leaves to others: when one is due (`store`), sending it (`relay.notices`), the form of a message (`compose`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from email.utils import formatdate

from relay.core import compose, failing, urls
from relay.core.model import Notice, Registry

WIDTH = 72
LONGEST = 300  # characters of a description or an error
GOING_ON = (
    "At least 95 % of the attempts failed for {minutes} minutes. They go on, and with a success the webhook is active "
    "again. If they still fail on {until}, it becomes failed: it is sent nothing more then, until it is set active."
)
OVER = (
    "It is sent nothing more, until it is set active. What it was owed before waits for that; what has come since can be "
    "sent by a replay."
)
GONE = "It answered 410 (Gone), which closes a webhook. "
AGAIN: Mapping[Registry, str] = {
    "nylas": 'PUT /v3/webhooks/{id} with {{"status": "active"}}',
    "unosend": 'PATCH /v1/webhooks/{id} with {{"enabled": true}}',
    "own": 'PATCH /api/endpoints/{id} with {{"status": "active"}}',
}


def write(notice: Notice, *, sender: str, identifier: str, at: float, boundary: str) -> compose.Composed | None:
    """The message, to those whose addresses can stand in one; None where nobody's can. `identifier` is the Message-ID's.
    Raises `compose.Unfit` where `sender` is no address."""
    message = compose.Message(
        compose.Mailbox(sender, "trackrelay"),
        subject=f"Webhook {notice.status}: {urls.place(notice.url)}",
        plain=text(notice),
        headers=(("Auto-Submitted", "auto-generated"),),  # RFC 3834 5
        date=at,
        identifier=identifier,
        to=tuple(mailboxes(notice.to)),
    )
    return compose.write(message, boundary) if message.to else None


def mailboxes(given: Sequence[str]) -> list[compose.Mailbox]:
    found = []
    for address in given:
        try:
            compose.fields.spelt("to", address)
        except compose.Unfit:
            continue
        found.append(compose.Mailbox(address))
    return found


def text(notice: Notice) -> str:
    facts = {
        "Webhook": f"{notice.endpoint_id} at {urls.place(notice.url)}",
        "Description": plain(notice.description),
        "Status": f"{notice.status}, since {formatdate(notice.at)}",
        "Attempts fail": f"since {formatdate(notice.since)}",
        "Last error": plain(notice.error),
    }
    width = max(map(len, facts)) + 2
    listed = "\n".join(f"{name + ':':<{width}}{value}" for name, value in facts.items() if value)
    return f"{listed}\n\n{wrapped(what(notice))}\n\n{again(notice)}\n"


def what(notice: Notice) -> str:
    if notice.status == "failing":
        until = formatdate(notice.at + failing.GIVEN_UP)
        return GOING_ON.format(minutes=round(failing.WINDOW / 60), until=until)
    return (GONE if notice.error == "HTTP 410" else "") + OVER


def again(notice: Notice) -> str:
    if notice.status == "failing":
        return wrapped("Once it answers with 2xx there is nothing else to do.")
    ways = [AGAIN[notice.registry].format(id=notice.endpoint_id), f"trackrelay webhooks test {notice.endpoint_id}"]
    return "Once it answers again, set it active by the API, or on the relay's machine:\n\n" + "\n".join(
        f"    {way}" for way in ways
    )


def plain(words: str) -> str:
    """On one line."""
    return " ".join(words.split())[:LONGEST]


def wrapped(words: str) -> str:
    return "\n".join(textwrap.wrap(words, WIDTH))
