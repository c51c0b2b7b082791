"""The commands as an operator types them: outputs, exit codes, the search for the file."""

import json
import os
import re
import smtplib
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import peers
from tests.scenarios import service
from tests.scenarios.service import command
from tests.until import eventually

MESSAGE = (
    b"From: ann@example.test\r\nTo: bob@example.test\r\nSubject: Hello\r\nX-Track: all\r\nX-Track-Label: l1\r\n"
    b"Message-ID: <one@example.test>\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\nContent-Type: text/html\r\n\r\n"
    b'<p>Hi <a href="https://example.test/?a=1&amp;b=2">there</a></p>\r\n'
)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[service.Service]:
    """A service whose upstream is not there: what is sent waits in the spool."""
    ports = service.settings(tmp_path, upstream=peers.free_port())
    with service.running(tmp_path, ports) as running:
        yield running


def send(port: int, content: bytes = MESSAGE) -> str:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo()
        client.mail("ann@example.test")
        client.rcpt("bob@example.test")
        code, words = client.data(content)
    assert (code, words[:9]) == (250, b"2.0.0 Ok "), words
    return words.decode().split()[2]


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def spooled(relay: service.Service) -> list[Path]:
    """The tracked messages that wait on disk."""
    folder = relay.folder / "var" / "spool"
    return [path for path in folder.rglob("*") if path.is_file() and b"/o/" in path.read_bytes()]


def test_what_waits_is_listed_shown_and_dropped(relay: service.Service) -> None:
    message_id = send(relay.smtp)
    (entry,) = eventually(
        lambda: [x for x in map(json.loads, relay.command("queue", "list", "--json").stdout.splitlines())]
    )
    assert "bob@example.test" in relay.command("queue", "list").stdout
    assert message_id in relay.command("queue", "show", entry["entry_id"]).stdout
    relay.command("queue", "drop", entry["entry_id"])
    eventually(lambda: "bob@example.test" not in relay.command("queue", "list").stdout)
    assert spooled(relay) == []
    line = eventually(lambda: re.findall(r" spool dropped .*", relay.log))[0]
    assert f"entry={entry['entry_id']} message_id={message_id} kind=mail by=" in line
    (copy,) = json.loads(relay.command("messages", "show", "--json", message_id).stdout)["copies"]
    assert (copy["state"], copy["reply"][:42]) == ("never", "given up: dropped from the queue; the last")
    assert get(f"http://127.0.0.1:{relay.admin}/live/messages/{message_id}")[1].count(b'"Given up"') == 1


def test_events_of_a_running_service(relay: service.Service) -> None:
    message_id = send(relay.smtp)
    (entry,) = eventually(lambda: spooled(relay))
    address = re.search(rb"http://127\.0\.0\.1:\d+/o/[\w-]+", entry.read_bytes())[0].decode()
    for _ in range(2):
        assert get(address)[0] == 200
    opened = [row for row in relay.events() if row["type"] == "message.opened"]
    assert [(row["message_id"], row["recipient"], row["counted"]) for row in opened] == [
        (message_id, "bob@example.test", True),
        (message_id, "bob@example.test", False),  # a repeat within the minute
    ]
    human = relay.command("events", "--limit", "1").stdout
    assert "message.opened" in human
    assert len(human.splitlines()) == 1


def test_a_message_with_a_header_that_cannot_be_read(relay: service.Service) -> None:
    """Why nothing is tracked: in the record, by the API, on the page, in the log."""
    message_id = send(relay.smtp, MESSAGE.replace(b"X-Track: all", b"X-Track: all\r\nX-Track-Opens: perhaps"))
    sentence = "X-Track-Opens: 'perhaps' is neither yes nor no; write yes, no, true, false, on, off, 1 or 0"
    assert f"invalid       {sentence}\n" in relay.command("messages", "show", "<one@example.test>").stdout
    assert "untracked:invalid_instruction" in relay.command("events", "--message", message_id).stdout
    told = json.loads(get(f"http://127.0.0.1:{relay.admin}/api/messages/{message_id}")[1])["data"]["message"][
        "explanation"
    ]
    assert (told["invalid_header"], told["invalid"]) == ("X-Track-Opens", sentence)
    assert sentence in json.loads(get(f"http://127.0.0.1:{relay.admin}/live/messages/{message_id}")[1])["reason"]
    eventually(
        lambda: f"outbound invalid_instruction message_id={message_id} header=X-Track-Opens reason=" in relay.log
    )
    assert " peer=127.0.0.1 " in eventually(lambda: re.findall(r" delivery accepted .*", relay.log))[0]


def test_api_keys(tmp_path: Path) -> None:
    ports = service.settings(tmp_path, upstream=peers.free_port(), admin="open = false")
    with service.running(tmp_path, ports, only="admin") as relay:
        page = f"http://127.0.0.1:{relay.admin}/live/messages"
        assert get(page)[0] == 401
        key = relay.command("api-key", "create", "ops").stdout
        assert key.strip()
        assert key.count("\n") == 1
        assert get(page, Authorization=f"Bearer {key.strip()}")[0] == 200
        assert "ops" in relay.command("api-key", "list").stdout
        assert key.strip() not in relay.command("api-key", "list").stdout
        assert "already" in relay.command("api-key", "create", "ops", code=1).stderr
        relay.command("api-key", "revoke", "ops")
        assert get(page, Authorization=f"Bearer {key.strip()}")[0] == 401
        assert "no key" in relay.command("api-key", "revoke", "ops", code=1).stderr
        assert key.strip().encode() not in (tmp_path / "var" / "trackrelay.db").read_bytes()


