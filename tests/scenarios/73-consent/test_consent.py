"""A recipient looks at what is recorded, refuses, and is not tracked from the next message on: in a browser without script
and by the keyboard, over two processes; and others who are on the list, at each door."""

from __future__ import annotations

import json
import re
import smtplib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import Upstream
from tests.peers import browser
from tests.scenarios import hostile, milters, service
from tests.until import eventually

BOB, ANN, EVE = "bob@example.net", "ann@example.net", "eve@example.net"
MORE = """
[privacy]
on_request = "erase"
[[rules]]
to = "*@strict.example"
suppress = "reject"
opens = true
links = true
[[rules]]
from = "late@example.com"
suppress = "reject"
opens = true
links = true
"""


def letter(number: int, sender: str = "news@example.com") -> bytes:
    return (
        f"From: {sender}\r\nTo: list@example.com\r\nSubject: {number}\r\nMessage-ID: <{number}@example.com>\r\n"
        'Content-Type: text/html\r\n\r\n<html><body><a href="https://good.example/">one</a></body></html>\r\n'
    ).encode()


def send(relay: service.Service, content: bytes, *people: str, sender: str = "news@example.com") -> dict[str, Any]:
    """The refused recipients, with what was said of each."""
    with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=30) as client:
        return client.sendmail(sender, people, content)


def copies(upstream: Upstream, number: int, expected: int) -> dict[str, str]:
    """What each recipient of that message got."""

    def look() -> dict[str, str]:
        got = [one for one in upstream.taken if f"Subject: {number}\r\n".encode() in one.content and one.reverse_path]
        return {path: one.content.decode() for one in got for path in one.recipients}

    return eventually(lambda: found if len(found := look()) >= expected else None)


def links(copy: str) -> list[str]:
    return re.findall(r'"(http://[^"]*/[oc]/[^"]*)"', copy)


def explained(relay: service.Service, number: int, recipient: str) -> Any:
    """The reason in that recipient's copy, as the API has it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.admin}/api/messages?limit=50", timeout=15) as answer:
        found = [one for one in json.load(answer)["data"] if one["subject"] == str(number)]
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.admin}/api/messages/{found[0]['id']}", timeout=15) as answer:
        message = json.load(answer)["data"]
    return next(one["reason"] for one in message["message"]["copies"] if one["recipient"] == recipient)


def chosen_by_keyboard(page: Any, label: str) -> None:
    """Goes from control to control until that button has the focus, as the browser says of its name."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.get_by_role("button", name=label, exact=True).and_(page.locator(":focus")).count():
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"no way to {label!r}")


