"""Prometheus watches a running service: it takes all figures and the alarms, and each panel of the dashboard shows something."""

import contextlib
import json
import math
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import peers
from tests.fakes import hooks
from tests.fakes.upstream import Upstream
from tests.peers import prometheus
from tests.scenarios import hostile, service
from tests.until import eventually

FOLDER = service.ROOT / "monitoring"
WINDOW = "1h"  # for what Grafana makes of $__rate_interval: all that happens here is within it, however long it takes
PAUSE = 0.2  # seconds between two looks
BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

pytestmark = pytest.mark.timeout(300)  # the first test waits for three programs


@dataclass
class World:
    relay: service.Service
    watch: prometheus.Prometheus


def configured(relay: service.Service, folder: Path) -> str:
    """The document's prometheus.yml, with this target and the rules of the repository, in a greater hurry."""
    (block,) = re.findall(r"(?ms)^```yaml\n(rule_files:.*?)^```$", (service.ROOT / "docs/monitoring.md").read_text())
    text = block.replace("/etc/prometheus/trackrelay.rules.yml", str(FOLDER / "trackrelay.rules.yml"))
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{relay.admin}")
    return "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n" + text


def live(relay: service.Service, upstreams: tuple[Upstream, ...]) -> None:
    """What happens in an hour: logins, mail of all kinds, opens, clicks, too many of them."""
    with hostile.Smtp(relay.smtp) as client:
        assert client.login("jane", "wrong").startswith("535")
        assert client.login("jane", "word").startswith("235")
        before = [len(upstream.taken) for upstream in upstreams]
        assert client.mail(hostile.letter()).startswith("250")
        (sent,) = [kept for upstream, many in zip(upstreams, before, strict=True) for kept in upstream.taken[many:]]
        assert client.mail(hostile.letter("<p>a</p>", "X-Track: none")).startswith("250")
        assert client.mail(hostile.letter(), "b@x.example", "gone@x.example").startswith("250")
        assert client.mail(hostile.letter(), "gone@x.example").startswith("550")
        assert client.mail(hostile.letter(), "late@x.example").startswith("250")
    pixels, clicks = hostile.tokens(sent.content)
    before_those = folded(relay)
    with hostile.Http(relay.http) as visitor:
        assert visitor.get(pixels[0], BROWSER)[0] == 200
        assert visitor.get(clicks[0], BROWSER)[0] == 302
        # So often that they are only counted; a database that is slow takes them by way of the journal first.
        eventually(
            lambda: visitor.get(clicks[0], BROWSER)[0] == 302 and folded(relay) > before_those, 60.0, pause=PAUSE
        )


