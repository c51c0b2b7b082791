"""A clean Debian 12 with nothing in it but what it boots with, for what is installed, upgraded and removed. Needs root.

    python -m tests.peers.clean_debian          makes the folder that all of them start from (.ci/run does): once, a minute

    with clean_debian.running() as machine:                     # PID 1 sleeps
        machine.run("apt-get update && apt-get install -y --no-install-recommends git")
    with clean_debian.running(systemd=True) as machine:         # PID 1 is systemd, booted
        machine.run("systemctl is-system-running --wait || true")

Each has namespaces of its own (files, processes, network, name): what is written goes into memory over the folder, and is
gone afterwards with all processes. Any number run side by side, with the same ports and files.

- `machine.run(script, …)` runs a script of bash in it, as root, with `-e`, and gives what it printed; Failed has the output
  when it failed. `network=True`, the default, is this machine's network: apt and pip reach what they reach here, with the
  sources and settings of this machine's apt and pip, read at run time. `network=False` is the network of the clean
  machine, loopback alone: its services are there.
- `machine.path("/etc/hosts")` is the file as seen from here, to be read and written.
- `machine.start(script, …)` is `run` without waiting: a Popen with pipes.
- `machine.within(function)` calls a function of this process in the machine's network: what listens there is its peer.
"""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.peers import debian, mounts
from tests.until import eventually

SUITE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # root's, of login(1)
BOOT_SECONDS = 120.0
NUMBERS = itertools.count()

# In namespaces of its own: $1 the folder below, $2 an empty folder, $3 a control group or nothing, then what is PID 1.
BOOT = (
    r"""
set -e
lower=$1 at=$2 group=$3; shift 3
"""
    + mounts.LAYER
    + mounts.FILES
    + r"""
printf %s "$OUTSIDE" | while read -r path; do
    mkdir -p "./$path"
    mount --rbind -o ro "$path" "./$path"
done
hostname clean
echo clean > etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 clean\n' > etc/hosts
rm -f etc/resolv.conf
cat /etc/resolv.conf > etc/resolv.conf
if [ -n "$group" ]; then
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/all
    mount -t cgroup2 cgroup2 sys/fs/cgroup/all
    mkdir -p "sys/fs/cgroup/all/$group"
    echo 0 > "sys/fs/cgroup/all/$group/cgroup.procs"
    umount sys/fs/cgroup/all
    umount sys/fs/cgroup
    exec unshare --cgroup sh -c '
set -e
mount -t cgroup2 cgroup2 sys/fs/cgroup
"""
    + mounts.ENTER
    + r"""
exec "$@"' sh "$@"
fi
"""
    + mounts.ENTER
    + r"""
exec "$@"
"""
)

T = TypeVar("T")
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A script that failed, with its exit code and all that it printed."""


@dataclass(frozen=True)
class Machine:
    pid: int  # of its PID 1, as seen from here
    environment: dict[str, str]

    def path(self, name: str) -> Path:
        return Path(f"/proc/{self.pid}/root") / name.lstrip("/")

    def run(
        self, script: str, *, network: bool = True, user: str = "root", stdin: str = "", seconds: float = 900.0
    ) -> str:
        """What it printed, on both of its outputs."""
        with self.start(script, network=network, user=user) as process:
            try:
                output, _ = process.communicate(stdin, timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                raise Failed(f"{script}\n[not done within {seconds} s]\n{output}") from None
        if process.returncode:
            raise Failed(f"{script}\n[exit code {process.returncode}]\n{output}")
        return output

    def start(self, script: str, *, network: bool = True, user: str = "root") -> subprocess.Popen[str]:
        """Its two outputs come as one, in `stdout`. It is a process group of its own, for os.killpg."""
        become = [] if user == "root" else ["runuser", "-u", user, "--"]
        home = "/root" if user == "root" else "/"
        environment = {"PATH": PATH, "HOME": home, "LANG": "C.UTF-8", "TERM": "dumb", **self.environment}
        return subprocess.Popen(
            [
                *("nsenter", "--target", str(self.pid), "--mount", "--pid", "--uts", "--ipc"),
                *(() if network else ("--net",)),
                *("env", "-i", f"--chdir={home}", *(f"{key}={value}" for key, value in environment.items())),
                *become, "bash", "-e", "-c", script,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip

    def within(self, function: Callable[[], T]) -> T:
        """Calls it in a thread of this process that is in the machine's network, and gives what it gives."""

        def enter() -> None:
            with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
                if LIBC.setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns")

        with concurrent.futures.ThreadPoolExecutor(1, initializer=enter) as thread:
            return thread.submit(function).result()


def base() -> Path:
    """The folder that all start from. What is in it is never changed."""
    return debian.root().parent / f"clean-{SUITE}"


