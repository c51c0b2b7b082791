"""Unosend's webhooks, our own endpoints, and what was delivered to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.core import payload
from relay.core.model import Endpoint, Event, Settlement
from relay.store.contract import Store
from tests.api.serving import Api, serving
from tests.api.test_v3_webhooks import LOOPBACK, receiver
from tests.store.contract import SOON, event, sent

URL = "https://app.example/hook"


async def test_the_webhooks_of_unosend(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        body = {"url": URL, "events": ["email.opened", "email.clicked", "contact.unsubscribed"]}
        answer = await server.post("/v1/webhooks", body)
        assert answer.status == 201
        assert answer.body["success"] is True
        made = answer.data
        assert made["signing_secret"] == made["secret"]
        assert made["secret"].startswith("whsec_")
        assert (made["url"], made["events"], made["enabled"]) == (URL, body["events"], True)
        assert made["created_at"].endswith("Z")
        (kept,) = await server.known.endpoints()
        assert (kept.format, kept.registry) == ("unosend", "unosend")
        path = f"/api/v1/webhooks/{made['id']}"
        found = (await server.get(path)).data
        assert found == {name: value for name, value in made.items() if "secret" not in name}
        assert (await server.get("/v1/webhooks/")).data == [found]
        assert (await server.get("/v3/webhooks")).data == []
        assert (await server.get(f"/v3/webhooks/{made['id']}")).status == 400
        changed = (await server.ask("PATCH", path, json={"enabled": False, "events": ["email.sent"]})).data
        assert (changed["enabled"], changed["events"], changed["url"]) == (False, ["email.sent"], URL)
        assert (await server.ask("PATCH", path, json={"enabled": True})).data["enabled"]
        wrong: list[dict[str, Any]] = [
            {"url": "https://127.0.0.1/x"}, {"events": []}, {"events": ["message.opened"]}, {"enabled": 1},
        ]  # fmt: skip
        for one in wrong:
            refused = await server.ask("PATCH", path, json=one)
            assert refused.status == 400
            assert set(refused.body["error"]) >= {"message", "code"}
        assert (await server.ask("DELETE", path)).status == 200
        assert (await server.get(path)).status == 404
        assert (await server.ask("DELETE", path)).status == 404
        sleeping = (await server.post("/v1/webhooks", body | {"enabled": False})).data
        assert (sleeping["enabled"], sleeping["status"]) == (False, "pause")


@pytest.mark.parametrize("format", ["nylas", "nylas-v2", "unosend"])
async def test_an_endpoint_of_our_own(tmp_path: Path, format: str) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        body = {"url": f"{hook.url}/x", "format": format, "verdicts": ["human"], "description": "CRM"}
        answer = await server.post("/api/endpoints", body)
        assert answer.status == 201
        made = answer.data
        assert (made["registry"], made["source"], made["verdicts"]) == ("own", "api", ["human"])
        secret = made.pop("secret")
        path = f"/api/endpoints/{made['id']}"
        assert (await server.get(path)).data == made
        assert (await server.get("/api/endpoints")).data == [made]
        assert (await server.get("/v3/webhooks")).data == (await server.get("/v1/webhooks")).data == []
        outcome = (await server.post(f"{path}/test", {})).data
        assert (outcome["status"], outcome["error"]) == (200, "")
        (headers, content) = hook.got[0]
        signed = payload.signatures(
            content,
            secret,
            event_id=headers.get("webhook-id", ""),
            timestamp=int(headers.get("webhook-timestamp") or headers["x-unosend-timestamp"]),
            format=format,  # type: ignore[arg-type]
        )
        assert {name: headers[name.lower()] for name in signed} == signed
        assert (await server.post(f"{path}/rotate-secret")).data["secret"] != secret
        changed = (await server.ask("PATCH", path, json={"status": "pause", "triggers": [], "verdicts": []})).data
        assert (changed["status"], changed["verdicts"]) == ("pause", [])
        assert (await server.ask("PATCH", path, json={"triggers": ["no.such"]})).status == 400
        assert (await server.post(f"{path}/test", {"trigger": "no.such"})).status == 400
        assert (await server.ask("DELETE", path)).data == {"id": made["id"], "removed": True}
        assert (await server.get(path)).status == 404


async def test_one_of_the_configuration_is_not_changed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.known.sync_endpoints([Endpoint("n", URL, ()), Endpoint("u", URL, (), format="unosend")])
        assert [(one["id"], one["source"]) for one in (await server.get("/api/endpoints")).data] == [
            ("n", "config"), ("u", "config"),
        ]  # fmt: skip
        assert [one["id"] for one in (await server.get("/v1/webhooks")).data] == ["u"]
        for path in ("/api/endpoints/n", "/v1/webhooks/u"):
            assert (await server.ask("PATCH", path, json={})).status == 409
            assert (await server.ask("DELETE", path)).status == 409


async def test_a_login_in_a_url_is_kept_and_shown_nowhere(tmp_path: Path) -> None:
    url, masked = "https://me:s3cret@app.example/hook?a=%2A", "https://***@app.example/hook?a=%2A"
    async with serving(tmp_path) as server:
        await server.known.sync_endpoints(
            [Endpoint("c", url, (), secret="s"), Endpoint("u", url, (), format="unosend")]
        )
        assert {one.url for one in await server.known.endpoints()} == {masked}  # relay.toml has it
        made = (await server.post("/api/endpoints", {"url": url})).data
        await server.post("/v1/webhooks", {"url": url, "events": ["email.sent"]})
        for path, name in (("/api/endpoints", "url"), ("/v1/webhooks", "url"), ("/v3/webhooks", "webhook_url")):
            answer = await server.get(path)
            assert {one[name] for one in answer.data} == {masked}
            assert "s3cret" not in json.dumps(answer.body)
        path = f"/api/endpoints/{made['id']}"

        async def kept() -> str:
            return next(one.url for one in await server.known.endpoints() if one.endpoint_id == made["id"])

        assert await kept() == url
        assert (await server.ask("PATCH", path, json={"url": masked, "description": "x"})).data["url"] == masked
        assert await kept() == url  # given back as it was shown
        await server.ask("PATCH", path, json={"url": "https://app.example/hook"})
        assert await kept() == "https://app.example/hook"


async def owed(store: Store, number: int, **which: Any) -> list[Event]:
    await store.record_sent(sent("m1", **which))
    done = [await store.append(event(recipient_index=n)) for n in range(number)]
    return [one for one in done if isinstance(one, Event)]


async def pages(server: Api, query: str) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        answer = await server.get(f"/api/deliveries?limit=2{query}{cursor}")
        found.append([one["id"] for one in answer.data])
        if "next_cursor" not in answer.body:
            return found
        cursor = f"&cursor={answer.body['next_cursor']}"


def flat(found: list[list[str]]) -> list[str]:
    return [one for page in found for one in page]


async def test_deliveries(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        known = server.known
        await known.add_endpoint(Endpoint("e1", URL, ("message.opened",)))
        await known.add_endpoint(Endpoint("e2", URL, ("message.opened",), format="nylas-v2"))
        events = await owed(known, 3)
        for due in await known.claim_due(SOON, limit=3):
            await known.settle(due.delivery_id, Settlement("dead", 7.0, status=500, error="HTTP 500", milliseconds=12))
        everything = await pages(server, "")
        assert [len(page) for page in everything] == [2, 2, 2]
        ids = flat(everything)
        assert ids == sorted(ids, key=int, reverse=True)
        dead = flat(await pages(server, "&state=dead"))
        assert len(dead) == 3
        assert set(dead) | set(flat(await pages(server, "&state=pending"))) == set(ids)
        assert len(flat(await pages(server, "&endpoint_id=e2"))) == 3
        assert len(flat(await pages(server, f"&event_id={events[0].event_id}"))) == 2
        assert len(flat(await pages(server, "&message_id=m1"))) == 6
        assert await pages(server, "&message_id=other") == [[]]
        one = (await server.get(f"/api/deliveries/{dead[0]}")).data
        assert one["attempts"] == [{"at": 7.0, "status": 500, "error": "HTTP 500", "milliseconds": 12}]
        history = await known.history(one["event_id"])
        (endpoint,) = [e for e in await known.endpoints() if e.endpoint_id == one["endpoint_id"]]
        assert history
        assert one["payload"] == json.loads(payload.shape(history, endpoint, application_id="trackrelay", attempt=1))
        assert (await server.post(f"/api/deliveries/{dead[0]}/replay")).data == {"due": 1}
        assert (await server.get(f"/api/deliveries/{dead[0]}")).data["state"] == "pending"
        assert (await server.post("/api/deliveries/replay", {"dead": True})).data == {"due": 2}
        assert (await server.post("/api/deliveries/replay", {"ids": ids[:2]})).data == {"due": 2}
        assert (await server.post("/api/deliveries/replay", {"since": 0})).data == {"due": 6}
        assert (await server.post("/api/deliveries/replay", {"since": 0, "endpoint_id": "e1"})).data == {"due": 3}
        assert (await server.post("/api/deliveries/replay", {"event_ids": [events[1].event_id]})).data == {"due": 2}
        for wrong in ({}, {"endpoint_id": "e1"}, {"since": -1}, {"ids": 5}):
            assert (await server.post("/api/deliveries/replay", wrong)).status == 400
        assert (await server.post("/api/deliveries/replay", {"dead": True, "endpoint_id": "x"})).status == 404
        for name in ("0", "x", "-1", "9" * 30, "99999"):
            assert (await server.get(f"/api/deliveries/{name}")).status == 404
        assert (await server.get("/api/deliveries?cursor=x")).status == 400


async def test_a_key_of_a_grant_sees_and_replays_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        known = server.known
        await known.add_endpoint(Endpoint("all", URL, ("message.opened",)))
        await known.add_endpoint(Endpoint("mine", URL, ("message.opened",), grant_id="sales"))
        await owed(known, 1, grant_id="sales")
        (n,) = (await server.get("/api/deliveries", key="sales-read")).data
        assert n["endpoint_id"] == "mine"
        assert len((await server.get("/api/deliveries")).data) == 2
        assert (await server.get("/api/deliveries", key="hr-read")).data == []
        (other,) = (await server.get("/api/deliveries?endpoint_id=all")).data
        assert (await server.get(f"/api/deliveries/{other['id']}", key="sales-read")).status == 404
        again = {"since": 0, "ids": [other["id"]]}
        assert (await server.post("/api/deliveries/replay", again, key="hr-all")).data == {"due": 0}
        assert (await server.post("/api/deliveries/replay", again, key="sales-all")).data == {"due": 1}
        assert (await server.get("/api/endpoints/all", key="sales-all")).status == 404