def folded(relay: service.Service) -> float:
    return hostile.metrics(relay.admin).get('trackrelay_folded_hits_total{type="click"}', 0.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("watched")
    words = {"gone": "550 5.1.1 nobody", "late": "450 4.2.0 later"}

    def of_recipient(command: str) -> str | None:
        return words.get(command.partition("<")[2].partition("@")[0])

    def refused(number: int, headers: Any) -> hooks.Answer:
        return hooks.Answer(410)

    script = {"rcpt": of_recipient, "rcpt2": of_recipient}
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(hostile.elsewhere())
        spare = stack.enter_context(hostile.sink(script))
        first = Upstream(script)
        run(first.start(peers.free_port()))
        receivers = hooks.receiver(), hooks.receiver(refused)
        urls = [run(receiver.__aenter__()).url for receiver in receivers]
        ports = service.settings(
            folder, upstream=first.port, smtp='auth = "users"\nworkers = 2', tracking="links = true\nopens = true",
            out='fallback = ["spare"]\npatience = "1s"', http="hits_per_token = 2",
            more=f"""
[[upstreams]]
id = "spare"
url = "smtp://127.0.0.1:{spare.port}"
[[webhooks]]
url = "{urls[0]}"
triggers = ["message.opened", "message.link_clicked"]
secret = "word"
[[webhooks]]
url = "{urls[1]}"
triggers = ["message.opened"]
secret = "word"
[webhook_delivery]
allow_private = ["127.0.0.1"]
[milter]
listen = "inet:127.0.0.1:{peers.free_port()}"
""",
        )  # fmt: skip
        (folder / "word").write_text("word\n")
        password = ("--password-file", str(folder / "word"), "--config", str(folder / "relay.toml"))
        assert service.command("user", "add", "jane", *password).returncode == 0
        segment = folder / "var" / "journal" / "0.jsonl"
        segment.mkdir(parents=True)  # no file: nobody foresaw that
        relay = stack.enter_context(service.running(folder, ports))
        watch = stack.enter_context(prometheus.running(folder, configured(relay, folder)))
        live(relay, (first, spare))
        untracked(relay, folder)
        eventually(lambda: hostile.metrics(relay.admin).get('trackrelay_errors_total{room="journal"}'), pause=PAUSE)
        segment.rmdir()
        run(first.stop())
        with hostile.Smtp(relay.smtp) as client:
            assert client.login("jane", "word").startswith("235")
            assert client.mail(hostile.letter()).startswith("250")
        run(first.start(first.port))
        seen(watch, relay)
        live(relay, (first, spare))  # now each figure rises
        seen(watch, relay)
        yield World(relay, watch)
        for receiver in receivers:
            run(receiver.__aexit__(None, None, None))
        run(first.stop())


def untracked(relay: service.Service, folder: Path) -> None:
    """A message that the database does not take."""
    with contextlib.closing(sqlite3.connect(folder / "var" / "trackrelay.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with hostile.Smtp(relay.smtp) as client:
            assert client.login("jane", "word").startswith("235")
            assert client.mail(hostile.letter()).startswith("250")


def seen(watch: prometheus.Prometheus, relay: service.Service) -> None:
    """Returns once Prometheus has all that is counted now; some of it comes a moment later."""
    counted = {name: value for name, value in hostile.metrics(relay.admin).items() if name.startswith(SETTLED)}

    def there() -> bool:
        return all(sum(value for _, value in watch.ask(name)) >= value for name, value in counted.items())

    eventually(there, 60.0, pause=PAUSE)


SETTLED = ("trackrelay_accepted_total", "trackrelay_hits_total", "trackrelay_verdicts_total", "trackrelay_folded")


def expressions() -> list[tuple[str, str]]:
    """Each panel's title and expression, as Grafana asks."""
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    found = []
    for panel in panels:
        for target in panel.get("targets", ()):
            asked = target["expr"].replace("$__rate_interval", WINDOW).replace("$job", "trackrelay")
            found.append((panel["title"], asked.replace("$instance", ".*")))
    return found


def test_each_panel_shows_something(world: World) -> None:
    """What is 0 all day is shown too; that a figure is not there at all, or no number, is not."""

    def without() -> list[str]:
        empty = []
        for title, asked in expressions():
            found = world.watch.ask(asked)
            if not found or any(math.isnan(value) for _, value in found):
                empty.append(f"{title}: {asked}")
        return empty

    with contextlib.suppress(TimeoutError):
        eventually(lambda: not without(), 60.0, pause=1.0)  # webhooks, and shares of what came twice
    assert without() == []


# What rises where the same happens twice.
RISE = (
    "Mail in",
    "Mail out",
    "Told to senders",
    "Copies",
    "Requests",
    "Opens by verdict",
    "Clicks by verdict",
    "Attempts",
)


@pytest.mark.parametrize("title", RISE)
def test_what_happens_is_seen(world: World, title: str) -> None:
    asked = next(asked for name, asked in expressions() if name == title)
    assert any(value > 0 for _, value in world.watch.ask(asked))


def test_prometheus_knows_the_alarms_and_rings_for_what_fails(world: World) -> None:
    (group,) = world.watch.get("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    wanted = {"TrackrelayErrors", "TrackrelayTrackingFails", "TrackrelayWebhooksGivenUp"}

    def firing() -> dict[str, Any]:
        alerts = world.watch.get("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}

    eventually(lambda: wanted <= set(firing()), 60.0, pause=PAUSE)
    assert set(firing()) == wanted
    assert firing()["TrackrelayErrors"]["annotations"]["summary"] == "Something failed unexpectedly in journal"