def require() -> None:
    """Where something is missing the test skips and says so; with REQUIRE_SERVERS=1 it fails."""
    words = ""
    if os.geteuid() != 0:
        words = "namespaces with a Debian of their own are for root only"
    elif not base().is_dir():
        words = f"{base()} is not there: python -m tests.peers.clean_debian makes it (Debian package mmdebstrap)"
    else:
        tried = subprocess.run(
            ["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, text=True
        )
        words = f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""
    if words and os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(words)
    if words:
        pytest.skip(words)


@contextlib.contextmanager
def running(*, systemd: bool = False, shared: Sequence[Path] = ()) -> Iterator[Machine]:
    """`shared` are folders of this machine, to be read there at the same place."""
    require()
    outside = _outside()
    group = f"trackrelay-test-{os.getpid()}-{next(NUMBERS)}" if systemd else ""
    first = ["/sbin/init"] if systemd else ["/bin/sleep", "infinity"]
    boot = {
        "PATH": PATH,
        "OUTSIDE": "".join(f"{path}\n" for path in (*outside.folders, *shared)),
        "container": "other",
    }
    with tempfile.TemporaryDirectory(prefix="clean-debian-") as at, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--uts", "--ipc"),
                *("--fork", "--kill-child", "--propagation", "private"),
                *("bash", "-c", BOOT, "bash", str(base()), at, group, *first),
            ],
            env=boot, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:

            def booted() -> int | None:
                if process.poll() is not None:
                    said.seek(0)
                    pytest.fail(f"no clean Debian (exit code {process.returncode}):\n{said.read()}")
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                first_is_there = children and Path(f"/proc/{children[0]}/cmdline").read_bytes().startswith(
                    first[0].encode()
                )
                return int(children[0]) if first_is_there else None

            machine = Machine(eventually(booted, BOOT_SECONDS), _proxies())
            machine.within(_loopback_up)
            machine.path("/etc/pip.conf").write_text(outside.settings)
            for name, content in outside.files.items():
                machine.path(name).write_bytes(content)
            if systemd:
                eventually(lambda: machine.path("/run/systemd/private").exists(), BOOT_SECONDS)
                machine.run("systemctl is-system-running --wait || true", seconds=BOOT_SECONDS)
            yield machine
        finally:
            process.kill()  # and with it all that is in there
            process.wait()
            if group:
                _remove_group(group, at)


def _remove_group(group: str, at: str) -> None:
    script = f"""
        mount -t cgroup2 cgroup2 {at}
        find {at}/{group} -depth -type d -exec rmdir {{}} +
    """

    def gone() -> bool:  # once the last process in it has ended
        done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True)
        return done.returncode == 0

    eventually(gone, 60, 0.1)


def _loopback_up() -> None:
    with socket.socket() as any_socket:  # SIOCSIFFLAGS, IFF_UP
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))


def _proxies() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.lower() in ("http_proxy", "https_proxy", "no_proxy")}


@dataclass(frozen=True)
class _Outside:
    """What this machine's pip is set to, for another machine."""

    settings: str  # a pip.conf
    folders: list[Path]  # that it names: they are shared
    files: dict[str, bytes]  # that it names: they are copied, under these names


def _outside() -> _Outside:
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, str] = {}
    for line in told.splitlines():  # those of the environment come first, and win
        where, _, value = line.partition("=")
        if where.startswith((":env:", "global.", "install.")):
            found.setdefault(where.rpartition(".")[2], str(ast.literal_eval(value)))
    folders, files = [], {}
    for key, value in found.items():
        for name in re.findall(r"(?:^|\s|file://)(/\S+)", value):
            if Path(name).is_dir():  # an index leads to files beside it
                folders.append(Path(name).parent if "index" in key else Path(name))
            elif Path(name).is_file():
                files[f"/etc/pip-{key}"] = Path(name).read_bytes()
                found[key] = value.replace(name, f"/etc/pip-{key}")
    return _Outside("".join(["[global]\n", *(f"{key} = {value}\n" for key, value in found.items())]), folders, files)


def _sources() -> list[str]:
    """Lines of sources.list: what of Debian this machine's apt knows of the suite."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = (line.split("|") for line in told.splitlines())
    return sorted({line for origin, line in found if origin == "Debian" and line.split()[2].startswith(SUITE)})


def _apt_options() -> list[str]:
    """How this machine's apt gets to its mirrors."""
    told = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    return [line for line in told.splitlines() if re.match(r'Acquire::https?::(Proxy|CA|Verify)[^ ]* "[^"]', line)]


def make() -> None:
    """Afterwards `base()` is there. Two who make it at once make it once."""
    base().parent.mkdir(parents=True, exist_ok=True)
    with (base().parent / f"{base().name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if base().is_dir():
            return
        new = base().with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        if not _sources():
            subprocess.run(["apt-get", "update", "-qq"], check=True)
        made = subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd-sysv"),
                *(f"--aptopt={option}" for option in _apt_options()),
                *(SUITE, str(new), "-"),
            ],
            input="".join(f"{line}\n" for line in _sources()), text=True,
        )  # fmt: skip
        if made.returncode:
            sys.exit(f"mmdebstrap failed with exit code {made.returncode}")
        new.rename(base())


if __name__ == "__main__":
    make()
