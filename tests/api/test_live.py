"""The stream of events by our own API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.api.serving import Api, serving
from tests.store.contract import event, sent


@contextlib.asynccontextmanager
async def watching(server: Api, key: str, **fields: str) -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Authorization": f"Bearer {key}", **fields}
    async with (
        asyncio.timeout(20),
        server.session.get(f"http://127.0.0.1:{server.port}/api/events/live", headers=headers) as answer,
    ):
        yield answer


async def test_events_as_they_happen(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.known.record_sent(sent("m1"))
        async with watching(server, "sales-read", **{"Last-Event-ID": "999"}) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            assert b"reset" in await answer.content.readuntil(b"reset")
            await server.known.append(event())
            assert b"m1" in await answer.content.readuntil(b"m1")


async def test_who_may_watch(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert (await server.get("/api/events/live", "sales-send")).status == 403
        assert (await server.get("/api/events/live", "")).status == 401
