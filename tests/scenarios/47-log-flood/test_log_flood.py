"""Strangers can't fill a disk by way of the log: a session that is turned away is one line of bounded length, and all of
it is counted."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

SESSIONS = 3
LONG = b"\x1b[31m\x7f" * 1900


def wrong(name: bytes) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0x")


FLOODS = {
    "a long name, and MAIL again and again": [b"EHLO " + LONG, *[b"MAIL FROM:<a@b.c>"] * 19],
    "wrong logins with long names": [b"EHLO x", *[wrong(LONG[:6000] + b"%d" % n) for n in range(2)]],
    "unknown commands": [b"EHLO x", *[b"X%d " % n + LONG for n in range(4)]],
    "lines without an end": [b"EHLO x", *[LONG * 2] * 19],
    "bad syntax": [b"EHLO x", *[b"MAIL " + LONG, b"RCPT " + LONG, b"AUTH \xff\xfe", b"EHLO", b"STARTTLS x"] * 3],
}


@pytest.mark.parametrize("said", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_less_is_written_than_came(tmp_path: Path, said: list[bytes], form: str) -> None:
    ports = service.settings(tmp_path, upstream=9, smtp='auth = "users"\nallow = []')
    sent = 0
    with service.running(tmp_path, ports, words=("--log-format", form)) as relay:
        eventually(lambda: relay.log.replace("trackrelay ready", "").count("ready"))  # the last line of the start
        before = len(relay.log.encode())
        for _ in range(SESSIONS):
            with hostile.Smtp(relay.smtp, hello="") as client:
                for line in said:
                    sent += len(line) + 2
                    client.ask(line)

        def done() -> bool:
            return hostile.metrics(relay.admin)["trackrelay_smtp_connections"] == 0

        eventually(done)
        written = relay.log.encode()[before:]
        counted = hostile.metrics(relay.admin)
    lines = written.count(b"\n")
    print(f"\n{len(written)} bytes in {lines} lines for {sent} bytes: {len(written) / sent:.2f}")
    assert lines <= SESSIONS
    assert len(written) <= max(sent, lines * 350)
    refused = sum(n for name, n in counted.items() if name.startswith("trackrelay_smtp_refused_commands_total"))
    assert refused >= SESSIONS * 2
