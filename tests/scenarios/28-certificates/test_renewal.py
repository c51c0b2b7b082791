"""Certificates are renewed by SIGHUP while mail and clicks go on: each listener shows the new one, no session is dropped,
and a new one that can't be used leaves the old one where it is, with a line that says which."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import peers
from tests.fakes import certificates
from tests.scenarios import hostile, service
from tests.until import eventually


def written(folder: Path) -> tuple[tuple[int, int, int], int]:
    """Settings with TLS everywhere; the ports, and that of smtp.listen_tls."""
    implicit = peers.free_port()
    pair = f'certificate = "{folder}/tls/cert.pem"\nkey = "{folder}/tls/key.pem"'
    ports = service.settings(
        folder, upstream=9, smtp=f'listen_tls = ["127.0.0.1:{implicit}"]\n{pair}', tracking="opens = true", http=pair,
        url="https://127.0.0.1:{port}",
    )  # fmt: skip
    return ports, implicit


def anything() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shown(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as line, anything().wrap_socket(line) as tls:
        return tls.getpeercert(True) or b""


def shown_after_starttls(port: int) -> bytes:
    with hostile.Smtp(port) as client:
        assert client.ask("STARTTLS").startswith("220")
        client.secure(anything())
        return client.socket.getpeercert(True)


def encrypted(folder: Path) -> None:
    command: list[str | Path] = [
        "openssl",
        "ec",
        "-aes128",
        "-passout",
        "pass:word",
        "-in",
        folder / "key.pem",
        "-out",
        folder / "new.pem",
    ]
    subprocess.run(command, check=True, capture_output=True)
    os.replace(folder / "new.pem", folder / "key.pem")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no PEM": (lambda folder: (folder / "cert.pem").write_text("no certificate\n"), "holds no certificate: "),
    "another's key": (
        lambda folder: certificates.make(folder / "other")[1].replace(folder / "key.pem"),
        "the key does not belong to the certificate; ",
    ),
    "missing": (lambda folder: (folder / "key.pem").unlink(), "key.pem can't be read: there is no such file"),
    "encrypted": (encrypted, "the key is encrypted"),
}


def test_renewed_while_it_runs(tmp_path: Path) -> None:
    certificates.make(tmp_path / "tls")
    ports, implicit = written(tmp_path)

    def everywhere() -> set[bytes]:
        return {shown(implicit), shown_after_starttls(ports[0]), shown(ports[1])}

    with service.running(tmp_path, ports) as relay, hostile.Smtp(relay.smtp) as client:
        before = everywhere()
        assert len(before) == 1
        assert client.ask("STARTTLS").startswith("220")
        client.secure(anything())
        client.ask("EHLO client.example.test")
        certificates.make(tmp_path / "tls")
        relay.process.send_signal(signal.SIGHUP)
        eventually(lambda: " app reloaded\n" in relay.log)
        now = everywhere()
        assert len(now) == 1
        assert now != before
        for spoil, words in BROKEN.values():
            lines = relay.log.count(words)
            certificates.make(tmp_path / "tls")
            spoil(tmp_path / "tls")
            relay.process.send_signal(signal.SIGHUP)
            eventually(lambda: relay.log.count(words) >= lines + 2)  # noqa: B023 - smtp, and http
            assert everywhere() == now
        assert (
            f"key.pem can't be read: there is no such file or folder; check the path ({tmp_path}/tls/cert.pem"
            in relay.log
        )
        assert client.mail(hostile.letter()).startswith("250")  # in the session from before all that


@pytest.mark.parametrize("name", sorted(BROKEN.keys() - {"missing"}))  # that is a mistake of the file
def test_it_does_not_start_with_a_broken_one(tmp_path: Path, name: str) -> None:
    """A terminal is there: nothing may ask on it."""
    certificates.make(tmp_path / "tls")
    spoil, words = BROKEN[name]
    spoil(tmp_path / "tls")
    written(tmp_path)
    for command in ("run", "check"):
        program = f"{sys.executable} -m relay {command} --config {tmp_path}/relay.toml"
        done = subprocess.run(
            ["script", "-qec", program, "/dev/null"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=service.ROOT, timeout=60,
        )  # fmt: skip
        assert done.returncode == {"run": 2, "check": 1}[command], done.stdout
        assert words in done.stdout
        assert "phrase" not in done.stdout.replace("passphrase", "")
        assert "Traceback" not in done.stdout
