"""Who is not tracked, or not written to, by our own API and by Unosend's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.core import suppressions
from relay.core.model import Event, Keys, Sent, SentCopy
from relay.core.suppressions import Ground, Suppression
from tests.api.serving import Api, serving

KEYS = Keys(0, {0: bytes(32)})


def entry(address: str, grant: str = "", reason: Ground = "manual", since: float = 1.0, **more: Any) -> Suppression:
    return Suppression(suppressions.digest(address, KEYS), grant, reason, address, since, **more)


async def every(server: Api, path: str, key: str = "all") -> list[dict[str, Any]]:
    found, token = [], ""
    while True:
        said = (await server.get(f"{path}{'&' if '?' in path else '?'}limit=2&page_token={token}", key)).body
        found += said["data"]
        token = said.get("next_cursor")
        if not token:
            return found


async def test_added_listed_and_removed(tmp_path: Path) -> None:
    async with serving(tmp_path, keys_of_tokens=lambda: KEYS) as server:
        asked = {"recipients": ["Bob@x.test", "ann@x.test", "bob@X.test"], "note": "on the phone"}
        assert (await server.post("/api/suppressions", asked, "manage")).data == {"number": 2}
        assert (await server.post("/api/suppressions", asked, "manage")).data == {"number": 0}
        more = {"recipients": ["bob@x.test"], "reason": "bounce", "grant": "hr"}
        assert (await server.post("/api/suppressions", more)).data == {"number": 1}
        rows = await every(server, "/api/suppressions", "read")
        assert {(r["recipient"], r["grant"], r["reason"], r["source"]) for r in rows} == {
            ("Bob@x.test", None, "manual", "api"), ("ann@x.test", None, "manual", "api"), ("bob@x.test", "hr", "bounce", "api"),
        }  # fmt: skip
        assert [r["reason"] for r in await every(server, "/api/suppressions?recipient=BOB@x.test&grant=hr")] == [
            "bounce"
        ]
        assert len(await every(server, "/api/suppressions?grant=all")) == 2
        assert len(await every(server, "/api/suppressions?reason=manual&recipient=bob@x.test")) == 1
        path = "/api/suppressions?recipient=bob@x.test"
        assert (await server.ask("DELETE", f"{path}&reason=complaint", "manage")).status == 404
        assert (await server.ask("DELETE", path, "manage")).data == {"number": 2}
        assert (await server.ask("DELETE", path, "manage")).status == 404
        assert [r["recipient"] for r in await every(server, "/api/suppressions")] == ["ann@x.test"]


@pytest.mark.parametrize(
    "body",
    [
        {"recipients": []}, {"recipients": ["nobody"]}, {"recipients": ["a@x.test", "b x@x.test"]}, {"recipients": ["a@x.test"], "reason": "why"},
        {"recipients": ["a@x.test"], "grant": "none"}, {"recipients": ["a@x.test"] * 1001}, {"recipients": "a@x.test"}, {},
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_and_nothing_is_added(tmp_path: Path, body: dict[str, Any]) -> None:
    async with serving(tmp_path, keys_of_tokens=lambda: KEYS) as server:
        assert (await server.post("/api/suppressions", body)).status == 400
        assert await every(server, "/api/suppressions") == []
        assert (await server.get("/api/suppressions?page_token=x")).status == 400
        assert (await server.post("/api/suppressions", {"recipients": ["a@x.test"]}, "read")).status == 403


async def test_a_key_of_one_grant_has_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path, keys_of_tokens=lambda: KEYS) as server:
        await server.known.suppress([entry("all@x.test"), entry("hr@x.test", "hr"), entry("sales@x.test", "sales")])
        assert [r["recipient"] for r in await every(server, "/api/suppressions", "hr-read")] == ["hr@x.test"]
        assert (await server.get("/api/suppressions?grant=sales", "hr-read")).status == 404
        for other in ("all@x.test", "sales@x.test"):
            assert (await server.ask("DELETE", f"/api/suppressions?recipient={other}", "hr-manage")).status == 404
        assert (await server.post("/api/suppressions", {"recipients": ["new@x.test"]}, "hr-manage")).data == {
            "number": 1
        }
        wrong = {"recipients": ["new@x.test"], "grant": "sales"}
        assert (await server.post("/api/suppressions", wrong, "hr-manage")).status == 403
        assert {r["recipient"] for r in await every(server, "/api/suppressions", "hr-read")} == {
            "hr@x.test",
            "new@x.test",
        }


async def test_as_unosend_has_it(tmp_path: Path) -> None:
    async with serving(tmp_path, keys_of_tokens=lambda: KEYS) as server:
        await server.known.record_sent(Sent("m" * 20, "hr", "m@x", 1.0, copies=(SentCopy("hard@x.test", 0, True),)))
        await server.known.append(
            Event("e1", "message.bounce_detected", "m" * 20, 2.0, 0, "hard@x.test", data={"status": "5.1.1"})
        )
        await server.known.suppress(
            [
                entry("hard@x.test", "hr", "bounce", 3.0, event_id="e1"),
                entry("no@x.test", "", "refusal", 2.0),
                entry("old@x.test", "", "complaint"),
            ]
        )
        made = await server.post("/v1/suppressions", {"email": "New@X.test"}, "manage")
        assert (made.status, made.data["email"], made.data["reason"]) == (201, "new@x.test", "manual")
        assert (await server.post("/v1/suppressions", {"email": "new@x.test"})).data["id"] == made.data["id"]
        assert (await server.post("/v1/suppressions", {"email": "new@x.test", "reason": "unsubscribe"})).status == 400
        assert (await server.post("/v1/suppressions", {"email": "new"})).status == 400
        found, cursor = [], ""
        while cursor is not None:
            said = (await server.get(f"/v1/suppressions?limit=3&cursor={cursor}")).body
            found += said["data"]
            assert said["success"] is True
            assert said["pagination"]["has_more"] == ("next_cursor" in said["pagination"])
            cursor = said["pagination"].get("next_cursor")
        assert [(r["email"], r["reason"]) for r in found] == [
            ("new@x.test", "manual"), ("hard@x.test", "hard_bounce"), ("no@x.test", "manual"), ("old@x.test", "spam_complaint"),
        ]  # fmt: skip
        assert (found[1]["source_email_id"], found[1]["metadata"]) == ("m" * 20, {"status": "5.1.1"})
        assert found[2]["metadata"] == {"refusal": "tracking"}
        assert [r["email"] for r in (await server.get("/v1/suppressions?reason=hard_bounce")).data] == ["hard@x.test"]
        assert (await server.get("/v1/suppressions?reason=unsubscribe")).data == []
        assert [r["email"] for r in (await server.get("/api/v1/suppressions", "hr-read")).data] == ["hard@x.test"]
        assert (await server.ask("DELETE", f"/v1/suppressions/{made.data['id']}", "hr-manage")).status == 404
        for name in ("x", "..", "%00", found[1]["id"] + "A"):
            assert (await server.ask("DELETE", f"/v1/suppressions/{name}")).status == 404
        gone = await server.ask("DELETE", f"/v1/suppressions/{made.data['id']}")
        assert (gone.body["success"], gone.data) == (True, {"id": made.data["id"]})
        assert (await server.ask("DELETE", f"/v1/suppressions/{made.data['id']}")).status == 404
