"""A private Postfix on loopback: its own folder, ports and queue, gone afterwards. Needs root, as Postfix does.

    with postfix.running(transport=f"lmtp:inet:127.0.0.1:{port}") as server:
        ... server.port

`transport` is where all mail goes, as in default_transport: "lmtp:inet:127.0.0.1:PORT", "smtp:[127.0.0.1]:PORT" or "discard:".
`settings` are lines of main.cf; `certificate` and `key` make it offer STARTTLS. `server.log()` is what it logged.
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

import pytest

from tests import peers

SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Server:
    port: int
    folder: Path

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def running(
    folder: Path | None = None,
    *,
    transport: str = "discard:",
    settings: Mapping[str, str] | None = None,
    services: str = "",
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[Server]:
    """`services` are further lines of master.cf; what they say of 127.0.0.1:PORT is instead of the usual smtpd there.
    `folder` must be one that Postfix' own user can enter (pytest's are not); without it one is made and removed."""
    program = peers.require("postfix", package="postfix")
    if os.geteuid() != 0:
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail("Postfix runs as root only")
        pytest.skip("Postfix runs as root only")
    made = folder is None
    home = Path(tempfile.mkdtemp(prefix="postfix-")) if folder is None else folder
    home.chmod(0o755)
    port = peers.free_port()
    configuration = _write(home, port, transport, settings or {}, certificate, key)
    if services:
        with (configuration / "master.cf").open("a") as file:  # the last line of a service counts
            file.write(services.replace("PORT", str(port)) + "\n")
    # Makes the queue's folders with their owners; it warns of what is not Debian's, which is all of it.
    subprocess.run([program, "-c", configuration, "check"], capture_output=True, timeout=60, check=False)
    master = Path(_default("daemon_directory")) / "master"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": str(configuration)}
    process = subprocess.Popen(
        [master, "-c", configuration, "-d"], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    server = Server(port, home)
    try:
        peers.greeted(process, server.port, lambda: server.log()[-2000:])
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if made:
            shutil.rmtree(home, ignore_errors=True)


def _default(name: str) -> str:
    return subprocess.run(
        ["/usr/sbin/postconf", "-dh", name], capture_output=True, text=True, check=True
    ).stdout.strip()


def _write(
    home: Path, port: int, transport: str, settings: Mapping[str, str], certificate: Path | None, key: Path | None
) -> Path:
    configuration, queue, data = home / "etc", home / "queue", home / "data"
    for path in (configuration, queue, data):
        path.mkdir(exist_ok=True)
    shutil.chown(data, "postfix")
    main = {
        "compatibility_level": "3.6",
        "queue_directory": str(queue),
        "data_directory": str(data),
        "maillog_file": str(home / "log"),
        "maillog_file_prefixes": str(home),
        "myhostname": "postfix.test",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "alias_maps": "",
        "alias_database": "",
        "local_recipient_maps": "",
        "default_transport": transport,
        "relay_transport": transport,
        "local_transport": "error:no local mail here",
        "smtp_host_lookup": "native",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_client_connection_rate_limit": "0",
        "in_flow_delay": "0",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",  # else a message waits again as long as it has waited
        "queue_run_delay": "1s",
    }
    if certificate and key:
        main |= {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": str(certificate),
            "smtpd_tls_key_file": str(key),
        }
    main |= dict(settings)
    (configuration / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in main.items()))
    (configuration / "master.cf").write_text(SERVICES.format(port=port))
    return configuration
