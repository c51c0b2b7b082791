"""Nylas' webhooks by its own SDKs and over the wire, with receivers on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from nylas import Client
from nylas.models.errors import NylasApiError

from relay import config
from relay.core.model import Endpoint
from relay.credentials import Credentials
from relay.webhooks import registration
from relay.webhooks.guard import Guard
from relay.webhooks.post import Poster
from tests import contract
from tests.api.serving import GRANTS, serving
from tests.peers import node

LOOPBACK = config.Settings(grants=GRANTS, webhook_delivery=config.WebhookDelivery(("127.0.0.0/8",)))


@dataclass
class Receiver:
    """Answers a challenge as its path says."""

    url: str = ""

    def __post_init__(self) -> None:
        self.asked: list[str] = []
        self.got: list[tuple[Mapping[str, str], bytes]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            self.got.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
            return web.Response(status=500 if request.path == "/broken" else 200)
        self.asked.append(request.path_qs)
        value = request.query["challenge"]
        match request.path:
            case "/404":
                return web.Response(status=404, text=value)
            case "/created":
                return web.Response(status=201, text=value)
            case "/lie":
                return web.Response(text=value[:-1] + "~")
            case "/json":
                return web.json_response(value)
            case "/newline":
                return web.Response(text=value + "\n")
            case "/large":
                return web.Response(body=value.encode() + b"x" * 10_000_000)
            case "/redirect":
                raise web.HTTPFound(f"/ok?challenge={value}")
            case "/hang":
                await asyncio.Event().wait()
            case "/slow-body":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(value[:5].encode())
                await asyncio.Event().wait()
        return web.Response(text=value)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


def asked(url: str, **more: Any) -> dict[str, Any]:
    return {"trigger_types": ["message.opened"], "webhook_url": url} | more


async def test_the_sdk_for_python(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        await asyncio.to_thread(with_python, Client("all", f"http://127.0.0.1:{server.port}"), hook.url)
        assert len(hook.asked) == 4  # made, woken, moved; and one that was refused
        assert await server.known.endpoints() == []


def with_python(nylas: Client, url: str) -> None:
    made = nylas.webhooks.create(
        {
            "trigger_types": ["message.opened", "thread.replied", "contact.deleted"],
            "webhook_url": f"{url}/ok?x=1",
            "description": "CRM",
            "notification_email_addresses": ["ops@example.com"],
        }
    ).data
    assert made.webhook_secret.startswith("whsec_")
    assert made.status == "active"
    assert made.created_at == made.updated_at == made.status_updated_at > 1_700_000_000
    (listed,) = nylas.webhooks.list().data
    assert listed == nylas.webhooks.find(made.id).data
    assert (listed.id, listed.description, listed.webhook_url) == (made.id, "CRM", f"{url}/ok?x=1")
    assert listed.notification_email_addresses == ["ops@example.com"]
    changed = nylas.webhooks.update(made.id, {"description": "Other", "status": "pause"}).data
    assert (changed.description, changed.status, changed.trigger_types) == ("Other", "pause", listed.trigger_types)
    woken = nylas.webhooks.update(made.id, {"status": "active"}).data
    assert woken.status == "active"
    moved = nylas.webhooks.update(made.id, {"webhook_url": f"{url}/other"}).data
    assert moved.webhook_url == f"{url}/other"
    rotated = nylas.webhooks.rotate_secret(made.id).data
    assert rotated.webhook_secret not in ("", made.webhook_secret)
    assert nylas.webhooks.ip_addresses().data.ip_addresses == []
    gone = nylas.webhooks.destroy(made.id)
    assert gone.data
    assert gone.data.status == "success"
    with pytest.raises(NylasApiError) as wrong:
        nylas.webhooks.find(made.id)
    assert (wrong.value.type, wrong.value.status_code) == ("70000", 400)
    with pytest.raises(NylasApiError) as wrong:
        nylas.webhooks.create({"trigger_types": ["no.such"], "webhook_url": url})
    assert wrong.value.type == "invalid_request_error"
    with pytest.raises(NylasApiError) as wrong:
        nylas.webhooks.create({"trigger_types": ["message.opened"], "webhook_url": f"{url}/404"})
    assert wrong.value.type == "70005"


SCRIPT = """
const Nylas = require('nylas').default;
const [uri, url] = process.argv.slice(1);
const nylas = new Nylas({ apiKey: 'all', apiUri: uri });
(async () => {
  const made = await nylas.webhooks.create({ requestBody: {
    triggerTypes: ['message.opened', 'notetaker.created'], webhookUrl: url + '/ok', description: 'CRM',
    notificationEmailAddresses: [] } });
  const webhookId = made.data.id;
  const listed = await nylas.webhooks.list();
  const found = await nylas.webhooks.find({ webhookId });
  const changed = await nylas.webhooks.update({ webhookId, requestBody: { description: 'Other' } });
  const rotated = await nylas.webhooks.rotateSecret({ webhookId });
  const addresses = await nylas.webhooks.ipAddresses();
  const gone = await nylas.webhooks.destroy({ webhookId });
  let error = null;
  try { await nylas.webhooks.find({ webhookId }); } catch (e) {
    error = { type: e.type, status: e.statusCode, id: e.requestId }; }
  console.log(JSON.stringify({ made, listed, found, changed, rotated, addresses, gone, error }));
})();
"""


async def test_the_sdk_for_node(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        process = await asyncio.create_subprocess_exec(
            node.require("nylas"), "-e", SCRIPT, "--", f"http://127.0.0.1:{server.port}", hook.url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
    assert process.returncode == 0, err
    said = json.loads(out)
    made = said["made"]["data"]
    assert made["webhookSecret"].startswith("whsec_")
    assert made["triggerTypes"] == ["message.opened", "notetaker.created"]
    assert said["listed"]["data"] == [said["found"]["data"]]
    assert "webhookSecret" not in said["found"]["data"]
    assert said["changed"]["data"]["description"] == "Other"
    assert said["rotated"]["data"]["webhookSecret"] != made["webhookSecret"]
    assert said["addresses"]["data"]["ipAddresses"] == []
    assert said["gone"]["data"] == {"status": "success"}
    assert said["error"]["type"] == "70000"
    assert said["error"]["id"]


@pytest.mark.parametrize("path", ["404", "created", "lie", "json", "newline", "large", "redirect", "hang", "slow-body"])
async def test_a_challenge_is_answered_exactly_or_nothing_is_made(tmp_path: Path, path: str) -> None:
    poster = Poster(Guard(("127.0.0.0/8",)), timeout=2 if path in ("hang", "slow-body") else 30)
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK, poster=poster) as server:
        answer = await server.post("/v3/webhooks", asked(f"{hook.url}/{path}"))
        assert (answer.status, answer.body["error"]["type"]) == (400, "70005")
        assert answer.body["error"]["message"].startswith("unable.verify.webhook_url : ")
        if path == "404":
            assert answer.body["error"]["message"] == "unable.verify.webhook_url : status is not ok, got 404"
        assert len(hook.asked) == 1
        assert await server.known.endpoints() == []


class Names(AbstractResolver):
    """`public-looking.example` is a private address."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        if host != "public-looking.example":
            raise OSError("no such name")
        return [ResolveResult(hostname=host, host="10.0.0.1", port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://127.0.0.1/x", "127.0.0.1 is not a public address"),
        ("https://[::1]/x", "::1 is not a public address"),
        ("https://2130706433/x", "not a public address"),
        ("https://169.254.169.254/latest", "169.254.169.254 is not a public address"),
        ("https://public-looking.example/x", "10.0.0.1 is not a public address"),
        ("http://8.8.8.8/x", "http is for hosts in allow_private only"),
        ("http://unknown.example/x", "http is for hosts in allow_private only"),
        ("https://user:pw@127.0.0.1/x", "127.0.0.1 is not a public address"),
        ("ftp://app.example/x", "only http and https"),
        ("/x", "only http and https"),
        ("", "only http and https"),
        ("https://app.example/a b", "no space"),
        ("https://app.example/" + "x" * 2048, "2048 characters"),
    ],
)
async def test_what_may_not_be_called_is_not_saved(tmp_path: Path, url: str, message: str) -> None:
    poster = Poster(Guard(), resolver=Names())
    async with serving(tmp_path, poster=poster) as server:
        for path in ("/v3/webhooks", "/v3/webhooks/send-test-event"):
            answer = await server.post(path, asked(url))
            assert answer.status == 400
            assert message in answer.body["error"]["message"]
        assert await server.known.endpoints() == []


