"""Messages that come by API go the way of those by SMTP: the official Python SDK and curl's kind of calls against the
running program."""

import base64
import email
import email.policy
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nylas import Client
from nylas.models.errors import NylasApiError

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

GRANTS = """
[[grants]]
id = "sales"
email = "sales@example.com"
addresses = ["*@example.com"]
[[grants]]
id = "other"
email = "a@other.example"
addresses = ["*@other.example"]
"""
BOB = {"email": "bob@example.org", "name": "Bob"}
HTML = '<p>Hello <a href="https://example.net/a?b=1&amp;c=2">there</a></p>'
TRACKED = {"opens": True, "links": True, "label": "hello"}
HEAD = "Host: localhost\r\nAuthorization: Bearer any\r\n"
LONG = "a" * 100_000
JSON = "Content-Type: application/json\r\n"


@dataclass
class World:
    relay: service.Service
    upstream: Upstream

    @property
    def client(self) -> Any:
        return Client("any", f"http://127.0.0.1:{self.relay.admin}")

    def post(self, path: str, body: Any, **fields: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.relay.admin}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer any"}
            | {name.replace("_", "-"): value for name, value in fields.items()},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.relay.admin}{path}") as answer:
            return json.loads(answer.read())

    def send(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        body = {"to": [BOB], "subject": "Hello", "body": HTML} | fields
        return self.post("/v3/grants/sales/messages/send", body)

    def last(self) -> Any:
        return email.message_from_bytes(self.upstream.taken[-1].content, policy=email.policy.default)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("api")
    with hostile.sink() as upstream:
        admin = 'open = true\nkeep_messages = "1d"'
        ports = service.settings(folder, upstream=upstream.port, more=GRANTS, admin=admin)
        with service.running(folder, ports) as relay:
            yield World(relay, upstream)


def test_the_sdk_sends_as_json(world: World) -> None:
    made = world.client.messages.send(
        "sales",
        {
            "to": [BOB], "cc": [{"email": "jörg@example.org"}], "bcc": [{"email": "secret@example.org"}], "subject": "Grüße",
            "body": HTML, "tracking_options": TRACKED, "custom_headers": [{"name": "X-Order", "value": "ß1"}],
            "attachments": [
                {"filename": "Ü.txt", "content_type": "text/plain", "content": base64.b64encode(b"hi").decode(), "size": 2}
            ],
        },
    )  # fmt: skip
    assert made.data.body == HTML
    assert made.data.grant_id == "sales"
    assert made.data.thread_id
    taken = [each for each in world.upstream.taken if made.data.id.encode() in each.content]
    assert {address for each in taken for address in each.recipients} == {
        "bob@example.org", "jörg@example.org", "secret@example.org"
    }  # fmt: skip
    for each in taken:
        assert b"secret@" not in each.content
        assert b"x-track" not in each.content.lower()
        assert b"/c/" in each.content
        assert b"/o/" in each.content
        assert b"X-Order: =?" in each.content
    found = world.last()
    assert found["subject"] == "Grüße"
    assert found["from"].addresses[0].addr_spec == "sales@example.com"
    assert "there <https://example.net/a?b=1&c=2>" in found.get_body(("plain",)).get_content()
    (file,) = list(found.iter_attachments())
    assert (file.get_filename(), file.get_payload(decode=True)) == ("Ü.txt", b"hi")


def test_the_sdk_sends_in_parts(world: World) -> None:
    content = bytes(range(256)) * 16_384  # 4 MB
    for given in (content, base64.b64encode(content).decode()):
        world.client.messages.send(
            "sales@example.com",
            {
                "to": [BOB], "subject": "Large", "body": HTML, "tracking_options": TRACKED,
                "attachments": [{"filename": "a.bin", "content_type": "application/x-a", "content": given, "size": len(content)}],
            },
        )  # fmt: skip
        (file,) = list(world.last().iter_attachments())
        assert file.get_payload(decode=True) == content


MIME = (
    b"From: sales@example.com\r\nTo: bob@example.org\r\nBcc: secret@example.org\r\nSubject: Raw\r\nX-Track: none\r\n"
    b"Message-ID: <raw@example.com>\r\nDate: Sun, 09 Sep 2001 01:46:40 +0000\r\n\r\nHi\r\n.\r\n..\r\n"
)
MBOX = b"From sales@example.com Sun Sep  9 01:46:40 2001\r\n"


def posted(world: World, mime: bytes) -> tuple[int, dict[str, Any]]:
    """Sent as a whole message."""
    body = (
        b'--XXX\r\nContent-Disposition: form-data; name="mime"; filename="message.eml"\r\n'
        b"Content-Type: message/rfc822\r\n\r\n" + mime + b"\r\n--XXX--\r\n"
    )
    fields = f"{HEAD}Content-Type: multipart/form-data; boundary=XXX\r\nContent-Length: {len(body)}\r\n\r\n"
    with hostile.Http(world.relay.admin) as client:
        client.send(f"POST /v3/grants/sales/messages/send?type=mime HTTP/1.1\r\n{fields}".encode() + body)
        status, _, raw = client.answer()
    return status, json.loads(raw)


@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
@pytest.mark.parametrize("before", [b"", MBOX, b">" + MBOX + MBOX, b"\xef\xbb\xbf"])
def test_a_whole_message_is_sent_as_it_is(world: World, before: bytes, ends: bytes) -> None:
    status, said = posted(world, (before + MIME).replace(b"\r\n", ends))
    assert (status, said["data"]["subject"]) == (200, "Raw")
    taken = world.upstream.taken[-1]
    assert set(taken.recipients) == {"bob@example.org", "secret@example.org"}
    meant = MIME.replace(b"Bcc: secret@example.org\r\n", b"").replace(b"X-Track: none\r\n", b"")
    assert taken.content == meant
    kept = world.client.messages.find("sales", said["data"]["id"], {"fields": "raw_mime"}).data
    assert base64.urlsafe_b64decode(kept.raw_mime) == meant


@pytest.mark.parametrize("subject", [b"a\rBcc: injected@x.test", b"a\r\r\nBcc: injected@x.test", b"a\n\rb"])
def test_no_header_line_is_made_of_a_bare_cr(world: World, subject: bytes) -> None:
    before = len(world.upstream.taken)
    status, said = posted(world, MIME.replace(b"Subject: Raw", b"Subject: " + subject))
    assert (status, said["error"]["type"]) == (400, "invalid_request_error")
    assert len(world.upstream.taken) == before


def test_what_was_sent_is_had_back(world: World) -> None:
    """As it was before tracking: whoever shows it opens nothing."""
    client = world.client
    file = {
        "filename": "Ü.bin",
        "content_type": "application/x-a",
        "content": base64.b64encode(b"\0octets").decode(),
        "size": 7,
    }
    made = client.messages.send(
        "sales",
        {
            "to": [BOB], "reply_to": [{"email": "answers@example.com"}], "bcc": [{"email": "secret@example.org"}],
            "subject": "Back", "body": HTML, "tracking_options": TRACKED, "attachments": [file],
            "custom_headers": [{"name": "X-Order", "value": "7"}],
        },
    ).data  # fmt: skip
    found = client.messages.find("sales", made.id, {"fields": "include_headers"}).data
    assert (found.body, found.snippet, found.to, found.reply_to) == (HTML, made.snippet, [BOB], [
        {"email": "answers@example.com", "name": ""}
    ])  # fmt: skip
    assert {"name": "X-Order", "value": "7"} in [{"name": each.name, "value": each.value} for each in found.headers]
    (attached,) = found.attachments
    assert (attached.filename, attached.content_type, attached.size) == ("Ü.bin", "application/x-a", 7)
    assert attached.id == made.attachments[0].id
    assert client.attachments.find("sales", attached.id, {"message_id": made.id}).data.filename == "Ü.bin"
    assert client.attachments.download_bytes("sales", attached.id, {"message_id": made.id}) == b"\0octets"
    for message_id in ("other", made.id):
        with pytest.raises(NylasApiError):
            client.attachments.find("sales", f"{made.id}-1", {"message_id": message_id})
    raw = client.messages.find("sales", made.id, {"fields": "raw_mime"}).data
    whole = base64.urlsafe_b64decode(raw.raw_mime)
    assert (raw.id, raw.subject, email.message_from_bytes(whole)["subject"]) == (made.id, None, "Back")
    for never in (b"/o/", b"/c/", b"secret@", b"X-Track"):
        assert never not in whole
    (listed,) = client.messages.list("sales", {"limit": 1}).data
    assert (listed.id, listed.body) == (made.id, HTML)
    draft = client.drafts.create("sales", {"subject": "Draft", "attachments": [file]}).data
    assert client.attachments.download_bytes("sales", draft.attachments[0].id, {"message_id": draft.id}) == b"\0octets"


def test_a_domain_sends(world: World) -> None:
    body = {"to": [BOB], "from": {"email": "news@example.com", "name": "News"}, "subject": "Hi", "body": "Hi"}
    status, said = world.post("/v3/domains/example.com/messages/send", body)
    assert (status, said["data"]["from"], said["grant_id"]) == (200, [body["from"]], "sales")
    assert world.post("/v3/domains/other.example/messages/send", body)[0] == 400


@pytest.mark.parametrize("line", ['name="\x15"', 'name="a"; filename="\x00"', "a" * 20_000, "name"])
@pytest.mark.parametrize("path", ["/v3/grants/sales/messages/send", "/v3/grants/sales/messages/send?type=mime"])
def test_parts_that_cannot_be_read_are_said(world: World, path: str, line: str) -> None:
    body = f"--XXX\r\nContent-Disposition: form-data; {line}\r\n\r\n{{}}\r\n--XXX--\r\n"
    fields = f"{HEAD}Content-Type: multipart/form-data; boundary=XXX\r\nContent-Length: {len(body)}\r\n"
    with hostile.Http(world.relay.admin) as client:
        client.send(f"POST {path} HTTP/1.1\r\n{fields}\r\n{body}".encode("latin-1"))
        status, _, raw = client.answer()
    assert (status, json.loads(raw)["error"]["type"]) == (400, "invalid_request_error")


def test_an_answer_stands_in_the_thread(world: World) -> None:
    status, first = world.send()
    assert status == 200
    status, second = world.send(reply_to_message_id=first["data"]["id"], subject="Re: Hello")
    assert status == 200
    assert second["data"]["thread_id"] == first["data"]["thread_id"]
    assert first["data"]["id"] in world.last()["in-reply-to"]
    status, third = world.send(reply_to_message_id=second["data"]["id"], subject="Re: Hello")
    assert (status, third["data"]["thread_id"]) == (200, first["data"]["thread_id"])
    named = [world.last()["references"].index(each["data"]["id"]) for each in (first, second)]
    assert named == sorted(named)  # oldest first (RFC 5322 3.6.4)
    by_name = world.last()["in-reply-to"]
    status, again = world.send(reply_to_message_id=by_name, subject="Re: Hello")
    assert (status, again["data"]["thread_id"]) == (200, first["data"]["thread_id"])
    assert first["data"]["id"] in world.last()["references"]
    assert world.send(reply_to_message_id="none")[0] == 404


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"to": None}, 400, "to: "),
        ({"to": [{"email": "a\r\nBcc: x@example.org"}]}, 400, "to: "),
        ({"subject": "a\r\nBcc: x@example.org"}, 400, "subject: "),
        ({"custom_headers": [{"name": "Bcc", "value": "a@example.org"}]}, 400, "custom_headers"),
        ({"tracking_options": {"label": "x" * 2049}}, 400, "label"),
        ({"tracking_options": {"opens": True, "domain_name": "evil.example"}}, 400, "domain_name"),
        ({"tracking_options": {"domain_name": "127.0.0.1"}}, 400, "domain_name"),
        ({"from": [{"email": "a@other.example"}]}, 403, "may not send"),
        ({"attachments": [{"filename": "a", "content_type": "a/b", "content": "!"}]}, 400, "attachments[0]"),
        ({"reply_to_message_id": "<a\r\nb@c>"}, 400, "reply_to_message_id"),
        ({"template": {"id": "x"}}, 501, "template: "),
        ({"signature_id": "x"}, 501, "signature_id: "),
        ({"metadata": {"k" * 41: "v"}}, 400, "metadata: a name in it: "),
        ({"metadata": {"k": "v" * 501}}, 400, "metadata[...]: "),
        ({"metadata": {"k": 7}}, 400, "metadata[...]: "),
        ({"metadata": {str(n): "v" for n in range(51)}}, 400, "metadata: "),
    ],
)
def test_what_can_not_be_sent_is_said(world: World, fields: dict[str, Any], status: int, word: str) -> None:
    before = len(world.upstream.taken)
    found, said = world.send(**fields)
    assert (found, word in said["error"]["message"]) == (status, True), said
    assert len(world.upstream.taken) == before


