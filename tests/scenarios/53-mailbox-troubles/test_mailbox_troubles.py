"""One program with a mailbox for each way in which a server does not do what it should: it refuses, it is away, it says
nothing, it hangs up, it can't hand out a message. The others go on; the log has one line for each trouble; no server is
asked again and again; and `check` says the same."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.imap_folder import Server, serving
from tests.scenarios import hostile, service
from tests.until import eventually

WORDS = {  # grant -> what its server says to a login
    "password": "NO [AUTHENTICATIONFAILED] Authentication failed.",
    "exchange": "NO LOGIN failed.",
    "unavailable": "NO [UNAVAILABLE] Temporary authentication failure.",
    "crowded": "NO [ALERT] Too many simultaneous connections. (Failure)",
    "disconnected": "BAD User is authenticated but not connected.",
    "dropping": "drop",
    "silent": "hang",
}
REFUSED = ("password", "exchange")
AWAY = ("unavailable", "crowded", "disconnected", "dropping", "numberless")
GOOD = ("good", "poisoned", "breaking", "asking")
GRANT = """
[[grants]]
id = "{name}"
email = "{name}@example.test"
addresses = ["{name}@example.test"]
mailbox = ["imap://{name}@127.0.0.1:{port}/INBOX"]
mailbox_password = "a-s3cret"
"""
MESSAGE = (
    "From: {name}@example.test\r\nTo: ann@example.org\r\nMessage-ID: <offer-{name}@example.test>\r\nSubject: Offer\r\n"
    "X-Track: thread_replies\r\n\r\nHello.\r\n"
)


def answer(name: str, number: int) -> bytes:
    return (
        f"From: ann@example.org\r\nTo: {name}@example.test\r\nMessage-ID: <{name}.{number}@example.org>\r\n"
        f"In-Reply-To: <offer-{name}@example.test>\r\nSubject: Re: Offer\r\n\r\nYes.\r\n"
    ).encode()


def told(relay: service.Service, kind: str) -> list[dict[str, Any]]:
    return [event for event in relay.events() if event["type"] == kind]


def answers(relay: service.Service) -> set[str]:
    return {event["data"]["reply_internet_id"].partition("@")[0] for event in told(relay, "thread.replied")}


@pytest.mark.timeout(400)  # two starts, a check, and pauses that have to pass
def test_each_is_what_it_is_and_holds_up_no_other(tmp_path: Path) -> None:
    servers = {name: Server() for name in (*WORDS, "numberless", *GOOD)}
    for name, words in WORDS.items():
        servers[name].refuse["LOGIN"] = words
    servers["numberless"].uidvalidity_told = False
    servers["breaking"].refuse["IDLE"] = "drop"
    servers["asking"].id_needed, servers["asking"].capability = True, "IMAP4rev1 IDLE ID AUTH=PLAIN LOGINDISABLED"
    with ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(serving(server))
        upstream = stack.enter_context(hostile.sink())
        grants = "".join(GRANT.format(name=name, port=server.port) for name, server in servers.items())
        ports = service.settings(tmp_path, upstream=upstream.port, more=f'{grants}[mailbox]\npoll_interval = "1s"\n')
        began = time.monotonic()
        with service.running(tmp_path, ports) as relay:
            for name in servers:
                with hostile.Smtp(relay.smtp) as client:
                    mail = MESSAGE.format(name=name).encode()
                    assert client.mail(mail, "ann@example.org", sender=f"{name}@example.test").startswith("250")
            eventually(lambda: all(lines(relay, "mailbox_watched", name) for name in GOOD), 120)
            servers["poisoned"].poison[2] = "drop"
            for number in (1, 2, 3):
                for name in GOOD:
                    servers[name].add(answer(name, number), date="01-Jan-2026 00:00:00 +0000")
            expected = {f"{name}.{n}" for name in GOOD for n in (1, 2, 3)} - {"poisoned.2"}
            eventually(lambda: relay.log.count(" thread_replied ") >= len(expected), 120)
            assert answers(relay) == expected
            eventually(lambda: all(lines(relay, "mailbox_unreachable", name) for name in AWAY), 120)
            for name in servers:  # one line for each trouble, and not one for each attempt
                warned = [line for line in lines(relay, "mailbox_", name) if "watched" not in line]
                assert len(warned) <= 1, warned
                attempts = sum(command.startswith(("LOGIN", "AUTHENTICATE")) for command in servers[name].heard)
                assert attempts <= 1 + (time.monotonic() - began), name
            assert [len(lines(relay, "message_passed_over", name)) for name in GOOD] == [0, 1, 0, 0]
            assert "uid=2 " in lines(relay, "message_passed_over", "poisoned")[0] + " "
            assert all(lines(relay, "mailbox_refused", name) for name in REFUSED)
            eventually(lambda: relay.log.count(" grant_expired ") >= len(REFUSED), 120)
            assert {event["grant_id"] for event in told(relay, "grant.expired")} == set(REFUSED)
            assert "Traceback" not in relay.log
            assert "a-s3cret" not in relay.log
            servers["silent"].refuse["LOGIN"] = "drop"  # check would wait for it a minute
            said = relay.command("check", code=1).stdout.splitlines()
        found = {name: [line for line in said if f" grants.{name}: " in line] for name in servers}
        assert all(len(found[name]) == 1 for name in servers), found
        assert all(found[name][0].startswith("FAILED") for name in (*WORDS, "numberless"))
        assert all(found[name][0].startswith("ok") for name in GOOD if name != "poisoned")
        assert found["poisoned"][0].startswith("warning")
        assert "INBOX UID 2: " in found["poisoned"][0]
        assert "no UIDVALIDITY" in found["numberless"][0]
        servers["password"].refuse.clear()
        with service.running(tmp_path, ports) as relay:
            eventually(lambda: " grant_updated " in relay.log, 120)
            [updated] = told(relay, "grant.updated")
            assert updated["grant_id"] == "password"
            assert len(told(relay, "grant.expired")) == len(REFUSED)


def lines(relay: service.Service, event: str, name: str) -> list[str]:
    return [line for line in relay.log.splitlines() if event in line and f"grant={name} " in line]
