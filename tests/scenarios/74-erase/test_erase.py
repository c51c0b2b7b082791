"""One recipient is handed out and erased, while the program runs, when it does not, and where it is killed in the middle. That nothing
is left is shown by the octets of all files, in each encoding in which an address can stand there."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.scenarios import hostile, service
from tests.until import eventually

ADA, BOB = "Ada.Lovelace@Bücher.example", "bob@example.org"
WIRE = "Ada.Lovelace@xn--bcher-kva.example"
SETTINGS = """
[[grants]]
id = "sales"
email = "sales@example.test"
addresses = ["*@example.test"]
mailbox = "maildir:{folder}/mail"
[mailbox]
poll_interval = "1s"
excerpt = true
[webhook_delivery]
allow_private = ["127.0.0.1"]
[[webhooks]]
url = "http://127.0.0.1:9/hook"
triggers = ["message.opened", "message.link_clicked", "thread.replied"]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""
TRACK = "X-Track: all"


def spellings() -> Iterable[bytes]:
    """In lower case, as the files are compared: by hand, not by the program's own means."""
    for address in (ADA, WIRE):
        text = address.lower()
        octets = text.encode()
        yield octets
        yield text.replace("@", "%40").encode()
        yield (
            "".join(c if c.isascii() else "".join(f"%{b:02x}" for b in c.encode()) for c in text)
            .replace("@", "%40")
            .encode()
        )
        yield "".join(c if c.isascii() else "".join(f"={b:02x}" for b in c.encode()) for c in text).encode()
        yield text.replace("@", "=40").encode()
        yield text.replace("@", "=").encode()
        yield text.replace("@", "&#64;").encode()
        yield json.dumps(text)[1:-1].encode()


def in_base64() -> Iterable[bytes]:
    """Of each alignment, as it is and in lower case, without the characters that others share."""
    for address in (ADA, WIRE, ADA.lower(), WIRE.lower()):
        for before in range(3):
            text = base64.b64encode(b" " * before + address.encode())
            yield text[4 * bool(before) : -4]


