"""What docs/clients.md shows for programs, run as it stands there, at the running program. The port is another one (and the host,
where it is that of an example), and what stands around a snippet is here: the application, a template, the file that it sends."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import peers
from tests.fakes import certificates
from tests.fakes.upstream import Kept, Upstream
from tests.peers import node
from tests.scenarios import hostile, service
from tests.until import eventually

DOCUMENT = service.ROOT / "docs" / "clients.md"
PROGRAMS = DOCUMENT.read_text().partition("\n## Programs\n")[2].partition("\n## ")[0]
PORT = "2525"  # of the snippets
TO = "ada@example.net"
PAGE = '<p>See <a href="https://example.com/offer">your offer</a>.</p>'
LETTER = f"From: sales@example.com\nTo: {TO}\nSubject: Your offer\nX-Track: opens, links\n"
LETTER += f"MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n{PAGE}\n"


@dataclass
class World:
    relay: service.Service
    upstream: Upstream


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("snippets")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports, only="smtp,queue") as relay:
            yield World(relay, upstream)


def blocks() -> dict[str, list[str]]:
    """The blocks of each program's section, in order."""
    sections = re.split(r"(?m)^### ", PROGRAMS)[1:]
    named = {section.partition("\n")[0]: re.findall(r"(?ms)^```\w*\n(.*?)^```$", section) for section in sections}
    return {name: found for name, found in named.items() if found}


@dataclass
class Place:
    """Where a snippet is run: an empty folder, and the port that takes the place of the document's. With `trusted`, a
    certificate, over TLS and with a login: as the document says, under another host."""

    folder: Path
    port: int
    trusted: Path | None = None

    def block(self, section: str, number: int = 0) -> str:
        text = blocks()[section][number]
        if self.trusted:
            text = saying_more(section, text) if number == 0 else text
            text = text.replace("127.0.0.1", "localhost").replace("relay.example.com:587", f"localhost:{self.port}")
        return text.replace(PORT, str(self.port))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *command: object, given: str | None = None, **env: str) -> None:
        done = subprocess.run(
            [str(word) for word in command], input=given, cwd=self.folder, capture_output=True, text=True, timeout=100,
            env={**os.environ, "HOME": str(self.folder), **trusting(self.trusted), **env},
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout, done.stderr)


def trusting(certificate: Path | None) -> dict[str, str]:
    names = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")
    return dict.fromkeys(names, str(certificate)) if certificate else {}


# -- with a login ------------------------------------------------------------------------------------------------------


def row(program: str) -> list[str]:
    """What the table of "From other machines" says of a program."""
    (words,) = re.findall(rf"(?m)^\| (?:[\w ]+, )?{re.escape(program)}(?:, \w+)? \| (.*) \|$", DOCUMENT.read_text())
    return re.findall(r"`([^`]+)`", words)


def without(text: str, *words: str) -> str:
    return "".join(line for line in text.splitlines(True) if not any(word in line for word in words))


def saying_more(section: str, text: str) -> str:
    """The snippet with what its row of the table adds, where a reader would put it."""
    match section:
        case "Python":
            lines = "".join(f"    {line}\n" for line in row("Python"))
            return "import ssl\n" + re.sub(r"(?m)^with .*\n", lambda found: found[0] + lines, text)
        case "Django":
            return text + "\n".join(row("Django")) + "\n"
        case "Flask-Mail":
            return text.replace("MAIL_PORT=2525", ", ".join(["MAIL_PORT=2525", *row("Flask-Mail")]))
        case "Ruby on Rails":
            return text.replace("port: 2525", ", ".join(["port: 2525", *row("Ruby on Rails")]))
        case "Laravel":
            return without(text, "USERNAME", "PASSWORD") + "\n".join(row("Laravel")) + "\n"
        case "Symfony":
            return "\n".join(row("Symfony")) + "\n"
        case "PHPMailer":
            lines = "".join(f"$mail->{line};\n" for line in row("PHPMailer"))
            return text.replace("$mail->SMTPAutoTLS = false;\n", lines)
        case "WordPress":
            lines = "".join(f"$mailer->{line};\n" for line in row("WordPress"))
            return (
                without(text, "SMTPAuth")
                .replace("    $mailer->Port", lines + "    $mailer->Port")
                .replace("    $mailer->SMTPAutoTLS = false;\n", "")
            )
        case "Node: nodemailer":
            *more, gone = row("Node: nodemailer")
            return text.replace(f"{gone}: true", ", ".join(more))
        case "PHP mail(), cron, shell scripts: msmtp":
            return text + "\n".join(row("msmtp")) + "\n"
        case "Shell scripts: curl":
            return text.replace("curl -sS", " ".join(["curl -sS", *row("curl")]))
        case "git send-email":
            return "".join(f"git config {line}\n" for line in row("git send-email")) + text
        case _:
            *more, gone = row("mutt")
            return without(text, gone, "smtp_url") + "\n".join(more) + "\n"