def test_a_backup_made_while_running_is_a_whole_state(relay: service.Service, tmp_path: Path) -> None:
    message_id = send(relay.smtp)
    eventually(lambda: spooled(relay))
    relay.command("backup", str(tmp_path / "copy"))
    copy = tmp_path / "copy"
    with sqlite3.connect(copy / "trackrelay.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT message_id FROM messages").fetchall() == [(message_id,)]
    assert (copy / "keys" / "tokens.json").read_bytes() == (tmp_path / "var" / "keys" / "tokens.json").read_bytes()
    assert any(b"/o/" in p.read_bytes() for p in (copy / "spool").rglob("*") if p.is_file())
    assert (copy.stat().st_mode & 0o077) == 0
    assert "not empty" in relay.command("backup", str(copy), code=2).stderr


def test_token_keys(relay: service.Service) -> None:
    assert len(relay.command("token-key", "list").stdout.strip().splitlines()) >= 1
    relay.command("token-key", "rotate")
    assert len(json.loads((relay.folder / "var" / "keys" / "tokens.json").read_text())["keys"]) == 2


def test_run_without_an_upstream(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text("")
    done = command("run", "--config", str(tmp_path / "relay.toml"))
    assert done.returncode == 2
    assert "upstream.url" in done.stderr


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('[smtp]\nlisten = "here"\nlisen = []\n[tracking]\nopens = "yes"\n')
    done = command("run", "--config", str(file))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert [line.split(" ")[0] for line in lines] == [f"{file}:{n}:" for n in (2, 3, 5)]
    assert "smtp.lisen: " in lines[1]
    assert "did you mean listen?" in lines[1]


@pytest.mark.parametrize("words", [[], ["nothing"], ["run", "--only", "nobody"], ["queue"]])
def test_bad_usage(words: list[str]) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert "usage" in done.stderr


class TestRewrite:
    """`trackrelay rewrite` in a folder without a configuration."""

    def rewrite(self, folder: Path, message: bytes, *words: str) -> bytes:
        env = {k: v for k, v in os.environ.items() if k != "TRACKRELAY_CONFIG"}
        env["PYTHONPATH"] = str(service.ROOT)
        done = command("rewrite", *words, cwd=folder, input=message, text=False, env=env)
        assert done.returncode == 0, done.stderr
        content: Any = done.stdout  # text=False
        return bytes(content)

    def test_headers_decide(self, tmp_path: Path) -> None:
        after = self.rewrite(tmp_path, MESSAGE)
        assert after.count(b"http://127.0.0.1:8080/c/") == 1
        assert after.count(b"http://127.0.0.1:8080/o/") == 1
        assert b"X-Track" not in after
        assert list(tmp_path.iterdir()) == []

    def test_untouched_is_the_same_bytes(self, tmp_path: Path) -> None:
        plain = b"From: a@x.test\nTo: b@x.test\nMessage-ID: <a@x>\nDate: Mon, 05 Jan 2026 10:00:00 +0000\n\nhello\n.\n"
        assert self.rewrite(tmp_path, plain) == plain
        assert self.rewrite(tmp_path, plain, "--opens", "--links") == plain

    def test_lf_stays_lf(self, tmp_path: Path) -> None:
        after = self.rewrite(tmp_path, MESSAGE.replace(b"\r\n", b"\n"))
        assert b"/c/" in after
        assert b"\r" not in after

    def test_flags_are_defaults(self, tmp_path: Path) -> None:
        bare = MESSAGE.replace(b"X-Track: all\r\n", b"")
        assert b"/o/" not in self.rewrite(tmp_path, bare)
        assert b"/o/" in self.rewrite(tmp_path, bare, "--opens")
        assert b"/o/" not in self.rewrite(tmp_path, MESSAGE.replace(b"all", b"links"), "--opens")

    def test_explain(self, tmp_path: Path) -> None:
        report = json.loads(self.rewrite(tmp_path, MESSAGE, "--explain"))
        assert report["tracked"] is True
        assert report["reason"] is None
        assert report["instructions"]["opens"] is True
        assert report["instructions"]["label"] == "l1"
        assert report["instructions"]["source"]["opens"].lower() == "x-track"
        assert report["headers"]["removed"] == ["X-Track", "X-Track-Label"]
        assert [part["action"] for part in report["parts"]] == ["edited"]
        (link,) = report["links"]
        assert (link["before"], link["action"], link["tag"], link["index"]) == (
            "https://example.test/?a=1&b=2", "tracked", "a", 0,
        )  # fmt: skip
        assert link["after"].startswith("http://127.0.0.1:8080/c/")
        assert set(report["pixel"]) == {"part", "place", "reason"}
        untracked = json.loads(self.rewrite(tmp_path, MESSAGE.replace(b"all", b"none"), "--explain"))
        assert (untracked["tracked"], untracked["reason"]) == (False, "not_requested")

    def test_diff(self, tmp_path: Path) -> None:
        shown = self.rewrite(tmp_path, MESSAGE, "--diff").decode()
        assert "https://example.test/" in shown
        assert "/c/" in shown


def test_help_names_every_command() -> None:
    from relay.__main__ import COMMANDS

    done = command("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
