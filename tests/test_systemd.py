"""The units, as far as they can be judged without a running systemd."""

import configparser
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay import roles, starting
from relay.config import table
from tests import peers

FOLDER = Path(__file__).parent.parent / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
SOCKETS = sorted(FOLDER.glob("*.socket"))
ROLES = [p for p in SERVICES if p.stem != "trackrelay"]
PROGRAM = "/opt/trackrelay/.venv/bin/trackrelay"


@pytest.fixture
def analyze() -> str:
    return peers.require("systemd-analyze", package="systemd")


@pytest.fixture
def folder(tmp_path) -> Path:
    """The units with a program that exists here, since `verify` looks for it."""
    for unit in (*SERVICES, *SOCKETS, *FOLDER.glob("*.target")):
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, sys.executable))
    return tmp_path


def settings(unit: Path, section: str = "Service") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    parser = configparser.RawConfigParser(strict=False)
    parser.read(unit)  # only whether it is well-formed; keys may be repeated
    text = unit.read_text().split(f"[{section}]")[1].split("\n[")[0]
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", [*SERVICES, *SOCKETS, FOLDER / "trackrelay.target"], ids=lambda p: p.name)
def test_systemd_has_nothing_to_say_about_the_unit(analyze, folder, unit):
    """`verify` exits 0 for a key that it does not know, and says so on stderr."""
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", folder / unit.name],
        capture_output=True, text=True, timeout=60, env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda p: p.name)
def test_the_exposure_is_at_most_2(analyze, folder, unit):
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", folder / unit.name],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.findall(r"Overall exposure level for .*: ([\d.]+)", done.stdout)[0]) <= 2.0


