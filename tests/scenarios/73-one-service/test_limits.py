"""What protects, and what is counted, holds for a service of several processes and for units as it does for one."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

WORKERS = 3
LETTER = hostile.letter("", "X-Track: all")


def readyz(running: service.Service) -> dict[str, Any]:
    with hostile.Http(running.admin) as client:
        found: dict[str, Any] = json.loads(client.get("/readyz")[2])
    return found


def pids(running: service.Service, role: str) -> dict[str, int]:
    return {each["name"]: each["pid"] for each in readyz(running)["workers"] if role in each["roles"]}


def figure(running: service.Service, name: str, **labels: str) -> float:
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return hostile.metrics(running.admin).get(f"trackrelay_{name}{{{text}}}" if text else f"trackrelay_{name}", 0.0)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("service")
    smtp = f"""workers = {WORKERS}
proxies = ["127.0.0.1/32"]
allow = ["127.0.0.1/32", "192.0.2.0/24"]
auth = "users"
messages_per_minute = 5"""
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, smtp=smtp, http="workers = 2")
        with service.running(folder, ports) as running:
            running.command("user", "add", "jane", "--password-file", str(password(folder)))
            yield running


def password(folder: Path) -> Path:
    file = folder / "password"
    file.write_text("right horse")
    file.chmod(0o600)
    return file


@contextlib.contextmanager
def named(running: service.Service, address: str) -> Iterator[tuple[hostile.Smtp, str]]:
    """A client at that address, by a proxy's word, and what it heard then."""
    with hostile.Smtp(running.smtp) as client:
        said = client.ask(f"XCLIENT ADDR={address}")
        if said.startswith("220"):
            client.ask("EHLO client.example.test")
        yield client, said


def test_an_address_has_as_many_places_as_at_one_process(relay: service.Service) -> None:
    """A fourth of all, or 200; one more for each further process that gave one away in the same moment."""
    with contextlib.ExitStack() as stack:
        given = 0
        for _ in range(230):
            _, said = stack.enter_context(named(relay, "192.0.2.77"))
            if not said.startswith("220"):
                assert "Too many connections from your address" in said
                break
            given += 1
        assert 200 <= given < 200 + WORKERS
        eventually(
            lambda: given <= figure(relay, "smtp_connections") <= given + 1
        )  # who was turned away may be there yet
        assert stack.enter_context(named(relay, "192.0.2.78"))[1].startswith("220")
    eventually(lambda: figure(relay, "smtp_connections") == 0)


def test_wrong_passwords_lock_a_login_whichever_process_they_come_to(relay: service.Service) -> None:
    """Ten of one login from one address, and the next is not even looked at, at any process."""
    wrong = base64.b64encode(b"\0jane\0wrong").decode()
    before = figure(relay, "smtp_logins_total", outcome="bad")
    with contextlib.ExitStack() as stack:
        guessers = [stack.enter_context(hostile.Smtp(relay.smtp)) for _ in range(10)]
        for guesser in guessers:
            guesser.send(f"AUTH PLAIN {wrong}\r\n".encode())  # its answer comes late
        eventually(lambda: figure(relay, "smtp_logins_total", outcome="bad") == before + 10)
        for _ in range(12):
            with hostile.Smtp(relay.smtp) as client:
                assert client.ask(f"AUTH PLAIN {wrong}").startswith("454 4.7.0")
    assert figure(relay, "smtp_logins_total", outcome="locked") >= 12


def test_a_rate_is_one_for_all_processes(relay: service.Service) -> None:
    said, began = [], time.monotonic()
    for _ in range(15):
        with named(relay, "192.0.2.10") as (client, _):
            said.append(client.ask("MAIL FROM:<a@example.test>")[:3])
    filled = (time.monotonic() - began) * 5 / 60  # meanwhile
    assert 5 <= said.count("250") <= 5 + WORKERS + filled
    assert set(said) == {"250", "450"}


def test_figures_are_the_services_also_of_a_process_that_was_killed(relay: service.Service) -> None:
    eventually(lambda: all(each["state"] == "up" for each in readyz(relay)["workers"]))
    before, connected = figure(relay, "accepted_total"), pids(relay, "smtp")
    for n in range(40):
        with named(relay, f"192.0.2.{100 + n}") as (client, _):
            assert client.mail(LETTER).startswith("250")
    eventually(lambda: figure(relay, "accepted_total") == before + 40)
    for pid in connected.values():
        os.kill(pid, signal.SIGKILL)
        assert figure(relay, "accepted_total") == before + 40
    eventually(lambda: not set(pids(relay, "smtp").values()) & {0, *connected.values()})
    eventually(lambda: all(each["state"] == "up" for each in readyz(relay)["workers"]))
    assert figure(relay, "accepted_total") == before + 40
    with named(relay, "192.0.2.200") as (client, _):
        assert client.mail(LETTER).startswith("250")
    eventually(lambda: figure(relay, "accepted_total") == before + 41)
    assert figure(relay, "worker_deaths_total") == len(connected)


def test_the_tracking_servers_connections_are_as_many_as_one_process_has(tmp_path: Path) -> None:
    """A fourth of its open files; one more for each further process that gave one away in the same moment."""
    with hostile.sink() as upstream, contextlib.ExitStack() as stack:
        ports = service.settings(tmp_path, upstream=upstream.port, http=f"workers = {WORKERS}")
        few = ["bash", "-c", 'ulimit -n 256; exec "$@"', "run"]
        running = stack.enter_context(service.running(tmp_path, ports, prefix=few))
        said = [stack.enter_context(hostile.Http(running.http)).get("/")[0] for _ in range(80)]
        assert 64 <= said.count(200) < 64 + WORKERS
        assert set(said) == {200, 503}
