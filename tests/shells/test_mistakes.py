"""The mistakes of a newcomer, as a table: each is met by a sentence that names the file, the line or the setting, and what to do; the
exit code is 2 where the settings are wrong, 1 where a check failed. The command runs as it does from a shell, in this process."""

from __future__ import annotations

import datetime
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay import dumps, log
from relay.__main__ import main
from relay.config import kinds, secrets
from relay.config.kinds import Wrong
from tests import peers
from tests.fakes import certificates

RAW = re.compile(r"Traceback|\[Errno|Error\b(?! 5)")
UP = '[upstream]\nurl = "smtp://127.0.0.1:1"\n'
LOGIN = '[upstream]\nurl = "smtp://jane@smtp.example.com:587"\n'
TRACKING = '[tracking]\nurl = "https://t.example.com"\n'


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        code = main([*words])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    shown = capsys.readouterr()
    assert not RAW.search(shown.out + shown.err), shown
    return code, shown.out, shown.err


# -- in the file: exit code 2, FILE:LINE: key: sentence ----------------------------------------------------------------

IN_THE_FILE: list[tuple[str, str | bytes, str]] = [
    ("a table's name", "[smpt]\nlisten = []\n", "1: smpt: there is no such key; did you mean smtp?"),
    ("a key's name", '[smtp]\nlistn = ["127.0.0.1:1"]\n', "2: smtp.listn: there is no such key in smtp; did you mean listen?"),
    ("a key of another table", '[smtp]\npatience = "4s"\n', r"2: smtp.patience: there is no such key in smtp; it belongs into \[upstream\]"),
    ("a key before the tables", 'listen = ["127.0.0.1:1"]\n', r"1: listen: there is no such key at the top; it belongs into \[smtp\] \(or \[http\]"),
    ("text for a switch", '[tracking]\nopens = "yes"\n', "2: tracking.opens: should be true or false, not text"),
    ("text for a number", '[tracking]\nmax_links = "100"\n', "2: tracking.max_links: should be a whole number from 0 to 10,000"),
    ("a number for a time", "[upstream]\nqueue_lifetime = 5\n", '2: upstream.queue_lifetime: should be a time such as "4s"'),
    ("a unit nobody knows", '[upstream]\npatience = "4 seconds"\n', r"2: upstream.patience: .*\(units: ms, s, m, h, d, w\)"),
    ("a size nobody knows", '[smtp]\nmax_message_size = "50 megs"\n', '2: smtp.max_message_size: .* is not a size such as "50MB"'),
    ("days with a unit", '[privacy]\nretention_days = "90d"\n', "2: privacy.retention_days: should be a whole number from 1"),
    ("text for a list", '[smtp]\nlisten = "127.0.0.1:2525"\n', r'2: smtp.listen: should be a list, in brackets, not text; write \["127'),
    ("a port alone", '[smtp]\nlisten = ["2525"]\n', '2: smtp.listen.0.: "2525" is a port alone; write "127.0.0.1:2525"'),
    ("a port as a number", "[smtp]\nlisten = [2525]\n", '2: smtp.listen.0.: "2525" is a port alone; write "127.0.0.1:2525"'),
    ("no port", '[smtp]\nlisten = ["127.0.0.1"]\n', '2: smtp.listen.0.: .* is not HOST:PORT, such as "127.0.0.1:2525"'),
    ("a port too high", '[smtp]\nlisten = ["127.0.0.1:99999"]\n', "2: smtp.listen.0.: .*; ports end at 65535"),
    ("a choice misspelt", '[upstream]\ntls = "require"\n', '2: upstream.tls: .* did you mean "required"'),
    ("a trigger misspelt", '[[webhooks]]\ntriggers = ["message.open"]\n', '2: webhooks.0..triggers.0.: .* did you mean "message.opened"'),
    ("one bracket for many", '[webhooks]\nurl = "https://a.example.com/"\n', r"1: webhooks: there can be several; write \[\[webhooks\]\]"),
    ("two brackets for one", '[[smtp]]\nauth = "users"\n', r"1: smtp: should be a table, not a list; write \[smtp\] once"),
    ("a domain for a pattern", '[[rules]]\nfrom = "example.com"\n', r'2: rules.0..from: "example.com" is a domain, .* write "\*@example.com"'),
    # TOML
    ("a path of Windows", 'state_dir = "C:\\Users\\x"\n', "1: syntax: .*a backslash in double quotes begins an escape; write single quotes"),
    ("quotation marks of a word processor", "[upstream]\nurl = \u201csmtp://x\u201d\n", '2: syntax: .*is no quotation mark here; write "'),
    ("no quotation marks", "[upstream]\nurl = smtp://x.example.com\n", '2: syntax: .*write url = "smtp://x.example.com"'),
    ("one quotation mark", '[upstream]\nurl = "smtp://x\n', "2: syntax: .*has no quotation mark at its end"),
    ("a colon", '[upstream]\nurl: "smtp://x"\n', '2: syntax: .*write = in place of the colon: url = "smtp://x"'),
    ("True", "[tracking]\nopens = True\n", "2: syntax: .*write true in small letters"),
    ("yes", "[tracking]\nopens = yes\n", "2: syntax: .*yes is no value; write true"),
    ("no value", "[tracking]\nopens =\n", "2: syntax: .*opens has no value"),
    ("a table twice", UP + UP, r"3: syntax: .*\[upstream\] is there already in line 1; put what stands below it there"),
    ("a key twice", UP + 'url = "smtp://x"\n', "3: syntax: .*url is there already in this table; keep one"),
    ("brackets that don't fit", "[smtp\n", r"1: syntax: .*write \[smtp\]"),
    ("a list without an end", '[smtp]\nlisten = ["127.0.0.1:1"\nauth = "users"\n', "3: syntax: this is not TOML: "),
    ("UTF-16", UP.encode("utf-16"), "1: syntax: the file is UTF-16, as Notepad and PowerShell write it; save it as UTF-8"),
    ("UTF-16 without a mark", UP.encode("utf-16-le"), "1: syntax: the file is UTF-16"),
    ("Latin-1", "# x\n# gr\u00fc\u00dfe\n".encode("latin-1"), "2: syntax: the file is not UTF-8; save it as UTF-8"),
    ("line ends of an old Mac", UP.replace("\n", "\r"), "1: syntax: .*the lines end in CR alone"),
    # URLs
    ("a relative URL", UP + '[tracking]\nurl = "/track"\n', "4: tracking.url: .* should begin with https:// or http://; an example"),
    ("a host for a URL", UP + '[tracking]\nurl = "t.example.com"\n', '4: tracking.url: .* has no scheme; write "https://t.example.com"'),
    ("a query", UP + '[tracking]\nurl = "https://t.example.com/?a=1"\n', "4: tracking.url: .* has a query or a fragment; end it after the host"),
    ("an upstream without a scheme", '[upstream]\nurl = "smtp.example.com:587"\n', '2: upstream.url: .* has no scheme; write "smtp://smtp.example.com:587"'),
    ("a password in a URL", '[upstream]\nurl = "smtp://a:b@x.example.com"\n', "2: upstream.url: a password does not belong in a URL; put it into"),
    ("the upstream is this relay", '[upstream]\nurl = "smtp://127.0.0.1:2525"\n', "2: upstream.url: is this relay itself: mail would loop"),
    ("no tracking URL", '[upstream]\nurl = "smtp://smtp.example.com"\n', "1: tracking.url: is needed: the address of the tracking server"),
    ("http for a webhook", '[[webhooks]]\nurl = "http://a.example.com/"\ntriggers = ["message.opened"]\nsecret = "x"\n', r"2: webhooks.0..url: is http, .*use https"),
    # secrets, certificates, who is let in
    ("a login without a password", LOGIN + TRACKING, "2: upstream.url: names a login, and there is neither password_file nor"),
    ("a secret that is not there", LOGIN + 'password_file = "gone"\n' + TRACKING, "3: upstream.password_file: there is no file .*/gone; make it"),
    ("a secret that is a folder", LOGIN + 'password_file = "."\n' + TRACKING, "3: upstream.password_file: .* it is a folder, and a file is needed"),
    ("a variable that is not set", LOGIN + 'password = "env:NOT_SET_AT_ALL"\n' + TRACKING, "3: upstream.password: the environment variable NOT_SET_AT_ALL is not"),
    ("a certificate that is not there", '[smtp]\ncertificate = "c.pem"\nkey = "k.pem"\n', "2: smtp.certificate: there is no file .*/c.pem; make it"),
    ("a certificate without a key", '[smtp]\ncertificate = "relay.toml"\n', "2: smtp.certificate: needs smtp.key beside it"),
    ("an open relay", '[smtp]\nlisten = ["0.0.0.0:2525"]\n', '2: smtp.listen: listens beyond this machine, .* set smtp.auth = "users"'),
    ("everybody allowed", '[smtp]\nlisten = ["0.0.0.0:2525"]\nallow = ["0.0.0.0/0"]\n', "3: smtp.allow: lets the whole world submit"),
    ("passwords in clear", '[smtp]\nlisten = ["0.0.0.0:2525"]\nauth = "users"\n', "3: smtp.auth: passwords would cross the network in clear"),
    ("a login without TLS", LOGIN + 'tls = "never"\npassword = "x"\n' + TRACKING, '3: upstream.tls: is "never": the password could cross'),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), [row[1:] for row in IN_THE_FILE], ids=[row[0] for row in IN_THE_FILE])
