"""One recipient by our own API: handed out and erased, each grant's by its own keys."""

import json
from pathlib import Path

import pytest

from relay.core import queue
from relay.core.model import SentCopy
from relay.spool.disk import Disk
from tests.api.serving import serving
from tests.store.contract import event, sent

ADA = "ada@example.net"


async def test_export_and_erase(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for name, grant in (("m1", "sales"), ("m2", "hr")):
            await server.known.record_sent(sent(name, grant_id=grant, copies=(SentCopy(ADA, 0, True),)))
            await server.known.append(event(message_id=name))
        said = await server.post("/api/recipients/export", {"recipient": ADA}, "sales-manage")
        lines = [json.loads(line) for line in said.raw.splitlines()]
        assert said.headers["Content-Type"] == "application/jsonl"
        assert [(line["kind"], line["message_id"]) for line in lines] == [("messages", "m1"), ("events", "m1")]
        every = (await server.post("/api/recipients/export", {"recipient": ADA}, "manage")).raw.splitlines()
        assert len(every) == 4
        done = (await server.post("/api/recipients/erase", {"recipient": ADA}, "sales-manage")).data
        assert done["left"] == []
        assert [m.message_id for m in await server.known.recent_sent()] == ["m2"]
        await server.post("/api/recipients/erase", {"recipient": ADA.upper()}, "manage")
        assert await server.known.recent_sent() == []
        assert await server.known.events() == []
        nothing = await server.post("/api/recipients/export", {"recipient": ADA}, "manage")
        assert (nothing.status, nothing.raw) == (200, b"")


async def test_mail_on_its_way_is_a_conflict(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        kept = Disk(tmp_path / "spool")
        kept.start()
        kept.put(
            queue.Entry("0a", "", 1.0, 1.0, "a@example.com", (queue.Waiting(ADA),)), b"Subject: x\r\n\r\n"
        ).release()
        refused = await server.post("/api/recipients/erase", {"recipient": ADA}, "manage")
        assert refused.status == 409
        assert b"0a" in refused.raw
        done = (await server.post("/api/recipients/erase", {"recipient": ADA, "queue": True}, "manage")).data
        assert done["erased"] == {"spool": 1}
        assert list(kept.scan()) == []


@pytest.mark.parametrize("path", ["/api/recipients/export", "/api/recipients/erase"])
@pytest.mark.parametrize(
    ("body", "key", "status"),
    [
        ({"recipient": ADA}, "read", 403),
        ({"recipient": ADA}, "send", 403),
        ({"recipient": "nobody"}, "manage", 400),
        ({}, "manage", 400),
        ({"recipient": ADA, "grant": "hr"}, "sales-manage", 404),
        ({"recipient": ADA, "grant": "nothing"}, "manage", 404),
    ],
)
async def test_who_may_not(tmp_path: Path, path: str, body: dict[str, str], key: str, status: int) -> None:
    async with serving(tmp_path) as server:
        assert (await server.post(path, body, key)).status == status
