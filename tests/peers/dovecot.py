"""A private Dovecot: IMAP and LMTP on loopback, its own configuration, users and mail, all in one folder.

    with dovecot.running(folder, users={"sales@example.test": "secret"}) as server:
        server.imap_port, server.lmtp_port

`server.mail` has one Maildir per user. Runs as root (Dovecot's processes then take the rights of the user `dovecot` and of the mail's owner), as most CI
containers do. Where it is missing, or the tests do not run as root, the test skips and says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.peers import free_port, require
from tests.until import eventually

CONFIG = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %u
mail_location = maildir:{base}/mail/%u:LAYOUT=fs
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
mailbox_list_index = no
imap_capability = {capability}
default_internal_user = dovecot
default_login_user = dovenull
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
{logins}
protocol lmtp {{
  postmaster_address = postmaster@example.test
}}
"""
LOGINS = """
service auth {{
  unix_listener {path} {{
    mode = 0666
  }}
}}
"""
WITHOUT_IDLE = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE LITERAL+"


class Dovecot:
    """A server that can be stopped and started again on the same ports, with the same mail."""

    def __init__(
        self, folder: Path, users: Mapping[str, str], *, idle: bool = True, logins: Path | None = None
    ) -> None:
        self.program = require("dovecot", package="dovecot-imapd dovecot-lmtpd")
        if os.geteuid() != 0:
            pytest.skip("Dovecot is started as root only")
        self.folder = folder
        self.imap_port, self.lmtp_port = free_port(), free_port()
        # Mail, users and sockets are in a folder of their own: Unix sockets have short paths, and the folders of
        # pytest are closed to all but their owner, again by every run that starts.
        self.base = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))
        self.mail = self.base / "mail"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.base.chmod(0o755)
        self.mail.mkdir()
        owner = 65534  # nobody
        os.chown(self.mail, owner, owner)
        self.users(users)
        (folder / "dovecot.conf").write_text(
            CONFIG.format(
                folder=folder,
                base=self.base,
                uid=owner,
                gid=owner,
                imap=self.imap_port,
                lmtp=self.lmtp_port,
                capability="" if idle else WITHOUT_IDLE,
                logins=LOGINS.format(path=logins) if logins else "",
            )
        )

    def users(self, users: Mapping[str, str]) -> None:
        (self.base / "users").write_text("".join(f"{user}:{{PLAIN}}{word}\n" for user, word in users.items()))
        (self.base / "users").chmod(0o644)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-F", "-c", str(self.folder / "dovecot.conf")],
            stdout=(self.folder / "output.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        for port in (self.imap_port, self.lmtp_port):
            self._await(port)

    def _await(self, port: int) -> None:
        def there() -> bool:
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"Dovecot ended:\n{self.log()}")
            with closing(socket.socket()) as s:
                s.settimeout(1)
                return s.connect_ex(("127.0.0.1", port)) == 0

        try:
            eventually(there)
        except TimeoutError:
            pytest.fail(f"Dovecot did not start:\n{self.log()}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
            self.process = None

    def log(self) -> str:
        files = [self.folder / name for name in ("output.log", "dovecot.log")]
        return "\n".join(f.read_text(errors="replace")[-4000:] for f in files if f.exists())

    def deliver(self, recipient: str, message: bytes, sender: str = "ann@example.org") -> None:
        """Hands a message to the recipient's mailbox by LMTP."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port) as client:
            client.sendmail(sender, [recipient], message)


@contextmanager
def running(
    folder: Path, users: Mapping[str, str], *, idle: bool = True, logins: Path | None = None
) -> Iterator[Dovecot]:
    """`logins` is a unix socket to be made, by which a mail server asks about logins (SASL)."""
    server = Dovecot(folder, users, idle=idle, logins=logins)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.base, ignore_errors=True)