def test_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, sentence: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = run(capsys, "check", "--config", str(file))
    assert (code, out) == (2, "")
    assert any(re.match(re.escape(f"{file}:") + sentence, line) for line in err.splitlines()), err


WARNED: list[tuple[str, str, str]] = [
    ("http", '[tracking]\nurl = "http://t.invalid"\n' + UP, "warning  tracking.url: is http: .*; use https"),
    ("this machine for recipients", '[tracking]\nurl = "http://localhost:8080"\n[upstream]\nurl = "smtp://smtp.invalid"\n',
     "warning  tracking.url: is this machine itself: recipients' links would lead to their own"),
    ("a port for recipients", '[tracking]\nurl = "https://t.invalid:8443/x"\n' + UP, "warning  tracking.url: has port 8443"),
    ("STARTTLS at the port of TLS", '[tracking]\nurl = "https://t.invalid"\n[upstream]\nurl = "smtp://smtp.invalid:465"\n',
     "warning  upstream.url: is smtp:// with port 465, which begins with TLS from the first byte: write smtps://"),
    ("TLS at the port of STARTTLS", '[tracking]\nurl = "https://t.invalid"\n[upstream]\nurl = "smtps://smtp.invalid:587"\n',
     "warning  upstream.url: is smtps:// with port 587, which begins in clear, and goes on with STARTTLS: write smtp://"),
    ("a secret for everybody", '[upstream]\nurl = "smtp://j@127.0.0.1:1"\npassword_file = "open"\n[tracking]\nurl = "https://t.invalid"\n',
     "warning  upstream.password_file: others on this machine can read .*/open; chmod 600 it"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), [row[1:] for row in WARNED], ids=[row[0] for row in WARNED])
