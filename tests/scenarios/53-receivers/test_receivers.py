"""Receivers as people write them, with the reference libraries of Standard Webhooks: made by API, they verify what they
get, also while the secret is rotated and where it is compressed; a paused one is sent nothing. And one that is gone:
whoever wants to hear of it gets one mail."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import node
from tests.scenarios import hostile, service
from tests.until import eventually

HERE = Path(__file__).parent
HITS = ["message.opened", "message.link_clicked"]
MORE = """
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
"""


def flask(folder: Path, port: int) -> list[str]:
    (folder / "receiver.py").write_text((HERE / "receiver.py.txt").read_text())
    return [sys.executable, "-u", "-m", "flask", "--app", str(folder / "receiver.py"), "run", "--port", str(port)]


def nodejs(folder: Path, port: int) -> list[str]:
    return [node.require("standardwebhooks"), str(HERE / "receiver.js"), str(port), str(folder / "secret")]


@dataclass
class Receiver:
    url: str
    folder: Path

    def knows(self, secret: str) -> None:
        (self.folder / "secret").write_text(secret)

    @property
    def took(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "heard").read_text().splitlines() if line.startswith("{")]


@contextmanager
def receiving(folder: Path, program: Callable[[Path, int], list[str]]) -> Iterator[Receiver]:
    folder.mkdir()
    port, heard = peers.free_port(), folder / "heard"
    with heard.open("wb") as out:
        process = subprocess.Popen(program(folder, port), stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    try:
        eventually(lambda: b"Running on" in heard.read_bytes() or process.poll() is not None)
        assert process.poll() is None, heard.read_text()
        yield Receiver(f"http://127.0.0.1:{port}/hook", folder)
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class World:
    relay: service.Service
    upstream: Upstream
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.relay.admin}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=hostile.WAIT) as answer:
            return json.load(answer)["data"]

    def opened_and_clicked(self) -> None:
        """Returns once the store has both."""
        before = len(self.upstream.taken)
        letter = hostile.letter('<p><a href="https://a.example/">a</a></p>', "X-Track: all")
        with hostile.Smtp(self.relay.smtp) as client:
            assert client.mail(letter).startswith("250")
        eventually(lambda: len(self.upstream.taken) > before)
        pixels, clicks = hostile.tokens(self.upstream.taken[before].content)
        with hostile.Http(self.relay.http) as reader:
            assert reader.get(pixels[0])[0] == 200
            assert reader.get(clicks[0])[0] == 302
        path = f"/api/messages/{self.ask('GET', '/api/messages?limit=1')[0]['id']}"
        eventually(lambda: len(self.ask("GET", path)["events"]) >= 2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("receivers")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, admin="open = false", more=MORE)
        with service.running(folder, ports) as relay:
            yield World(relay, upstream, relay.command("api-key", "create", "receivers").stdout.strip())


@pytest.mark.parametrize("program", [flask, nodejs])
def test_what_it_gets_is_verified(world: World, tmp_path: Path, program: Callable[[Path, int], list[str]]) -> None:
    with receiving(tmp_path / "receiver", program) as receiver:
        told = {"trigger_types": HITS, "webhook_url": receiver.url}
        made = world.ask("POST", "/v3/webhooks", told)
        path = f"/v3/webhooks/{made['id']}"
        receiver.knows(made["webhook_secret"])
        count = itertools.count(2, 2)

        def hears(**signed: bool) -> None:
            world.opened_and_clicked()
            so_far = next(count)
            eventually(lambda: len(receiver.took) == so_far)
            new = receiver.took[-2:]
            assert sorted(one["type"] for one in new) == sorted(HITS)
            for one in new:
                assert {name: one[name] for name in ("nylas", "standard")} == signed

        hears(nylas=True, standard=True)
        world.ask("POST", f"/v3/webhooks/rotate-secret/{made['id']}")
        hears(nylas=False, standard=True)  # it has the old secret still
        receiver.knows(world.ask("PUT", f"{path}/rotate-secret", {})["webhook_secret"])
        hears(nylas=True, standard=True)
        assert world.ask("PUT", path, {"compressed_delivery": True})["compressed_delivery"]
        hears(nylas=True, standard=False)
        world.ask("PUT", path, {"status": "pause", "compressed_delivery": False})
        world.opened_and_clicked()
        world.ask("PUT", path, {"status": "active"})
        hears(nylas=True, standard=True)  # and nothing of what came while it was paused
        ids = [one["id"] for one in receiver.took]
        assert len(ids) == len(set(ids))
        world.ask("DELETE", path)


def test_who_wants_to_hear_of_one_that_is_gone_gets_one_mail(world: World) -> None:
    with gone() as url:
        made = world.ask(
            "POST", "/api/endpoints",
            {"url": url.replace("//", "//me:s3cret@") + "?key=s3cret", "notify": ["ops@example.org"], "description": "CRM"},
        )  # fmt: skip
        world.opened_and_clicked()
        eventually(lambda: world.ask("GET", f"/api/endpoints/{made['id']}")["status"] == "failed")
        (mail,) = eventually(lambda: [one for one in world.upstream.taken if one.recipients == ["ops@example.org"]])
        assert mail.reverse_path == ""
        message = message_from_bytes(mail.content, policy=policy.default)
        assert message["Auto-Submitted"] == "auto-generated"
        text = message.get_content()
        for words in (made["id"], "CRM", "410", f"PATCH /api/endpoints/{made['id']}"):
            assert words in text
        assert b"s3cret" not in mail.content
        assert not any(hostile.tokens(mail.content))

        def owed() -> int:
            """Whatever became of it: what it was owed before it was closed may wait for it."""
            found = world.ask("GET", f"/api/endpoints/{made['id']}")
            return int(found["pending"] + found["delivered"] + found["dead"])

        before = owed()
        world.opened_and_clicked()  # and this it is not owed
        assert owed() == before
        assert len([one for one in world.upstream.taken if one.recipients == ["ops@example.org"]]) == 1
        (line,) = [row for row in shown(world) if row["id"] == made["id"]]
        assert (line["made_by"], line["status"]) == ("API, our own", "failed")
        world.ask("DELETE", f"/api/endpoints/{made['id']}")


def shown(world: World) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{world.relay.admin}/live/webhooks/data", headers={"Authorization": f"Bearer {world.key}"}
    )
    with urllib.request.urlopen(request, timeout=hostile.WAIT) as answer:
        found: list[dict[str, Any]] = json.load(answer)["endpoints"]
        return found


@contextmanager
def gone() -> Iterator[str]:
    """An endpoint that answers 410."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(410)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    finally:
        server.shutdown()
        server.server_close()
