"""A Debian of its own with a real systemd as its first process: what the units do is done by who does it in production.

    with systemd.booted() as machine:
        machine.run("systemctl", "start", "trackrelay")

It is this machine's own system (or the one in a folder that is given), under a layer that is in memory and goes with it;
it has processes, mounts, control groups, and a loopback interface of its own. So nothing is written here, and ports such as
25 are free. That takes root, and control groups that may be written to. Where that is not to be had the test skips and
says so; with REQUIRE_SERVERS=1 it fails.

What is different from a machine: no module, clock, udev or sysctl, and the kernel's settings can't be written.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests import peers
from tests.peers import mounts
from tests.until import eventually

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path("opt/trackrelay")  # where docs/install.md has it
SOURCE = Path("opt/source")
PYTHON = Path(
    f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
)  # one in a home folder is hidden from services
START = 120.0  # seconds that a boot may take on a busy machine; alone it is 2
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SLOW = 120.0  # seconds for a command
CLONE_NEWNET = 0x40000000  # <sched.h>

# Of this machine's services none is to run there, nor what would reach through to its kernel.
MASKED = (
    "systemd-sysctl.service", "systemd-modules-load.service", "modprobe@.service", "systemd-udevd.service",
    "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service", "systemd-timesyncd.service",
    "systemd-pstore.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "systemd-hwdb-update.service",
    "systemd-remount-fs.service", "systemd-random-seed.service", "systemd-tmpfiles-clean.timer", "dev-hugepages.mount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount",
    "systemd-journald-audit.socket", "systemd-firstboot.service", "systemd-networkd-wait-online.service", "getty.target",
)  # fmt: skip

# $1: the folder that all of it is in. $2: the system below the layer. $3: what is bound, lines of SOURCE:TARGET. $4: units that
# are not to run. The rest: control groups, as TYPE:OPTIONS:FOLDER.
BOOT = (
    r"""
set -eu
at=$1 lower=$2 bound=$3 masked=$4; shift 4
mount --make-rprivate /
"""
    + mounts.LAYER
    + r"""
echo "$bound" | while IFS=: read -r source target; do
    [ -n "$source" ] || continue
    mkdir -p "./$target"
    mount --bind -o ro "$source" "./$target"