async def test_an_update_changes_what_it_names(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        made = (await server.post("/v3/webhooks/", asked(f"{hook.url}/ok", compressed_delivery=True))).data
        path = f"/v3/webhooks/{made['id']}"
        before = (await server.get(path)).data
        assert before == {name: value for name, value in made.items() if name != "webhook_secret"}
        assert before["compressed_delivery"]
        changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"trigger_types": ["thread.replied"]}, {"trigger_types": ["thread.replied"]}),
            ({"description": None}, {}),
            ({"notification_email_addresses": ["a@example.com"]}, {"notification_email_addresses": ["a@example.com"]}),
            ({"compressed_delivery": False, "unknown": 1}, {"compressed_delivery": False}),
            ({}, {}),
        ]
        for body, changed in changes:
            after = (await server.ask("PUT", path, json=body)).data
            before |= changed | {"updated_at": after["updated_at"]}
            assert after == before == (await server.get(path)).data
        assert len(hook.asked) == 1
        lying = await server.ask("PUT", path, json={"webhook_url": f"{hook.url}/lie", "description": "new"})
        assert lying.status == 400
        assert (await server.get(path)).data == before
        wrong: list[Any] = [
            {"status": "failing"}, {"trigger_types": []}, {"trigger_types": "x"}, {"trigger_types": ["email.opened"]},
            {"notification_email_addresses": ["nobody"]}, {"webhook_url": None}, [],
        ]  # fmt: skip
        for body in wrong:
            assert (await server.ask("PUT", path, json=body)).status == 400
        assert (await server.get(path)).data == before


