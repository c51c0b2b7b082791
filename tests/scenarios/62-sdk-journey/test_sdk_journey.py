"""A user's whole way by the official SDKs for Python and Node, as they are, against the running program: subscribe, send, be told of the
open, the click and the answer, and find all of it again."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from nylas import Client
from nylas.models.errors import NylasApiError

from tests import contract
from tests.fakes.upstream import Upstream
from tests.peers import node
from tests.scenarios import hostile, service
from tests.until import eventually

HERE = Path(__file__).parent
SETTINGS = """
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
[[grants]]
id = "sales"
email = "sales@example.com"
addresses = ["*@example.com"]
mailbox = "maildir:{folder}/sales"
[mailbox]
poll_interval = "1s"
"""
KIM = [{"email": "kim@example.org", "name": "Kim"}]
HTML = '<html><body><p>See <a href="https://example.net/offer">this</a></p></body></html>'
TRACKED = {"opens": True, "links": True, "thread_replies": True, "label": "offer"}
METADATA = {"key1": "spring", "orderNumber": "7"}
TRIGGERS = ["message.opened", "message.link_clicked", "thread.replied"]
ANSWER = """From: Kim <kim@example.org>
To: sales@example.com
Subject: Re: Offer
Message-ID: <answer{number}@example.org>
In-Reply-To: {parent}
References: {parent}
Date: {date}
Content-Type: text/plain

Yes, please.
"""


@dataclass
class Handler:
    """A webhook's receiver that answers the challenge."""

    url: str = ""
    challenged: int = 0
    notes: list[dict[str, Any]] = field(default_factory=list)

    def of(self, trigger: str) -> list[dict[str, Any]]:
        return [note["data"]["object"] for note in list(self.notes) if note["type"] == trigger]


@dataclass
class World:
    relay: service.Service
    upstream: Upstream
    handler: Handler
    key: str

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.relay.admin}"

    @property
    def client(self) -> Any:
        return Client(self.key, self.api)

    def answer(self, subject: str, number: int) -> None:
        """Kim answers that message."""
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
        text = ANSWER.format(parent=header(self.copy(subject), "message-id"), number=number, date=date)
        draft = self.relay.folder / "sales" / "tmp" / f"{number}.answer"
        draft.write_bytes(text.replace("\n", "\r\n").encode())
        draft.rename(self.relay.folder / "sales" / "new" / f"{number}.answer")

    def copy(self, subject: str) -> bytes:
        def found() -> bytes | None:
            return next((each.content for each in self.upstream.taken if subject.encode() in each.content), None)

        return eventually(found)


@pytest.fixture(scope="module")
def handler(engine: str) -> Iterator[Handler]:
    known = Handler()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.challenged += 1
            self.answer(parse_qs(urlsplit(self.path).query)["challenge"][0].encode())

        def do_POST(self) -> None:
            known.notes.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        yield known
        server.shutdown()


@pytest.fixture(scope="module")
def world(engine: str, tmp_path_factory: pytest.TempPathFactory, handler: Handler) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("journey")
    for place in ("new", "cur", "tmp"):
        (folder / "sales" / place).mkdir(parents=True)
    with hostile.sink() as upstream:
        more = SETTINGS.format(folder=folder)
        ports = service.settings(folder, upstream=upstream.port, admin="open = false", more=more)
        with service.running(folder, ports) as relay:
            key = relay.command("api-key", "create", "journey").stdout.strip()
            yield World(relay, upstream, handler, key)


def header(content: bytes, name: str) -> str:
    head = content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    return next(line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith(name.lower()))


