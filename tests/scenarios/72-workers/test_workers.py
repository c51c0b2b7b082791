"""Several processes of one service: each serves, one that dies or hangs is replaced, and all end together."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.scenarios import hostile, service
from tests.until import eventually

TWO = {"smtp": "workers = 2", "http": "workers = 2"}
KEY = ed25519.Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
NAMES = ["main", "smtp-1", "smtp-2", "http-1", "http-2"]
TRACKED = hostile.letter("", "X-Track: all")


def readyz(running: service.Service) -> dict[str, Any]:
    with hostile.Http(running.admin) as client:
        status, _, body = client.get("/readyz")
    found: dict[str, Any] = json.loads(body)
    assert found["ready"] == (status == 200), found
    return found


def workers(running: service.Service) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in readyz(running)["workers"]}


def all_up(running: service.Service) -> bool:
    return [each["state"] for each in readyz(running)["workers"]] == ["up"] * len(NAMES)


def alive(pid: int) -> bool:
    """One that has ended, and whose parent was not told yet, does not live."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def send(running: service.Service) -> None:
    with hostile.Smtp(running.smtp) as client:
        assert client.mail(TRACKED).startswith("250")


def open_pixel(running: service.Service, pixel: str) -> bool:
    with hostile.Http(running.http) as client:
        return client.get(pixel)[0] == 200


def served(running: service.Service, event: str) -> set[str]:
    return set(re.findall(rf" {event} worker=(\S+)", running.log))