def test_the_user_of_the_units_is_made(analyze):
    sysusers = peers.require("systemd-sysusers", package="systemd")
    done = subprocess.run(
        [sysusers, "--dry-run", FOLDER / "trackrelay.sysusers"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert {user for unit in SERVICES for user in settings(unit)["User"]} == {"trackrelay"}


def test_each_role_has_a_unit_and_each_unit_a_role():
    assert {unit.stem.removeprefix("trackrelay-") for unit in ROLES} == set(roles.ALL)
    for unit in ROLES:
        role = unit.stem.removeprefix("trackrelay-")
        assert settings(unit)["ExecStart"] == [f"{PROGRAM} run --only {role} --config /etc/trackrelay/relay.toml"]


@pytest.mark.parametrize("unit", ROLES, ids=lambda p: p.name)
def test_the_roles_are_as_hard_as_the_whole(unit):
    whole, role = settings(FOLDER / "trackrelay.service"), settings(unit)
    assert int(role["TasksMax"][0]) <= int(whole["TasksMax"][0])  # only the mailboxes' has hundreds of threads
    for key in ("ExecStart", "MemoryMax", "TasksMax", "RuntimeDirectory", "RuntimeDirectoryMode"):
        del whole[key]
    for key, values in whole.items():
        assert role[key] == values
    own = {"SocketBindDeny", "IPAddressDeny", "IPAddressAllow", "InaccessiblePaths", "ReadOnlyPaths"}
    if unit.stem == "trackrelay-milter":
        own |= {"RuntimeDirectory", "RuntimeDirectoryMode"}  # for its unix socket
    assert set(role) - set(whole) <= {"ExecStart", "MemoryMax", "TasksMax"} | own


@pytest.mark.parametrize("unit", SERVICES, ids=lambda p: p.name)
def test_no_unit_can_take_the_machine_or_dump_core(unit):
    found = settings(unit)
    assert found["LimitCORE"] == ["0"]
    assert len(found["MemoryMax"]) == len(found["TasksMax"]) == 1


def test_code_units_and_docs_agree_on_what_starting_again_mends():
    """2 is a mistake in the settings; 1 may pass by itself: an address that is not there yet, a database that is locked."""
    assert starting.CannotStart("the settings").code == 2
    for unit in SERVICES:
        found = settings(unit)
        assert (found["Restart"], found["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
        assert settings(unit, "Unit")["StartLimitIntervalSec"] == ["0"]  # however long that takes
    told = " ".join((FOLDER.parent / "docs" / "operations.md").read_text().split())
    assert "exit code 2 is a mistake in relay.toml or in a file that it names" in told
    assert (
        "Exit code 1 is what may pass: an address to listen on that another program has or that is not there yet"
        in told
    )


# The credential of each option whose file a role may open; certificates are read again on SIGHUP, so they are files.
CREDENTIALS = {
    ("upstream", "password"): "upstream",
    ("dkim", "key"): "dkim",
    ("grants", "mailbox_password"): "mailbox",
    ("webhooks", "secret"): "webhook",
}


@pytest.mark.parametrize("unit", SERVICES, ids=lambda p: p.name)
def test_a_unit_names_the_credentials_of_its_roles_alone(unit):
    own = set(roles.ALL) if unit not in ROLES else {unit.stem.removeprefix("trackrelay-")}
    wanted = {name for (section, key), name in CREDENTIALS.items() if table.BY_KEY[section].option(key).roles & own}
    assert set(re.findall(r"^#LoadCredential=(\w+):/etc/trackrelay/secrets/\1$", unit.read_text(), re.M)) == wanted


# What is in state_dir, by the roles that work with it.
FOLDERS = {
    "keys": {"smtp", "queue", "http", "admin", "mailbox", "milter"},
    "keys/dkim": {"smtp", "queue", "admin", "milter"},
    "keys/logins": {"smtp"},
    "keys/oauth2": {"smtp", "queue", "mailbox"},
    "spool": {"smtp", "queue", "admin"},
    "journal": {"http"},
    "links": set(roles.ALL),
}


@pytest.mark.parametrize("unit", ROLES, ids=lambda p: p.name)
def test_a_unit_hides_what_its_role_does_not_work_with(unit):
    role, found = unit.stem.removeprefix("trackrelay-"), settings(unit)
    hidden = {path.removeprefix("/var/lib/trackrelay/") for path in found["InaccessiblePaths"]}
    for folder, workers in FOLDERS.items():
        gone = folder in hidden or str(Path(folder).parent) in hidden
        assert gone == (role not in workers), folder
    assert {f"trackrelay/{folder}" for folder in FOLDERS} < set(" ".join(found["StateDirectory"]).split())
    assert found["StateDirectory"][0].split()[0] == "trackrelay"  # the program takes the first


def test_who_is_told_where_to_go_by_others_does_not_get_to_the_metadata_of_a_cloud():
    assert "169.254.169.254" in settings(FOLDER / "trackrelay-webhooks.service")["IPAddressDeny"][0].split()
    assert settings(FOLDER / "trackrelay-http.service")["IPAddressDeny"] == ["any"]


@pytest.mark.parametrize("unit", SOCKETS, ids=lambda p: p.name)
def test_sockets_are_of_a_service_that_listens(unit):
    """Of its own name, which is what systemd takes where Service= is not set."""
    assert unit.with_suffix(".service") in SERVICES
    own, whole = settings(unit, "Socket"), settings(FOLDER / "trackrelay.socket", "Socket")
    assert set(own["ListenStream"]) <= set(whole["ListenStream"])
    assert {key: own[key] for key in own if key != "ListenStream"} == {
        k: whole[k] for k in whole if k != "ListenStream"
    }
    assert not {"Service", "Accept"} & set(own)


def test_every_line_of_hardening_is_explained():
    """A comment stands above each group of lines."""
    groups = (FOLDER / "trackrelay.service").read_text().split("[Service]\n")[1].split("\n[Install]")[0].split("\n\n")
    assert [group for group in groups if not group.startswith("#")] == []


# -- the program as a unit runs it -------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path):
    """systemd's end of sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(30)
        yield lambda: end.recv(4096).decode()


@pytest.mark.parametrize("role", ["", *(unit.stem.removeprefix("trackrelay-") for unit in ROLES)])
def test_each_unit_is_ready_alive_reloaded_and_stopped(tmp_path, told, role):
    """With no environment but systemd's, and no other place to write than the state folder."""
    (tmp_path / "etc").mkdir()
    ports = [peers.free_port() for _ in range(4)]
    (tmp_path / "etc" / "relay.toml").write_text(f"""
[smtp]
listen = ["127.0.0.1:{ports[0]}"]
[http]
listen = "127.0.0.1:{ports[1]}"
[admin]
listen = "127.0.0.1:{ports[2]}"
[milter]
listen = "inet:127.0.0.1:{ports[3]}"
[upstream]
url = "smtp://u@127.0.0.1:9"
password_file = "$CREDENTIALS_DIRECTORY/upstream"
[tracking]
url = "http://127.0.0.1:{ports[1]}"
""")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "upstream").write_text("secret\n")
    environment = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "400000",
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "PYTHONPATH": str(FOLDER.parent),  # these units with this program, whichever is installed
    }
    only = ["--only", role] if role else []
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "run", *only, "--config", tmp_path / "etc" / "relay.toml"],
        env=environment, cwd="/", stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "READY=1" in told().split()
        alive, status = told().splitlines()
        assert alive == "WATCHDOG=1"
        assert re.fullmatch(r"STATUS=\d+ accepted; \d+ clients, [\d.]+ MB in flight; \d+ in the queue", status)
        process.send_signal(signal.SIGHUP)
        words = []
        while not (words and words[-1] == "READY=1"):
            words += told().split()
        assert "RELOADING=1" in words
        process.terminate()
        while "STOPPING=1" not in words:
            words += told().split()
        assert process.wait(30) == 0
    finally:
        process.kill()
        _, logged = process.communicate()
    assert "trackrelay ready" in logged
    assert sorted(p.name for p in (tmp_path / "etc").iterdir()) == ["relay.toml"]
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("unit", SERVICES, ids=lambda p: p.name)
def test_what_a_unit_runs_is_on_every_debian(unit):
    """Beside the program itself: only what is essential there. /bin/kill is of procps, and small systems lack it."""
    run = [words[0].split() for key, words in settings(unit).items() if key.startswith("Exec")]
    assert {words[0] for words in run} == {PROGRAM, "/bin/sh"}