def test_what_is_doubtful(tmp_path: Path, content: str, sentence: str) -> None:
    """A warning of the file, which `check` and every start say."""
    from relay import config

    (tmp_path / "relay.toml").write_text(content)
    (tmp_path / "open").write_text("x\n")
    (tmp_path / "open").chmod(0o644)
    found = config.load(tmp_path / "relay.toml", {})
    told = [f"warning  {words.split(': ', 1)[1]}" for words in found.warnings]
    assert any(re.match(sentence, line) for line in told), told


# -- secrets as editors leave them -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"word", ""), (b"word\n", ""), (b"word\r\n", ""), (b"\xef\xbb\xbfword\r\n", ""), (b"  word \n\n", ""),
        ("word\n".encode("utf-16"), "is UTF-16, or no text at all; save it as UTF-8"),
        (b"w\xe4rd\n", "is not UTF-8; save it as UTF-8"), (b"\n", "is empty; it should have one line"),
        (b"word\nword\n", "has more than one line; a secret is one"),
    ],
)  # fmt: skip
def test_a_file_of_a_secret(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "s").write_bytes(content)
    (tmp_path / "s").chmod(0o600)
    if not words:
        assert secrets.from_file("s", kinds.Use(tmp_path)) == ("word", "")
        return
    with pytest.raises(Wrong, match=re.escape(words)):
        secrets.from_file("s", kinds.Use(tmp_path))


# -- around the file ---------------------------------------------------------------------------------------------------


def here(tmp_path: Path, more: str = "", smtp: str = "") -> Path:
    """A file with ports of its own, whose upstream nobody is."""
    http = peers.free_port()
    file = tmp_path / "relay.toml"
    file.write_text(
        f'{more}[smtp]\nlisten = ["{smtp or f"127.0.0.1:{peers.free_port()}"}"]\nhostname = "relay.example.com"\n[http]\nlisten = "127.0.0.1:{http}"\n'
        f'[admin]\nlisten = "127.0.0.1:{peers.free_port()}"\n[upstream]\nurl = "smtp://127.0.0.1:1"\n[tracking]\nurl = "http://127.0.0.1:{http}"\n'
    )
    return file


def test_no_file_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check", "--config", str(tmp_path / "gone.toml"))
    assert code == 2
    assert re.match(r"trackrelay: there is no file .*/gone.toml, which --config names", err)
    code, _, err = run(capsys, "check", "--config", str(tmp_path))
    assert code == 2
    assert (
        err
        == f"trackrelay: {tmp_path}, which --config names, is a folder; name the file in it, such as {tmp_path}/relay.toml\n"
    )