# -- Python ------------------------------------------------------------------------------------------------------------


def by_python(at: Place) -> None:
    at.run(sys.executable, at.write("send.py", at.block("Python")))


def by_django(at: Place) -> None:
    at.write("settings.py", at.block("Django"))
    program = at.write("send.py", "import django\n\ndjango.setup()\n" + at.block("Django", 1))
    at.run(sys.executable, program, DJANGO_SETTINGS_MODULE="settings", PYTHONPATH=str(at.folder))


def by_flask_mail(at: Place) -> None:
    at.run(sys.executable, at.write("send.py", at.block("Flask-Mail")))


# -- Ruby --------------------------------------------------------------------------------------------------------------

# What an application of Rails has around them.
RAILS = """
require "action_mailer"

Application = Struct.new(:action_mailer)
config = Application.new(ActionMailer::Base)
%s
class ApplicationMailer < ActionMailer::Base
  default from: "sales@example.com"
  prepend_view_path "app/views"
end
%s
OfferMailer.offer(Struct.new(:email).new("ada@example.net")).deliver_now
"""


def by_rails(at: Place) -> None:
    ruby = peers.require("ruby", package="ruby-actionmailer")
    if subprocess.run([ruby, "-e", 'require "action_mailer"'], capture_output=True, timeout=60).returncode:
        peers.require("ActionMailer", package="ruby-actionmailer")
    at.write("app/views/offer_mailer/offer.html.erb", PAGE)
    at.run(ruby, at.write("send.rb", RAILS % (at.block("Ruby on Rails"), at.block("Ruby on Rails", 1))))


# -- PHP ---------------------------------------------------------------------------------------------------------------


def php(at: Place, library: str, package: str, program: str) -> None:
    found = peers.require("php", package="php-cli")
    path = Path("/usr/share/php") / library / "autoload.php"
    if not path.exists():
        peers.require(library, package=package)
    trusted = ["-d", f"openssl.cafile={at.trusted}"] if at.trusted else []
    at.run(found, *trusted, at.write("send.php", f"<?php\nrequire '{path}';\n{program}"))


# What Symfony does with its setting. Laravel's sender is Symfony's; Debian has no Laravel that knows headers().
SYMFONY = """
use Symfony\\Component\\Mailer\\Mailer;
use Symfony\\Component\\Mailer\\Transport;
use Symfony\\Component\\Mime\\Email;
require '/usr/share/php/Symfony/Component/Mime/autoload.php';
$set = parse_ini_file('.env');
"""
LARAVEL = """
class Headers { public function __construct(public array $text) {} }
class Mailable {
%s
}
$dsn = new Transport\\Dsn(
    $set['MAIL_MAILER'], $set['MAIL_HOST'], $set['MAIL_USERNAME'] ?: null, $set['MAIL_PASSWORD'] ?: null, (int) $set['MAIL_PORT']);
$mailer = new Mailer((new Transport\\Smtp\\EsmtpTransportFactory())->create($dsn));
$email = (new Email())->from('sales@example.com')->to('ada@example.net')->subject('Your offer')->html('%s');
foreach ((new Mailable())->headers()->text as $name => $value) { $email->getHeaders()->addTextHeader($name, $value); }
$mailer->send($email);
"""


def by_laravel(at: Place) -> None:
    at.write(".env", at.block("Laravel").removeprefix("# .env\n"))
    php(at, "Symfony/Component/Mailer", "php-symfony-mailer", SYMFONY + LARAVEL % (at.block("Laravel", 1), PAGE))