@pytest.mark.parametrize("status", ["failing", "failed", "pause"])
async def test_an_activation_asks_for_the_challenge_again(tmp_path: Path, status: Any) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        made = (await server.post("/v3/webhooks", asked(f"{hook.url}/ok"))).data
        await server.known.set_endpoint_status(made["id"], status, 5.0)
        path = f"/v3/webhooks/{made['id']}"
        assert (await server.get(path)).data["status_updated_at"] == 5
        await server.ask("PUT", path, json={"description": "not yet"})
        assert len(hook.asked) == 1
        woken = (await server.ask("PUT", path, json={"status": "active"})).data
        assert len(hook.asked) == 2
        assert woken["status"] == "active"
        assert woken["status_updated_at"] >= made["created_at"]
        await server.ask("PUT", path, json={"status": "active"})
        assert len(hook.asked) == 2


async def test_a_webhook_of_the_configuration_is_shown_and_not_changed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.known.sync_endpoints(
            [
                Endpoint("wh_c", "https://app.example/hook", ()),
                Endpoint("wh_n", "https://app.example/named", ("message.opened", "message.verdict_changed")),
                Endpoint("wh_u", "https://app.example/unosend", (), format="unosend"),
            ]
        )
        shown, named = sorted((await server.get("/v3/webhooks")).data, key=lambda one: one["id"])
        assert (shown["id"], named["id"], named["trigger_types"]) == ("wh_c", "wh_n", ["message.opened"])
        assert "message.opened" in shown["trigger_types"]
        assert "message.opened.legacy" not in shown["trigger_types"]
        listed = await asyncio.to_thread(Client("all", f"http://127.0.0.1:{server.port}").webhooks.list)
        assert {one.id for one in listed.data} == {"wh_c", "wh_n"}
        for method, path in (("PUT", ""), ("DELETE", ""), ("PUT", "/rotate-secret")):
            answer = await server.ask(method, f"/v3/webhooks/wh_c{path}", json={})
            assert (answer.status, answer.body["error"]["type"]) == (409, "conflict")
        assert (await server.get("/v3/webhooks/wh_u")).status == 400
        assert (await server.get("/v3/webhooks", key="sales-read")).data == []


