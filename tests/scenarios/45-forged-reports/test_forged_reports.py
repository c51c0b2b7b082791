"""Whoever was sent a message knows its Message-ID, and mails the sender bounces, complaints and answers that never
happened: about others, about people who were not sent it, about other senders' mail, a thousand in one."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import contract
from tests.fakes import hooks
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

SECRET = "whsec_" + "c2VjcmV0" * 4
GRANTS = """
[[grants]]
id = "sales"
email = "sales@example.com"
addresses = ["sales@example.com"]
mailbox = "maildir:{folder}/sales"
[[grants]]
id = "support"
email = "support@example.com"
addresses = ["support@example.com"]
mailbox = "maildir:{folder}/support"
[mailbox]
poll_interval = "1s"
{mailbox}
"""
LAST = "last@last.example"  # who writes after all that is under test


@dataclass
class Attacked:
    relay: service.Service
    upstream: Upstream
    folder: Path
    mailed: int = 0

    def send(self, sender: str, *recipients: str) -> str:
        """Sends a message that asks for replies; its Message-ID."""
        name = f"offer-{sender.partition('@')[0]}@example.com"
        content = (
            f"From: {sender}\r\nTo: {', '.join(recipients)}\r\nSubject: Offer\r\nMessage-ID: <{name}>\r\n"
            "X-Track: all\r\nContent-Type: text/html\r\n\r\n<html><body><p>Our offer.</p></body></html>\r\n"
        )
        with hostile.Smtp(self.relay.smtp) as client:
            assert client.mail(content.encode(), *recipients, sender=sender).startswith("250")
        return name

    def mail(self, content: str, grant: str = "sales") -> None:
        """Something arrives in a mailbox."""
        self.mailed += 1
        name = f"{self.mailed:04}.forged"
        draft = self.folder / grant / "tmp" / name
        draft.write_bytes(content.replace("\n", "\r\n").encode())
        draft.rename(self.folder / grant / "new" / name)

    def seen(self, grant: str = "sales") -> list[dict[str, Any]]:
        """The events of what arrived so far. A mailbox is read in order: a last answer always makes one, and is not among
        them."""
        self.mail(answer(f"offer-{grant}@example.com", LAST, own=f"{self.mailed}@last.example"), grant)
        eventually(lambda: f"{self.mailed - 1}@last.example" in json.dumps(self.relay.events()), 30)
        return [event for event in self.relay.events() if event["data"].get("from") != LAST]


@contextmanager
def attacked(folder: Path, mailbox: str = "", more: str = "") -> Iterator[Attacked]:
    for grant in ("sales", "support"):
        for place in ("new", "cur", "tmp"):
            (folder / grant / place).mkdir(parents=True)
    with hostile.sink() as upstream:
        ports = service.settings(
            folder,
            upstream=upstream.port,
            tracking='thread_replies = true\nreferences = "always"',
            more=GRANTS.format(folder=folder, mailbox=mailbox) + more,
        )
        with service.running(folder, ports) as relay:
            eventually(lambda: relay.log.count("mailbox_watched") == 2)
            yield Attacked(relay, upstream, folder)


def answer(name: str, author: str, *fields: str, own: str = "", subject: str = "Re: Offer") -> str:
    lines = [*fields, f"From: <{author}>", "To: <sales@example.com>", f"Message-ID: <{own or author}>",
             f"In-Reply-To: <{name}>", f"Subject: {subject}"]  # fmt: skip
    return "\n".join(lines) + "\n\nNo.\n"


def bounce(name: str, *people: str, number: int, proof: str = "", field: str = "") -> str:
    groups = "\n\n".join(f"Final-Recipient: rfc822; {p}\nAction: failed\nStatus: 5.1.1" for p in people)
    return f"""{field}From: MAILER-DAEMON@evil.example
To: <sales@example.com>
Message-ID: <forged.{number}@evil.example>
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; evil.example
{proof}
{groups}

--b
Content-Type: text/rfc822-headers

Message-ID: <{name}>

--b--
"""


def complaint(name: str, person: str, number: int) -> str:
    return f"""From: abuse@evil.example
To: <sales@example.com>
Message-ID: <forged.{number}@evil.example>
Subject: complaint
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Version: 1
Original-Rcpt-To: {person}

--b
Content-Type: text/rfc822-headers

Message-ID: <{name}>

