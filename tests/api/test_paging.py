"""Going through a list of each API while new things arrive: what was there is there once."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay import store as stores
from tests.api.serving import Api, serving
from tests.store.contract import event, sent

COUNT = 250
START = 1_000_000  # seconds before now for the first of them
PAGES = 12  # while which new ones arrive


def own(body: Any) -> tuple[Sequence[Any], str]:
    return body["data"], body.get("next_cursor") or ""


def unosend(body: Any) -> tuple[Sequence[Any], str]:
    return body["data"]["data"], body["data"]["pagination"].get("next_cursor") or ""


LISTS: dict[str, tuple[str, str, Callable[[Any], tuple[Sequence[Any], str]], str]] = {
    "own messages": ("/api/messages?limit=17", "cursor", own, "id"),
    "own events": ("/api/events?limit=17", "cursor", own, "event_id"),
    "v3 messages": ("/v3/grants/sales/messages?limit=17", "page_token", own, "id"),
    "v3 threads": ("/v3/grants/sales/threads?limit=17", "page_token", own, "id"),
    "v3 activity": ("/v3/activity/tracking?limit=17&start=0", "page_token", own, "id"),
    "v1 emails": ("/v1/emails?limit=17", "cursor", unosend, "id"),
    "v1 events": ("/v1/events?limit=17&days=90", "cursor", unosend, "id"),
}


@pytest.fixture(params=["memory:", "sqlite:test.db"], ids=["memory", "sqlite"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, known=stores.open(request.param, tmp_path)) as started:
        yield started


class Arriving:
    """Messages with an open each; several at one time."""

    def __init__(self, server: Api, now: float) -> None:
        self.server, self.now, self.number = server, now, 0

    async def more(self, count: int, at: float) -> None:
        for _ in range(count):
            self.number += 1
            name = f"m{self.number:05}"
            then = at + self.number // 3
            await self.server.known.record_sent(sent(name, submitted_at=then, grant_id="sales", thread_id=name))
            await self.server.known.append(event(message_id=name, at=then))


@pytest.mark.parametrize("name", LISTS)
async def test_each_that_was_there_is_there_once(server: Api, name: str) -> None:
    path, parameter, read, key = LISTS[name]
    arriving = Arriving(server, time.time())
    await arriving.more(COUNT, arriving.now - START)
    once = [one[key] for one in await everything(server, path, parameter, read)]
    assert len(once) == len(set(once)) == COUNT

    pages = 0

    async def arrive() -> None:
        nonlocal pages
        pages += 1
        await arriving.more(5 if pages < PAGES else 0, arriving.now - 1000)

    found = [one[key] for one in await everything(server, path, parameter, read, arrive)]
    assert pages > PAGES
    assert len(found) == len(set(found))
    assert [one for one in found if one in set(once)] == once


async def everything(
    server: Api, path: str, parameter: str, read: Callable[[Any], tuple[Sequence[Any], str]], between: Any = None
) -> list[Any]:
    found: list[Any] = []
    mark = ""
    while True:
        said = await server.get(path + (f"&{parameter}={mark}" if mark else ""))
        assert said.status == 200, said.raw
        items, mark = read(said.body)
        found += items
        if not mark:
            return found
        if between:
            await between()