def test_by_the_page_and_at_each_door(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(
            tmp_path,
            upstream=upstream.port,
            tracking='opens = true\nlinks = true\nsuppress = "untrack"\nabout_link = true',
            more=MORE,
        )
        with (
            service.running(tmp_path, ports, only="smtp,queue,admin") as relay,
            service.running(tmp_path, ports, only="http"),
            browser.running() as chromium,
        ):
            assert send(relay, letter(1), BOB, ANN, EVE) == {}
            first = copies(upstream, 1, 3)
            about = {person: re.findall(r'"(http://[^"]*/about/[^"]*)"', copy)[0] for person, copy in first.items()}
            assert len(set(about.values())) == 3

            # Who looks changes nothing; who is in a dark room with a small phone can read it.
            for scheme in ("light", "dark"):
                phone = chromium.new_context(
                    viewport={"width": 320, "height": 640}, color_scheme=scheme, locale="de-DE"
                )
                page = phone.new_page()
                seen = browser.watch(page)
                page.goto(about[BOB])
                assert page.title() == "Über diese Nachricht"
                assert page.evaluate("document.documentElement.scrollWidth") <= 320
                dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 22)"
                assert dark == (scheme == "dark")
                assert seen.clean
                phone.close()

            # Without script, by the keyboard.
            plain = chromium.new_context(java_script_enabled=False, locale="en-GB")
            page = plain.new_page()
            page.goto(about[BOB])
            assert "b•••@example.net" in page.get_by_role("main").inner_text()
            chosen_by_keyboard(page, "Stop tracking me")
            page.get_by_role("status").wait_for()
            assert page.get_by_role("heading", level=1).inner_text() == "Thank you"
            page.goto(about[ANN] + "?lang=fr")
            page.get_by_role("button", name="Ne plus me suivre et supprimer mes données").click()
            page.get_by_role("status").wait_for()
            assert plain.cookies() == []
            plain.close()

            # The next message, which another process takes.
            assert send(relay, letter(2), BOB, ANN, EVE) == {}
            second = copies(upstream, 2, 3)
            assert [bool(links(second[person])) for person in (BOB, ANN, EVE)] == [False, False, True]
            assert explained(relay, 2, BOB) == "suppressed"
            assert not explained(relay, 2, EVE)
            assert "message.tracking_refused" in {event["type"] for event in relay.events()}

            # Who asked to be erased is, and goes on being known by a digest.
            eventually(lambda: relay.command("suppress", "requests").stdout == "", pause=0.2)
            shown = [json.loads(line) for line in relay.command("suppress", "list", "--json").stdout.splitlines()]
            assert {(one["recipient"], one["reason"], one["grant"], one["source"]) for one in shown} == {
                (BOB, "refusal", None, "page"), (None, "refusal", None, "page"),
            }  # fmt: skip
            assert ANN not in relay.command("messages", "list").stdout
            assert send(relay, letter(8), ANN) == {}
            assert not links(copies(upstream, 8, 1)[ANN])

            # A link that was sent before leads on.
            with_link = next(link for link in links(first[BOB]) if "/c/" in link)
            assert followed(with_link) == (302, "https://good.example/")
            of_eve = next(link for link in links(first[EVE]) if "/c/" in link)
            assert followed(of_eve)[0] == 302

            def clickers() -> set[str]:
                return {event["recipient"] for event in relay.events() if event["type"] == "message.link_clicked"}

            eventually(lambda: EVE in clickers())
            assert BOB not in clickers()  # what he does is not recorded any more

            # By hand: refused at RCPT, while others go on; untracked where only that is set; and later, where From decides.
            relay.command("suppress", "add", "carl@strict.example", EVE)
            refused = send(relay, letter(3), BOB, "Carl@STRICT.example", EVE, "dora@strict.example")
            assert [(person, code, words[:5]) for person, (code, words) in refused.items()] == [
                ("Carl@STRICT.example", 550, b"5.7.1")
            ]
            third = copies(upstream, 3, 3)
            assert {person for person, copy in third.items() if links(copy)} == {"dora@strict.example"}
            assert send(relay, letter(4, "late@example.com"), EVE, "fay@example.net", sender="late@example.com") == {}
            assert set(copies(upstream, 4, 1)) == {"fay@example.net"}
            report = eventually(
                lambda: next((one for one in upstream.taken if one.recipients == ["late@example.com"]), None)
            )
            assert EVE.encode() in report.content
            assert b"5.7.1" in report.content
            with pytest.raises(smtplib.SMTPDataError) as said:
                send(relay, letter(5, "late@example.com"), EVE, sender="late@example.com")
            assert (said.value.smtp_code, said.value.smtp_error[:5]) == (550, b"5.7.1")

            # By the API.
            status, answer = posted(relay, "/v3/grants/default/messages/send", {
                "to": [{"email": "carl@strict.example"}], "from": [{"email": "news@example.com"}], "subject": "6", "body": "<p>x",
            })  # fmt: skip
            assert status == 422, answer
            assert "5.7.1" in json.dumps(answer)

            # And back again.
            relay.command("suppress", "remove", BOB)
            assert send(relay, letter(7), BOB) == {}
            assert links(copies(upstream, 7, 1)[BOB])


