"""The units under a real systemd: ready, alive, reloaded, stopped, started again, kept in."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from tests.fakes import certificates
from tests.scenarios import hostile
from tests.scenarios.units import ADMIN, HTTP, LONG, ROLES, SMTP, Relay
from tests.until import eventually

pytestmark = pytest.mark.timeout(600)  # each waits for several starts; a hung one is caught by the steps' own bounds


def test_it_is_ready_when_it_answers_and_mail_is_tracked(relay: Relay) -> None:
    with relay.upstream() as upstream:
        relay.settings(upstream=upstream.port)
        relay.start("trackrelay")  # Type=notify: it returns when the program has said READY=1
        assert relay.mail().startswith("250")
        pixels, _ = hostile.tokens(upstream.taken[0].content)
        assert relay.get(HTTP, pixels[0])[0] == 200
        assert relay.get(ADMIN, "/readyz")[0] == 200
        shown = relay.machine.show("trackrelay", "Type", "ActiveState", "StatusText", "User", "NRestarts")
        assert shown == {
            "Type": "notify", "ActiveState": "active", "User": "trackrelay", "NRestarts": "0",
            "StatusText": shown["StatusText"],
        }  # fmt: skip
        eventually(lambda: "1 accepted" in relay.machine.show("trackrelay", "StatusText")["StatusText"], LONG)
        assert "open" in relay.command("events")


def test_one_that_hangs_and_one_that_is_killed_come_back(relay: Relay) -> None:
    relay.drop_in("trackrelay.service", "[Service]\nWatchdogSec=5\n")
    relay.start("trackrelay")
    hung = relay.machine.main_pid("trackrelay")
    relay.kill("STOP")
    killed = relay.again(hung)
    assert "Watchdog timeout" in relay.journal("trackrelay")
    relay.kill("KILL")
    relay.again(killed)
    with relay.smtp() as client:
        assert client.greeting.startswith("220")
    assert not list((relay.machine.root / "var/lib/trackrelay").rglob("core*"))


def test_reload_takes_a_new_certificate_and_drops_no_session(relay: Relay, tmp_path: Path) -> None:
    def renew() -> Path:
        pair = certificates.make(tmp_path)
        for name in ("cert.pem", "key.pem"):
            relay.machine.write(f"/etc/trackrelay/secrets/{name}", (tmp_path / name).read_text(), 0o600)
        relay.run("chown", "-R", "trackrelay:", "/etc/trackrelay/secrets")
        return pair.certificate

    def trusted(certificate: Path) -> None:
        with relay.smtp() as client:
            assert client.ask("STARTTLS").startswith("220")
            client.secure(certificates.trusting(certificate))

    relay.settings(smtp='certificate = "secrets/cert.pem"\nkey = "secrets/key.pem"')
    renew()
    relay.start("trackrelay")
    trusted(tmp_path / "cert.pem")
    main = relay.machine.main_pid("trackrelay")
    with relay.smtp() as before:
        relay.run("systemctl", "reload", "trackrelay")  # nothing is new
        renew()
        with contextlib.suppress(ssl.SSLCertVerificationError):
            trusted(tmp_path / "cert.pem")
            raise AssertionError("the new certificate was there before the reload")
        relay.run("systemctl", "reload", "trackrelay")
        eventually(lambda: relay.machine.show("trackrelay", "ActiveState")["ActiveState"] == "active")
        trusted(tmp_path / "cert.pem")
        assert before.ask("NOOP").startswith("250")
    assert relay.machine.main_pid("trackrelay") == main


def test_stop_lets_a_message_end(relay: Relay) -> None:
    """The upstream thinks while systemd stops the unit: the client hears 250, and the unit ended well."""
    with relay.thinking() as (upstream, go_on):
        relay.settings(upstream=upstream.port, out='patience = "60s"')
        relay.start("trackrelay")
        with relay.smtp() as client, relay.smtp() as idle:
            client.envelope()
            client.send(hostile.letter() + b".\r\n")
            eventually(lambda: relay.figure("smtp_in_flight_bytes"))
            relay.run("systemctl", "stop", "--no-block", "trackrelay")
            assert idle.reply().startswith("421")
            go_on()
            assert client.reply().startswith("250")
        relay.becomes("inactive")
        assert relay.machine.show("trackrelay", "Result", "ExecMainStatus") == {
            "Result": "success",
            "ExecMainStatus": "0",
        }
        assert len(upstream.taken) == 1


def test_an_address_that_is_taken_is_tried_again(relay: Relay) -> None:
    """Exit code 1 may pass, so the unit starts again and again, and is there once it has."""
    other = relay.inside(socket.create_server, ("127.0.0.1", SMTP))
    with other:
        relay.run("systemctl", "start", "--no-block", "trackrelay")
        eventually(lambda: relay.journal("trackrelay").count("status=1/FAILURE") >= 2, LONG, pause=0.5)
        assert "another program listens there" in relay.journal("trackrelay")
    relay.becomes("active")


def test_a_mistake_in_the_settings_is_not_tried_again(relay: Relay) -> None:
    relay.settings("[http]\nworkers = 0\n")
    assert relay.run("systemctl", "start", "trackrelay", code=1).stderr
    shown = relay.machine.show("trackrelay", "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}


def test_the_roles_apart_are_one_service(relay: Relay) -> None:
    """Each unit becomes ready; mail comes by one, a click by another, and the third shows both. The target stops all."""
    units = [f"trackrelay-{role}" for role in (*ROLES, "milter")]
    with relay.upstream() as upstream:
        relay.settings('[milter]\nlisten = "unix:/run/trackrelay/milter.sock"\n', upstream=upstream.port)
        relay.run("systemctl", "enable", "--quiet", *units, "trackrelay.target")
        relay.start("trackrelay.target")
        for unit in units:
            relay.becomes("active", unit)
        assert relay.mail().startswith("250")
        _, links = hostile.tokens(upstream.taken[0].content)
        assert relay.get(HTTP, links[0])[0] in (302, 303, 307)
        eventually(lambda: "click" in relay.command("events"), pause=0.5)
        assert (relay.machine.root / "run/trackrelay/milter.sock").is_socket()
        for unit in units:
            relay.run("systemctl", "reload", unit)
        relay.run("systemctl", "stop", "trackrelay.target", timeout=LONG)
        for unit in units:  # those stop at the same time, and systemctl waits for the target alone
            relay.becomes("inactive", unit)
            assert relay.machine.show(unit, "Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}


def test_the_whole_and_the_roles_are_not_run_side_by_side(relay: Relay) -> None:
    relay.start("trackrelay-webhooks")
    relay.start("trackrelay")
    assert relay.machine.state("trackrelay-webhooks") == "inactive"


def writable(relay: Relay, unit: str) -> set[str]:
    """The folders that a process of the unit can write to, as the kernel lets its user, in its own mounts."""
    pid = str(relay.machine.main_pid(unit))
    user = ["setpriv", "--reuid=trackrelay", "--regid=trackrelay", "--clear-groups"]
    find = ["find", "/", "-maxdepth", "4", "(", "-path", "/proc", ")", "-prune"]
    found = relay.run(
        "nsenter", "--target", pid, "--mount", *user, *find, "-o", "-type", "d", "-writable", "-print", code=None
    )
    return set(found.stdout.split())


def test_it_is_kept_in(relay: Relay) -> None:
    """What a real process of the unit has, not what the unit says: no right to become more, and one folder to write to."""
    relay.start("trackrelay")
    pid = relay.machine.main_pid("trackrelay")
    status = dict(line.split(":", 1) for line in relay.run("cat", f"/proc/{pid}/status").stdout.splitlines())
    state = {
        name: status[name].strip()
        for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Umask")
    }
    nothing = dict.fromkeys(("CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)
    assert state == {**nothing, "NoNewPrivs": "1", "Seccomp": "2", "Umask": "0077"}
    own = "/var/lib/trackrelay"
    found = {path for path in writable(relay, "trackrelay") if not (path + "/").startswith(f"{own}/")}
    mine, everybodys = {"/run/trackrelay", "/tmp", "/var/tmp"}, {"/dev/shm", "/dev/mqueue", "/run/lock"}
    assert mine <= found <= mine | everybodys
    assert own in writable(relay, "trackrelay")
    assert relay.run("stat", "--format=%U %a", own).stdout == "trackrelay 700\n"
    limits = relay.run("cat", f"/proc/{pid}/limits").stdout
    assert "Max core file size        0                    0" in limits
    relay.run("systemd-analyze", "security", "--no-pager", "--threshold=20", "trackrelay.service")


def test_workers_are_watched_by_their_supervisor_and_it_by_systemd(relay: Relay) -> None:
    """One of them dies, and systemd does not hear of it; the supervisor dies, and all are started again."""
    relay.settings(smtp="workers = 2")
    relay.start("trackrelay")
    main = relay.machine.main_pid("trackrelay")
    workers = relay.run("pgrep", "--parent", str(main)).stdout.split()
    assert len(workers) == 3
    relay.run("kill", "-KILL", workers[1])
    eventually(lambda: relay.figure("worker_deaths_total"), LONG, pause=0.2)
    eventually(
        lambda: "3 of 3 processes" in relay.machine.show("trackrelay", "StatusText")["StatusText"], LONG, pause=0.5
    )
    assert relay.machine.show("trackrelay", "MainPID", "NRestarts") == {"MainPID": str(main), "NRestarts": "0"}
    relay.kill("KILL")
    relay.again(main)
    with relay.smtp() as client:
        assert client.greeting.startswith("220")
    relay.run("systemctl", "stop", "trackrelay", timeout=LONG)
    assert relay.machine.show("trackrelay", "Result", "TasksCurrent")["Result"] == "success"
