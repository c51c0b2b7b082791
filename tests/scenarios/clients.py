"""Programs that people send with, handing one message to a mail server on loopback without a login."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from pathlib import Path

from tests import peers
from tests.peers import nodemailer

SENDER = "a@example.test"


def by_swaks(port: int, content: bytes, to: str) -> None:
    with tempfile.NamedTemporaryFile() as letter:
        Path(letter.name).write_bytes(content.replace(b"\r\n", b"\n"))
        subprocess.run(
            [
                peers.require("swaks", package="swaks"), "--server", f"127.0.0.1:{port}",
                "--from", SENDER, "--to", to, "--data", f"@{letter.name}", "--timeout", "20",
            ],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip


def by_msmtp(port: int, content: bytes, to: str) -> None:
    command = [
        peers.require("msmtp", package="msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={port}",
        f"--from={SENDER}", to,
    ]  # fmt: skip
    subprocess.run(command, input=content.replace(b"\r\n", b"\n"), check=True, capture_output=True, timeout=60)


SCRIPT = """
const [port, from, to, letter] = process.argv.slice(1);
const transport = require("nodemailer").createTransport(
  { host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true });
transport.sendMail({ envelope: { from, to }, raw: Buffer.from(letter, "base64") })
  .then(() => transport.close(), error => { console.error(error); process.exit(1); });
"""


def by_nodemailer(port: int, content: bytes, to: str) -> None:
    nodemailer.run(SCRIPT, str(port), SENDER, to, base64.b64encode(content).decode()).check_returncode()


ALL = (by_swaks, by_msmtp, by_nodemailer)
