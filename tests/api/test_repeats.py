"""Calls with an Idempotency-Key: the first one's answer, a call that is under way, a refusal for now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay import config, delivery, outbound, outcomes, spool, store, submitting
from relay.core.model import Keys, Tracking
from relay.upstream import transaction
from relay.upstream.failover import Upstreams
from tests.api.serving import GRANTS, Api, Said, serving
from tests.fakes import upstream as fake
from tests.until import until

PATH = "/v3/grants/sales/messages/send"
BODY = {"to": [{"email": "bob@example.org"}], "subject": "Once", "body": "<p>Hello"}
KEY = {"Idempotency-Key": "k1"}


@contextlib.asynccontextmanager
async def sending(folder: Path, script: Any = None, **upstream: Any) -> AsyncIterator[tuple[Api, fake.Upstream]]:
    """The APIs of a process that sends, and the server that it sends to."""
    async with fake.Upstream(script or {}) as server:
        settings = config.Settings(
            state_dir=folder,
            smtp=config.Smtp(hostname="relay.test"),
            upstream=config.Upstream(url=server.url, tls="never", **upstream),
            tracking=Tracking(url="https://t.example"),
            grants=GRANTS,
        )
        known = store.open("memory:", folder)
        out = Upstreams(settings, hostname="relay.test", times=transaction.Times(connect=2, mail=2, data=2, dot=60))
        heard = outcomes.Outcomes(known, host=out.host)
        kept = spool.Spool(folder / "spool", settings, out, heard)
        tracker = outbound.Tracker(settings, lambda: Keys(0, {0: bytes(32)}), known)
        deliverer = delivery.Delivery(settings, tracker, out, kept, heard)
        door = submitting.Submitting(settings, known, tracker, kept, deliverer)
        async with serving(folder, known=known, settings=settings, submitting=door) as api:
            try:
                yield api, server
            finally:
                await deliverer.close(0.0)
                await heard.flush()
                await out.close()


async def test_a_call_that_is_under_way_is_a_conflict_and_then_has_an_answer(tmp_path: Path) -> None:
    async with sending(tmp_path, patience=60.0) as (api, server):
        server.gates["dot"] = asyncio.Event()
        first = asyncio.create_task(api.post(PATH, BODY, headers=KEY))
        await until(lambda: "DATA" in server.lines)
        second = await api.post(PATH, BODY, headers=KEY)
        assert (second.status, second.body["error"]["type"]) == (409, "api.concurrent_idempotent_request")
        assert second.headers["Retry-After"] == "1"
        other = asyncio.create_task(api.post(PATH, BODY, "sales-send", headers=KEY))  # another's, of the same name
        await until(lambda: server.lines.count("DATA") == 2)
        server.gates["dot"].set()
        assert [(await call).status for call in (first, other)] == [200, 200]
        assert (await api.post(PATH, BODY, headers=KEY)).data == first.result().data != other.result().data
        assert len(server.taken) == 2


@pytest.mark.parametrize(
    "other", [{"subject": "Twice"}, {"body": "<p>Else"}, {"to": [{"email": "eve@example.org"}]}, {"send_at": 2 * 10**9}]
)
async def test_another_message_under_the_same_key_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    async with sending(tmp_path) as (api, server):
        assert (await api.post(PATH, BODY, headers=KEY)).status == 200
        again = await api.post(PATH, BODY | other, headers=KEY)
        assert (again.status, again.body["error"]["type"]) == (409, "api.invalid_idempotent_request")
        assert len(server.taken) == 1


async def test_a_refusal_for_now_is_tried_again_as_the_same_message(tmp_path: Path) -> None:
    async with sending(tmp_path, {"rcpt": ["451 4.3.0 later", "ok"]}, on_defer="pass") as (api, server):
        first = await api.post(PATH, BODY, headers=KEY)
        assert (first.status, first.headers["Retry-After"]) == (503, "60")
        other = await api.post(PATH, BODY | {"subject": "Twice"}, headers=KEY)
        assert other.status == 409
        again = await api.post(PATH, BODY, headers=KEY)
        assert again.status == 200
        assert (await api.post(PATH, BODY, headers=KEY)).data == again.data
        assert len(server.taken) == 1


async def test_a_refusal_for_good_is_remembered(tmp_path: Path) -> None:
    async with sending(tmp_path, {"rcpt": ["550 5.1.1 nobody", "ok"]}) as (api, server):
        said: list[Said] = [await api.post(PATH, BODY, headers=KEY) for _ in range(2)]
        assert [each.status for each in said] == [422, 422]
        assert said[0].body["error"] == said[1].body["error"]
        assert not server.taken


async def test_what_could_not_be_scheduled_used_no_key_up(tmp_path: Path) -> None:
    async with sending(tmp_path) as (api, server):
        assert (await api.post(PATH, BODY | {"send_at": 1}, headers=KEY)).status == 400
        assert (await api.post(PATH, BODY, headers=KEY)).status == 200
        assert len(server.taken) == 1
