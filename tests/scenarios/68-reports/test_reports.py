"""What mail systems write into a sender's mailbox, in a Maildir or on a real IMAP server, leads to the right webhooks: each about
its own recipient, none about what a person wrote."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import contract, reporting
from tests.fakes import hooks
from tests.peers import dovecot
from tests.reporting import ANN, BOB
from tests.scenarios import hostile, service
from tests.until import eventually

SECRET = "whsec_" + "c2VjcmV0" * 4
USER, WORD = "sales@example.test", "secret"
# By name: what becomes of each, for Ann where nothing else is said. Each kind of a reader's evidence is there once.
BOUNCE, DELAY, COMPLAINT, REPLY = "message.bounce_detected", "message.delayed", "message.complained", "thread.replied"
EXPECTED: dict[str, list[tuple[str, str]]] = {
    "postfix": [(BOUNCE, ANN)],
    "postfix, delayed": [(DELAY, ANN)],
    "postfix, delivered": [],
    "each its own action": [(BOUNCE, ANN), (DELAY, BOB)],
    "action unknown, no status": [(BOUNCE, ANN)],
    "no address, X-Failed-Recipients": [(BOUNCE, ANN)],
    "exchange, ja": [(BOUNCE, ANN)],
    "a gateway's footer": [(BOUNCE, ANN)],
    "a gateway's own status, with In-Reply-To": [(BOUNCE, ANN)],
    "a report in a report in a report": [(BOUNCE, ANN)],
    "refused by a disposition": [(BOUNCE, ANN)],
    "exim, two": [(BOUNCE, ANN), (BOUNCE, BOB)],
    "sendmail, expanded": [(BOUNCE, ANN)],
    "notes": [(BOUNCE, ANN)],
    "smail 3": [(BOUNCE, ANN)],
    "qq": [(BOUNCE, ANN)],
    "in klingon": [(BOUNCE, ANN)],
    "delayed, ja": [(DELAY, ANN)],
    "delivered, de": [],
    "pec, not delivered": [(BOUNCE, ANN)],
    "pec, late": [(DELAY, ANN)],
    "pec, delivered": [],
    "ses, bounce": [(BOUNCE, ANN)],
    "ses, complaint": [(COMPLAINT, ANN)],
    "arf, mixed": [(COMPLAINT, ANN)],
    "arf, not spam": [],
    "jmrp": [(COMPLAINT, ANN)],
    "a person with a message, Re: Offer": [(REPLY, ANN)],
    "a person with a report's parts, RE: Delivery Status Notification (Failure)": [(REPLY, ANN)],
    "somebody forwards a report": [],
    "an automatic answer with the message": [("message.auto_replied", ANN)],
}
NOTIFIED = {BOUNCE: ("message.bounce_detected", "email.bounced"), COMPLAINT: ("email.complained",), REPLY: (REPLY,)}
Deliver = Callable[[bytes, str], None]


def letters() -> Iterator[tuple[str, bytes, str]]:
    """Each form's message, with a Message-ID of its own, and its reverse-path."""
    known = {form.name: form.raw for form in reporting.FORMS}
    for number, name in enumerate(EXPECTED):
        raw = known[name].replace(b"<report@mx.example.net>", b"<report.%d@mx.example.net>" % number)
        path = re.match(rb"(?:\xef\xbb\xbf)?Return-Path: <([^>]*)>", raw)
        yield name, raw, path[1].decode() if path else ""


@contextmanager
def maildir(folder: Path) -> Iterator[tuple[str, Deliver]]:
    for place in ("new", "cur", "tmp"):
        (folder / "sales" / place).mkdir(parents=True)
    count = 0

    def deliver(raw: bytes, path: str) -> None:
        nonlocal count
        count += 1
        (folder / "sales" / "tmp" / f"{count:04}.x").write_bytes(raw)
        (folder / "sales" / "tmp" / f"{count:04}.x").rename(folder / "sales" / "new" / f"{count:04}.x")

    yield f'mailbox = "maildir:{folder / "sales"}"', deliver