class Systemd:
    """$NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while packet := self._socket.recv(65536):
                self.heard.append(dict(line.split("=", 1) for line in packet.decode().split("\n")))

    def all(self, key: str) -> list[str]:
        return [each[key] for each in self.heard if key in each]


def test_each_serves_and_they_are_one_service(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, **TWO)
        environment = {"NOTIFY_SOCKET": str(systemd.path)}
        with service.running(tmp_path, ports, env=environment, words=["--verbose"]) as relay:
            assert list(workers(relay)) == NAMES
            assert all_up(relay)
            assert relay.log.count("trackrelay ready\n") == 1
            found = readyz(relay)
            assert (found["reasons"], found["warnings"]) == ([], [])
            assert found["listeners"] == {
                role: [f"127.0.0.1:{port}"] for role, port in zip(("smtp", "http", "admin"), ports, strict=True)
            }
            (node,) = found["nodes"]  # to others it is one
            assert set(node["roles"]) >= {"smtp", "http", "admin", "queue"}
            for name, each in workers(relay).items():
                assert Path(f"/proc/{each['pid']}/comm").read_text() == f"relay-{name}\n"

            send(relay)
            (pixel,), _ = hostile.tokens(upstream.taken[0].content)
            sent = opened = 0
            # The kernel shares connections out by their ports: one in two, and never one for long.
            while served(relay, "accepted") != {"smtp-1", "smtp-2"}:
                send(relay)
                sent += 1
                assert sent < 200
            while served(relay, "hit") != {"http-1", "http-2"}:
                assert open_pixel(relay, pixel)
                opened += 1
                assert opened < 200
            assert len(upstream.taken) == sent + 1
            eventually(lambda: len([e for e in relay.events() if e["type"] == "message.opened"]) == opened, pause=0.5)

            second = service.command("run", "--config", str(relay.config))  # as if it were not there
            assert (second.returncode, second.stderr.count("\n")) == (1, 1)
            assert second.stderr.startswith(f"trackrelay: smtp: can't listen on 127.0.0.1:{ports[0]}: another program")

            relay.process.send_signal(signal.SIGHUP)
            eventually(lambda: served(relay, "reloaded") == set(NAMES))
            eventually(lambda: (systemd.all("RELOADING"), systemd.all("READY")) == (["1"], ["1", "1"]))
            assert relay.stop() == 0
            assert "Traceback" not in relay.log
    assert systemd.all("STOPPING") == ["1"]
    assert systemd.all("STATUS")[0].startswith("5 of 5 processes; 0 accepted")


def test_one_that_dies_hangs_or_cannot_start_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    key = tmp_path / "dkim.pem"
    key.write_bytes(KEY)
    deferring: list[str] = []
    with hostile.sink({"dot": lambda command: deferring.pop() if deferring else None}) as upstream:
        signing = f'[[dkim]]\ndomain = "example.test"\nselector = "t1"\nkey = "{key}"\n'
        ports = service.settings(tmp_path, upstream=upstream.port, more=signing, **TWO)
        environment = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "10000000"}
        with service.running(tmp_path, ports, env=environment) as relay:
            for name in NAMES:
                deferring.append("451 4.3.0 later")
                send(relay)  # kept
                before = workers(relay)[name]["pid"]
                os.kill(before, signal.SIGKILL)
                eventually(lambda: f"worker_died name={name} pid={before}" in relay.log)  # noqa: B023 - it is asked at once
                send(relay)  # whoever is there
                eventually(lambda: all_up(relay))
                assert workers(relay)[name]["pid"] != before
            assert not alive(before)
            relay.command("queue", "retry", "--all")
            eventually(lambda: len(upstream.taken) == 2 * len(NAMES))
            assert hostile.metrics(relay.admin)["trackrelay_worker_deaths_total"] == len(NAMES)
            died = re.findall(
                r'worker_died name=(\S+) pid=\d+ reason="it was killed by SIGKILL" again_in=0s', relay.log
            )
            assert died == NAMES

            stopped = workers(relay)["http-2"]["pid"]
            os.kill(stopped, signal.SIGSTOP)  # it hangs
            eventually(lambda: f"worker_hung name=http-2 pid={stopped}" in relay.log, 60)
            eventually(lambda: all_up(relay) and workers(relay)["http-2"]["pid"] != stopped)
            assert not alive(stopped)
            eventually(lambda: len(systemd.all("WATCHDOG")) > 1, 60)

            key.rename(tmp_path / "away")
            os.kill(workers(relay)["smtp-2"]["pid"], signal.SIGKILL)
            eventually(lambda: "worker_cannot_start name=smtp-2" in relay.log)
            other = workers(relay)["http-1"]["pid"]
            os.kill(other, signal.SIGKILL)  # one that can start again
            eventually(lambda: workers(relay)["http-1"]["state"] == "up" and workers(relay)["http-1"]["pid"] != other)
            deaths = max(3, workers(relay)["smtp-2"]["deaths"])
            eventually(lambda: workers(relay)["smtp-2"]["deaths"] > deaths, 60)  # with longer and longer pauses
            for _ in range(5):
                send(relay)  # its connections are not waited for
            found = readyz(relay)
            assert found["ready"]
            (warning,) = found["warnings"]
            assert warning.startswith("workers: smtp-2 is missing: dkim: ")
            (tmp_path / "away").rename(key)
            eventually(lambda: all_up(relay), 60)
            assert relay.log.count("worker_cannot_start") == 1
            assert readyz(relay)["warnings"] == []


def test_they_end_together(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, **TWO)
        with service.running(tmp_path, ports) as relay:
            send(relay)
            pids = [each["pid"] for each in workers(relay).values()]
            relay.kill()  # the supervisor alone
            eventually(lambda: not any(alive(pid) for pid in pids))
        with service.running(tmp_path, ports) as relay:  # nobody is in its way
            pids = [each["pid"] for each in workers(relay).values()]
            accepted: list[str] = []
            threads = [threading.Thread(target=load, args=(relay, accepted, n)) for n in range(6)]
            for thread in threads:
                thread.start()
            eventually(lambda: len(accepted) > 30)
            assert relay.stop() == 0
            for thread in threads:
                thread.join()
            assert not any(alive(pid) for pid in pids)
            assert "Traceback" not in relay.log
        arrived = b"".join(kept.content for kept in upstream.taken)
        kept = b"".join(path.read_bytes() for path in relay.waiting())
        assert [subject for subject in accepted if f"Subject: {subject}\r\n".encode() not in arrived + kept] == []


def load(relay: service.Service, accepted: list[str], number: int) -> None:
    """One client that sends until nobody listens."""
    for count in range(10_000):
        try:
            with hostile.Smtp(relay.smtp) as client:
                subject = f"{number}-{count}"
                if client.mail(hostile.letter("", f"Subject: {subject}", "X-Track: all")).startswith("250"):
                    accepted.append(subject)
        except (OSError, AssertionError, EOFError):
            return


@pytest.mark.parametrize(
    ("setting", "code", "sentence"),
    [("more", 2, "trackrelay: dkim: "), ("taken", 1, "trackrelay: http: can't listen on 127.0.0.1:")],
)
def test_what_keeps_them_from_starting_is_said_once(tmp_path: Path, setting: str, code: int, sentence: str) -> None:
    bad = f'[[dkim]]\ndomain = "example.test"\nselector = "t1"\nkey = "{tmp_path}/none.pem"\n'
    ports = service.settings(tmp_path, upstream=9, more=bad if setting == "more" else "", **TWO)
    (tmp_path / "none.pem").write_text("no key")
    with socket.socket() as taken:
        if setting == "taken":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", ports[1]))
            taken.listen()
        done = service.command("run", "--config", str(tmp_path / "relay.toml"))
    assert done.returncode == code, done.stderr
    assert done.stderr.count(sentence) == 1
    assert "ready" not in done.stderr.replace("worker_ready", "")


def test_one_of_each_is_one_process(tmp_path: Path) -> None:
    ports = service.settings(tmp_path, upstream=9)
    with service.running(tmp_path, ports) as relay:
        assert "workers" not in readyz(relay)
        assert Path(f"/proc/{relay.process.pid}/task/{relay.process.pid}/children").read_text() == ""