def test_from_the_webhook_to_the_answer(world: World) -> None:
    client, heard = world.client, world.handler
    made = client.webhooks.create({"trigger_types": TRIGGERS, "webhook_url": heard.url, "description": "j"}).data
    assert (heard.challenged, made.webhook_url, bool(made.webhook_secret)) == (1, heard.url, True)

    sent = client.messages.send(
        "sales", {"to": KIM, "subject": "Offer", "body": HTML, "tracking_options": TRACKED, "metadata": METADATA}
    ).data
    big = {"filename": "big.bin", "content_type": "application/octet-stream", "content": b"x" * 4_000_000,
           "size": 4_000_000}  # fmt: skip
    large = client.messages.send(
        "sales", {"to": KIM, "subject": "Large", "body": HTML, "tracking_options": TRACKED, "attachments": [big]}
    ).data
    with hostile.Http(world.relay.http) as reader:
        for subject in ("Subject: Offer", "Subject: Large"):
            (pixel,), (link,) = hostile.tokens(world.copy(subject))
            assert reader.get(pixel)[0] == 200
            assert reader.get(link)[1]["location"] == "https://example.net/offer"
    for trigger in TRIGGERS[:2]:
        eventually(lambda: {each["message_id"] for each in heard.of(trigger)} == {sent.id, large.id})  # noqa: B023

    world.answer("Subject: Offer", 1)
    (replied,) = eventually(lambda: heard.of("thread.replied"))
    assert (replied["root_message_id"], replied["label"]) == (sent.id, "offer")
    assert [contract.errors(note) for note in heard.notes] == [[]] * len(heard.notes)
    for trigger in TRIGGERS:
        assert METADATA in [each["metadata"] for each in heard.of(trigger)]

    found = client.messages.find("sales", sent.id).data
    assert found.metadata == METADATA
    assert [each.id for each in client.messages.list("sales", {"metadata_pair": {"key1": "spring"}}).data] == [sent.id]
    assert (found.id, found.subject, found.thread_id) == (sent.id, "Offer", replied["thread_id"])
    answer = client.messages.find("sales", replied["message_id"]).data
    assert (answer.from_[0]["email"], answer.thread_id) == ("kim@example.org", replied["thread_id"])
    assert replied["thread_id"] in [thread.id for thread in client.threads.list("sales").data]


def test_later(world: World) -> None:
    messages = world.client.messages
    body = {"to": KIM, "subject": "Later", "body": HTML, "send_at": int(time.time()) + 600}
    made = messages.send("sales", body).data
    assert made.schedule_id in [each.schedule_id for each in messages.list_scheduled_messages("sales").data]
    assert messages.find_scheduled_message("sales", made.schedule_id).data.status.code == "pending"
    messages.stop_scheduled_message("sales", made.schedule_id)
    assert messages.find_scheduled_message("sales", made.schedule_id).data.status.code == "cancelled"


def test_drafts(world: World) -> None:
    drafts = world.client.drafts
    made = drafts.create("sales", {"to": KIM, "subject": "Draft", "body": HTML, "tracking_options": TRACKED}).data
    assert drafts.update("sales", made.id, {"subject": "Draft two"}).data.subject == "Draft two"
    assert [each.id for each in drafts.list("sales").data] == [made.id]
    assert drafts.send("sales", made.id).data.id
    assert len(hostile.tokens(world.copy("Subject: Draft two"))[0]) == 1
    other = drafts.create("sales", {"to": KIM, "subject": "Gone"}).data
    assert drafts.destroy("sales", other.id).request_id
    assert drafts.list("sales").data == []


def test_webhooks_and_errors(world: World) -> None:
    webhooks = world.client.webhooks
    made = webhooks.create({"trigger_types": TRIGGERS, "webhook_url": world.handler.url}).data
    turned = webhooks.rotate_secret(made.id).data
    assert turned.webhook_secret not in ("", made.webhook_secret)
    assert webhooks.update(made.id, {"description": "new"}).data.description == "new"
    assert webhooks.destroy(made.id).request_id
    for refused in (
        lambda: webhooks.find(made.id),
        lambda: world.client.messages.find("sales", "none"),
        lambda: world.client.messages.send("sales", {"subject": "to nobody"}),
        lambda: world.client.drafts.find("nobody", "none"),
    ):
        with pytest.raises(NylasApiError) as error:
            refused()
        assert error.value.request_id


def by_node(world: World, script: str, **about: Any) -> Any:
    """What it prints."""
    about |= {"apiUri": world.api, "apiKey": world.key, "hook": world.handler.url}
    words = [node.require("nylas"), str(HERE / script), json.dumps(about)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_by_node(world: World) -> None:
    small, large, webhook = by_node(world, "journey.js")
    assert small != large
    for subject in ("Subject: Node small", "Subject: Node large"):
        (pixel,), (link,) = hostile.tokens(world.copy(subject))
        assert pixel
        assert link
    world.answer("Subject: Node small", 2)
    answers = eventually(lambda: [each for each in world.handler.of("thread.replied") if each["label"] == "node"])
    assert (answers[0]["root_message_id"], answers[0]["thread_id"]) == (small, small)
    third = by_node(world, "answered.js", answer=answers[0], webhook=webhook)
    copy = next(each.content for each in world.upstream.taken if third.encode() in each.content)
    assert header(copy, "in-reply-to") == "<answer2@example.org>"
    assert small in header(copy, "references")
