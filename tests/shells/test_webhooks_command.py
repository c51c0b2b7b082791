"""`trackrelay webhooks`, as a person or a script calls it."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from relay import store as stores
from relay import webhooks
from relay.__main__ import main
from relay.config import load
from relay.core import payload
from relay.core.model import Event, Settlement
from relay.webhooks.examples import MOCK_SECRET
from tests import contract
from tests.fakes import hooks
from tests.fakes.hooks import Answer
from tests.store.contract import click, sent

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def configure(folder: Path, url: str) -> Path:
    file = folder / "relay.toml"
    file.write_text(
        f"""
state_dir = "var"
[tracking]
url = "http://127.0.0.1:8080"
[[webhooks]]
url = "{url}"
triggers = ["message.link_clicked", "message.opened"]
secret = "{SECRET}"
[webhook_delivery]
allow_private = ["127.0.0.1"]
"""
    )
    (folder / "var").mkdir()
    return file


async def call(file: Path, *words: str) -> int:
    """The command in a thread: it has an event loop of its own."""

    def run() -> int:
        try:
            code = main(["webhooks", "--config", str(file), *words])
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        return int(code or 0)

    return await asyncio.to_thread(run)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_list_shows_what_is_configured_before_any_service_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configure(tmp_path, "http://127.0.0.1:9/x")
    assert await call(file, "list") == 0
    assert "http://127.0.0.1:9/x" in capsys.readouterr().out
    assert await call(file, "list", "--json") == 0
    (line,) = lines(capsys)
    assert line["made_by"] == "relay.toml"
    assert (line["status"], line["pending"], line["triggers"]) == (
        "active",
        0,
        ["message.link_clicked", "message.opened"],
    )
    assert SECRET not in str(line)


async def test_test_sends_a_valid_signed_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with hooks.receiver() as hook:
        file = configure(tmp_path, hook.url)
        assert await call(file, "test", hook.url, "--json") == 0
        (outcome,) = lines(capsys)
        assert (outcome["status"], outcome["trigger"]) == (200, "message.link_clicked")
        for trigger in ("message.opened", "thread.replied.legacy", "message.bounce_detected"):
            assert (
                await call(file, "test", str(webhooks.configured(load(file))[0].endpoint_id), "--trigger", trigger) == 0
            )
        assert await call(file, "test", hook.url.replace("/hook", "/other")) == 0
    assert [contract.errors(r.json) for r in hook.received] == [[]] * 5
    for received, secret in zip(hook.received, [SECRET] * 4 + [MOCK_SECRET], strict=True):
        signed = payload.signatures(received.body, secret, event_id="", timestamp=0, format="nylas")
        assert received.headers["x-nylas-signature"] == signed["x-nylas-signature"]


async def test_test_says_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with hooks.receiver(lambda n, _: Answer(500)) as hook:
        file = configure(tmp_path, hook.url)
        assert await call(file, "test", hook.url) == 1
        assert "HTTP 500" in capsys.readouterr().out
        assert await call(file, "test", "https://10.1.2.3/") == 1
        assert "not a public address" in capsys.readouterr().out
        assert await call(file, "test", "nonsense") == 2
        assert await call(file, "test", hook.url, "--trigger", "email.opened") == 2


async def test_a_good_test_opens_a_shut_endpoint(tmp_path: Path) -> None:
    async with hooks.receiver() as hook:
        file = configure(tmp_path, hook.url)
        settings = load(file)
        store = stores.open(settings.store.url, settings.state_dir)
        await store.start()
        await store.sync_endpoints(webhooks.configured(settings))
        (endpoint,) = await store.endpoints()
        await store.set_endpoint_status(endpoint.endpoint_id, "failed", 1.0)
        assert await call(file, "test", endpoint.endpoint_id) == 0
        assert [e.status for e in await store.endpoints()] == ["active"]
        await store.stop()


async def test_replay_and_dead_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configure(tmp_path, "http://127.0.0.1:9/x")
    settings = load(file)
    store = stores.open(settings.store.url, settings.state_dir)
    await store.start()
    await store.sync_endpoints(webhooks.configured(settings))
    await store.record_sent(sent())
    now = time.time()
    found = [await store.append(click(n, at=now - 100 * n)) for n in range(3)]
    events = [one for one in found if isinstance(one, Event)]
    for delivery in await store.claim_due(now + 1):
        await store.settle(delivery.delivery_id, Settlement("dead", now, status=500, error="HTTP 500"))
    assert await call(file, "list", "--dead", "--json") == 0
    dead = lines(capsys)
    assert {d["event_id"] for d in dead} == {e.event_id for e in events}
    assert {(d["status"], d["error"]) for d in dead} == {(500, "HTTP 500")}

    assert await call(file, "replay", events[0].event_id, "--json") == 0
    assert lines(capsys) == [{"due": 1}]
    assert await call(file, "replay", "--since", "150s", "--json") == 0
    assert lines(capsys) == [{"due": 2}]
    assert await call(file, "replay", "--dead") == 0
    assert capsys.readouterr().out == "1 notification due again\n"
    assert await call(file, "replay", "no-such-event") == 1
    assert await call(file, "replay") == 2
    assert await call(file, "replay", "--since", "yesterday") == 2
    assert await call(file, "replay", "--dead", "--endpoint", "nope") == 2
    assert len(await store.claim_due(time.time() + 1)) == 3
    await store.stop()