def naming(folder: Path, but: Iterable[str] = ()) -> list[str]:
    """The files that name her."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in but):
        octets = path.read_bytes()
        lower = octets.lower()
        if any(word in lower for word in spellings()) or any(word in octets for word in in_base64()):
            found.append(str(path.relative_to(folder)))
    return found


def call(relay: service.Service, method: str, path: str, body: Any = None) -> Any:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{relay.admin}{path}", method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": str(time.time_ns())},
    )  # fmt: skip
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def counted(relay: service.Service) -> dict[str, Any]:
    (row,) = call(relay, "GET", "/api/aggregates?by=label&step=all")["data"]
    return {name: value for name, value in row.items() if name != "at"}


def letter(subject: str, to: str) -> bytes:
    lines = [
        "From: sales@example.test", f"To: {to}", f"Subject: {subject}", f"Message-ID: <{subject.split()[0]}@example.test>", TRACK,
        "MIME-Version: 1.0", "Content-Type: text/html; charset=utf-8", "", "<p>Dear Ada, <a href=\"https://shop.example.net/"
        "?email=Ada.Lovelace%40xn--bcher-kva.example&amp;x=1\">here</a></p>", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def visit(relay: service.Service, content: bytes) -> list[str]:
    """The pixel and the link of a copy are asked for: the statuses and where the link leads."""
    pixels, links = hostile.tokens(content)
    said = []
    for path in (*pixels, *links):
        with hostile.Http(relay.http) as client:
            status, fields, _ = client.get(path, "User-Agent: Mozilla/5.0 (X11) Firefox/120.0")
            said.append(f"{status} {fields.get('location', '')}".strip())
    return said


def fill(folder: Path, relay: service.Service, upstream: Any) -> list[bytes]:
    """Mail to her alone, to both, to him about her; hits, an answer with an excerpt, a draft, a call of the API. The copies that
    arrived."""
    with hostile.Smtp(relay.smtp) as client:
        for subject, to in (("one for you", (WIRE,)), ("two for both", (WIRE, BOB)), (f"three about {WIRE}", (BOB,))):
            head = ", ".join(f"Someone <{address}>" for address in to)
            assert client.mail(letter(subject, head), *to, sender="sales@example.test").startswith("250")
    eventually(lambda: len(upstream.taken) == 4)
    copies = [taken.content for taken in upstream.taken]
    for content in copies:
        visit(relay, content)
    answer = (
        f"From: Ada <{WIRE}>\r\nTo: sales@example.test, {BOB}\r\nSubject: Re: two\r\nMessage-ID: <answer@example.net>\r\n"
        f"In-Reply-To: <two@example.test>\r\n\r\nYes, write to {WIRE} any time.\r\n"
    )
    (folder / "mail" / "new" / "1").write_bytes(answer.encode())
    eventually(lambda: "thread.replied" in relay.command("events", "--json").stdout, 30)
    person = [{"name": "Ada", "email": WIRE}]
    call(relay, "POST", "/v3/grants/sales/drafts", {"to": person, "subject": "draft", "body": "Hello"})
    call(relay, "POST", "/v3/grants/sales/messages/send", {"to": person, "subject": "by API", "body": "<p>Hi</p>"})
    eventually(lambda: len(upstream.taken) == 5)
    return copies


def settings(folder: Path, upstream: int) -> tuple[int, int, int]:
    for name in ("cur", "new", "tmp"):
        (folder / "mail" / name).mkdir(parents=True)
    return service.settings(
        folder, upstream=upstream, more=SETTINGS.format(folder=folder), admin='open = true\nkeep_messages = "1d"'
    )


def test_a_person_is_erased_while_the_program_runs(tmp_path: Path) -> None:
    state = tmp_path / "var"
    with hostile.sink() as upstream:
        ports = settings(tmp_path, upstream.port)
        with service.running(tmp_path, ports) as relay:
            copies = fill(tmp_path, relay, upstream)
            eventually(lambda: counted(relay)["delivered"] == 5)
            before = counted(relay)
            assert naming(state)

            # What there is of her, in lines.
            lines = [json.loads(line) for line in relay.command("export", "--recipient", ADA).stdout.splitlines()]
            kinds = {line["kind"] for line in lines}
            assert {"messages", "events", "notifications", "answers", "drafts", "kept"} <= kinds
            assert not any(line.get("recipient") == BOB for line in lines if not line.get("mention"))
            assert relay.command("export", "--recipient", "nobody@example.net").stdout == ""

            assert (
                "can't be undone" in relay.command("erase", "--recipient", ADA, code=2, stdin=subprocess.DEVNULL).stderr
            )
            said = relay.command("erase", "--recipient", ADA.upper(), "--yes")
            assert "erased: " in said.stdout
            assert naming(state) == []

            # He is untouched, what was counted too, and her links go on leading where they led, unrecorded.
            events = relay.events()
            assert {event["recipient"] for event in events} == {BOB}
            assert [sent["subject"] for sent in map(json.loads, relay.command("messages", "list", "--json").stdout.splitlines())] == [
                "three about erased", "two for both",
            ]  # fmt: skip
            assert counted(relay) == before
            for content, statuses in zip(copies, map(lambda c: visit(relay, c), copies), strict=True):
                assert statuses[0] == "200", content
                assert statuses[1].startswith("302 https://shop.example.net/?email=")
            eventually(lambda: len(relay.events()) > len(events))
            assert {event["recipient"] for event in relay.events()} == {BOB}
            relay.command("erase", "--recipient", ADA, "--yes")  # his hits named her in the link's address
            assert naming(state) == []
            assert relay.command("export", "--recipient", ADA).stdout == ""


def test_mail_on_its_way_to_a_person_stops_an_erasure_until_it_is_said_to_go_too(tmp_path: Path) -> None:
    """With the program not running; and a kill in the middle is gone through again."""
    state = tmp_path / "var"
    later = {"rcpt": lambda command: "450 4.2.0 later" if "xn--" in command else None}
    with hostile.sink(later) as upstream:
        ports = settings(tmp_path, upstream.port)
        with service.running(tmp_path, ports) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(letter("one", f"{WIRE}, {BOB}"), WIRE, BOB, sender="sales@example.test").startswith(
                    "250"
                )
            eventually(lambda: len(relay.waiting()) == 1)
            body = {
                "to": [{"email": WIRE}],
                "subject": "later",
                "body": "<p>Hi</p>",
                "send_at": int(time.time()) + 86_400,
            }
            call(relay, "POST", "/v3/grants/sales/messages/send", body)
            (waiting,) = relay.waiting()
            refused = relay.command("erase", "--recipient", WIRE, "--yes", code=1)
            assert waiting.stem in refused.stderr
            assert refused.stdout == ""
        journal = state / "journal"
        assert naming(state)
        for seconds in (0.3, 0.5, 0.8):
            words = [sys.executable, "-m", "relay", "erase", "--recipient", WIRE, "--yes", "--queue"]
            process = subprocess.Popen([*words, "--config", str(relay.config)], cwd=service.ROOT)
            time.sleep(seconds)  # somewhere in the middle: wherever that is
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        done = relay.command("erase", "--recipient", WIRE, "--yes", "--queue")
        assert done.stderr == ""
        assert naming(state) == []
        assert relay.waiting() == []
        assert not journal.exists() or list(journal.glob("*.jsonl")) == []
