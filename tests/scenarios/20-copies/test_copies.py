"""Each recipient has a copy of its own and knows of no other; who was put off gets it again, and nobody else does."""

import email
import re
from pathlib import Path

import pytest

from tests.fakes.upstream import Kept
from tests.scenarios import hostile, service
from tests.until import eventually

FIVE = [f"r{i}@example.test" for i in range(1, 6)]
LETTER = hostile.letter("", "X-Track: all", "Cc: r2@example.test", "Bcc: r4@example.test, r5@example.test", to=FIVE[0])


def arrived(taken: list[Kept]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for kept in taken:
        for recipient in kept.recipients:
            found.setdefault(recipient, []).append(kept.content)
    return found


def stable(content: bytes) -> bytes:
    """Without what differs by design: the tokens."""
    return re.sub(rb"/[oc]/[\w-]+", b"/TOKEN", content)


def test_one_of_five_is_put_off(tmp_path: Path) -> None:
    first = iter(["450 4.2.1 mailbox busy"])
    with hostile.sink({"rcpt": lambda command: next(first, None) if FIVE[2] in command else None}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(LETTER, *FIVE).startswith("250")
            assert sorted(arrived(upstream.taken)) == sorted(set(FIVE) - {FIVE[2]})
            waiting = relay.command("queue", "list").stdout
            assert FIVE[2] in waiting
            assert FIVE[0] not in waiting
            relay.command("queue", "retry", "--all")
            eventually(lambda: len(upstream.taken) == 5)
            relay.emptied()
    found = arrived(upstream.taken)
    assert {recipient: len(copies) for recipient, copies in found.items()} == dict.fromkeys(FIVE, 1)
    assert sum(FIVE[2] in line for line in upstream.lines) == 2
    copies = [found[recipient][0] for recipient in FIVE]
    assert len(set(copies)) == 5  # tokens of its own for each
    assert len({stable(copy) for copy in copies}) == 1  # and nothing else that differs
    for copy in copies:
        message = email.message_from_bytes(copy)
        assert (message["To"], message["Cc"], message["Bcc"]) == (FIVE[0], FIVE[1], None)
        assert message["Message-ID"] == "<letter-1@example.test>"
        assert not any(hidden.encode() in copy for hidden in FIVE[2:])
    tokens = [token for copy in copies for kind in hostile.tokens(copy) for token in kind]
    assert len(set(tokens)) == 10


CUTS = ["connect", "banner", "ehlo", "mail", "rcpt", "rcpt2", "data", "body", "body_half"]


@pytest.mark.parametrize("does", ["drop", "close:421 4.3.2 going down", "451 4.3.0 later"])
def test_cut_before_the_end_arrives_once(tmp_path: Path, does: str) -> None:
    """At each point before the final dot, one message after the other through the same service."""
    points = [p for p in CUTS if does[0] != "4" or p not in ("connect", "banner", "ehlo")]
    with hostile.sink(half=200) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, tracking="per_recipient = false")
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            for point in points:
                upstream.script = {point: [does, None]}
                upstream.met.clear()
                with hostile.Smtp(relay.smtp) as client:
                    answer = client.mail(LETTER, "b@example.test", "c@example.test", sender=f"{point}@example.test")
                assert answer.startswith("250"), f"{point}: {answer}"
            upstream.script = {}
            relay.command("queue", "retry", "--all")
            eventually(lambda: sum(len(kept.recipients) for kept in upstream.taken) >= 2 * len(points))
            relay.emptied()
    for point in points:
        own = [kept for kept in upstream.taken if kept.reverse_path == f"{point}@example.test"]
        assert sorted(r for kept in own for r in kept.recipients) == ["b@example.test", "c@example.test"], point


def test_cut_after_the_dot_is_said_to_be_uncertain(tmp_path: Path) -> None:
    """The upstream has it and goes without a word: it gets it again, the same bytes under the same Message-ID, and the
    queue says how sure we are."""
    with hostile.sink({"dot_half": ["drop", None]}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(LETTER).startswith("250")
            entry = eventually(lambda: relay.command("queue", "list", "--json").stdout)
            identifier = re.search(r'"entry_id":"(\w+)"', entry)[1]
            assert "uncertain     after 1 attempt" in relay.command("queue", "show", identifier).stdout
            relay.command("queue", "retry", identifier)
            eventually(lambda: len(upstream.taken) == 2)
    assert upstream.taken[0].content == upstream.taken[1].content
