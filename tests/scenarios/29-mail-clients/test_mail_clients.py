"""The mail programs that people have, at the running program: each over STARTTLS and over TLS from the first byte, with
the password that its user has at the upstream."""

import contextlib
import smtplib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import peers
from tests.fakes import certificates
from tests.fakes.upstream import Upstream
from tests.peers import nodemailer
from tests.scenarios import hostile, service

WORD = "canary-Word-4711"
LETTER = hostile.letter("", "X-Track: links")


@dataclass
class House:
    relay: service.Service
    upstream: Upstream
    ports: dict[str, int]
    folder: Path
    trusted: Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("clients")
    pair = trusted, key = certificates.make(folder / "tls")  # of both: the relay trusts the upstream by it
    implicit = peers.free_port()
    with hostile.sink(starttls=certificates.serving(pair), users={"jane": WORD}) as upstream:
        ports = service.settings(
            folder,
            upstream=f"smtp://localhost:{upstream.port}",
            out='tls = "required"',
            smtp=f'listen_tls = ["127.0.0.1:{implicit}"]\ncertificate = "{trusted}"\nkey = "{key}"\n'
            'auth = "upstream"\nallow = []',
        )
        with service.running(folder, ports, only="smtp,queue", env={"SSL_CERT_FILE": str(trusted)}) as relay:
            yield House(relay, upstream, {"starttls": ports[0], "tls": implicit}, folder, trusted)


def by_smtplib(house: House, way: str, password: str) -> None:
    context = certificates.trusting(house.trusted)
    port = house.ports[way]
    with contextlib.ExitStack() as stack:
        client: smtplib.SMTP
        if way == "tls":
            client = stack.enter_context(smtplib.SMTP_SSL("localhost", port, timeout=20, context=context))
        else:
            client = stack.enter_context(smtplib.SMTP("localhost", port, timeout=20))
            client.starttls(context=context)
        client.login("jane", password)
        client.sendmail("a@example.test", ["b@example.test"], LETTER)


def by_swaks(house: House, way: str, password: str) -> None:
    letter = house.folder / "letter.eml"
    letter.write_bytes(LETTER.replace(b"\r\n", b"\n"))
    subprocess.run(
        [
            peers.require("swaks", package="swaks"), "--server", "localhost", "--port", str(house.ports[way]),
            "--tls-on-connect" if way == "tls" else "--tls", "--tls-verify", "--tls-ca-path", house.trusted,
            "--auth", "LOGIN", "--auth-user", "jane", "--auth-password", password,
            "--from", "a@example.test", "--to", "b@example.test", "--data", f"@{letter}", "--timeout", "20",
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def by_msmtp(house: House, way: str, password: str) -> None:
    settings = house.folder / "msmtprc"
    settings.write_text(
        f"account default\nhost localhost\nport {house.ports[way]}\ntls on\n"
        f"tls_starttls {'off' if way == 'tls' else 'on'}\ntls_trust_file {house.trusted}\n"
        f"auth on\nuser jane\npassword {password}\nfrom a@example.test\n"
    )
    settings.chmod(0o600)
    command = [peers.require("msmtp", package="msmtp"), "-C", str(settings), "b@example.test"]
    subprocess.run(command, input=LETTER.replace(b"\r\n", b"\n"), check=True, capture_output=True, timeout=60)


SCRIPT = """
const mailer = require("nodemailer"), fs = require("fs");
const [port, way, ca, password, letter] = process.argv.slice(1);
const transport = mailer.createTransport({
  host: "localhost", port: Number(port), secure: way === "tls", requireTLS: true, pool: true,
  auth: { user: "jane", pass: password }, tls: { ca: fs.readFileSync(ca) },
});
transport.sendMail({ envelope: { from: "a@example.test", to: "b@example.test" }, raw: Buffer.from(letter, "base64") })
  .then(() => transport.close(), error => { console.error(error); process.exit(1); });
"""


def by_nodemailer(house: House, way: str, password: str) -> None:
    import base64

    letter = base64.b64encode(LETTER).decode()
    done = nodemailer.run(SCRIPT, str(house.ports[way]), way, str(house.trusted), password, letter)
    done.check_returncode()


FAILURES = (subprocess.CalledProcessError, smtplib.SMTPAuthenticationError)


@pytest.mark.parametrize("way", ["starttls", "tls"])
@pytest.mark.parametrize("send", [by_smtplib, by_swaks, by_msmtp, by_nodemailer], ids=lambda f: f.__name__)
def test_a_client_sends_with_its_own_password(house: House, send, way: str) -> None:
    house.upstream.taken.clear()
    for _ in range(3):
        send(house, way, WORD)
    assert [(kept.login, kept.tls, kept.recipients) for kept in house.upstream.taken] == [
        ("jane", True, ["b@example.test"])
    ] * 3
    assert all(b"/c/" in kept.content for kept in house.upstream.taken)


@pytest.mark.parametrize("send", [by_smtplib, by_swaks, by_msmtp, by_nodemailer], ids=lambda f: f.__name__)
def test_a_wrong_password_is_refused_and_the_right_one_taken(house: House, send) -> None:
    house.upstream.taken.clear()
    with pytest.raises(FAILURES):
        send(house, "tls", "wrong")
    assert house.upstream.taken == []
    send(house, "tls", WORD)
    assert len(house.upstream.taken) == 1
