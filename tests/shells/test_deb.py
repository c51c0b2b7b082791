"""The Debian package, through its life: built, installed on a clean Debian 12, configured, upgraded, removed, purged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import __version__, roles
from relay.__main__ import COMMANDS
from tests import peers
from tests.peers import clean_debian
from tests.peers.clean_debian import Machine

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(1800)  # it is built, with all libraries, on a machine that is busy with much else
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
NOTHING_BUT_LOOPBACK = """
state_dir = "/var/lib/trackrelay"
[upstream]
url = "smtp://me@127.0.0.1:1"
password_file = "secrets/upstream"
tls = "never"
[tracking]
url = "http://127.0.0.1:8080"
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """As `make deb` builds it, with none of this environment's Python."""
    peers.require("dh", package="debhelper")
    peers.require("/usr/bin/python3.11", package="python3-venv")
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith("PIP_") or name.lower().endswith("_proxy")
        },
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "LANG": "C.UTF-8",
    }
    to = tmp_path_factory.mktemp("deb")
    done = subprocess.run(
        ["make", "-C", ROOT, "deb", f"TO={to}"], env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    (built,) = to.glob("*.deb")
    return built


@pytest.fixture(scope="module")
def lower(package, tmp_path_factory) -> Path:
    """The same as a lower version, with a module that there is no more."""
    place = tmp_path_factory.mktemp("lower") / "trackrelay"
    subprocess.run(["dpkg-deb", "-R", package, place], check=True)
    control = place / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 0.0.9-1", control.read_text(), flags=re.M))
    (site,) = place.glob("usr/lib/trackrelay/lib/python3.*/site-packages/relay")
    (site / "gone.py").write_text("x = 1\n")
    lower = place.parent / "lower.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", place, lower], check=True, capture_output=True)
    return lower


@pytest.fixture
def machine(package, lower) -> Iterator[Machine]:
    with clean_debian.running(systemd=True) as found:
        shutil.copy(package, found.path("/tmp/new.deb"))
        shutil.copy(lower, found.path("/tmp/lower.deb"))
        found.run("apt-get update -qq")
        yield found


def test_lintian_has_nothing_to_say(package):
    """What is overridden has its reason beside it, in debian/trackrelay.lintian-overrides."""
    lintian = peers.require("lintian", package="lintian")
    done = subprocess.run(
        [lintian, "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", package],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_in_it(package, tmp_path):
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    docs = tmp_path / "usr/share/doc/trackrelay"
    assert {page.name for page in (docs / "docs").iterdir()} == {page.name for page in (ROOT / "docs").iterdir()}
    assert (docs / "examples/relay.toml").read_text() == (ROOT / "relay.toml").read_text()
    assert {"copyright", "changelog.gz", "changelog.Debian.gz", "README.Debian"} < {
        path.name for path in docs.iterdir()
    }
    libraries = (docs / "libraries").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M)
    for name, version in locked:
        if name != "pip":  # nothing is installed into it
            assert re.search(rf"^{name.replace('-', '[-_.]')} {re.escape(version)}: \w", libraries, re.M | re.I), name
    manual = subprocess.run(
        ["gzip", "-dc", tmp_path / "usr/share/man/man1/trackrelay.1.gz"], check=True, capture_output=True, text=True
    ).stdout.replace("\\-", "-")
    for command in COMMANDS:
        assert f"\n.B {command}\n" in manual
    units = {path.stem for path in (tmp_path / "lib/systemd/system").glob("*.service")}
    assert units == {"trackrelay", *(f"trackrelay-{role}" for role in roles.ALL)}
    for path in (tmp_path / "lib/systemd/system").iterdir():
        text = path.read_text()
        assert path.suffix != ".service" or "\nExecStart=/usr/bin/trackrelay run " in text
        (place,) = re.findall(r"^Documentation=file://(.*)$", text, re.M)
        assert (tmp_path / place.lstrip("/")).is_file()
    assert not list(tmp_path.rglob("*.pyc"))
    assert [path for path in tmp_path.rglob("*") if path.is_file() and str(ROOT).encode() in path.read_bytes()] == []