def test_by_a_mail_server_that_asks(tmp_path: Path) -> None:
    tracking = 'opens = true\nlinks = true\nsuppress = "reject"'
    with hostile.sink() as upstream:
        ports, milter = milters.settings(tmp_path, tracking=tracking)
        with service.running(tmp_path, ports) as relay, milters.mail_server(upstream, milter) as postfix:
            relay.command("suppress", "add", BOB)
            relay.command("suppress", "add", ANN, "--reason", "refusal")
            with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
                refused = client.sendmail("news@example.com", [BOB, EVE], letter(1))
                assert [(who, code, words[:5]) for who, (code, words) in refused.items()] == [(BOB, 550, b"5.7.1")]
                assert client.sendmail("news@example.com", [ANN], letter(2)) == {}
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    client.sendmail("news@example.com", [BOB], letter(3))
            assert links(copies(upstream, 1, 1)[EVE])
            assert not links(copies(upstream, 2, 1)[ANN])


BOUNCE = """From: MAILER-DAEMON@mx.example
To: <news@example.com>
Message-ID: <{number}.report@mx.example>
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; {recipient}
Action: failed
Status: {status}
Diagnostic-Code: smtp; 550 {status} so it is

--b
Content-Type: text/rfc822-headers

Message-ID: {message_id}

--b--
"""


def test_a_verified_bounce_puts_on_the_list_and_no_other_does(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    for place in ("new", "cur", "tmp"):
        (inbox / place).mkdir(parents=True)
    more = f'[[grants]]\nid = "sales"\naddresses = ["*@example.com"]\nmailbox = "maildir:{inbox}"\n[mailbox]\npoll_interval = "1s"\n'
    with hostile.sink() as upstream:
        ports = service.settings(
            tmp_path, upstream=upstream.port, tracking='opens = true\nsuppress = "untrack"', more=more
        )
        with service.running(tmp_path, ports) as relay:
            eventually(lambda: "mailbox_watched" in relay.log)
            made = letter(1).replace(b"Message-ID: <1@example.com>\r\n", b"")  # ours is a token then
            for person in (BOB, ANN):
                assert send(relay, made, person) == {}
            first = copies(upstream, 1, 2)
            ours = {person: re.findall(r"(?im)^message-id: *(<[^>]*>)", copy)[0] for person, copy in first.items()}
            assert send(relay, letter(2), BOB, ANN, EVE) == {}
            for number, (recipient, status, message_id) in enumerate(
                [(ANN, "5.2.2", ours[ANN]), (EVE, "5.1.1", "<2@example.com>"), (BOB, "5.1.1", ours[BOB])]
            ):
                text = BOUNCE.format(number=number, recipient=recipient, status=status, message_id=message_id)
                (inbox / "tmp" / str(number)).write_bytes(text.replace("\n", "\r\n").encode())
                (inbox / "tmp" / str(number)).rename(inbox / "new" / f"{number}.x")
            eventually(lambda: sum(e["type"] == "message.bounce_detected" for e in relay.events()) == 3, pause=0.2)
            shown = [json.loads(line) for line in relay.command("suppress", "list", "--json").stdout.splitlines()]
            assert [(one["recipient"], one["reason"], one["grant"], one["source"]) for one in shown] == [
                (BOB, "bounce", "sales", "mailbox")
            ]
            assert send(relay, letter(3), BOB, ANN, EVE) == {}
            third = copies(upstream, 3, 3)
            assert [bool(links(third[person])) for person in (BOB, ANN, EVE)] == [False, True, True]


class Kept(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def followed(url: str) -> tuple[int, str]:
    try:
        with urllib.request.build_opener(Kept).open(url, timeout=15) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("Location", "")


def posted(relay: service.Service, path: str, body: Any) -> tuple[int, Any]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{relay.admin}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, json.load(answer)
