"""Two processes send the notifications of one store, to an endpoint that fails now and then."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay import store, webhooks
from relay.core import floods
from tests import torture
from tests.fakes import hooks
from tests.peers import postgres
from tests.store.contract import click, sent
from tests.torture import claimer

EVENTS = 10_000 if torture.FULL else 300
FEW = 2_000 if torture.FULL else 150


def bad(number: int, headers: Mapping[str, str]) -> hooks.Answer:
    """Every third time it fails, and one in 40 goes without a word."""
    if number % 40 == 7:
        return hooks.Answer(cut=True)
    return hooks.Answer(500 if number % 3 == 1 else 200)


@asynccontextmanager
async def claiming(url: str, *endpoints: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.torture.claimer", url, *endpoints,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        _, errors = await process.communicate(b"")  # ends what it reads
    assert b"Traceback" not in errors, errors.decode()


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'shared.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres")
    async with server.database() as made:
        yield made


async def test_through_a_bad_endpoint_nothing_is_missing_and_nothing_doubled(url: str) -> None:
    known = store.open(url, Path("/"), floods.Limits(0, 0))
    await known.start()
    await known.record_sent(sent())
    async with hooks.receiver(bad) as hook:
        await known.sync_endpoints(webhooks.configured(claimer.settings(hook.url)))
        async with claiming(url, hook.url), claiming(url, hook.url):
            events = [click(number % 3) for number in range(EVENTS)]
            for at in range(0, EVENTS, 50):
                await asyncio.gather(*(known.append(event) for event in events[at : at + 50]))
            await hook.until(lambda hook: len(hook.accepted) >= EVENTS, timeout=600)
        came = Counter(one.headers["webhook-id"] for one in hook.accepted)
        clients = Counter(json.loads(one.body)["data"]["object"]["recents"][-1]["ip"] for one in hook.accepted)
    assert len(came) == EVENTS
    assert set(came.values()) == {1}
    assert set(clients) == {event.ip for event in events}
    (stands,) = await known.backlog()
    assert (stands.pending, stands.delivered, stands.dead) == (0, EVENTS, 0)
    await known.stop()


async def test_one_that_hangs_and_one_that_fails_hold_up_no_other(url: str) -> None:
    """On neither node: each endpoint has a lane of its own at each, and no more of it than that."""
    known = store.open(url, Path("/"), floods.Limits(0, 0))
    await known.start()
    await known.record_sent(sent())
    hanging, failing = lambda *_: hooks.Answer(pause=600), lambda *_: hooks.Answer(500)
    async with hooks.receiver(hanging) as hangs, hooks.receiver(failing) as fails, hooks.receiver() as good:
        endpoints = hangs.url, fails.url, good.url
        await known.sync_endpoints(webhooks.configured(claimer.settings(*endpoints)))
        async with claiming(url, *endpoints), claiming(url, *endpoints):
            for at in range(0, FEW, 50):
                await asyncio.gather(*(known.append(click(number % 3)) for number in range(at, at + 50)))
            await good.until(lambda hook: len(hook.accepted) >= FEW, timeout=600)
        came = Counter(one.headers["webhook-id"] for one in good.accepted)
        assert (len(came), set(came.values())) == (FEW, {1})
        assert hangs.most_under_way <= 2 * webhooks.LANE
        assert fails.accepted == []
    await known.stop()
