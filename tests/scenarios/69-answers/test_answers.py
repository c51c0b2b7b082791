"""What people, and programs in their name, answer: in a real IMAP mailbox, and what an endpoint hears of it."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests import contract
from tests.fakes import hooks
from tests.peers import dovecot
from tests.scenarios import hostile, service
from tests.until import eventually

SECRET = "whsec_" + "c2VjcmV0" * 4
USER, WORD = "sales@example.test", "secret"
ANN, BOB, CID = "ann@example.org", "bob+offers@example.org", "cid@example.org"
QUOTE = "\r\n\r\nOn Mon, 2 Feb 2026 at 10:00, Sales <sales@example.test> wrote:\r\n> Would you?\r\n"
MDN = "--b\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; ann@example.org\r\n"
MDN += "Original-Message-ID: <offer@example.test>\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--b--\r\n"
EMOJI = '--b\r\nContent-Type: text/vnd.google.email-reaction+json\r\n\r\n{"version": 1, "emoji": "!"}\r\n--b--\r\n'
MIXED = 'Content-Type: multipart/mixed; boundary="b"'
# By name: who writes, fields, and the text.
LETTERS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "plain": (f"Ann <{ANN}>", ("In-Reply-To: <offer@example.test>",), "Yes.\r\n\r\nBest regards,\r\nAnn" + QUOTE),
    "untagged": ("bob@example.org", ("In-Reply-To: <offer@example.test>",), "Me too."),
    "somebody": ("Eve <eve@example.net>", ("References: <offer@example.test>",), "I am new here."),
    "excluded": (CID, ("In-Reply-To: <offer@example.test>",), "No."),
    "deep": (ANN, ("In-Reply-To: <more@example.test>",), "Later."),
    "emoji": (ANN, ("In-Reply-To: <offer@example.test>", MIXED), EMOJI),
    "receipt": (ANN, ("In-Reply-To: <offer@example.test>", MIXED), MDN),
    "away": (ANN, ("In-Reply-To: <offer@example.test>", "Subject: Automatisk svar: Offer"), "I am away."),
    "last": (ANN, ("In-Reply-To: <offer@example.test>",), "Bye."),
}


def letter(name: str) -> bytes:
    sender, fields, body = LETTERS[name]
    subject = () if any(field.startswith("Subject:") for field in fields) else ("Subject: Re: Offer",)
    lines = (f"From: {sender}", f"To: {USER}", f"Message-ID: <{name}@answers.example>", *subject, *fields, "", body, "")
    return "\r\n".join(lines).encode()


def offer(name: str, to: str, *fields: str) -> bytes:
    lines = (
        f"From: {USER}",
        f"To: {to}",
        "Subject: Offer",
        f"Message-ID: <{name}@example.test>",
        *fields,
        "",
        "Would you?",
        "",
    )
    return "\r\n".join(lines).encode()


def identifier(reply: str) -> str:
    """Our id in what the client hears."""
    match = re.search(r"\b[0-9a-v]{20}\b", reply)
    assert match, reply
    return match[0]


async def test_who_answered_what_and_how(tmp_path: Path) -> None:
    async with hooks.receiver() as hook:
        events, ids = await asyncio.to_thread(run, tmp_path, hook)
    assert [errors for received in hook.accepted if (errors := contract.errors(received.json))] == []
    told: dict[str, dict[str, Any]] = {}
    for received in hook.accepted:
        thing = received.json["data"]["object"]
        told[thing["reply_internet_message_id"].partition("@")[0]] = thing
    assert set(told) == {"more", "plain", "untagged", "somebody", "deep", "emoji", "last"}
    assert {name: thing["recipient"] for name, thing in told.items()} == {
        "more": "", "plain": ANN, "untagged": BOB, "somebody": "", "deep": ANN, "emoji": ANN, "last": ANN,
    }  # fmt: skip
    assert told["plain"]["reply_from"] == {"address": ANN, "name": "Ann"}
    assert told["somebody"]["reply_from"] == {"address": "eve@example.net", "name": "Eve"}
    assert {name: thing["kind"] for name, thing in told.items() if thing["kind"] != "reply"} == {"emoji": "reaction"}
    assert told["plain"]["excerpt"] == "Yes."
    assert [name for name, thing in told.items() if thing["from_self"]] == ["more"]
    assert {thing["root_message_id"] for thing in told.values()} == {ids["offer"]}
    assert {name: thing["reply_to_message_id"] for name, thing in told.items() if name in ("deep", "plain")} == {
        "deep": ids["more"], "plain": ids["offer"],
    }  # fmt: skip
    assert sorted(thing["reply_data"]["count"] for thing in told.values()) == list(range(1, 8))
    others = [(e["type"], e["recipient"]) for e in events if e["type"] != "thread.replied"]
    assert sorted(others) == [("message.auto_replied", ANN), ("message.read_receipt", ANN)]


def run(folder: Path, hook: hooks.Hooks) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Sends an offer and something untracked behind it, delivers the answers; the events, once all of them were notified."""
    with ExitStack() as stack:
        upstream = stack.enter_context(hostile.sink())
        server = stack.enter_context(dovecot.running(folder / "dovecot", {USER: WORD}))
        more = (
            f'[[grants]]\nid = "sales"\nemail = "{USER}"\naddresses = ["{USER}"]\n'
            f'mailbox = "imap://sales%40example.test@127.0.0.1:{server.imap_port}/INBOX"\nmailbox_password = "{WORD}"\n'
            '[mailbox]\npoll_interval = "1s"\nexcerpt = true\nnotify_self = true\n'
            f'[[webhooks]]\nurl = "{hook.url}"\nsecret = "{SECRET}"\ntriggers = ["thread.replied"]\n'
            '[webhook_delivery]\nallow_private = ["127.0.0.1"]\n'
        )
        ports = service.settings(folder, upstream=upstream.port, more=more)
        relay = stack.enter_context(service.running(folder, ports))
        eventually(lambda: "mailbox_watched" in relay.log)
        tracked = ("X-Track: thread_replies", f"X-Track-Exclude: {CID}")
        with hostile.Smtp(relay.smtp) as client:
            first = client.mail(offer("offer", f"{ANN}, {BOB}", *tracked), ANN, BOB, CID, sender=USER)
            second = client.mail(offer("more", ANN, "In-Reply-To: <offer@example.test>"), ANN, sender=USER)
        assert first.startswith("250")
        eventually(lambda: len(hook.accepted) >= 1)  # the sender wrote again
        for name in LETTERS:
            server.deliver(USER, letter(name))
        eventually(lambda: '"last@answers.example"' in relay.command("events", "--json").stdout, 30, pause=0.5)
        eventually(lambda: len(hook.accepted) >= 7)
        return relay.events(), {"offer": identifier(first), "more": identifier(second)}