def test_its_life(machine):
    before = found(machine)

    # Installed: there, and not started.
    machine.run(f"{INSTALL} /tmp/lower.deb", seconds=900)
    assert machine.run("trackrelay --version") == f"trackrelay {__version__}\n"
    assert machine.run("dpkg --verify trackrelay") == ""
    assert modes(machine) == [
        "/etc/trackrelay 750 root trackrelay",
        "/etc/trackrelay/relay.toml 640 root trackrelay",
        "/etc/trackrelay/secrets 700 trackrelay trackrelay",
        "/var/lib/trackrelay 700 trackrelay trackrelay",
    ]
    for unit in ("trackrelay.service", "trackrelay-smtp.service", "trackrelay.target"):
        assert machine.run(f"systemctl is-enabled {unit} || true") == "disabled\n"
        assert machine.run(f"systemctl is-active {unit} || true") == "inactive\n"

    # What is there before it is configured says what to do; then init writes the file that the package brought.
    assert "upstream.url" in machine.run("trackrelay run 2>&1 || true")
    machine.run(
        "trackrelay init /etc/trackrelay --upstream mail.example.com --login me --password-file - "
        "--tracking-host t.example.com --no-check", stdin="a secret\n",
    )  # fmt: skip
    assert machine.path("/etc/trackrelay/secrets/upstream").read_text() == "a secret\n"
    assert modes(machine)[1] == "/etc/trackrelay/relay.toml 640 root trackrelay"
    machine.path("/etc/trackrelay/relay.toml").write_text(NOTHING_BUT_LOOPBACK)
    told = machine.run("runuser -u trackrelay -- trackrelay check || true", network=False)
    assert "ok       file: /etc/trackrelay/relay.toml has no mistakes" in told
    assert "FAILED   upstream: " in told
    machine.run("systemctl enable --now trackrelay", network=False)
    assert machine.run("systemctl is-active trackrelay") == "active\n"
    key = machine.path("/var/lib/trackrelay/keys/tokens.json").read_bytes()

    # Upgraded: no question about the changed settings, the same keys, started again, and what an administrator set stays.
    first = machine.run("systemctl show --property=MainPID --value trackrelay")
    machine.run("chmod 600 /etc/trackrelay/relay.toml; chown trackrelay /etc/trackrelay/relay.toml")
    machine.run(f"{INSTALL} /tmp/new.deb </dev/null", seconds=900)
    assert machine.run("dpkg-query -W -f '${Version}' trackrelay") == f"{__version__}-1"
    assert machine.path("/etc/trackrelay/relay.toml").read_text() == NOTHING_BUT_LOOPBACK
    assert modes(machine)[1] == "/etc/trackrelay/relay.toml 600 trackrelay trackrelay"
    assert machine.run("systemctl is-active trackrelay; systemctl is-enabled trackrelay") == "active\nenabled\n"
    assert machine.run("systemctl show --property=MainPID --value trackrelay") not in (first, "0\n")
    assert machine.run("systemctl is-active trackrelay-smtp || true") == "inactive\n"
    assert "gone" not in machine.run("find /usr/lib/trackrelay/ -path '*/site-packages/relay/*'")
    assert machine.run("find /etc/trackrelay -name '*.dpkg-*'") == ""

    # Removed: nothing runs, the program is gone with all that it compiled; secrets, keys and mail stay.
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get remove -y -qq trackrelay")
    assert machine.run("systemctl is-active trackrelay || true") == "inactive\n"
    assert machine.run("ls -d /usr/lib/trackrelay 2>&1 || true").startswith("ls: ")
    assert machine.path("/etc/trackrelay/secrets/upstream").read_text() == "a secret\n"
    assert machine.path("/etc/trackrelay/relay.toml").read_text() == NOTHING_BUT_LOOPBACK
    assert machine.path("/var/lib/trackrelay/keys/tokens.json").read_bytes() == key

    # Installed again: as it was.
    machine.run(f"{INSTALL} /tmp/new.deb </dev/null", seconds=900)
    assert modes(machine)[1] == "/etc/trackrelay/relay.toml 600 trackrelay trackrelay"
    assert machine.path("/var/lib/trackrelay/keys/tokens.json").read_bytes() == key

    # Purged: nothing is left but the user, as Debian has it.
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq trackrelay")
    assert found(machine) == before
    assert machine.run("id -un trackrelay") == "trackrelay\n"


def modes(machine: Machine) -> list[str]:
    return machine.run(
        "stat -c '%n %a %U %G' /etc/trackrelay /etc/trackrelay/relay.toml /etc/trackrelay/secrets /var/lib/trackrelay"
    ).splitlines()


def found(machine: Machine) -> list[str]:
    """Everything that has its name, beside what goes with a restart."""
    return machine.run(
        "find / -xdev -name '*trackrelay*' -not -path '/proc/*' -not -path '/var/log/*' -not -path '/var/cache/*' | sort"
    ).splitlines()
