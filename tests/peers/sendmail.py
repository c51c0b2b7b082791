"""A private Sendmail on loopback with Debian's sendmail.mc: its own folder, port and queue, gone afterwards. Needs root.

    with sendmail.running("define(`SMART_HOST', `relay:[127.0.0.1]')dnl\n") as server:
        ... server.port

The lines go where an operator's go: above MAILER_DEFINITIONS.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import peers
from tests.peers import debian

USER = "smmta"
MASTER = Path("/usr/share/sendmail/cf/debian/sendmail.mc")
# Debian's, but for what would keep a test waiting: a second before the greeting, 15 connections a minute, the DNS,
# the machine's load, from which on mail waits in the queue, and what one process knows of a host from another.
PRIVATE = """
undefine(`confHOST_STATUS_DIRECTORY')dnl
define(`confQUEUE_LA', `10000')dnl
define(`confREFUSE_LA', `10000')dnl
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
define(`confSERVICE_SWITCH_FILE', `{home}/service.switch')dnl
define(`confDOMAIN_NAME', `sendmail.test')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
"""
# Before it reads anything, Sendmail sleeps for a minute on a machine whose name has no dot.
NAMED = """
#include <string.h>
int gethostname(char *name, unsigned long size) { strncpy(name, "sendmail.test", size); return 0; }
"""


@dataclass(frozen=True)
class Server:
    port: int
    submission: int
    folder: Path

    def command(self, *words: str) -> str:
        """What `sendmail WORDS` prints, with this server's configuration."""
        done = subprocess.run(
            [_program(), "-C", self.folder / "sendmail.cf", *words],
            capture_output=True, text=True, errors="replace", timeout=50, stdin=subprocess.DEVNULL, env=_environment(self.folder),
        )  # fmt: skip
        return done.stdout + done.stderr

    def retry(self) -> None:
        """Tries at once what is in the queue, but for what another process is at."""
        self.command("-q")

    def queue(self) -> str:
        return self.command("-bp").strip()


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_PRELOAD": f"{home}/named.so"}


def _program() -> Path:
    return debian.require("usr/libexec/sendmail/sendmail", package="sendmail-bin", user=USER)


@contextlib.contextmanager
def running(lines: str) -> Iterator[Server]:
    program = _program()
    peers.require("m4", package="m4")
    if not MASTER.exists():
        peers.require(str(MASTER), package="sendmail-cf")
    # Sendmail wants its folders to be its own all the way up, but for a sticky /tmp.
    home = Path(tempfile.mkdtemp(prefix="sendmail-"))
    try:
        home.chmod(0o755)
        server = Server(peers.free_port(), peers.free_port(), home)
        _write(server, lines)
        process = subprocess.Popen(
            [program, "-C", home / "sendmail.cf", "-bD"], env=_environment(home),
            stdin=subprocess.DEVNULL, stdout=(home / "output").open("wb"), stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            peers.greeted(process, server.port, (server.folder / "output").read_text)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _write(server: Server, lines: str) -> None:
    home = server.folder
    for name in ("etc", "queue", "state"):
        (home / name).mkdir()
    compiler = [peers.require("gcc", package="gcc"), "-shared", "-fPIC", "-x", "c", "-", "-o", str(home / "named.so")]
    subprocess.run(compiler, input=NAMED.encode(), check=True, timeout=60)
    (home / "service.switch").write_text("hosts files\naliases files\n")
    master = MASTER.read_text()
    master = master.replace("Port=smtp", f"Port={server.port}").replace("Port=submission", f"Port={server.submission}")
    master = re.sub(r"(?m)^(include\(`/etc/mail/|FEATURE\(`greet_pause').*\n", "", master)
    before, at, after = master.partition("MAILER_DEFINITIONS")
    assert at
    (home / "sendmail.mc").write_text(before + PRIVATE.format(home=home) + lines + at + after)
    made = subprocess.run(["m4", home / "sendmail.mc"], check=True, capture_output=True, text=True, timeout=60).stdout
    for there, here in (
        ("/etc/mail/", f"{home}/etc/"), ("/var/spool/mqueue", f"{home}/queue"), ("/var/lib/sendmail/", f"{home}/state/"),
        ("/var/run/sendmail/mta/", f"{home}/state/"),
    ):  # fmt: skip
        made = made.replace(there, here)
    (home / "sendmail.cf").write_text(made)
    (home / "etc" / "local-host-names").write_text("sendmail.test\n")
    for name in ("relay-domains", "trusted-users", "aliases", "helpfile"):
        (home / "etc" / name).touch()
    makemap = debian.root() / "usr/libexec/sendmail/makemap"
    subprocess.run(
        [makemap, "-C", home / "sendmail.cf", "hash", home / "etc" / "access"],
        input=b"", check=True, capture_output=True, env=_environment(home),
    )  # fmt: skip
    server.command("-bi")  # the aliases
