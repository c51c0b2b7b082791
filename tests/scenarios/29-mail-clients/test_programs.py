"""The programs that scripts send with, at the running program. Some end lines in LF, some double no dots behind it, some
hand on the line of an mbox: what arrives is what was meant, octet by octet outside of the edits, and tracked."""

import base64
import html
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import oracle, peers
from tests.fakes import tap
from tests.fakes.upstream import Upstream
from tests.peers import nodemailer
from tests.scenarios import hostile, service
from tests.until import eventually

SENDER, TO = "a@example.test", "b@example.test"
LINK = '<a href="https://example.com/page?a=1&amp;b=é">there</a>'
# Lines that one program or another takes for something.
BODY = f"""<html><body>
<p>Grüße, {LINK}</p>
.
.one
..two
...

From here on
>From there on
 .
.\t
= =3D %0D%0A QUIT
</body></html>
"""
LETTER = f"""From: Ada <{SENDER}>
To: {TO}
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=, and
 a folded line
Date: Thu, 01 Jan 2026 10:00:00 +0000
Message-ID: <letter-1@example.test>
MIME-Version: 1.0
Content-Type: text/html (a page); charset="utf-8" (of course)
Content-Transfer-Encoding: 8bit

{BODY}""".encode()
MBOX = b"From 1c3f5d7a Mon Sep 17 00:00:00 2001\n>From a@example.test Thu Jan  1 10:00:00 2026\n"


@dataclass
class World:
    relay: service.Service
    upstream: Upstream
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("programs")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, tracking="opens = true\nlinks = true")
        with service.running(folder, ports, only="smtp,queue,http,admin") as relay:
            yield World(relay, upstream, folder)


def run(command: list[str], given: bytes | None = None, **env: str) -> None:
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, env={**os.environ, **env})
    assert done.returncode == 0, (done.stdout, done.stderr)


# -- programs that get a file, with the line ends of Unix --------------------------------------------------------------


def by_curl(port: int, letter: Path, *options: str) -> None:
    run(
        [
            peers.require("curl", package="curl"), "-sS", *options, "--url", f"smtp://127.0.0.1:{port}/client.example.test",
            "--mail-from", SENDER, "--mail-rcpt", TO, "--upload-file", str(letter),
        ]
    )  # fmt: skip


def by_curl_crlf(port: int, letter: Path) -> None:
    by_curl(port, letter, "--crlf")


def by_swaks(port: int, letter: Path) -> None:
    run(
        [
            peers.require("swaks", package="swaks"), "--server", f"127.0.0.1:{port}", "--from", SENDER, "--to", TO,
            "--data", f"@{letter}", "--timeout", "20",
        ]
    )  # fmt: skip


def by_msmtp(port: int, letter: Path) -> None:
    command = [peers.require("msmtp", package="msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={port}"]
    run([*command, f"--from={SENDER}", TO], letter.read_bytes())


RAW = """
const [port, from, to, letter] = process.argv.slice(1);
const transport = require("nodemailer").createTransport(
  { host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true });
transport.sendMail({ envelope: { from, to }, raw: require("fs").readFileSync(letter) })
  .then(() => transport.close(), error => { console.error(error); process.exit(1); });
"""


def by_nodemailer(port: int, letter: Path) -> None:
    nodemailer.run(RAW, str(port), SENDER, TO, str(letter)).check_returncode()


BYTES = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=20) as client:
    client.sendmail(sys.argv[2], sys.argv[3], open(sys.argv[4], "rb").read())
"""


def by_smtplib(port: int, letter: Path) -> None:
    run([sys.executable, "-c", BYTES, str(port), SENDER, TO, str(letter)])


GIVEN: tuple[Callable[[int, Path], None], ...] = (
    by_curl, by_curl_crlf, by_swaks, by_msmtp, by_nodemailer, by_smtplib,
)  # fmt: skip


@pytest.mark.parametrize("before", [b"", MBOX], ids=["letter", "mbox"])
@pytest.mark.parametrize("send", GIVEN, ids=lambda f: f.__name__)
def test_a_file_arrives_as_it_is(
    world: World, send: Callable[[int, Path], None], before: bytes, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.eml"
    letter.write_bytes(before + LETTER)
    already = len(world.upstream.taken)
    send(world.relay.smtp, letter)
    arrived = next_of(world, already)
    assert b"/c/" in arrived
    assert b"/o/" in arrived
    meant = LETTER.replace(b"\n", b"\r\n")
    assert undone(world, arrived).rstrip() + b"\r\n" == meant  # curl, swaks and smtplib add an empty line


def test_who_ends_lines_in_lf_is_named_once(world: World, tmp_path: Path) -> None:
    letter = tmp_path / "letter.eml"
    letter.write_bytes(LETTER)
    before = hostile.metrics(world.relay.admin)["trackrelay_bare_newlines_total"]
    already = len(world.upstream.taken)
    for _ in range(2):
        by_curl(world.relay.smtp, letter)
    by_curl_crlf(world.relay.smtp, letter)
    eventually(lambda: len(world.upstream.taken) == already + 3)
    assert hostile.metrics(world.relay.admin)["trackrelay_bare_newlines_total"] == before + 2
    assert world.relay.log.count("bare_newlines") == 1


# -- programs that write the message themselves ------------------------------------------------------------------------

LITE = r"""
use MIME::Lite; use MIME::Base64;
my ($port, $from, $to, $body) = @ARGV;
my $mail = MIME::Lite->new(From => "Ada <$from>", To => $to, Subject => 'A letter', Type => 'multipart/mixed');
$mail->attach(Type => 'text/html; charset=utf-8', Data => decode_base64($body));
$mail->attach(Type => 'TEXT', Data => "Hello\n.\n..\n");
$mail->attach(Type => 'application/octet-stream', Data => "\0\1\n.\r\n", Filename => 'x.bin', Disposition => 'attachment');
$mail->send('smtp', '127.0.0.1', Port => $port, Timeout => 20) or die "not sent";
"""
MAILER = r"""
require '/usr/share/php/libphp-phpmailer/autoload.php';
[, $port, $from, $to, $body] = $argv;
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
$mail->isSMTP(); $mail->Host = '127.0.0.1'; $mail->Port = (int) $port; $mail->SMTPAutoTLS = false;
$mail->setFrom($from, 'Ada'); $mail->addAddress($to); $mail->Subject = 'A letter'; $mail->CharSet = 'utf-8';
$mail->isHTML(true); $mail->Body = base64_decode($body); $mail->AltBody = "Hello\n.\n..\n";
$mail->addStringAttachment("\0\1\n.\r\n", 'x.bin');
$mail->send();
"""
COMPOSED = """
const [port, from, to, body] = process.argv.slice(1);
const transport = require("nodemailer").createTransport(
  { host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true });