async def test_the_python_sdk_reads_a_list_with_triggers_that_it_does_not_know(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        body = asked(f"{hook.url}/ok", trigger_types=["notetaker.created", "message.opened"])
        assert (await server.post("/v3/webhooks", body)).data["trigger_types"] == body["trigger_types"]
        listed = await asyncio.to_thread(Client("all", f"http://127.0.0.1:{server.port}").webhooks.list)
        assert [one.value for one in listed.data[0].trigger_types] == ["message.opened"]


async def test_what_a_key_of_a_grant_makes_is_of_that_grant(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        made = (await server.post("/v3/webhooks", asked(f"{hook.url}/ok"), key="sales-all")).data
        (kept,) = await server.known.endpoints()
        assert (kept.grant_id, kept.registry) == ("sales", "nylas")
        assert (await server.get(f"/v3/webhooks/{made['id']}", key="hr-all")).status == 400
        assert (await server.get("/v3/webhooks", key="hr-all")).data == []
        assert len((await server.get("/v3/webhooks", key="all")).data) == 1


async def test_a_mock_payload_of_each_trigger_of_the_schema_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for trigger in SCHEMA_PAGE.split():
            found = (await server.post("/v3/webhooks/mock-payload", {"trigger_type": trigger})).data
            assert (found["type"], found["specversion"]) == (trigger, "1.0")
            assert [wrong for wrong in contract.errors(found) if "no schema for" not in wrong] == []
        for trigger in ("", "no.such", "email.opened"):
            assert (await server.post("/v3/webhooks/mock-payload", {"trigger_type": trigger})).status == 400


async def test_a_test_event_is_signed_with_the_mock_secret(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        for body in ({"webhook_url": hook.url}, {"webhook_url": hook.url, "trigger_type": "grant.expired"}):
            assert (await server.post("/v3/webhooks/send-test-event", body)).data == "success"
        for headers, body_ in hook.got:
            mac = hmac.digest(b"mock-webhook-secret", body_, hashlib.sha256).hex()
            assert headers["x-nylas-signature"] == mac
        assert [json.loads(body_)["type"] for _, body_ in hook.got] == ["message.opened", "grant.expired"]
        assert hook.asked == []
        answer = await server.post("/v3/webhooks/send-test-event", {"webhook_url": f"{hook.url}/broken"})
        assert (answer.status, answer.body["error"]["type"]) == (400, "70005")


async def test_there_is_an_end_to_endpoints(tmp_path: Path) -> None:
    async with receiver() as hook, serving(tmp_path, settings=LOOPBACK) as server:
        one = Endpoint("", f"{hook.url}/ok", ("message.opened",), registry="nylas", source="api")
        for number in range(registration.MAX_ENDPOINTS):
            await server.known.add_endpoint(replace(one, endpoint_id=f"wh_{number}"))
        assert (await server.post("/v3/webhooks", asked(f"{hook.url}/ok"))).status == 400


async def test_rights(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for method, path in (("POST", ""), ("PUT", "/x"), ("DELETE", "/x"), ("POST", "/rotate-secret/x")):
            assert (await server.ask(method, f"/v3/webhooks{path}", "read", json={})).status == 403


SCHEMA_PAGE = """
grant.created grant.updated grant.deleted grant.expired calendar.created calendar.updated calendar.deleted event.created
event.updated event.deleted booking.created booking.pending booking.rescheduled booking.cancelled booking.reminder
notetaker.created notetaker.updated notetaker.meeting_state notetaker.media notetaker.deleted message.created
message.updated message.send_success message.send_failed message.bounce_detected message.opened message.opened.legacy
message.link_clicked message.link_clicked.legacy thread.replied thread.replied.legacy message.intelligence.order
message.intelligence.tracking message.intelligence.return folder.created folder.updated folder.deleted contact.updated
"""


async def test_a_grant_is_invalid_while_its_login_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, settings=LOOPBACK) as server:

        async def statuses() -> dict[str, str]:
            found = (await server.get("/v3/grants?limit=50")).data
            assert all("created_at" not in one for one in found)  # nothing is known of it, so nothing is said
            return {one["id"]: one["grant_status"] for one in found}

        name = next(iter(await statuses()))
        assert set((await statuses()).values()) == {"valid"}
        told = Credentials(server.known)
        await told.refused(name, "upstream", "535 no")
        assert [each for each, status in (await statuses()).items() if status == "invalid"] == [name]
        assert (await server.get(f"/v3/grants/{name}")).data["grant_status"] == "invalid"
        assert [one["id"] for one in (await server.get("/v3/grants?grant_status=invalid")).data] == [name]
        assert name not in [one["id"] for one in (await server.get("/v3/grants?grant_status=valid")).data]
        await told.accepted(name, "upstream")
        assert set((await statuses()).values()) == {"valid"}