def by_symfony(at: Place) -> None:
    at.write(".env", at.block("Symfony").removeprefix("# .env\n"))
    mailer = "$mailer = new Mailer(Transport::fromDsn($set['MAILER_DSN']));\n"
    php(at, "Symfony/Component/Mailer", "php-symfony-mailer", SYMFONY + mailer + at.block("Symfony", 1))


def by_phpmailer(at: Place) -> None:
    php(at, "libphp-phpmailer", "libphp-phpmailer", at.block("PHPMailer"))


# What wp_mail() does: a PHPMailer of its own, which plugins may change.
WORDPRESS = """
function add_action($name, $action) { $GLOBALS['actions'][$name][] = $action; }
require 'trackrelay.php';
$mailer = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mailer->setFrom('sales@example.com');
$mailer->addAddress('ada@example.net');
$mailer->isHTML(true);
$mailer->Body = '%s';
foreach ($actions['phpmailer_init'] as $action) { $action($mailer); }
$mailer->send();
"""


def by_wordpress(at: Place) -> None:
    at.write("trackrelay.php", at.block("WordPress"))
    php(at, "libphp-phpmailer", "libphp-phpmailer", WORDPRESS % PAGE)


# -- JavaScript, Perl, scripts -----------------------------------------------------------------------------------------


def by_nodemailer(at: Place) -> None:
    found = node.require("nodemailer")
    (at.folder / "node_modules").symlink_to(os.environ["NODE_PATH"])  # where `import` looks
    at.run(found, at.write("send.mjs", at.block("Node: nodemailer")))


def by_mime_lite(at: Place) -> None:
    perl = peers.require("perl", package="perl")
    if subprocess.run([perl, "-MMIME::Lite", "-e", "1"], capture_output=True, timeout=60).returncode:
        peers.require("MIME::Lite", package="libmime-lite-perl")
    at.run(perl, at.write("send.pl", at.block("Perl: MIME::Lite")))


def by_php_mail(at: Place) -> None:
    """php.ini's line is in the text; the file that it names has another place."""
    msmtp = peers.require("msmtp", package="msmtp")
    (line,) = re.findall(r"`sendmail_path = \"/usr/bin/msmtp -t\"`", PROGRAMS)
    trusted = f"tls_trust_file {at.trusted}\n" if at.trusted else ""
    settings = at.write("msmtprc", at.block("PHP mail(), cron, shell scripts: msmtp") + trusted)
    settings.chmod(0o600)
    program = at.write(
        "send.php", f"<?php exit(mail('{TO}', 'Your offer', '{PAGE}', "
        "['X-Track' => 'opens, links', 'MIME-Version' => '1.0', 'Content-Type' => 'text/html; charset=utf-8']) ? 0 : 1);",
    )  # fmt: skip
    path = line.strip("`").replace("/usr/bin/msmtp", f"{msmtp} -C {settings}")
    at.run(peers.require("php", package="php-cli"), "-d", path, program)


def by_curl(at: Place) -> None:
    peers.require("curl", package="curl")
    at.write("message.eml", LETTER)
    at.run("sh", "-e", "-c", at.block("Shell scripts: curl"))


def by_git(at: Place) -> None:
    git = peers.require("git", package="git")
    if subprocess.run([git, "send-email", "--dump-aliases"], capture_output=True, timeout=60).returncode:
        peers.require("git send-email", package="git-email")
    at.run(git, "init", "--quiet")
    at.write("0001-offer.patch", LETTER)
    at.run(
        "sh", "-e", "-c", at.block("git send-email"), GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_COUNT="3" if at.trusted else "2",
        GIT_CONFIG_KEY_0="sendemail.confirm", GIT_CONFIG_VALUE_0="never",  # asks nobody
        GIT_CONFIG_KEY_1="sendemail.suppressCc", GIT_CONFIG_VALUE_1="all",  # sends the author no copy
        GIT_CONFIG_KEY_2="sendemail.smtpSSLCertPath", GIT_CONFIG_VALUE_2=str(at.trusted),
        GIT_COMMITTER_NAME="Ada", GIT_COMMITTER_EMAIL="sales@example.com",
        GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="sales@example.com",
    )  # fmt: skip


