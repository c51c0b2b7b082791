"""Mail servers of Debian that can't be installed beside Postfix, since each of them wants to be the machine's one: their
packages are unpacked into a folder of the user's, and run from there.

    python -m tests.peers.debian        fetches and unpacks what is missing (.ci/run does), a second's work

What they link to, and the users that they run as, are the system's: .ci/run sees to both.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from pathlib import Path

import pytest

PACKAGES = ("exim4-daemon-light", "exim4-base", "exim4-config", "sendmail-bin", "sendmail-base")


def root() -> Path:
    """What stands for / in these packages."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "trackrelay-tests" / "debian"


def require(program: str, *, package: str, user: str) -> Path:
    """The program, a path below `root()`. Where it is missing, or `user`, or the right to become that user, the test
    skips and says so; with REQUIRE_SERVERS=1 it fails."""
    path = root() / program
    words = ""
    if not path.exists():
        words = f"{path} is not there (Debian package {package}, unpacked by python -m tests.peers.debian)"
    elif user not in (entry.pw_name for entry in pwd.getpwall()):
        words = f"there is no user {user}, whom {package} wants"
    elif os.geteuid() != 0:
        words = f"{package} runs as root only"
    if words and os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(words)
    if words:
        pytest.skip(words)
    return path


def unpack() -> None:
    """Afterwards every package is there, whole: one that was cut off is unpacked again."""
    done = root() / "done"
    done.mkdir(parents=True, exist_ok=True)
    missing = [package for package in PACKAGES if not (done / package).exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # apt fetches as a user of its own where it can
        fetch = ["apt-get", "download", "-qq", *missing]
        if subprocess.run(fetch, cwd=name, stderr=subprocess.DEVNULL).returncode:  # no lists, or old ones
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(fetch, cwd=name, check=True)
        for package in missing:
            (file,) = Path(name).glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", file, root()], check=True)
            (done / package).touch()
    for path in root().rglob("*"):  # nobody is to gain rights by a copy that gets no updates
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o777)


if __name__ == "__main__":
    unpack()
