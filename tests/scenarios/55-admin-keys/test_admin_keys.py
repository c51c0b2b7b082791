"""The keys of the admin server: wrong ones lock out no right one, and one of a grant learns nothing of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

GRANTS = """
[[grants]]
id = "sales"
addresses = ["*@sales.example.test"]
[[grants]]
id = "hr"
addresses = ["*@hr.example.test"]
"""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[service.Service, Upstream]]:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, admin="", more=GRANTS)
        with service.running(tmp_path, ports) as running:
            yield running, upstream


def key(relay: service.Service, *words: str) -> str:
    return relay.command("api-key", "create", *words).stdout.split()[-1]


def ask(relay: service.Service, path: str, key: str) -> tuple[int, bytes]:
    with hostile.Http(relay.admin) as client:
        status, _, body = client.get(path, f"Authorization: Bearer {key}")
    return status, body


def mail(relay: service.Service, sender: str) -> None:
    with hostile.Smtp(relay.smtp) as client:
        content = hostile.letter("", "X-Track: all").replace(b"a@example.test", sender.encode())
        assert client.mail(content, sender=sender).startswith("250")


def test_wrong_keys_lock_out_no_right_one(relay: tuple[service.Service, Upstream]) -> None:
    """All come from one address, as behind a proxy."""
    running, _ = relay
    good = key(running, "ops")
    answers = [ask(running, "/live/messages", f"guess{n}")[0] for n in range(40)]
    assert answers == [401] * 10 + [429] * 30
    assert ask(running, "/live/messages", good)[0] == 200
    assert ask(running, "/live/messages", "guess")[0] == 429
    form = f"key={good}".encode()
    with hostile.Http(running.admin) as client:
        client.send(
            f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{running.admin}\r\nContent-Length: {len(form)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
            + form
        )
        assert client.answer()[0] == 303
    assert running.log.count("wrong_key") == 10


def test_a_grants_key_learns_nothing_of_the_others(relay: tuple[service.Service, Upstream]) -> None:
    running, upstream = relay
    sales = key(running, "sales", "--grant", "sales")
    mail(running, "a@sales.example.test")
    eventually(lambda: len(json.loads(ask(running, "/live/messages", sales)[1])["messages"]) == 1)
    (own,) = json.loads(ask(running, "/live/messages", sales)[1])["messages"]
    for _ in range(3):
        mail(running, "a@hr.example.test")
    everybody = key(running, "ops")
    eventually(lambda: len(json.loads(ask(running, "/live/messages", everybody)[1])["messages"]) == 4)
    pixel = hostile.tokens(upstream.taken[-1].content)[0][0]
    with hostile.Http(running.http) as client:
        assert client.get(pixel)[0] == 200
    eventually(lambda: json.loads(ask(running, "/live/messages", everybody)[1])["position"] != "0")
    others = [
        m["id"] for m in json.loads(ask(running, "/live/messages", everybody)[1])["messages"] if m["id"] != own["id"]
    ]
    found = json.loads(ask(running, "/live/messages?limit=1", sales)[1])
    assert [m["id"] for m in found["messages"]] == [own["id"]]  # full pages of its own
    assert found["events"] == []
    assert len(found["position"]) == 32  # no number
    assert [ask(running, f"/live/messages/{each}", sales) for each in others] == [
        ask(running, "/live/messages/nothing", sales)
    ] * 3
    for after in ("0", "1", "1000000"):  # whatever it says that it has seen, the answer is the same
        with hostile.Http(running.admin) as client:
            client.send(f"GET /live/events?after={after} HTTP/1.0\r\nAuthorization: Bearer {sales}\r\n\r\n".encode())
            heard = b""
            while b": still here" not in heard:
                heard += client.read()
        assert heard.partition(b"\r\n\r\n")[2] == b"retry: 2000\n\nevent: reset\ndata: {}\n\n: still here\n\n"


def test_another_port_of_the_host_can_do_nothing_with_the_cookie(
    relay: tuple[service.Service, Upstream],
) -> None:
    """A browser sends it there too, since cookies know no ports."""
    running, _ = relay
    mail(running, "a@sales.example.test")
    form = f"key={key(running, 'ops')}".encode()
    host = f"127.0.0.1:{running.admin}"
    with hostile.Http(running.admin) as client:
        client.send(
            f"POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(form)}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
            + form
        )
        status, fields, _ = client.answer()
    assert status == 303
    cookie, half = fields["set-cookie"].partition(";")[0], fields["location"].rpartition("=")[2]

    def answer(path: str, *more: str) -> tuple[int, bytes]:
        with hostile.Http(running.admin) as client:
            head = "".join(f"{field}\r\n" for field in (f"Host: {host}", f"Cookie: {cookie}", *more))
            client.send(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            status, _, body = client.answer()
            return status, body

    assert b"A letter" in answer("/live/messages", f"X-Session-Half: {half}")[1]
    for path in ("/live/messages", "/live/events?after=0", "/live/messages?half=guess", "/"):
        status, body = answer(path)
        assert status == (200 if path == "/" else 401)
        assert b"A letter" not in body
        assert half.encode() not in body