@contextmanager
def imap(folder: Path) -> Iterator[tuple[str, Deliver]]:
    with dovecot.running(folder / "dovecot", {USER: WORD}) as server:
        url = f"imap://sales%40example.test@127.0.0.1:{server.imap_port}/INBOX"
        yield f'mailbox = "{url}"\nmailbox_password = "{WORD}"', lambda raw, path: server.deliver(USER, raw, path)


@pytest.mark.parametrize("door", [maildir, imap])
async def test_reports_of_many_kinds(tmp_path: Path, door: Callable[[Path], Any]) -> None:
    async with hooks.receiver() as hook:
        events = await asyncio.to_thread(run, tmp_path, door, hook)
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in range(len(EXPECTED))}
    for event in events:
        data = event["data"]
        named = re.search(r"report\.(\d+)@", data.get("report_internet_id") or data.get("reply_internet_id", ""))
        if named:
            found[int(named[1])].append((event["type"], event["recipient"]))
    assert dict(zip(EXPECTED, map(sorted, found.values()), strict=True)) == {n: sorted(e) for n, e in EXPECTED.items()}
    notified = [received.json for received in hook.accepted]
    assert [errors for body in notified if (errors := contract.errors(body))] == []
    wanted = sorted(name for told in EXPECTED.values() for kind, _ in told for name in NOTIFIED.get(kind, ()))
    assert sorted(body["type"] for body in notified) == sorted([*wanted, REPLY])  # and that of the last answer
    complaints = [body["data"] for body in notified if body["type"] == "email.complained"]
    assert {(c["to"], c["code"], c["bounce_type"], c["complaint_type"]) for c in complaints} == {(ANN, 0, "", "abuse")}


def run(folder: Path, door: Callable[[Path], Any], hook: hooks.Hooks) -> list[dict[str, Any]]:
    """Sends the message, delivers what comes back; the events, once all of them were notified."""
    endpoints = "".join(
        f'[[webhooks]]\nurl = "{hook.url}"\nsecret = "{SECRET}"\nformat = "{shape}"\ntriggers = {triggers}\n'
        for shape, triggers in (
            ("nylas", '["message.bounce_detected", "thread.replied"]'),
            ("unosend", '["email.bounced", "email.complained"]'),
        )
    )
    with ExitStack() as stack:
        upstream = stack.enter_context(hostile.sink())
        grant, deliver = stack.enter_context(door(folder))
        more = (
            f'[[grants]]\nid = "sales"\nemail = "{USER}"\naddresses = ["{USER}"]\n{grant}\n'
            f'[mailbox]\npoll_interval = "1s"\n{endpoints}[webhook_delivery]\nallow_private = ["127.0.0.1"]\n'
        )
        ports = service.settings(folder, upstream=upstream.port, tracking="thread_replies = true", more=more)
        relay = stack.enter_context(service.running(folder, ports))
        eventually(lambda: "mailbox_watched" in relay.log)
        offer = f"From: {USER}\r\nTo: {ANN}, {BOB}\r\nSubject: Offer\r\nMessage-ID: <{reporting.SENT}>\r\n\r\nHello\r\n"
        with hostile.Smtp(relay.smtp) as client:
            assert client.mail(offer.encode(), ANN, BOB, sender=USER).startswith("250")
        for _, raw, path in letters():
            deliver(raw, path)
        last = reporting.plain(
            "Yes.", subject="Re: Offer", sender=BOB, path=f"<{BOB}>", fields=(f"In-Reply-To: <{reporting.SENT}>",)
        )
        deliver(last.replace(b"<report@mx.example.net>", b"<last@example.org>"), BOB)  # a mailbox is read in order
        eventually(lambda: '"last@example.org"' in relay.command("events", "--json").stdout, 30, pause=0.5)
        notifications = sum(len(NOTIFIED.get(kind, ())) for told in EXPECTED.values() for kind, _ in told) + 1
        eventually(lambda: len(hook.accepted) >= notifications)
        return relay.events()