def test_a_call_is_repeated(world: World) -> None:
    path, body = "/v3/grants/sales/messages/send", {"to": [BOB], "subject": "Once", "body": "x", "is_plaintext": True}
    first = world.post(path, body, Idempotency_Key="k1")
    count = len(world.upstream.taken)
    again = world.post(path, body, Idempotency_Key="k1")
    assert (first[0], first[1]["data"]) == (again[0], again[1]["data"])
    assert len(world.upstream.taken) == count
    status, said = world.post(path, body | {"subject": "Twice"}, Idempotency_Key="k1")
    assert (status, said["error"]["type"]) == (409, "api.invalid_idempotent_request")
    status, said = world.post(path, body, Idempotency_Key="k" * 257)
    assert (status, said["error"]["type"]) == (400, "api.invalid_idempotency_key")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("POST {path} HTTP/1.1\r\n\r\n", 400),  # no Host
        ("FOO {path} HTTP/1.1\r\n{head}\r\n", 400),
        ("GET {path} HTTP/9.9\r\n{head}\r\n", 400),
        ("GET {path} HTTP/1.1\r\n{head}no header field\r\n\r\n", 400),
        ("GET {path} HTTP/1.1\r\n{head}X: {long}\r\n\r\n", 400),
        ("GET {path}?{long} HTTP/1.1\r\n{head}\r\n", 400),
        ("POST {path} HTTP/1.1\r\n{head}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("POST {path} HTTP/1.1\r\n{head}{json}Content-Length: 1\r\n\r\n{{", 400),
        ("POST {path} HTTP/1.1\r\n{head}{json}Content-Length: 0\r\n\r\n", 400),
        ("POST {path} HTTP/1.1\r\n{head}{json}Content-Length: 20\r\n\r\n[[[[[[[[[[[[[[[[[[[[", 400),
        ('POST {path} HTTP/1.1\r\n{head}{json}Content-Length: 11\r\n\r\n{{"to": "\xff"}}', 400),
        ("POST {path} HTTP/1.1\r\n{head}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}", 415),
        ("POST {path} HTTP/1.1\r\n{head}{json}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}", 415),
        ("POST {path} HTTP/1.1\r\n{head}{json}Content-Length: 9999999999\r\n\r\n", 413),
        ("POST {path} HTTP/1.1\r\n{head}{json}Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{{}}", 417),
        ("PATCH {path} HTTP/1.1\r\n{head}\r\n", 405),
        ("GET {path}/a/b HTTP/1.1\r\n{head}\r\n", 404),
    ],
)
@pytest.mark.parametrize("path", ["/v3/grants/sales/messages/send", "/v1/emails"])
def test_whatever_is_wrong_is_an_error_that_clients_can_read(
    world: World, path: str, request_: str, status: int
) -> None:
    with hostile.Http(world.relay.admin) as client:
        client.send(request_.format(path=path, head=HEAD, long=LONG, json=JSON).encode("latin-1"))
        found, fields, raw = client.answer()
    said = json.loads(raw)
    assert (found, fields["content-type"].split(";")[0]) == (status, "application/json")
    assert said["request_id"] == fields["x-request-id"]
    assert said["error"]["type"]
    assert said["error"]["message"].endswith((".", "`"))
    if path == "/v1/emails":
        assert said["error"]["code"] == status


def test_the_upstreams_refusal_is_the_callers(tmp_path: Path) -> None:
    with hostile.sink({"rcpt": "550 5.1.1 nobody here"}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, more=GRANTS)
        with service.running(tmp_path, ports) as relay:
            world = World(relay, upstream)
            with pytest.raises(NylasApiError) as refused:
                world.client.messages.send("sales", {"to": [BOB], "subject": "a", "body": "b"})
    assert refused.value.status_code == 422
    assert refused.value.type == "provider_error"
    assert refused.value.provider_error["error"].startswith("550 5.1.1 nobody here")


def test_admin_alone_keeps_it_for_who_sends(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, more=GRANTS)
        with service.running(tmp_path, ports, only="admin") as relay:
            world = World(relay, upstream)
            status, said = world.send(tracking_options=TRACKED)
            assert status == 200
        assert not upstream.taken
        with service.running(tmp_path, ports, only="queue"):
            eventually(lambda: upstream.taken)
        assert said["data"]["id"].encode() in upstream.taken[0].content
        assert b"/o/" in upstream.taken[0].content


def test_a_draft_that_is_sent_is_a_message_and_no_draft(world: World) -> None:
    drafts, before = world.client.drafts, len(world.upstream.taken)
    file = {"filename": "a.txt", "content_type": "text/plain", "content": base64.b64encode(b"file").decode(), "size": 4}
    made = drafts.create("sales", {"to": [BOB], "subject": "Draft", "body": HTML, "attachments": [file]}).data
    sent = drafts.send("sales", made.id).data
    assert (sent.object, sent.subject, sent.grant_id) == ("message", "Draft", "sales")
    (attached,) = world.last().iter_attachments()
    assert (world.last()["Subject"], attached.get_content()) == ("Draft", "file")
    assert world.client.messages.find("sales", sent.id).data.subject == "Draft"
    for gone in (drafts.find, drafts.send):
        with pytest.raises(NylasApiError):
            gone("sales", made.id)
    assert len(world.upstream.taken) == before + 1


def test_a_draft_that_cannot_be_sent_stays(world: World) -> None:
    drafts = world.client.drafts
    made = drafts.create("sales", {"subject": "To nobody", "body": HTML}).data
    with pytest.raises(NylasApiError, match="recipient"):
        drafts.send("sales", made.id)
    drafts.update("sales", made.id, {"to": [BOB]})
    assert drafts.send("sales", made.id).data.to[0]["email"] == BOB["email"]


def test_unosends_clients_send_one_or_several(world: World) -> None:
    body = {"from": "Sales <sales@example.com>", "to": "Bob <bob@example.org>", "subject": "Uno", "html": HTML}
    status, said = world.post("/v1/emails", body | {"tags": [{"name": "campaign", "value": "spring"}]})
    tagged = world.get(f"/v1/emails/{said['data']['id']}")["data"]
    assert (tagged["subject"], tagged["tags"]) == ("Uno", {"campaign": "spring"})
    assert (status, said["success"], said["data"]["status"]) == (200, True, "queued")
    assert "/o/" in world.upstream.taken[-1].content.decode()  # both are tracked where nothing else is said
    assert "/c/" in world.upstream.taken[-1].content.decode()
    assert world.post("/api/v1/emails", body | {"tracking": {"open": False, "click": False}})[0] == 200
    assert "/o/" not in world.upstream.taken[-1].content.decode()
    assert "/c/" not in world.upstream.taken[-1].content.decode()
    for path in ("/v1/emails", "/v1/emails/batch"):
        status, said = world.post(path, [body, body | {"to": ["no address"]}, body | {"html": None, "text": "plain"}])
        assert (status, said["success_count"], said["error_count"]) == (200, 2, 1)
        assert ["error" in each for each in said["data"]] == [False, True, False]
    assert world.last().get_content_type() == "text/plain"
    status, said = world.post("/v1/emails", body | {"from": "nobody"})
    assert (status, said["error"]["code"]) == (400, 400)