done
[ "$lower" != / ] || rm -rf etc/systemd/system/*.wants
for each in $masked; do ln -sf /dev/null "etc/systemd/system/$each"; done
: >etc/fstab
"""
    + mounts.FILES
    + r"""
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
for each; do
    kind=${each%%:*} rest=${each#*:}
    options=${rest%%:*} folder=${rest#*:}
    [ -d "sys/fs/cgroup$folder" ] || mkdir "sys/fs/cgroup$folder"
    mount -t "$kind" ${options:+-o "$options"} "$kind" "sys/fs/cgroup$folder"
done
"""
    + mounts.ENTER
    + r"""
mount --make-rshared /
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_boot,-syslog \
    env -i container=tests PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=no
"""
)


@dataclass
class Machine:
    """One that runs. `pid` is its first process, as it is called here."""

    pid: int
    thread: concurrent.futures.ThreadPoolExecutor

    @property
    def root(self) -> Path:
        """Its files, from here."""
        return Path(f"/proc/{self.pid}/root")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        at = self.root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        at.chmod(mode)

    def run(self, *words: str, code: int | None = 0, **how: Any) -> subprocess.CompletedProcess[str]:
        """A command in it, as root; its exit code must be `code`."""
        how.setdefault("timeout", SLOW)
        how.setdefault("env", {"PATH": PATH, "LANG": "C.UTF-8"})
        enter = ["nsenter", "--target", str(self.pid), "--all", "--"]
        done = subprocess.run([*enter, *words], capture_output=True, text=True, **how)
        assert code in (None, done.returncode), f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        shown = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def main_pid(self, unit: str) -> int:
        """As it is called there; 0 where it does not run."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def state(self, unit: str) -> str:
        return self.run("systemctl", "is-active", unit, code=None).stdout.strip()

    def cursor(self) -> str:
        """Where the journal ends now."""
        return self.run("journalctl", "--lines=0", "--show-cursor").stdout.partition("cursor: ")[2].strip()

    def journal(self, unit: str, after: str) -> str:
        """The messages of a unit, and about it, since a cursor."""
        words = ["journalctl", "--no-pager", "--output=cat", "--unit", unit, f"--after-cursor={after}"]
        return self.run(*words).stdout

    def inside(self, work: Callable[..., T], *words: Any, **how: Any) -> T:
        """Calls it in a thread that is in its network. Sockets that are made there, and threads that are begun, stay in it
        wherever they are used."""
        return self.thread.submit(work, *words, **how).result(SLOW)


@contextlib.contextmanager
def booted(system: Path = Path("/"), *, bound: Sequence[tuple[Path, str]] = ()) -> Iterator[Machine]:
    """`bound` are folders of here, to be read there at a path."""
    why = missing()
    if why:
        no(why)
    sweep()
    name = f"{PREFIX}{os.getpid()}-{time.monotonic_ns()}"
    groups = list(hierarchies())
    at = Path("/run") / name
    at.mkdir()
    bind = "\n".join(f"{source}:{target}" for source, target in bound)
    mounts = [f"{kind}:{options}:{folder.removeprefix('/sys/fs/cgroup')}" for kind, options, folder, _ in groups]
    join = 'for each in $1; do mkdir "$each"; echo $$ >"$each/cgroup.procs"; done; shift; exec "$@"'
    own = " ".join(f"{folder}{path.rstrip('/')}/{name}" for _, _, folder, path in groups)
    begin = ["setpriv", "--pdeathsig", "KILL", "sh", "-euc", join, "join", own]
    apart = ["unshare", "--mount", "--pid", "--cgroup", "--net", "--uts", "--ipc", "--fork", "--kill-child"]
    with (at.with_suffix(".log")).open("w+") as output:
        process = subprocess.Popen(
            [*begin, *apart, "sh", "-c", BOOT, "boot", str(at), str(system), bind, " ".join(MASKED), *mounts],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as thread:
                machine = Machine(0, thread)

                def up() -> bool:
                    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                    if process.poll() is None and children:
                        machine.pid = int(children[0])
                        with contextlib.suppress(OSError, subprocess.SubprocessError):
                            said = machine.run("systemctl", "is-system-running", code=None, timeout=SLOW).stdout.strip()
                            return said in ("running", "degraded")
                    return process.poll() is not None

                eventually(up, START, pause=0.1)
                if process.poll() is not None:
                    no(f"systemd can't be the first process of a system here: {at.with_suffix('.log').read_text()}")
                machine.inside(enter_network, machine.pid)
                yield machine
        finally:
            with contextlib.suppress(ProcessLookupError):
                if machine.pid:
                    os.kill(machine.pid, signal.SIGKILL)
            process.kill()
            process.wait()
            at.with_suffix(".log").unlink()
            eventually(lambda: remove(name))
            at.rmdir()


def enter_network(pid: int) -> None:
    """For this thread, and those that it begins."""
    with open(f"/proc/{pid}/ns/net") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


# -- whether it can be had ---------------------------------------------------------------------------------------------


def no(words: str) -> None:
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(words)
    pytest.skip(words)


def missing() -> str:
    """Why it can't be had, as far as that can be seen before trying."""
    for program, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("systemctl", "systemd")):
        peers.require(program, package=package)
    if not Path("/lib/systemd/systemd").exists():
        return "there is no /lib/systemd/systemd (Debian package systemd)"
    if not PYTHON.exists():
        return f"there is no {PYTHON} (Debian package {PYTHON.name})"
    if os.geteuid() != 0:
        return "systemd as the first process of a system is for root only"
    found = [folder + path for _, _, folder, path in hierarchies()]
    if not found:
        return "no control groups are mounted below /sys/fs/cgroup"
    closed = [path for path in found if not os.access(path, os.W_OK)]
    return f"control groups can't be written to here: {', '.join(closed)}" if closed else ""


# -- control groups ----------------------------------------------------------------------------------------------------

PREFIX = "trackrelay-tests-"


def hierarchies() -> Iterator[tuple[str, str, str, str]]:
    """Of each: its type, the options that mount it, where it is mounted here, and this process' group in it. Version 2, or
    version 1 with or without the second beside it: whatever there is."""
    mine = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mine[controllers] = path
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if not folder.startswith("/sys/fs/cgroup"):
            continue
        if kind == "cgroup2":
            yield kind, "", folder, mine.get("", "/")
        elif kind == "cgroup":
            words = [word for word in options.split(",") if word in mine or word.startswith("name=")]
            controllers = ",".join(words)
            if "cpuset" in words or controllers not in mine:  # a new group of cpuset takes nobody
                continue
            if controllers.startswith("name="):
                yield kind, f"none,{controllers}", folder, mine[controllers]
            else:
                yield kind, controllers, folder, mine[controllers]


def remove(name: str) -> bool:
    """True once none of its groups is left."""
    found = False
    for _, _, folder, path in hierarchies():
        top = Path(folder + path) / name
        for each in [*sorted(top.rglob("*/"), reverse=True), top]:
            with contextlib.suppress(OSError):
                each.rmdir()
        found |= top.exists()
    return not found


