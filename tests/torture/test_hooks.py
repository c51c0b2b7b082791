"""Whenever the program is killed, each endpoint hears of each event, under one id, also one that fails, and one that hangs
and comes back.

A process of the role webhooks alone, its SQLite store, and events that another process appends meanwhile. TORTURE_SEED
changes when it is killed.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay import config, store
from relay.__main__ import main as command
from relay.webhooks import endpoints
from tests import torture
from tests.fakes import hooks
from tests.scenarios import service
from tests.store.contract import click, sent
from tests.until import until

SEED = int(os.environ.get("TORTURE_SEED", "1"))
EVENTS, KILLS = (10_000, 20) if torture.FULL else (250, 3)
PER_MESSAGE = 50
FAILS = 0.3
SECRET = "a secret of the torture"
HANGS = 3600.0

pytestmark = pytest.mark.timeout(1800 if torture.FULL else 120)


class Endpoints:
    """Three receivers, by name. The one that hangs does so until it is `calm`."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.calm = dice, False
        self.hooks: dict[str, hooks.Hooks] = {}

    def good(self, number: int, headers: Mapping[str, str]) -> hooks.Answer:
        return hooks.Answer(204, body=b"")

    def failing(self, number: int, headers: Mapping[str, str]) -> hooks.Answer:
        at = self.dice.random()
        return hooks.Answer(self.dice.choice((500, 503, 404)), cut=at < FAILS / 3) if at < FAILS else hooks.Answer()

    def hanging(self, number: int, headers: Mapping[str, str]) -> hooks.Answer:
        return hooks.Answer() if self.calm else hooks.Answer(pause=HANGS)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for name in ("good", "failing", "hanging"):
                self.hooks[name] = await stack.enter_async_context(hooks.receiver(getattr(self, name)))
            yield

    def heard(self, name: str) -> dict[str, list[hooks.Received]]:
        """By notification."""
        found: dict[str, list[hooks.Received]] = collections.defaultdict(list)
        for received in self.hooks[name].received:
            found[received.headers["webhook-id"]].append(received)
        return found


KEEPS = "[privacy]\nretention_days = 36500\n"  # the events are of 2023


class Process:
    """`trackrelay run --only webhooks`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kills = folder, 0
        self.config = folder / "relay.toml"

    async def start(self) -> None:
        path = self.folder / "stderr.log"
        with path.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "relay", "run", "--only", "webhooks", "--config", str(self.config)],
                stderr=log, cwd=service.ROOT,
            )  # fmt: skip
        await until(lambda: b"trackrelay ready\n" in path.read_bytes()[began:] or self.process.poll() is not None, 30)
        assert self.process.poll() is None, path.read_text()[-5000:]

    async def kill(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        assert self.process.returncode == -signal.SIGKILL
        self.kills += 1
        self.later()

    async def stop(self) -> None:
        self.process.terminate()
        assert await asyncio.to_thread(self.process.wait, 30) == 0

    def later(self) -> None:
        """Time passes: leases end, the next attempts are due."""
        with contextlib.closing(sqlite3.connect(self.folder / "var" / "trackrelay.db", timeout=20)) as db:
            db.execute("UPDATE deliveries SET next_at = 0 WHERE state = 'pending'")
            db.commit()

    def left(self) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(self.folder / "var" / "trackrelay.db", timeout=20)) as db:
            return dict(db.execute("SELECT state, count(*) FROM deliveries WHERE state != 'delivered' GROUP BY state"))


def configure(folder: Path, there: Endpoints) -> None:
    more = "".join(
        f'[[webhooks]]\nurl = "{hook.url}/{name}"\ntriggers = ["message.link_clicked"]\nsecret = "{SECRET}"\n'
        for name, hook in there.hooks.items()
    )
    service.settings(folder, upstream=9, more=f'{more}[webhook_delivery]\nallow_private = ["127.0.0.0/8"]\n{KEEPS}')


async def append(known: Any, number: int) -> list[str]:
    """So many events, some at a time; their ids."""
    ids = []
    for first in range(0, number, PER_MESSAGE):
        message_id = f"m{first}"
        await known.record_sent(sent(message_id))
        some = await asyncio.gather(
            *(known.append(click(0, message_id)) for _ in range(min(PER_MESSAGE, number - first)))
        )
        assert all(event is not None and event.counted for event in some)
        ids += [event.event_id for event in some]
        await asyncio.sleep(0)
    return ids


def amiss(name: str, ids: list[str], heard: dict[str, list[hooks.Received]]) -> list[str]:
    """Sentences about what must not be: an event that was not heard of, or under several ids; a bad signature."""
    wrong = [f"{name}: an id of no event: {identity}" for identity in heard.keys() - set(ids)]
    for identity in ids:
        requests = heard.get(identity, [])
        if not any(200 <= one.answered < 300 for one in requests):
            wrong.append(f"{name}: not told of {identity}")
        bodies = set()
        for one in requests:
            if one.headers["x-nylas-signature"] != hmac.new(SECRET.encode(), one.body, hashlib.sha256).hexdigest():
                wrong.append(f"{name}: a bad signature of {identity}")
            body = json.loads(one.body)
            if body["id"] != identity:
                wrong.append(f"{name}: two ids: {identity} and {body['id']}")
            del body["webhook_delivery_attempt"]
            bodies.add(json.dumps(body))
        if len(bodies) > 1:
            wrong.append(f"{name}: {identity} said different things")
    return wrong


async def test_each_endpoint_hears_of_each_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(SEED)
    there = Endpoints(dice)
    async with there.listening():
        configure(tmp_path, there)
        program = Process(tmp_path)
        settings = config.load(program.config)
        known = store.open(settings.store.url, settings.state_dir)
        settings.state_dir.mkdir(mode=0o700)
        await known.start()
        await known.sync_endpoints(endpoints.configured(settings))
        await program.start()
        appending = asyncio.create_task(append(known, EVENTS))
        for kill in range(KILLS):
            # At any moment between two shares of the events.
            share = (kill + dice.random()) / KILLS * EVENTS
            await until(lambda share=share: len(there.hooks["good"].received) >= share, 120)  # type: ignore[misc]
            if kill == KILLS - 1:
                there.calm = True  # what hangs ends with the connections
            await program.kill()
            await program.start()
        ids = await appending
        await known.stop()

        async def over() -> bool:
            """The ten attempts may be over; that is what a replay is for."""
            left = await asyncio.to_thread(program.left)
            if left and not left.get("pending"):
                await asyncio.to_thread(command, ["webhooks", "replay", "--dead", "--config", str(program.config)])
            program.later()
            await asyncio.sleep(0.2)  # between two looks: what is under way may end
            return not left

        await until(over, 1200 if torture.FULL else 60)
        await program.stop()
        wrong = [sentence for name in there.hooks for sentence in amiss(name, ids, there.heard(name))]
    assert not wrong, "\n".join(wrong[:20])
    log = (tmp_path / "stderr.log").read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    requests = {name: len(hook.received) for name, hook in there.hooks.items()}
    with capsys.disabled() if torture.FULL else contextlib.nullcontext():
        print(f"\nendpoints: {program.kills} kills, {len(ids)} events, 0 missing, ids stable; requests: {requests}")