def test_a_port_in_use_by_whom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, out, _ = run(capsys, "check", "--config", str(here(tmp_path, smtp=address)))
    assert code == 1
    assert re.search(
        rf"FAILED   smtp.listen: can't listen on {address}: \S+ \(process {os.getpid()}\) listens there; stop it, or",
        out,
    )


def test_a_port_of_root(tmp_path: Path) -> None:
    """As somebody else: where this system keeps ports below 1024 for root."""
    floor = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if os.geteuid() == 0 and floor > 1:
        from relay.check import listeners

        os.seteuid(65534)
        try:
            error = listeners.can_bind(f"127.0.0.1:{min(floor - 1, 999)}")
        finally:
            os.seteuid(0)
    else:
        error = PermissionError(13, "Permission denied")
    from relay import causes

    assert error is not None
    assert causes.of(error, listening=True).startswith("ports below 1024 are for root; let ")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("file", "nothing can be written to .*/state: a part of the path is a file, and no folder; check the path"),
        ("wide", 'others can write there .* run "chmod -R go-rwx'),
    ],
)
def test_the_state_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: str, words: str) -> None:
    state = tmp_path / "state"
    if make == "file":
        state.write_text("x")
    else:
        state.mkdir()
        state.chmod(0o777)
    code, out, _ = run(capsys, "check", "--config", str(here(tmp_path, 'state_dir = "state"\n')))
    assert code == 1
    assert re.search(f"^FAILED   state_dir: .*{words}", out, re.M), out


def chained(folder: Path) -> tuple[Path, Path]:
    """A certificate that an authority of ours signed, alone in its file."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example.com")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")]))
        .public_key(own.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=60))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("relay.example.com")]), False)
        .sign(authority, hashes.SHA256())
    )
    (folder / "leaf.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "leaf.pem", certificates.written(folder / "leaf.key", own)


@pytest.mark.parametrize(
    ("which", "code", "words"),
    [
        ("host", 1, "warning  smtp.certificate: .* is for other.example.com, not for smtp.hostname"),
        ("expired", 1, "FAILED   smtp.certificate: .* expired on .*; renew it"),
        ("mismatch", 1, "FAILED   smtp.certificate: .*the key does not belong to the certificate; name the key"),
        ("swapped", 1, "FAILED   smtp.certificate: .*the wrong way round; name each file where the other is named"),
        (
            "chain",
            1,
            "warning  smtp.certificate: .* has no certificates between its own and the authority's.*fullchain.pem",
        ),
        ("self-signed", 1, "warning  smtp.certificate: .* is self-signed: clients refuse it"),
    ],
)
def test_a_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str, code: int, words: str) -> None:
    host = "other.example.com" if which == "host" else "relay.example.com"
    certificate, key = certificates.make(tmp_path / "a", host, days=-1 if which == "expired" else 60)
    if which == "mismatch":
        _, key = certificates.make(tmp_path / "b")
    if which == "swapped":
        certificate, key = key, certificate
    if which == "chain":
        certificate, key = chained(tmp_path)
    file = here(tmp_path)
    file.write_text(file.read_text().replace("[smtp]\n", f'[smtp]\ncertificate = "{certificate}"\nkey = "{key}"\n'))
    found, out, _ = run(capsys, "check", "--config", str(file))
    assert found == code
    assert re.search(f"^{words}", out, re.M), out


def test_an_upstream_that_nobody_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", "--config", str(here(tmp_path)))
    assert code == 1
    assert (
        "FAILED   upstream: The upstream 127.0.0.1:1 does not answer: connection refused: nothing listens there; check host and port"
        in out
    )


def test_no_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "forbid", lambda: None)
    monkeypatch.setattr(log, "start", lambda *_: None)
    (tmp_path / "relay.toml").write_text("")
    code, _, err = run(capsys, "run", "--config", str(tmp_path / "relay.toml"))
    assert code == 2
    assert 'upstream.url: is missing: name the server that delivers the mail, for example url = "smtp://' in err


def test_a_python_that_is_too_old() -> None:
    code = "import sys; sys.version_info = (3, 9, 2); import relay.__main__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(
        r"trackrelay: needs Python 3.11 or newer, and this is 3.9.2 \(.*\); docs/install.md has the packages\n",
        done.stderr,
    )


def test_there_are_thirty_of_them() -> None:
    assert len({row[0] for row in IN_THE_FILE}) >= 30
