"""A link that was sent and turned out to be harmful leads nowhere any more: at once, in every process, also with the
database away; and leads on again when it is unblocked."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

URL = "https://evil.example/login"
LETTER = (
    "From: a@example.com\r\nTo: b@example.net\r\nSubject: links\r\nMessage-ID: <first@example.com>\r\n"
    "X-Track: all\r\nContent-Type: text/html\r\n\r\n"
    f'<html><body><a href="{URL}?id=7">one</a> <a href="https://good.example/">two</a></body></html>\r\n'
).encode()


class Kept(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def get(url: str) -> tuple[int, str, str]:
    """Status, Location, body."""
    try:
        with urllib.request.build_opener(Kept).open(url, timeout=10) as answer:
            return answer.status, "", answer.read().decode("latin-1")
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("Location", ""), answer.read().decode()


def sent(relay: service.Service, upstream: Upstream) -> tuple[str, str, str]:
    """The two links and the pixel of a message."""
    with hostile.Smtp(relay.smtp) as client:
        assert client.mail(LETTER).startswith("250")
    text = upstream.taken[-1].content.decode()
    first, second = re.findall(r'href="([^"]*/c/[^"]*)"', text)
    return first, second, re.findall(r'src="([^"]*/o/[^"]*)"', text)[0]


def clicks(relay: service.Service) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in relay.command("events", "--json").stdout.splitlines()]
    return [event for event in found if event["type"] == "message.link_clicked"]


def test_blocked_and_unblocked(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        config = tmp_path / "relay.toml"
        config.write_text(config.read_text().replace("[http]\n", '[http]\nabuse = "abuse@example.com"\n'))
        with service.running(tmp_path, ports) as relay:
            first, second, pixel = sent(relay, upstream)
            assert get(first)[:2] == (302, URL + "?id=7")
            message_id = eventually(lambda: re.findall(r"message_id=(\w{20})", relay.log))[0]

            assert "is blocked" in relay.command("links", "block", URL).stdout
            eventually(lambda: get(first)[0] == 410)
            _, location, body = get(first)
            assert not location
            assert "blocked" in body
            assert "abuse@example.com" in body
            assert "evil" not in body  # it helps nobody on the way there
            assert get(second)[0] == 302
            assert get(pixel)[0] == 200
            assert "abuse@example.com" in get(f"http://127.0.0.1:{relay.http}/")[2]
            assert "abuse@example.com" in get(f"http://127.0.0.1:{relay.http}/c/nothing")[2]
            events = eventually(lambda: [e for e in clicks(relay) if e["reason"] == "blocked"])
            assert not any(event["counted"] for event in events)

            listed = relay.command("links", "list").stdout
            assert listed.startswith(f"url\t{URL}\t")
            relay.command("links", "unblock", URL)
            eventually(lambda: get(first)[0] == 302)

            for name in ("evil.example", message_id, "<first@example.com>"):
                relay.command("links", "block", name)
                eventually(lambda: get(first)[0] == 410)
                assert get(second)[0] == (302 if name == "evil.example" else 410)
                relay.command("links", "unblock", name)
                eventually(lambda: (get(first)[0], get(second)[0]) == (302, 302))

            for nothing in ("", "no such thing", "<unknown@example.com>"):
                done = relay.command("links", "block", nothing, code=2)
                assert "Traceback" not in done.stderr
            assert "is not blocked" in relay.command("links", "unblock", "good.example", code=1).stderr


def test_in_another_process_with_the_database_away(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with (
            service.running(tmp_path, ports, only="smtp,queue") as relay,
            service.running(tmp_path, ports, only="http") as http,
        ):
            first, second, _ = sent(relay, upstream)
            for path in (tmp_path / "var").glob("trackrelay.db*"):
                path.rename(path.with_name("away-" + path.name))
            (tmp_path / "var" / "trackrelay.db").mkdir()  # nobody makes a new one
            http.command("links", "block", "evil.example")
            eventually(lambda: get(first)[0] == 410)
            assert get(second)[0] == 302
        # And from the first request on after a start.
        with service.running(tmp_path, ports, only="http"):
            assert get(first)[0] == 410


def test_it_is_in_the_backup(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports) as relay:
            relay.command("links", "block", "evil.example")
            relay.command("backup", str(tmp_path / "copy"))
    assert "evil.example" in (tmp_path / "copy" / "links" / "blocked.json").read_text()


def test_a_damaged_file_is_said_and_changes_nothing(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports) as relay:
            first, _, _ = sent(relay, upstream)
            relay.command("links", "block", "evil.example")
            eventually(lambda: get(first)[0] == 410)
            file = tmp_path / "var" / "links" / "blocked.json"
            file.write_bytes(b'{"blocked": [{')
            eventually(lambda: get(first)[0] == 410 and "blocks_not_read" in relay.log)
            assert get(first)[0] == 410
            assert "is damaged" in relay.command("links", "block", "other.example", code=1).stderr
            assert file.read_bytes() == b'{"blocked": [{'
