"""A private Exim on loopback with Debian's configuration: its own folder, port and queue, gone afterwards. Needs root.

    with exim.running({"router/190_mine": "...", "transport/30_mine": "..."}) as server:
        ... server.port

The files go into conf.d of Debian's split configuration; with `split=False` the same text goes into
exim4.conf.template, before the first router and the first transport. Mail for local users it can't deliver: for that the
set-uid program of an installed package is needed. `kind` is what debconf calls the type of
configuration: internet, smarthost, satellite or local.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import peers
from tests.peers import debian

USER = "Debian-exim"
HOSTNAME = "exim.test"
DEBCONF = """
dc_eximconfig_configtype='{kind}'
dc_other_hostnames=''
dc_local_interfaces='127.0.0.1.{port}'
dc_readhost=''
dc_relay_domains=''
dc_minimaldns='false'
dc_relay_nets=''
dc_smarthost='smtp.example.com'
CFILEMODE='644'
dc_use_split_config='{split}'
dc_hide_mailname=''
dc_mailname_in_oh='true'
dc_localdelivery='mail_spool'
"""
# Of Debian's configuration only what makes it private, and asks no DNS.
LOCAL = """
CONFDIR = {home}/etc
SPOOLDIR = {home}/spool
MAIN_HARDCODE_PRIMARY_HOSTNAME = {hostname}
MAIN_QUALIFY_DOMAIN = {hostname}
MAIN_HOST_LOOKUP = :
log_file_path = {home}/log/%slog
pid_file_path = {home}/pid
"""


@dataclass(frozen=True)
class Server:
    port: int
    folder: Path

    def command(self, *words: str) -> str:
        """What `exim4 WORDS` prints, with this server's configuration."""
        done = subprocess.run(
            [self.folder / "exim4", "-C", self.folder / "exim.conf", *words],
            capture_output=True, text=True, errors="replace", timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout + done.stderr

    def retry(self) -> None:
        """Tries at once what is in the queue, but for what another process is at."""
        self.command("-qff")

    def queue(self) -> str:
        return self.command("-bpc").strip()

    def log(self) -> str:
        path = self.folder / "log" / "mainlog"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def configured(files: Mapping[str, str], *, kind: str = "internet", split: bool = True) -> Iterator[Server]:
    """Without a daemon: for commands."""
    program = debian.require("usr/sbin/exim4", package="exim4-daemon-light", user=USER)
    # Exim runs as a user of its own, who must be able to come here.
    home = Path(tempfile.mkdtemp(prefix="exim-"))
    try:
        home.chmod(0o755)
        shutil.copy(program, home / "exim4")
        (home / "exim4").chmod(0o755)
        for name in ("spool", "log"):
            (home / name).mkdir()
            shutil.chown(home / name, USER, USER)
        server = Server(peers.free_port(), home)
        _write(server, files, kind, split)
        yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def running(files: Mapping[str, str], **how: str | bool) -> Iterator[Server]:
    with configured(files, **how) as server:  # type: ignore[arg-type]
        process = subprocess.Popen(
            [server.folder / "exim4", "-C", server.folder / "exim.conf", "-bdf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            peers.greeted(process, server.port, lambda: f"{server.command('-bV')}\n{server.log()[-2000:]}")
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _write(server: Server, files: Mapping[str, str], kind: str, split: bool) -> None:
    home = server.folder
    etc = home / "etc"
    shutil.copytree(debian.root() / "etc" / "exim4", etc)
    port = server.port
    (etc / "update-exim4.conf.conf").write_text(DEBCONF.format(kind=kind, port=port, split=str(split).lower()))
    template = etc / "exim4.conf.template"
    local = LOCAL.format(home=home, hostname=HOSTNAME)
    if split:
        (etc / "conf.d" / "main" / "000_localmacros").write_text(local)
    else:
        template.write_text(local + template.read_text())
    for name, text in files.items():
        if split:
            (etc / "conf.d" / name).write_text(text)
        else:
            begins = {"router": "begin routers\n", "transport": "begin transports\n", "auth": "begin authenticators\n"}
            before, at, after = template.read_text().partition(begins[name.partition("/")[0]])
            assert at, name
            template.write_text(f"{before}{at}\n{text}\n{after}")
    subprocess.run(
        [debian.root() / "usr/sbin/update-exim4.conf", "-d", etc, "-o", home / "exim.conf"],
        env={**os.environ, "PATH": f"{debian.root()}/usr/sbin:{os.environ['PATH']}"},
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    made = (home / "exim.conf").read_text()
    for there, here in (
        ("/usr/sbin/exim4", f"{home}/exim4"), ("/etc/aliases", f"{home}/aliases"),
        ("/etc/email-addresses", f"{home}/addresses"),
    ):  # fmt: skip
        made = made.replace(there, here)
    (home / "exim.conf").write_text(made)
    (home / "aliases").touch()
    (home / "addresses").touch()
