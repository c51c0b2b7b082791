"""The queue and the blocked links by our own API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay import blocklist
from relay.core import queue
from relay.core.model import Sent, SentCopy
from relay.spool.disk import Disk
from tests.api.serving import Api, serving
from tracking_http.api.own import queue as routes

CONTENT = b"From: a@example.com\r\nSubject: =?utf-8?q?H=C3=A4?=\r\nX: \xff\r\n\r\nBody\r\n"


def put(folder: Path, number: int, **more: Any) -> queue.Entry:
    entry = queue.Entry(
        entry_id=f"{number:04x}",
        message_id=more.pop("message_id", f"{number:020d}"),
        created_at=1_700_000_000.5 + number,
        next_at=time.time() + 1000,
        reverse_path="a@example.com",
        recipients=(queue.Waiting("jonas@example.org", reply="451 4.7.1 Greylisted"),),
        **more,
    )
    kept = Disk(folder / "spool")
    kept.start()
    kept.put(entry, CONTENT).release()
    return entry


async def sent(server: Api, number: int, grant: str, *recipients: str) -> None:
    await server.known.record_sent(
        Sent(
            f"{number:020d}",
            grant,
            f"{number}@example.com",
            1_700_000_000.0,
            sender="a@example.com",
            to=("b@x.example",),
            copies=tuple(SentCopy(recipient, 0, False) for recipient in recipients),
        )
    )


async def every(server: Api, key: str, limit: int) -> list[str]:
    """The ids of all pages."""
    found, cursor = [], ""
    while True:
        said = (await server.get(f"/api/queue?limit={limit}&cursor={cursor}", key)).body
        assert len(said["data"]) <= limit
        assert not said.get("next_cursor") or len(said["data"]) == limit
        found += [entry["id"] for entry in said["data"]]
        cursor = said.get("next_cursor")
        if not cursor:
            return found


async def test_what_waits_is_listed_by_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert (await server.get("/api/queue")).body["data"] == []
        for number in range(1, 8):
            put(tmp_path, number)
            await sent(server, number, "hr" if number < 5 else "sales")
        put(tmp_path, 8, message_id="", kind="report")
        names = [f"{number:04x}" for number in range(1, 9)]
        for limit in (1, 2, 3, 8, 200):
            assert await every(server, "read", limit) == names
            assert await every(server, "hr-read", limit) == names[:4]
            assert await every(server, "sales-read", limit) == names[4:7]
        one = (await server.get("/api/queue?limit=1")).data[0]
        assert (one["message_id"], one["last_reply"], one["uncertain"]) == (f"{1:020d}", "451 4.7.1 Greylisted", 0)
        assert one["recipients"] == [
            {"address": "jonas@example.org", "state": "waiting", "reply": "451 4.7.1 Greylisted"}
        ]
        assert (await server.get("/api/queue?cursor=x")).status == 400


async def test_a_grant_finds_its_own_behind_many_of_others(tmp_path: Path) -> None:
    """More than are read at a time."""
    async with serving(tmp_path) as server:
        first = put(tmp_path, 1)
        await sent(server, 1, "sales")
        for number in range(2, routes.BATCH + 10):  # as files, without a disk that is asked for each
            name = f"{number:04x}"
            line = queue.write(msgspec.structs.replace(first, entry_id=name, message_id=f"{number:020d}"))
            (tmp_path / "spool" / f"{name}.msg").write_bytes(line + CONTENT)
        await sent(server, routes.BATCH + 9, "sales")
        assert await every(server, "sales-read", 1) == ["0001", f"{routes.BATCH + 9:04x}"]


async def test_one_is_shown_tried_and_dropped(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        put(tmp_path, 1)
        await sent(server, 1, "hr", "jonas@example.org")
        shown = (await server.get("/api/queue/0001", "hr-read")).data
        assert shown["header"] == "From: a@example.com\r\nSubject: =?utf-8?q?H=C3=A4?=\r\nX: \ufffd\r\n"
        assert shown["size"] == len(CONTENT) == (await server.get("/api/queue", "hr-read")).data[0]["size"]
        for method, path in (("GET", ""), ("POST", "/retry"), ("DELETE", "")):
            assert (await server.ask(method, f"/api/queue/0001{path}", "sales-all")).status == 404
            for name in ("0002", "..%2F..%2Fx", "0001.msg", "%00", "x"):
                assert (await server.ask(method, f"/api/queue/{name}{path}")).status == 404
        kept = Disk(tmp_path / "spool")
        woken = kept.woken_at()
        assert (await server.post("/api/queue/0001/retry", key="hr-manage")).data["status"] == "to be tried now"
        entry = kept.read("0001")
        assert entry
        assert entry.next_at <= time.time()
        assert kept.woken_at() > woken
        claim = kept.claim("0001")
        assert claim
        for method, path in (("POST", "/retry"), ("DELETE", "")):
            busy = await server.ask(method, f"/api/queue/0001{path}")
            assert (busy.status, busy.body["error"]["type"]) == (409, "conflict")
        claim.release()
        assert (await server.ask("DELETE", "/api/queue/0001", "hr-manage")).data == {"id": "0001", "status": "dropped"}
        assert (await server.get("/api/queue/0001")).status == 404
        assert list(kept.scan()) == []
        told = await server.known.sent(f"{1:020d}")
        assert told
        assert [(copy.state, copy.reply) for copy in told.copies] == [
            ("never", "given up: dropped from the queue; the last reply was 451 4.7.1 Greylisted")
        ]
        assert [note.by for note in kept.notes()] == ["the API, key hr-manage"]


async def test_a_spool_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(kept: Disk) -> None:
        raise PermissionError(13, "Permission denied", str(kept.directory))

    monkeypatch.setattr(Disk, "scan", refused)
    async with serving(tmp_path) as server:
        said = await server.get("/api/queue")
        assert (said.status, said.body["error"]["type"]) == (503, "service_unavailable")
        assert str(tmp_path) not in said.body["error"]["message"]


@pytest.mark.parametrize(
    ("what", "kind", "value"),
    [
        ("https://Evil.example:443/a%7Eb", "url", "https://evil.example/a~b"),
        ("Evil.example", "host", "evil.example"),
        (f"{1:020d}", "message", f"{1:020d}"),
        ("<1@example.com>", "message", f"{1:020d}"),
    ],
)
async def test_links_are_blocked_and_unblocked(tmp_path: Path, what: str, kind: str, value: str) -> None:
    path = blocklist.path_in(tmp_path)
    async with serving(tmp_path) as server:
        await sent(server, 1, "hr")
        first = (await server.post("/api/links", {"what": what}, "manage")).data
        assert (first["kind"], first["value"]) == (kind, value)
        assert [(block.kind, block.value) for block in blocklist.read(path)] == [(kind, value)]
        assert (await server.post("/api/links", {"what": what})).data == first
        assert (await server.get("/api/links", "read")).data == [first]
        from yarl import URL

        query = URL.build(query={"what": what}).raw_query_string
        assert (await server.ask("DELETE", f"/api/links?{query}", "manage")).data["value"] == value
        assert blocklist.read(path) == ()
        assert (await server.ask("DELETE", f"/api/links?{query}", "manage")).status == 404


async def test_a_grant_blocks_its_own_messages_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await sent(server, 1, "hr")
        await sent(server, 2, "sales")
        assert (await server.post("/api/links", {"what": "evil.example"}, "hr-manage")).status == 403
        for what in (f"{2:020d}", f"{3:020d}"):
            assert (await server.post("/api/links", {"what": what}, "hr-manage")).status == 404
        assert (await server.post("/api/links", {"what": "<2@example.com>"}, "hr-manage")).status == 400
        assert (await server.post("/api/links", {"what": "<1@example.com>"}, "hr-manage")).status == 200
        assert (await server.post("/api/links", {"what": "evil.example"}, "manage")).status == 200
        assert len((await server.get("/api/links", "read")).data) == 2
        assert [block["value"] for block in (await server.get("/api/links", "hr-read")).data] == [f"{1:020d}"]
        assert (await server.get("/api/links", "sales-read")).data == []


@pytest.mark.parametrize("what", ["", "a b", "x" * 5000, "a\0b", "<nobody@example.com>", 7, None])
async def test_what_can_not_be_blocked(tmp_path: Path, what: Any) -> None:
    async with serving(tmp_path) as server:
        said = await server.post("/api/links", {"what": what})
        assert said.status == 400
        assert said.body["error"]["message"].startswith("what: ")
        assert msgspec.json.decode(said.raw)


async def test_a_damaged_list_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.post("/api/links", {"what": "evil.example"})
        blocklist.path_in(tmp_path).write_text("{")
        for method in ("GET", "POST"):
            said = await server.ask(method, "/api/links", json={"what": "a.example"})
            assert (said.status, said.body["error"]["type"]) == (503, "service_unavailable")