transport.sendMail({ from, to, subject: "A letter", text: "Hello\\n.\\n..\\n", html: Buffer.from(body, "base64").toString(),
  attachments: [{ filename: "x.bin", content: Buffer.from([0, 1, 10, 46, 13, 10]) }] })
  .then(() => transport.close(), error => { console.error(error); process.exit(1); });
"""
PAGE = base64.b64encode(BODY.encode()).decode()


def by_mime_lite(port: int, _: Path) -> None:
    perl = peers.require("perl", package="perl")
    if subprocess.run([perl, "-MMIME::Lite", "-e", "1"], capture_output=True, timeout=60).returncode:
        peers.require("MIME::Lite", package="libmime-lite-perl")
    run([perl, "-e", LITE, str(port), SENDER, TO, PAGE])


def by_phpmailer(port: int, _: Path) -> None:
    php = peers.require("php", package="php-cli")
    if not Path("/usr/share/php/libphp-phpmailer/autoload.php").exists():
        peers.require("PHPMailer", package="libphp-phpmailer")
    run([php, "-r", MAILER, "--", str(port), SENDER, TO, PAGE])


def by_composing_nodemailer(port: int, _: Path) -> None:
    nodemailer.run(COMPOSED, str(port), SENDER, TO, PAGE).check_returncode()


def by_git_send_email(port: int, letter: Path) -> None:
    """With the file of `git format-patch`, which begins with the line of an mbox; git writes the header section anew."""
    git = peers.require("git", package="git")
    if subprocess.run([git, "send-email", "--dump-aliases"], capture_output=True, timeout=60).returncode:
        peers.require("git send-email", package="git-email")
    letter.write_bytes(MBOX.partition(b"\n")[0] + b"\n" + LETTER)
    run(
        [
            git, "send-email", "--quiet", "--confirm=never", "--smtp-server=127.0.0.1", f"--smtp-server-port={port}",
            f"--from={SENDER}", f"--to={TO}", "--suppress-cc=all", str(letter),
        ],
        HOME=str(letter.parent), GIT_CONFIG_NOSYSTEM="1", GIT_COMMITTER_NAME="Ada", GIT_COMMITTER_EMAIL=SENDER,
    )  # fmt: skip


COMPOSING: tuple[Callable[[int, Path], None], ...] = (
    by_mime_lite, by_phpmailer, by_composing_nodemailer, by_git_send_email,
)  # fmt: skip


@pytest.mark.parametrize("send", COMPOSING, ids=lambda f: f.__name__)
def test_what_a_program_writes_arrives_as_it_sent_it(
    world: World, send: Callable[[int, Path], None], tmp_path: Path
) -> None:
    already = len(world.upstream.taken)
    with tap.on(world.relay.smtp) as line:
        send(line.port, tmp_path / "0001-letter.patch")
        sent = line.message()
    arrived = next_of(world, already)
    assert re.search(rb"/c/", arrived)
    assert re.search(rb"/o/", arrived)
    assert b"\n" not in sent.replace(b"\r\n", b"")  # these all end lines as SMTP has it
    meant = (b"\r\n" + sent).replace(b"\r\n.", b"\r\n")[2:]
    if b"quoted-printable" in sent:
        assert oracle.damage(meant, arrived, base(world)) == []
    else:
        assert undone(world, arrived) == meant


# -- what arrived ------------------------------------------------------------------------------------------------------


def base(world: World) -> str:
    return f"http://127.0.0.1:{world.relay.http}"


def next_of(world: World, before: int) -> bytes:
    """What arrived after so many, below our trace field."""
    eventually(lambda: len(world.upstream.taken) > before)
    (kept,) = world.upstream.taken[before:]
    assert kept.recipients == [TO]
    return oracle.below_trace(kept.content)


def undone(world: World, content: bytes) -> bytes:
    """The message without our pixel, our links and the fields that we add where they are missing."""
    there = re.escape(base(world).encode())
    content = re.sub(rb'<img [^>]*src="?' + there + rb'/o/[\w-]+"?[^>]*>', b"", content)
    content = re.sub(there + rb"/c/([\w-]+)", lambda m: html.escape(oracle.url_in(m[1].decode())).encode(), content)
    return re.sub(rb"(?m)^Message-ID: <t\.[^\r\n]*\r\n", b"", content, count=1)
