"""Every metric that docs/operations.md names moves when what it counts happens; and the endpoint that asks hears of the
same mail, by its schema."""

import asyncio
import threading
from pathlib import Path

from tests import contract, peers, samples
from tests.fakes import hooks, mta
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

# What only a fault of the disk, the database, a mailbox's server or ourselves moves: tests/scenarios/17, 18 and 53,
# tests/shells.
OF_FAULTS = {
    "failed_open", "journaled", "events_lost", "errors", "journal_bytes", "smtp_turned_away", "store_queue",
    "blocked_clicks", "folded_hits", "mailbox_messages_passed_over", "mailbox_trouble", "node_trouble",
    "workers", "worker_deaths",  # of a service of several processes: 72-workers
    "retention_deleted_rows", "retention_cut_rows", "retention_oldest_seconds", "retention_seconds", "wishes",  # tests/shells
}  # fmt: skip
TRIGGERS = ["email.sent", "email.delivered", "email.failed", "email.bounced", "email.opened", "email.clicked"]


def families(samples: dict[str, float]) -> set[str]:
    """The names, without ours in front and without what Prometheus adds, of which a sample is above 0."""
    moved = {name.partition("{")[0] for name, value in samples.items() if value and "_created" not in name}
    bare = {name.removesuffix("_total").removesuffix("_count") for name in moved}
    return {name.removeprefix("trackrelay_") for name in bare if name.startswith("trackrelay_")}


async def asked_by_a_mail_server(port: int, admin: int) -> set[str]:
    """What is above 0 in the middle of a message; then that message ends, and a stranger is turned away."""
    async with await mta.connect(port) as server:
        await server.negotiate()
        await server.step(b"C", mta.connect_packet()[5:], mute=0x1000)
        assert await server.mail("b@example.test") == b"c"
        await server.content(hostile.letter())
        found = families(await asyncio.to_thread(hostile.metrics, admin))
        await server.end()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    return found


def test_a_day_in_the_life(tmp_path: Path) -> None:
    words = {"gone": "550 5.1.1 nobody", "late": "450 4.2.0 later"}
    held = threading.Event()

    def of_recipient(command: str) -> str | None:
        return words.get(command.partition("<")[2].partition("@")[0])

    def of_dot(command: str) -> str | None:
        return "hang" if held.is_set() else None

    with hostile.elsewhere() as run, hostile.sink() as spare:
        first, receiver = Upstream({"rcpt": of_recipient, "rcpt2": of_recipient, "dot": of_dot}), hooks.receiver()
        run(first.start(peers.free_port()))
        hook = run(receiver.__aenter__())
        milter = peers.free_port()
        ports = service.settings(
            tmp_path, upstream=first.port, smtp='auth = "users"', tracking="links = true\nopens = true",
            out='fallback = ["spare"]\npatience = "1s"',
            more=f"""
[[upstreams]]
id = "spare"
url = "smtp://127.0.0.1:{spare.port}"
[[webhooks]]
url = "{hook.url}"
triggers = {TRIGGERS}
format = "unosend"
secret = "whsec_{'c2VjcmV0' * 4}"
[webhook_delivery]
allow_private = ["127.0.0.1"]
[milter]
listen = "inet:127.0.0.1:{milter}"
""",
        )  # fmt: skip
        (tmp_path / "word").write_text("word\n")
        config = ("--config", str(tmp_path / "relay.toml"))
        service.command("user", "add", "jane", "--password-file", str(tmp_path / "word"), *config)
        with service.running(tmp_path, ports) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.login("jane", "word").startswith("235")
                assert client.mail(hostile.letter()).startswith("250")
                assert client.mail(hostile.letter("<p>a\nb</p>", "X-Track: none")).startswith("250")
                assert client.mail(hostile.letter(), "gone@x.example").startswith("550 5.1.1")
                assert client.mail(hostile.letter(), "b@x.example", "gone@x.example").startswith("250")
                assert client.mail(hostile.letter(), "late@x.example").startswith("250")
                pixels, clicks = hostile.tokens(first.taken[0].content)
                with hostile.Http(relay.http) as visitor:
                    assert visitor.get(pixels[0])[0] == 200
                    assert visitor.get(clicks[0])[0] == 302
                now = hostile.metrics(relay.admin)
                assert now["trackrelay_smtp_connections"] == 1
                assert now['trackrelay_smtp_logins_total{outcome="good"}'] == 1
                assert now['trackrelay_refused_total{code="550"}'] == 1
                assert now['trackrelay_copies_total{tracked="no"}'] == 1
                assert now['trackrelay_untracked_total{reason="not_requested"}'] == 1
                assert now['trackrelay_outcomes_total{outcome="later"}'] == 1
                assert now['trackrelay_reports_total{action="failed"}'] == 1
                assert now["trackrelay_accepted_total"] == 4
                eventually(lambda: hostile.metrics(relay.admin)["trackrelay_queue_messages"] == 1)
                eventually(lambda: hostile.metrics(relay.admin)["trackrelay_queue_oldest_seconds"] > 0)
                asked = run(asked_by_a_mail_server(milter, relay.admin))
                waiting = families(hostile.metrics(relay.admin))
                held.set()  # an upstream that thinks
                client.envelope("b@x.example")
                client.send(hostile.letter() + b".\r\n")
                eventually(lambda: hostile.metrics(relay.admin)["trackrelay_smtp_in_flight_bytes"] > 0)
                thinking = families(hostile.metrics(relay.admin))
                assert client.reply().startswith("250")  # after `patience`
                run(first.stop())
                assert client.mail(hostile.letter(), "c@x.example").startswith("250")
                assert [kept.recipients for kept in spare.taken][-1:] == [["c@x.example"]]
            kinds = {"email.sent", "email.delivered", "email.failed", "email.bounced", "email.opened", "email.clicked"}
            eventually(lambda: kinds <= {received.json["type"] for received in hook.accepted})
            eventually(lambda: 'webhook_attempts_total{outcome="delivered"}' in str(hostile.metrics(relay.admin)))
            moved = waiting | thinking | asked | families(hostile.metrics(relay.admin))
        assert all(contract.errors(received.json) == [] for received in hook.accepted)
        run(receiver.__aexit__(None, None, None))
    ours = {found.name.removeprefix("trackrelay_") for found in samples.families()}
    assert ours - moved - OF_FAULTS == set()
    stages = {"receive", "track", "record", "render", "connect", "upstream"}
    assert all(now[f'trackrelay_stage_seconds_count{{stage="{stage}"}}'] for stage in stages)