def sweep() -> None:
    """What tests have left that were killed."""
    for _, _, folder, path in hierarchies():
        for each in Path(folder + path).glob(f"{PREFIX}*"):
            if not Path(f"/proc/{each.name.removeprefix(PREFIX).partition('-')[0]}").exists():
                remove(each.name)
    for each in Path("/run").glob(f"{PREFIX}*"):
        if not Path(f"/proc/{each.name.removeprefix(PREFIX).partition('-')[0]}").exists():
            each.rmdir() if each.is_dir() else each.unlink()


# -- the program there -------------------------------------------------------------------------------------------------


def installed() -> list[tuple[Path, str]]:
    """This program and what it needs, for `bound`; `install` does the rest."""
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    return [
        (site, f"{PROGRAM}/.venv/lib/{PYTHON.name}/site-packages"),
        *((ROOT / name, f"{SOURCE}/{name}") for name in ("relay", "tracking_http", "docs", "systemd")),
    ]


def install(machine: Machine) -> None:
    """As docs/install.md does: the program in a virtual environment, the units, their user. No settings."""
    at = machine.root / PROGRAM / ".venv"
    machine.run("cp", "-r", f"/{SOURCE}/.", f"/{PROGRAM}/")
    machine.run(str(PYTHON), "-m", "compileall", "-q", f"/{PROGRAM}/relay", f"/{PROGRAM}/tracking_http")
    machine.write(f"/{PROGRAM}/.venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    (at / "bin").mkdir(exist_ok=True)
    (at / "bin" / "python").symlink_to(PYTHON)
    start = (
        "import sys\nsys.path.insert(0, '/opt/trackrelay')\nfrom relay.__main__ import program\nsys.exit(program())\n"
    )
    machine.write(f"/{PROGRAM}/.venv/bin/trackrelay", f"#!/{PROGRAM}/.venv/bin/python\n{start}", 0o755)
    machine.run("ln", "-s", f"/{PROGRAM}/.venv/bin/trackrelay", "/usr/local/bin/")
    machine.run("mkdir", "-p", "/etc/sysusers.d", "/etc/trackrelay/secrets")
    machine.run("install", "-m", "644", f"/{PROGRAM}/systemd/trackrelay.sysusers", "/etc/sysusers.d/trackrelay.conf")
    machine.run("systemd-sysusers")
    units = " ".join(f"/{PROGRAM}/systemd/*.{kind}" for kind in ("service", "socket", "target"))
    machine.run("sh", "-c", f"for each in {units}; do [ ! -e $each ] || cp $each /etc/systemd/system/; done")
    machine.run("systemctl", "daemon-reload")