--b--
"""


def told(events: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [(e["type"].partition(".")[2], e["recipient"], e["data"].get("verified")) for e in events]


def test_about_others(tmp_path: Path) -> None:
    with attacked(tmp_path) as world:
        name = world.send("sales@example.com", "ann@example.net", "bob@example.net")
        world.mail(bounce(name, "eve@example.net", number=1))  # who was not sent it
        world.mail(complaint(name, "eve@example.net", number=2))
        world.mail(bounce(name, *(f"u{n}@example.net" for n in range(1_000)), number=3))
        world.mail(bounce(name, *["bob@example.net"] * 1_000, number=4))
        world.mail(complaint(name, "bob@example.net", number=5))
        world.mail(answer(name, "eve@evil.example"))
        assert told(world.seen()) == [
            ("bounce_detected", "bob@example.net", False),
            ("complained", "bob@example.net", False),
            ("replied", "", False),
        ]


def test_about_mail_of_another_grant(tmp_path: Path) -> None:
    with attacked(tmp_path) as world:
        world.send("sales@example.com", "ann@example.net")
        name = world.send("support@example.com", "ann@example.net")
        token = re.findall(r"ENVID=(\S+)", world.upstream.taken[-1].commands[0])[0]
        world.mail(bounce(name, "ann@example.net", number=1))
        world.mail(bounce(name, "ann@example.net", number=2, proof=f"Original-Envelope-Id: {token}\n"))
        world.mail(bounce("renamed@example.net", "ann@example.net", number=3, proof=f"Original-Envelope-Id: {token}\n"))
        world.mail(complaint(name, "ann@example.net", number=4))
        world.mail(answer(name, "ann@example.net", own="x@evil.example"))
        assert world.seen() == []
        world.mail(bounce(name, "ann@example.net", number=5), "support")
        assert told(world.seen("support"))[-1] == ("bounce_detected", "ann@example.net", False)


def test_what_proves_that_it_is_genuine(tmp_path: Path) -> None:
    with attacked(tmp_path) as world:
        name = world.send("sales@example.com", "ann@example.net", "bob@example.net")
        taken = {mail.recipients[0]: mail for mail in world.upstream.taken}
        envid = {who: re.findall(r"ENVID=(\S+)", mail.commands[0])[0] for who, mail in taken.items()}
        entry = {who: re.findall(rb"References: <([^>]+)>", mail.content)[0].decode() for who, mail in taken.items()}
        ann, bob = "ann@example.net", "bob@example.net"
        world.mail(bounce(name, bob, number=1, proof=f"Original-Envelope-Id: {envid[bob]}\n"))
        world.mail(bounce(name, bob, number=2, proof=f"Original-Envelope-Id: {envid[ann]}\n"))
        broken = envid[bob][:-1] + ("A" if envid[bob][-1] != "A" else "Q")
        world.mail(bounce(name, bob, number=3, proof=f"Original-Envelope-Id: {broken}\n"))
        world.mail(bounce(name, "forwarded@example.org", number=4, proof=f"Original-Envelope-Id: {envid[bob]}\n"))
        world.mail(answer(name, bob, f"References: <{entry[bob]}>", own="1@evil.example"))
        world.mail(answer(name, bob, f"References: <{entry[ann]}>", own="2@evil.example"))
        assert told(world.seen()) == [
            ("bounce_detected", bob, True),
            ("bounce_detected", bob, False),
            ("bounce_detected", bob, False),
            ("bounce_detected", bob, True),
            ("replied", bob, True),
            ("replied", bob, False),
        ]


async def test_what_the_receiving_server_found(tmp_path: Path) -> None:
    """In events, in notifications and on the page; a field that came with the message is not believed."""
    genuine = (
        "Authentication-Results: mx.example.com (it is us); dmarc=fail (p=none) header.from=evil.example;\n spf=pass\n"
    )
    forged = "Authentication-Results: mx.example.com; dmarc=pass\nAuthentication-Results: mx.evil.example; dmarc=pass\n"
    async with hooks.receiver() as hook:
        more = (
            f'[[webhooks]]\nurl = "{hook.url}"\nsecret = "{SECRET}"\n'
            'triggers = ["message.bounce_detected", "thread.replied"]\n'
            '[webhook_delivery]\nallow_private = ["127.0.0.1"]\n'
        )

        def attack() -> list[dict[str, Any]]:
            with attacked(tmp_path, 'authserv_id = "mx.example.com"', more) as world:
                name = world.send("sales@example.com", "ann@example.net")
                world.mail(bounce(name, "ann@example.net", number=1, field=genuine + forged))
                world.mail(answer(name, "ann@example.net", *(genuine + forged).splitlines(), own="1@evil.example"))
                events = world.seen()
                eventually(lambda: len(hook.accepted) == 3)
                with urllib.request.urlopen(f"http://127.0.0.1:{world.relay.admin}/live/messages") as page:
                    key = json.load(page)["messages"][0]["id"]
                with urllib.request.urlopen(f"http://127.0.0.1:{world.relay.admin}/live/messages/{key}") as page:
                    assert page.read().decode().count("not verified") == 1
                return events

        events = await asyncio.to_thread(attack)
        expected = {"verified": False, "authentication": {"dmarc": "fail", "spf": "pass"}}
        assert [{name: e["data"][name] for name in expected} for e in events] == [expected] * 2
        notifications = {received.json["id"]: received.json for received in hook.accepted}
        for event in events:
            notification = notifications[event["event_id"]]
            assert contract.errors(notification) == []
            assert {name: notification["data"]["object"][name] for name in expected} == expected