def mutt(at: Place, settings: str) -> list[object]:
    at.write("letter", LETTER)
    path = at.write("muttrc", settings + 'set from = "sales@example.com"\nset copy = no\nset autoedit = yes\n')
    return [peers.require("mutt", package="mutt"), "-F", path, "-H", at.folder / "letter", "-s", "Your offer", "--", TO]


def by_mutt(at: Place) -> None:
    trusted = f'set certificate_file = "{at.trusted}"\n' if at.trusted else ""
    at.run(*mutt(at, at.block("mutt") + trusted), given="")


SENDING: dict[str, Callable[[Place], None]] = {
    "Python": by_python,
    "Django": by_django,
    "Flask-Mail": by_flask_mail,
    "Ruby on Rails": by_rails,
    "Laravel": by_laravel,
    "Symfony": by_symfony,
    "PHPMailer": by_phpmailer,
    "WordPress": by_wordpress,
    "Node: nodemailer": by_nodemailer,
    "Perl: MIME::Lite": by_mime_lite,
    "PHP mail(), cron, shell scripts: msmtp": by_php_mail,
    "Shell scripts: curl": by_curl,
    "git send-email": by_git,
    "mutt": by_mutt,
}


def next_of(world: World, before: int) -> Kept:
    eventually(lambda: len(world.upstream.taken) > before)
    (kept,) = world.upstream.taken[before:]
    return kept


def test_each_snippet_is_run() -> None:
    assert list(blocks()) == list(SENDING)


@pytest.mark.parametrize("name", SENDING)
def test_what_the_document_shows_sends_a_tracked_message(world: World, name: str, tmp_path: Path) -> None:
    already = len(world.upstream.taken)
    SENDING[name](Place(tmp_path, world.relay.smtp))
    kept = next_of(world, already)
    assert kept.recipients == [TO]
    assert b"/c/" in kept.content
    assert (b"/o/" in kept.content) == (name != "WordPress")  # which asks for links only
    assert b"\nX-Track" not in kept.content


def test_mutt_does_not_send_without_the_second_line(world: World, tmp_path: Path) -> None:
    already = len(world.upstream.taken)
    at = Place(tmp_path, world.relay.smtp)
    command = [str(word) for word in mutt(at, at.block("mutt").replace("set ssl_force_tls = no\n", ""))]
    done = subprocess.run(command, input="", cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert len(world.upstream.taken) == already


# -- from other machines -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path]]:
    """A relay as the document has it for programs with a login; under another host and port."""
    folder = tmp_path_factory.mktemp("beyond")
    text = DOCUMENT.read_text().partition("Programs with a login (")[2]
    (add,) = re.findall(r"\A`trackrelay (user add crm)`", text)
    block = re.findall(r"(?ms)^```toml\n(.*?)^```$", text)[0]
    trusted, _ = certificates.make(folder / "secrets")
    (folder / "password").write_text("password\n")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        mine = (folder / "relay.toml").read_text()
        ours = block.replace("0.0.0.0:587", f"127.0.0.1:{ports[0]}")
        (folder / "relay.toml").write_text(re.sub(r"(?ms)^\[smtp\]\n.*?(?=^\[)", ours, mine))
        config = ("--password-file", str(folder / "password"), "--config", str(folder / "relay.toml"))
        done = service.command(*add.split(), *config)
        assert done.returncode == 0, done.stderr
        with service.running(folder, ports, only="smtp,queue") as relay:
            yield World(relay, upstream), trusted


@pytest.mark.parametrize("name", [name for name in SENDING if name != "Perl: MIME::Lite"])
def test_what_the_document_shows_sends_with_a_login(beyond: tuple[World, Path], name: str, tmp_path: Path) -> None:
    world, trusted = beyond
    already = len(world.upstream.taken)
    SENDING[name](Place(tmp_path, world.relay.smtp, trusted))
    kept = next_of(world, already)
    assert kept.recipients == [TO]
    assert b"/c/" in kept.content
    said = re.compile(r" delivery accepted message_id=\S+ login=crm ")
    eventually(lambda: len(said.findall(world.relay.log)) == len(world.upstream.taken))
