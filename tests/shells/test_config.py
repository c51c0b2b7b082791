"""relay.toml: what is found, what it means, and what is said about mistakes."""

import argparse
import contextlib
import dataclasses
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import config
from relay.config import kinds, places, table
from relay.core import payload


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with the files that configurations below name, and no environment that matters."""
    for name in ("cert.pem", "key.pem", "dkim.pem", "secret"):
        (tmp_path / name).write_text("s3cret\n")
        (tmp_path / name).chmod(0o600)
    for name in ("TRACKRELAY_CONFIG", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(folder: Path, text: str, **environ: str) -> config.Settings:
    file = folder / "relay.toml"
    file.write_text(text)
    return config.load(file, environ)


def mistakes(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(config.InvalidSettings) as caught:
        load(folder, text, **environ)
    prefix = f"{folder / 'relay.toml'}:"
    lines = str(caught.value).split("\n")
    assert all(line.startswith(prefix) for line in lines)
    assert [line.removeprefix(prefix) for line in lines] == [
        f"{m.line}: {m.key}: {m.sentence}" for m in caught.value.mistakes
    ]
    return [line.removeprefix(prefix) for line in lines]


# -- finding -----------------------------------------------------------------------------------------------------------


def test_the_order_of_the_search(folder):
    system = folder / "etc.toml"
    with pytest.raises(config.Missing, match=r"neither \./relay\.toml nor .*etc\.toml exists"):
        config.find(None, system=system)
    system.touch()
    assert config.find(None, {}, system) == system
    (folder / "relay.toml").touch()
    assert config.find(None, {}, system) == Path("relay.toml")
    (folder / "env.toml").touch()
    assert config.find(None, {"TRACKRELAY_CONFIG": "env.toml"}) == Path("env.toml")
    (folder / "named.toml").touch()
    assert config.find("named.toml", {"TRACKRELAY_CONFIG": "env.toml"}) == Path("named.toml")


def test_a_named_file_that_is_not_there_is_no_reason_to_take_another(folder):
    (folder / "relay.toml").touch()
    with pytest.raises(config.Missing, match=r"no file gone\.toml, which --config names"):
        config.find("gone.toml", {})
    with pytest.raises(config.Missing, match=r"no file gone\.toml, which \$TRACKRELAY_CONFIG names"):
        config.find(None, {"TRACKRELAY_CONFIG": "gone.toml"})


def test_a_folder_that_may_not_be_entered_has_no_file(folder):
    """As root's own is, when root runs a command as the service's user."""
    folder.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(PermissionError):
            os.stat("relay.toml")
        with pytest.raises(config.Missing, match="no configuration"):
            config.find(None, {}, Path("/dev/null/none"))
        with pytest.raises(config.Missing, match=r"trackrelay\.toml can't be read: permission denied to the user "):
            config.find(None, {}, folder / "trackrelay.toml")
        with pytest.raises(config.Missing, match="or its folder may not be entered"):
            config.find("relay.toml", {})
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_settings_of_prints_and_exits_2(folder, capsys):
    (folder / "relay.toml").write_text("[smtp]\nauth = 7\nport = 25\n")
    with pytest.raises(SystemExit) as caught:
        config.settings_of(argparse.Namespace(config=None))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[0] for line in err.splitlines()] == ["relay.toml:2", "relay.toml:3"]

    with pytest.raises(SystemExit) as caught:
        config.settings_of(argparse.Namespace(config="gone.toml"))
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "trackrelay: there is no file gone.toml, which --config names, or its folder may not be entered\n"
    )


# -- what is right -----------------------------------------------------------------------------------------------------


def test_an_empty_file_is_the_defaults(folder):
    settings = load(folder, "")
    plain = config.Settings()
    assert settings.state_dir == folder / "var"
    assert settings.tracking.url == "http://127.0.0.1:8080"
    expected = dataclasses.replace(
        plain,
        state_dir=settings.state_dir,
        file=folder / "relay.toml",
        tracking=dataclasses.replace(plain.tracking, url="http://127.0.0.1:8080"),
    )
    assert settings == expected


def test_a_whole_file(folder):
    settings = load(
        folder,
        """
application_id = "crm"
state_dir = "state"
[smtp]
listen = ["127.0.0.1:2525", "[::1]:2525"]
listen_tls = ["0.0.0.0:465"]
hostname = "relay.example.com"
certificate = "cert.pem"
key = "key.pem"
auth = "users"
allow = ["10.0.0.0/8"]
max_message_size = "25MiB"
[upstream]
url = "smtp://user%40example.com@smtp.example.com:587"
password_file = "secret"
queue_lifetime = "1d12h"
patience = "2.5s"
bounce_from = "bounces@example.com"
[tracking]
url = "https://t.example.com/"
opens = true
domains = ["t2.example.com", "https://t3.example.com/x/"]
append = { utm_source = "mail" }
[[rules]]
from = "*@sales.example.com"
links = true
[[rules]]
to = "*@example.net"
opens = false
label = "quiet"
[[dkim]]
domain = "example.com"
selector = "t1"
key = "dkim.pem"
[[grants]]
id = "default"
email = "a@example.com"
[[grants]]
id = "sales"
addresses = ["*@sales.example.com"]
mailbox = "maildir:mail"
[[webhooks]]
url = "https://app.example.com/hooks"
triggers = ["message.opened"]
secret = "env:HOOK"
[privacy]
ip = "truncated"
""",
        HOOK="whsec_abc",
    )
    assert settings.state_dir == folder / "state"
    assert settings.smtp.max_message_size == 25 * 2**20
    assert settings.smtp.certificate == folder / "cert.pem"
    assert settings.upstream.password == "s3cret"
    assert (settings.upstream.queue_lifetime, settings.upstream.patience) == (129_600, 2.5)
    assert settings.upstream.tls == "required"
    assert settings.tracking.url == "https://t.example.com"
    assert settings.tracking.domains == ("https://t2.example.com", "https://t3.example.com/x")
    assert settings.tracking.append == {"utm_source": "mail"}
    first, second = settings.rules
    assert (first.sender, first.recipient, first.keys) == ("*@sales.example.com", "*", frozenset({"links"}))
    assert first.tracking == dataclasses.replace(settings.tracking, links=True)
    assert (second.sender, second.recipient, second.keys) == ("*", "*@example.net", frozenset({"opens", "label"}))
    assert second.tracking.opens is False
    assert second.tracking.label == "quiet"
    assert settings.dkim == (config.Dkim("example.com", "t1", folder / "dkim.pem"),)
    assert [g.id for g in settings.grants] == ["sales", "default"]
    assert settings.grants[0].mailbox == (f"maildir:{folder / 'mail'}",)
    assert settings.grants[1].email == "a@example.com"
    assert settings.webhooks[0].secret == "whsec_abc"
    assert settings.privacy.ip == "truncated"
    assert settings.warnings == ()
    assert "s3cret" not in repr(settings)
    assert "whsec_abc" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4s", 4), ("5d", 432_000), ("1h30m", 5400), ("250ms", 0.25), ("1w", 604_800), ("0.5h", 1800)],
)
def test_durations(text, seconds):
    assert kinds.duration(0).read(text, kinds.Use()) == seconds


@pytest.mark.parametrize(
    ("text", "octets"),
    [("50MB", 50_000_000), ("50MiB", 52_428_800), ("1.5kB", 1500), ("10 M", 10_000_000), ("7", 7), (8, 8), ("9B", 9)],
)
def test_sizes(text, octets):
    assert kinds.size(0).read(text, kinds.Use()) == octets


@given(st.integers(1, 10**9).map(lambda n: n / 1000))
def test_a_written_duration_reads_back(seconds):
    assert kinds.duration(0).read(kinds.written_duration(seconds), kinds.Use()) == pytest.approx(seconds, abs=1e-6)


@given(st.integers(0, 10**12))
def test_a_written_size_reads_back(octets):
    assert kinds.size(0).read(kinds.written_size(octets), kinds.Use()) == octets


@pytest.mark.parametrize(
    ("upstream", "tls"),
    [
        ('url = "smtp://127.0.0.1:25"', "never"),
        ('url = "smtp://localhost"', "never"),
        ('url = "smtp://LOCALHOST."', "never"),
        ('url = "smtp://127.1"', "never"),
        ('url = "smtp://[::ffff:127.0.0.1]"', "never"),
        ('url = "smtp://localhost.localdomain"', "required"),
        ('url = "smtp://a.localhost"', "required"),
        ('url = "smtp://127.0.0.1.example.com"', "required"),
        ('url = "smtp://[::1]:25"', "never"),
        ('url = "lmtp://127.0.0.1:24"', "never"),
        ('url = "smtps://127.0.0.1:465"', "required"),
        ('url = "smtp://127.0.0.1:25"\ntls = "required"', "required"),
        ('url = "smtp://mail.example.com:25"', "required"),
        ('url = "smtp://mail.example.com:25"\ntls = "opportunistic"', "opportunistic"),
    ],
)
def test_tls_is_required_but_on_loopback(folder, upstream, tls):
    settings = load(folder, f'[upstream]\n{upstream}\n[tracking]\nurl = "https://t.example.com"')
    assert settings.upstream.tls == tls


def test_the_state_is_where_systemd_says_unless_the_file_does(folder):
    assert load(folder, "", STATE_DIRECTORY="/var/lib/trackrelay").state_dir == Path("/var/lib/trackrelay")
    assert load(folder, "", STATE_DIRECTORY="/a:/b").state_dir == Path("/a")
    assert load(folder, 'state_dir = "x"', STATE_DIRECTORY="/a").state_dir == folder / "x"


SPELT = """
[smtp]
listen = ["LocalHost.:2525", "[0:0::1]:2526"]
hostname = "Relay.Bücher.example."
[upstream]
url = "smtp://Me%40X@Mail.B%C3%BCcher.example.:2587"
password = "env:S"
bounce_from = "Bounces@BÜCHER.example"
[[upstreams]]
id = "a"
url = "smtps://FAẞ.test"
from = ["*@FAẞ.test", "Ada@*.Bücher.example.", "*"]
[tracking]
url = "https://T.Bücher.example:8443/X/"
domains = ["T2.Bücher.example", "https://T3.Faß.test/X"]
skip_hosts = ["App.Faß.test"]
[[rules]]
from = "*@XN--FA-HIA.test"
to = "*@faß.test"
[[dkim]]
domain = "Faß.test."
selector = "T1"
key = "key.pem"
[[dkim]]
domain = "fass.test"
selector = "t1"
key = "key.pem"
[[grants]]
id = "a"
email = "Sales@Faß.test"
addresses = ["*@Faß.test"]
mailbox = "imaps://me@IMAP.Faß.test/INBOX"
[grants.mailbox_oauth2]
token_url = "https://Login.Faß.test/Token"
client_id = "x"
refresh_token = "env:S"
[webhook_delivery]
allow_private = ["Hooks.Faß.test.", "10.0.0.0/8", "a_b"]
"""


def test_a_domain_has_one_spelling_wherever_it_stands(folder):
    found = load(folder, SPELT, S="secret")
    assert found.smtp.listen == ("localhost:2525", "[::1]:2526")
    assert found.smtp.hostname == "relay.xn--bcher-kva.example"
    assert found.upstream.url == "smtp://Me%40X@mail.xn--bcher-kva.example:2587"
    assert found.upstream.bounce_from == "Bounces@xn--bcher-kva.example"
    (other,) = found.upstreams
    assert other.url == "smtps://xn--fa-hia.test"
    assert other.senders == ("*@xn--fa-hia.test", "ada@*.xn--bcher-kva.example", "*")
    assert found.tracking.url == "https://t.xn--bcher-kva.example:8443/X"
    assert found.tracking.domains == ("https://t2.xn--bcher-kva.example", "https://t3.xn--fa-hia.test/X")
    assert found.tracking.skip_hosts == ("app.xn--fa-hia.test",)
    (rule,) = found.rules
    assert (rule.sender, rule.recipient) == ("*@xn--fa-hia.test", "*@xn--fa-hia.test")
    assert [(entry.domain, entry.selector) for entry in found.dkim] == [("xn--fa-hia.test", "T1"), ("fass.test", "t1")]
    grant = found.grants[0]
    assert (grant.email, grant.addresses) == ("Sales@xn--fa-hia.test", ("*@xn--fa-hia.test",))
    assert grant.mailbox == ("imaps://me@imap.xn--fa-hia.test/INBOX",)
    assert grant.mailbox_oauth2.token_url == "https://login.xn--fa-hia.test/Token"
    assert found.webhook_delivery.allow_private == ("hooks.xn--fa-hia.test", "10.0.0.0/8", "a_b")


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_secret_file_that_others_can_read_is_told(folder):
    (folder / "secret").chmod(0o644)
    text = '[upstream]\nurl = "smtp://u@127.0.0.1"\npassword_file = "secret"\n'
    settings = load(folder, text)
    assert settings.upstream.password == "s3cret"
    assert f"relay.toml:3: upstream.password_file: others on this machine can read {folder}" in settings.warnings[-1]


def test_a_credential_of_systemd(folder):
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "up").write_text("pässword\n")
    text = '[upstream]\nurl = "smtp://u@127.0.0.1"\npassword_file = "$CREDENTIALS_DIRECTORY/up"\n'
    settings = load(folder, text, CREDENTIALS_DIRECTORY=str(credentials))
    assert settings.upstream.password == "pässword"
    assert not [w for w in settings.warnings if "password" in w]
    assert mistakes(folder, text) == [
        "3: upstream.password_file: $CREDENTIALS_DIRECTORY is not set: that file is there only within the systemd unit; run this "
        "in a unit that has it: systemd-run --pipe --wait --uid=trackrelay -p LoadCredential=up:/etc/trackrelay/secrets/up "
        "trackrelay check"
    ]
    assert mistakes(folder, text.replace("/up", "/other"), CREDENTIALS_DIRECTORY=str(credentials)) == [
        f"3: upstream.password_file: there is no file {credentials}/other; the unit needs LoadCredential=other:FILE "
        "(systemctl edit)"
    ]


def test_a_key_can_be_a_credential_too(folder):
    (folder / "credentials").mkdir()
    (folder / "credentials" / "dkim").write_text("a key\n")
    text = '[[dkim]]\ndomain = "example.com"\nselector = "t1"\nkey = "$CREDENTIALS_DIRECTORY/dkim"\n'
    settings = load(folder, text, CREDENTIALS_DIRECTORY=str(folder / "credentials"))
    assert settings.dkim[0].key.read_text() == "a key\n"


SECRETS = """
[upstream]
url = "smtps://u@smtp.example.com"
password_file = "up"
[[upstreams]]
id = "other"
from = ["*@o.example"]
url = "smtps://u@o.example"
oauth2 = { token_url = "https://o.example/", client_id = "1", client_secret = "env:CLIENT", refresh_token_file = "refresh" }
[tracking]
url = "https://t.example.com"
[[dkim]]
domain = "example.com"
selector = "t1"
key = "$CREDENTIALS_DIRECTORY/dkim"
[[grants]]
id = "g"
addresses = ["*@g.example"]
mailbox = "imaps://me@imap.example.com/INBOX"
mailbox_password = "written here"
[[webhooks]]
url = "https://app.example.com/"
triggers = ["message.opened"]
secret_file = "hook"
"""


def test_what_no_role_of_a_process_needs_is_neither_opened_nor_kept(folder):
    """None of these files is there. Without a role that needs them the file is judged all the same."""
    file = folder / "relay.toml"
    file.write_text(SECRETS)
    settings = config.load(file, {}, frozenset({"http"}))
    assert settings.upstream.password == ""
    assert settings.upstreams[0].oauth2 == config.OAuth2("https://o.example/", "1")
    assert settings.grants[0].mailbox_password == ""
    assert settings.webhooks[0].secret == ""
    assert mistakes(folder, SECRETS.replace('mailbox_password = "written here"', "")) != []
    file.write_text(SECRETS.replace('mailbox_password = "written here"', ""))
    with pytest.raises(config.InvalidSettings) as caught:
        config.load(file, {}, frozenset({"http"}))
    assert [m.key for m in caught.value.mistakes] == ["grants[0].mailbox"]


@pytest.mark.parametrize(
    ("role", "missing"),
    [
        ("smtp", ["upstream.password_file", "upstreams[0].oauth2.client_secret", "upstreams[0].oauth2.refresh_token_file",
                  "dkim[0].key"]),
        ("queue", ["upstream.password_file", "upstreams[0].oauth2.client_secret", "upstreams[0].oauth2.refresh_token_file",
                   "dkim[0].key"]),
        ("webhooks", ["webhooks[0].secret_file"]),
        ("mailbox", []),
        ("http", []),
        ("admin", ["dkim[0].key"]),
        ("milter", ["dkim[0].key"]),
    ],
)  # fmt: skip
def test_each_role_misses_its_own_secrets(folder, role, missing):
    file = folder / "relay.toml"
    file.write_text(SECRETS)
    if missing:
        with pytest.raises(config.InvalidSettings) as caught:
            config.load(file, {}, frozenset({role}))
        assert [m.key for m in caught.value.mistakes] == missing
        return
    settings = config.load(file, {}, frozenset({role}))
    assert settings.grants[0].mailbox_password == ("written here" if role == "mailbox" else "")


def test_a_secret_in_a_file_that_all_can_read_is_told(folder):
    file = folder / "relay.toml"
    file.write_text('[upstream]\nurl = "smtp://u@127.0.0.1"\npassword = "hush"\n[tracking]\nurl = "https://t.test"')
    file.chmod(0o644)
    assert "upstream.password: others on this machine can read" in config.load(file).warnings[0]
    file.chmod(0o600)
    assert config.load(file).warnings == ()


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_all_mistakes_at_once_each_on_its_line(folder):
    assert mistakes(
        folder,
        """\
aplication_id = "x"
[smtp]
listen = [
  "127.0.0.1:2525",
  "nonsense",   # the second
]
auth = "some"
[[rules]]
from = "*"
[[rules]]
opens = 1
[upstream.oauth2]
token_url = "ftp://x"
""",
    ) == [
        "1: aplication_id: there is no such key; did you mean application_id?",
        '5: smtp.listen[1]: "nonsense" is not HOST:PORT, such as "127.0.0.1:2525" or "[::1]:2525"',
        '7: smtp.auth: "some" is none of the choices; write "none", "users" or "upstream"',
        "11: rules[1].opens: should be true or false, not a number",
        '12: upstream.oauth2.client_id: is needed here; an example: "1234.apps.example.com"',
        "12: upstream.oauth2.refresh_token: is needed here, refresh_token or refresh_token_file; an example: "
        '"secrets/refresh"',
        '13: upstream.oauth2.token_url: "ftp://x" should begin with https:// or http://; an example: '
        '"https://login.example.com/token"',
    ]


UP = '[upstream]\nurl = "smtp://mail.example.com"\n'
URL = '[tracking]\nurl = "https://t.example.com"\n'
HOOK = '[[webhooks]]\nsecret = "x"\ntriggers = ["message.opened"]\n'

WRONG = [
    # the form of the file
    ('x = "unclosed', "1: syntax: this is not TOML: "),
    ("[smtp]\n[smtp]", "2: syntax: this is not TOML: "),
    ("a = 1\n\nb == 2", "3: syntax: this is not TOML: "),
    ('[[smtp]]\nauth = "none"', "1: smtp: should be a table, not a list; write [smtp] once"),
    ("[rules]\nopens = true", "1: rules: there can be several; write [[rules]]"),
    ("smtp = 3", "1: smtp: should be a table, not a number"),
    # keys
    ("[smtp]\nlisten_tsl = []", "2: smtp.listen_tsl: there is no such key in smtp; did you mean listen_tls?"),
    ("[http]\npassword = 1", "2: http.password: there is no such key in http; it belongs into [upstream]"),
    ("auth = 1", "1: auth: there is no such key at the top; it belongs into [smtp]"),
    ("[smtps]\n", "1: smtps: there is no such key; did you mean smtp?"),
    ("[tracking]\nspeed = 1", "2: tracking.speed: there is no such key in tracking"),
    ('[[rules]]\nurl = "https://x.test"', "2: rules[0].url: can't differ by rule"),
    # values
    ("[tracking]\nopens = 1", "2: tracking.opens: should be true or false, not a number"),
    ("[tracking]\nmax_links = true", "2: tracking.max_links: should be a whole number from 0 to 10,000, not true or"),
    ("[tracking]\nmax_links = -1", "2: tracking.max_links: -1 is out of range"),
    ("[tracking]\nlabel = 1979-05-27", "2: tracking.label: should be text, not a date"),
    ('[tracking]\nlabel = "a\\r\\nBcc: x"', "2: tracking.label: has a control character"),
    ("[tracking]\nlabel = '" + "x" * 2049 + "'", "2: tracking.label: has 2,049 characters"),
    ('[tracking]\ndialects = ["postmark", "pm"]', '2: tracking.dialects[1]: "pm" is none of the choices'),
    ('[tracking]\nschemes = ["gopher"]', "2: tracking.schemes[0]: "),
    ('[tracking]\ncredential_params = ["-"]', "2: tracking.credential_params[0]: "),
    ('[tracking]\ncredential_params = ["voucher", "a=b"]', "2: tracking.credential_params[1]: "),
    ('[tracking]\ncredential_params = ["/a/b"]', "2: tracking.credential_params[0]: "),
    ('[tracking]\ncredential_params = ["*"]', "2: tracking.credential_params[0]: "),
    ("[tracking]\nappend = { a = 1 }", "2: tracking.append.a: should be text"),
    ('[tracking]\nurl = "t.example.com"', "2: tracking.url: "),
    ('[tracking]\nurl = "https://t.example.com/?a=b"', "2: tracking.url: "),
    ('[tracking]\nurl = "https://t.example.com/' + "x" * 200 + '"', "2: tracking.url: has more than 200"),
    ('[tracking]\nurl = "https://u:p@t.example.com"', "2: tracking.url: "),
    ('[tracking]\ndomains = ["a b"]', "2: tracking.domains[0]: "),
    ('[smtp]\nlisten = "127.0.0.1:25"', "2: smtp.listen: should be a list, in brackets, not text"),
    ('[smtp]\nlisten = [":25"]', '2: smtp.listen[0]: ":25" names no host; for all addresses'),
    ('[smtp]\nlisten = ["127.0.0.1:99999"]', "2: smtp.listen[0]: "),
    ('[smtp]\nallow = ["10.0.0.1/8"]', '2: smtp.allow[0]: "10.0.0.1/8" has bits beyond its prefix; write "10.0.0.0/8"'),
    ('[smtp]\nallow = ["intranet"]', "2: smtp.allow[0]: "),
    ('[smtp]\nhostname = "a b"', "2: smtp.hostname: "),
    (
        '[smtp]\nhostname = "relay"',
        '2: smtp.hostname: "relay" is no full name, which upstreams refuse; write all of it, such as',
    ),
    ('[smtp]\nhostname = "localhost"', '2: smtp.hostname: "localhost" is no full name'),
    ('[smtp]\nhostname = "my_relay.example.com"', '2: smtp.hostname: "my_relay.example.com" has an underscore'),
    (
        '[smtp]\nhostname = "192.0.2.1"',
        '2: smtp.hostname: "192.0.2.1" is an address; for a name it stands in brackets: "[192.0.2.1]"',
    ),
    (
        '[smtp]\nhostname = "2001:DB8::1"',
        '2: smtp.hostname: "2001:DB8::1" is an address; for a name it stands in brackets: "[IPv6:2001:db8::1]"',
    ),
    ('[smtp]\nhostname = "[192.0.2.256]"', "2: smtp.hostname: "),
    ('[smtp]\nhostname = "[2001:db8::1]"', "2: smtp.hostname: "),
    ('[smtp]\nhostname = "relay.example.com:25"', "2: smtp.hostname: "),
    ('[smtp]\nmax_message_size = "5 apples"', "2: smtp.max_message_size: "),
    ("[smtp]\nmax_message_size = 10", "2: smtp.max_message_size: 10 is too small; at least 1kB"),
    ('[upstream]\nqueue_lifetime = "5 days"', "2: upstream.queue_lifetime: "),
    ("[upstream]\npatience = 4", "2: upstream.patience: should be a time such as"),
    ('[upstream]\nurl = "http://mail.example.com"', "2: upstream.url: "),
    ('[upstream]\nurl = "smtp://u:p@mail.example.com"', "2: upstream.url: a password does not belong in a URL"),
    ('[upstream]\nurl = "smtp://mail.example.com:x"', "2: upstream.url: "),
    ('[upstream]\nbounce_from = "Bounces <b@example.com>"', "2: upstream.bounce_from: "),
    ('[[rules]]\nfrom = "Sales <x@y>"', "2: rules[0].from: "),
    ('[milter]\nlisten = "127.0.0.1:8891"', "2: milter.listen: "),
    ('[milter]\nlisten = "inet6:127.0.0.1"', "2: milter.listen: "),
    ('[milter]\nmode = "9"', '2: milter.mode: "9" is not a mode such as "0660"'),
    ('[milter]\nsubmitters = ["10.0.0.1/8"]', "2: milter.submitters[0]: "),
    ('[milter]\nsubmitters = ["all"]', '2: milter.submitters[0]: "all" is neither "authenticated", a network'),
    ('[milter]\ndeadline = "0s"', "2: milter.deadline: "),
    ('[store]\nurl = "mysql://x"', "2: store.url: "),
    ('[store]\nurl = "postgresql://db/relay"', "2: store.url: it should name a user, a host and a database, as "),
    ('[store]\nurl = "postgresql://u:secret@db/relay"', "2: store.url: a password does not belong in a URL"),
    ('[store]\nurl = "postgresql://u@db/relay?ssl=1"', '2: store.url: "ssl" is not known here; known are host, '),
    ('[store]\nurl = "postgresql://u@db:0/relay"', '2: store.url: "0" is no port'),
    (
        '[upstream.oauth2]\ntoken_url = "http://x.test"\nclient_id = "c"\nrefresh_token = "r"',
        '2: upstream.oauth2.token_url: "http://x.test" is http',
    ),
    ("[privacy]\nretention_days = 0", "2: privacy.retention_days: 0 is out of range"),
    ("[privacy]\nip_days = -1", "2: privacy.ip_days: -1 is out of range"),
    ('[[dkim]]\ndomain = "e.test"\nselector = "t1"\nkey = "gone.pem"', "4: dkim[0].key: there is no file "),
    ('[[dkim]]\ndomain = "e.test"\nkey = "key.pem"', "1: dkim[0].selector: is needed here"),
    # secrets
    ('[upstream]\npassword = "env:NOT_SET"', "2: upstream.password: the environment variable NOT_SET is not set"),
    ('[upstream]\npassword_file = "gone"', "2: upstream.password_file: there is no file "),
    ('[upstream]\npassword_file = "."', "2: upstream.password_file: "),
    ('[upstream]\npassword = ""', "2: upstream.password: is empty"),
    ('[upstream]\npassword = "x"\npassword_file = "secret"', "2: upstream.password: is given twice"),
    ('[upstream]\npassword_file = "relay.toml"', "2: upstream.password_file: "),
    ('state_dir = ""', "1: state_dir: is empty"),
    ('state_dir = "~nobody-of-this-name/x"', "1: state_dir: "),
    # contradictions
    ('[smtp]\ncertificate = "cert.pem"', "2: smtp.certificate: needs smtp.key beside it"),
    ('[smtp]\nkey = "key.pem"', "2: smtp.key: needs smtp.certificate beside it"),
    ('[http]\nkey = "key.pem"', "2: http.key: needs http.certificate beside it"),
    ('[smtp]\nlisten_tls = ["127.0.0.1:465"]', "2: smtp.listen_tls: needs smtp.certificate and smtp.key"),
    ('[smtp]\nlisten = ["0.0.0.0:25"]', "2: smtp.listen: listens beyond this machine, but nobody there may submit"),
    ('[smtp]\nlisten = ["mail.test:25"]', "2: smtp.listen: listens beyond this machine"),
    ('[smtp]\nallow = ["0.0.0.0/0"]', "2: smtp.allow: lets the whole world submit"),
    ('[smtp]\nallow = ["0.0.0.0/1", "128.0.0.0/1"]', "2: smtp.allow: lets the whole world submit"),
    ('[upstream]\nurl = "smtp://localhost:2525"', "2: upstream.url: is this relay itself"),
    (
        '[smtp]\nlisten = ["127.0.0.1:25"]\n[upstream]\nurl = "smtp://127.0.0.1"',
        "4: upstream.url: is this relay itself",
    ),
    ('[smtp]\nallow = ["::/0"]', "2: smtp.allow: lets the whole world submit"),
    ('[smtp]\nlisten = ["0.0.0.0:25"]\nauth = "users"', "3: smtp.auth: passwords would cross the network in clear"),
    (
        '[smtp]\nauth = "users"\nclear_logins = false',
        "3: smtp.clear_logins: is false, and there is no TLS to log in by",
    ),
    ('[http]\nlisten = "127.0.0.1:2525"', "2: http.listen: 127.0.0.1:2525 is taken by smtp.listen already"),
    (
        '[http]\nlisten = ["127.0.0.1:8080", "127.0.0.1:2525"]',
        "2: http.listen: 127.0.0.1:2525 is taken by smtp.listen already",
    ),
    ("[http]\nlisten = []", "2: http.listen: is empty; name at least one"),
    ('[http]\nlisten = ["127.0.0.1:1", 7]', "2: http.listen[1]: "),
    ("[http]\nlisten = 7", '2: http.listen: "7" is a port alone; write "127.0.0.1:7"'),
    ('[admin]\nlisten = "0.0.0.0:8081"\nopen = true', "3: admin.open: "),
    ('[upstream]\nurl = "smtp://u@127.0.0.1"', "2: upstream.url: names a login, and there is neither"),
    ('[upstream]\nurl = "smtp://127.0.0.1"\npassword = "x"', "2: upstream.url: names no login for the password"),
    (
        '[upstream]\nurl = "smtp://u@mail.test"\npassword = "x"\ntls = "never"\n' + URL,
        '4: upstream.tls: is "never": the password could cross the network in clear',
    ),
    (
        '[upstream]\nurl = "smtps://mail.test"\ntls = "never"\n' + URL,
        '3: upstream.tls: is "never", but smtps:// is TLS from the first byte',
    ),
    (
        '[upstream]\nurl = "smtp://u@127.0.0.1"\npassword = "x"\n[upstream.oauth2]\ntoken_url = "https://x.test"\n'
        'client_id = "c"\nrefresh_token = "r"',
        "4: upstream.oauth2: there is a password too; keep one of the two",
    ),
    (UP, "1: tracking.url: is needed"),
    ('[upstream]\nurl = "smtp://127.0.0.1"\n[tracking]\nopens = true', "3: tracking.url: is needed"),
    ('[upstream]\nurl = "smtp://127.0.0.1"\n[[rules]]\nlinks = true', "1: tracking.url: is needed"),
    ('[[grants]]\nid = "a"\n[[grants]]\nid = "a"', '4: grants[1].id: "a" is taken by another grant'),
    ('[[grants]]\nid = "a"\nmailbox = "imaps://imap.test"', "3: grants[0].mailbox: "),
    ('[[grants]]\nid = "a"\nmailbox = "imaps://u@imap.test"', "3: grants[0].mailbox: needs mailbox_password_file"),
    (
        '[[grants]]\nid = "a"\nmailbox = ["maildir:m", "imaps://imap.test"]',
        "3: grants[0].mailbox[1]: ",
    ),
    ('[[grants]]\nid = "a"\nmailbox = ["maildir:m", "maildir:m"]', "3: grants[0].mailbox[1]: is in the list already"),
    ('[[grants]]\nid = "a"\nmailbox_password = "x"', "1: grants[0].mailbox: there is a secret for it, but no imaps"),
    ("[[grants]]\nemail = 'a@b.test'", "1: grants[0].id: is needed here"),
    (
        '[[dkim]]\ndomain = "e.test"\nselector = "a"\nkey = "key.pem"\n'
        '[[dkim]]\ndomain = "E.test"\nselector = "b"\nkey = "key.pem"',
        "6: dkim[1].domain: e.test has a key already; one per domain",
    ),
    (
        '[[dkim]]\ndomain = "e.test"\nselector = "a"\nkey = "key.pem"\nunsigned_headers = ["Date", "FROM"]',
        "5: dkim[0].unsigned_headers[1]: From is in every signature (RFC 6376 5.4)",
    ),
    (
        '[[dkim]]\ndomain = "e.test"\nselector = "a"\nkey = "key.pem"\nunsigned_headers = ["Date:"]',
        '5: dkim[0].unsigned_headers[0]: "Date:" is not the name of a header field; an example: "Message-ID"',
    ),
    (
        '[[dkim]]\ndomain = "faß.test"\nselector = "a"\nkey = "key.pem"\n'
        '[[dkim]]\ndomain = "XN--FA-HIA.test"\nselector = "b"\nkey = "key.pem"',
        "6: dkim[1].domain: xn--fa-hia.test has a key already; one per domain",
    ),
    ('[[rules]]\nfrom = "*@bü*.test"', '2: rules[0].from: "*@bü*.test": a part of a domain can\'t have * or ?'),
    ('[smtp]\nhostname = "bücher example"', "2: smtp.hostname: "),
    ('[webhook_delivery]\nallow_private = ["300.1.1.1"]', "2: webhook_delivery.allow_private[0]: "),
    ('[webhook_delivery]\nallow_private = ["127.1"]', "2: webhook_delivery.allow_private[0]: "),
    ('[[webhooks]]\nurl = "https://x.test"\nsecret = "x"', "1: webhooks[0].triggers: is needed here"),
    ('[[webhooks]]\nurl = "https://x.test"\nsecret = "x"\ntriggers = []', "4: webhooks[0].triggers: is empty"),
    (
        '[[webhooks]]\nurl = "https://x.test"\ntriggers = ["message.opened"]',
        "1: webhooks[0].secret: is needed here, secret or secret_file",
    ),
    (HOOK + 'url = "http://app.test/x"', "4: webhooks[0].url: is http"),
    (HOOK + 'url = "https://10.1.2.3/x"', "4: webhooks[0].url: 10.1.2.3 is a private address"),
    (HOOK + 'url = "http://localhost:9/x"', "4: webhooks[0].url: localhost is a private address"),
    (HOOK + 'url = "https://[::1]/x"', "4: webhooks[0].url: ::1 is a private address"),
    (
        '[[webhooks]]\nurl = "https://x.test"\nsecret = "x"\ntriggers = ["email.opened"]',
        '4: webhooks[0].triggers[0]: "email.opened" is not sent in the format "nylas"',
    ),
    (
        HOOK.replace('opened"', 'opened", "message.bounce_detected"') + 'url = "https://x.test"\nformat = "nylas-v2"',
        '3: webhooks[0].triggers[1]: "message.bounce_detected" is not sent in the format "nylas-v2"',
    ),
    ('[webhook_delivery]\nallow_private = ["10.0.0.0/33"]', "2: webhook_delivery.allow_private[0]: "),
    ("[smtp]\nworkers = 0", "2: smtp.workers: 0 is out of range; it should be a whole number from 1 to 64"),
    ("[smtp]\nworkers = 65", "2: smtp.workers: 65 is out of range"),
    ("[http]\nworkers = -2", "2: http.workers: -2 is out of range"),
    ("[http]\nworkers = 1.5", "2: http.workers: should be a whole number"),
    ("[http]\nworkers = true", "2: http.workers: should be a whole number"),
    ('[smtp]\nworkers = "Auto"', '2: smtp.workers: "Auto" should be a whole number from 1 to 64, or "auto"'),
    ('[smtp]\nworkers = "2"', '2: smtp.workers: "2" should be a whole number from 1 to 64, or "auto"'),
    (
        '[smtp]\nauth = "upstream"\nworkers = 2',
        "3: smtp.workers: can't be more than 1 with smtp.auth = \"upstream\": users' passwords are in the memory of one",
    ),
]


@pytest.mark.parametrize(
    ("text", "expected"), WRONG, ids=[e.split(": ")[1] + f"-{i}" for i, (_, e) in enumerate(WRONG)]
)
def test_one_mistake_one_sentence(folder, text, expected):
    (found,) = mistakes(folder, text)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        HOOK + 'url = "http://10.1.2.3/x"\n[webhook_delivery]\nallow_private = ["10.1.0.0/16"]',
        HOOK + 'url = "http://10.1.2.3/x"\n[webhook_delivery]\nallow_private = ["10.1.2.3"]',
        HOOK + 'url = "http://hooks.internal/x"\n[webhook_delivery]\nallow_private = ["hooks.internal"]',
        HOOK + 'url = "http://hooks.internal/x"\n[webhook_delivery]\nallow_private = ["10.1.0.0/16"]',
        HOOK + 'url = "http://localhost:9/x"\n[webhook_delivery]\nallow_private = ["127.0.0.0/8"]',
        HOOK + 'url = "http://127.0.0.1:9/x"\n[webhook_delivery]\nallow_private = ["127.0.0.1"]',
        '[smtp]\nlisten = ["0.0.0.0:25"]\nallow = ["10.0.0.0/8"]',
        '[smtp]\nlisten_tls = ["0.0.0.0:465"]\nauth = "users"\ncertificate = "cert.pem"\nkey = "key.pem"',
        '[smtp]\nauth = "users"',
        '[http]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"',
        '[milter]\nlisten = "unix:/run/trackrelay/milter.sock"\nmode = "0666"\n' + URL,
        '[milter]\nsubmitters = ["authenticated", "10.0.0.0/8", "::1/128", "daemon:submission"]',
        "[store]\nurl = 'sqlite:/srv/x.db'",
        UP + URL,
        '[smtp]\nworkers = 2\n[http]\nworkers = "auto"',
        '[smtp]\nauth = "upstream"\nworkers = "auto"\n[http]\nworkers = 2',
        '[smtp]\nauth = "upstream"\nworkers = 1',
    ],
)
def test_these_are_right(folder, text):
    load(folder, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[admin]\nlisten = "0.0.0.0:8081"', "2: admin.listen: is reached from other machines"),
        ('[tracking]\nurl = "http://t.example.com"', "2: tracking.url: is http"),
        ("[tracking]\nthread_replies = true", "2: tracking.thread_replies: is on, but no grant has a mailbox"),
        ('[milter]\nlisten = "inet:0.0.0.0:8891"\n' + URL, "2: milter.listen: is reached from other machines"),
        (
            HOOK.replace('"x"', '"env:S"') + 'url = "https://x.test"\nverdicts = ["self"]',
            "5: webhooks[0].verdicts: names only",
        ),
        ('[[rules]]\nopens = true\n[[rules]]\nfrom = "a@b.test"', "1: rules[0]: matches all mail"),
        ('[upstream]\nurl = "smtp://127.0.0.1"', "1: tracking.url: is not set: links lead to http://127.0.0.1:8080"),
        ("[smtp]\nlisten = []", "2: smtp.listen: is empty, and so is listen_tls"),
        ('[[grants]]\nid = "a"', "1: grants[0].addresses: is empty"),
    ],
)
def test_one_warning_one_sentence(folder, text, expected):
    (warning,) = load(folder, text, S="x").warnings
    assert warning.removeprefix(f"{folder / 'relay.toml'}:").startswith(expected)


def test_the_tracking_server_listens_on_one_address_or_on_several(folder):
    assert load(folder, '[http]\nlisten = "127.0.0.1:80"').http.listen == ("127.0.0.1:80",)
    several = load(folder, '[http]\nlisten = ["0.0.0.0:80", "[::1]:80"]')
    assert several.http.listen == ("0.0.0.0:80", "[::1]:80")
    assert several.tracking.url == "http://[::1]:80"  # what this machine reaches
    assert load(folder, "").http.listen == ("127.0.0.1:8080",)


def test_every_notification_that_there_is_can_be_asked_for():
    for form, events in payload.NAMES.items():
        assert {name for names in events.values() for name in names} == set(table.TRIGGERS[form])


def test_a_mistake_makes_no_second_one_of_what_follows_from_it(folder):
    text = '[smtp]\nlisten = ["0.0.0.0:2525"]\nauth = "user"\ncertificate = "gone.pem"\nkey = "key.pem"\n'
    assert [m.split(": ")[1] for m in mistakes(folder, text)] == ["smtp.auth", "smtp.certificate"]
    text = '[[grants]]\nid = "a"\nmailbox = "imaps://u@imap.test"\nmailbox_password_file = "gone"\n'
    assert [m.split(": ")[1] for m in mistakes(folder, text)] == ["grants[0].mailbox_password_file"]


def test_a_file_that_is_not_utf8(folder):
    (folder / "relay.toml").write_bytes(b'a = "x"\nb = "\xe4"\n')
    with pytest.raises(config.InvalidSettings, match=r"relay.toml:2: syntax: the file is not UTF-8"):
        config.load(folder / "relay.toml")


def test_a_byte_order_mark_and_dos_lines_are_no_mistake(folder):
    (folder / "relay.toml").write_bytes(b'\xef\xbb\xbf[smtp]\r\n\r\nhostname = "a.test"\r\nx = 1\r\n')
    with pytest.raises(config.InvalidSettings) as caught:
        config.load(folder / "relay.toml")
    assert [(m.line, m.key) for m in caught.value.mistakes] == [(4, "smtp.x")]


def test_a_file_that_cannot_be_read(folder):
    with pytest.raises(config.Missing, match="can't be read: it is a folder, and a file is needed"):
        config.load(folder)
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    (folder / "relay.toml").touch(mode=0)
    with pytest.raises(config.Missing, match="can't be read: permission denied to the user "):
        config.load(folder / "relay.toml")


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=9,
), st.sampled_from([(s.key, o.key) for s in table.SECTIONS for o in s.options]))  # fmt: skip
def test_for_any_value_of_any_key_there_are_settings_or_sentences(tmp_path_factory, value, where):
    """Never another exception, whatever stands where."""
    section, key = where
    line = f"{key} = {toml(value)}\n"
    many = bool(section) and table.BY_KEY[section].many
    header = f"[[{section}]]\n" if many else f"[{section}]\n" if section else ""
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(header + line, encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(config.InvalidSettings):
        config.load(file, {})


def toml(value: object) -> str:
    match value:
        case None:
            return "1979-05-27"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return '"' + "".join(f"\\U{ord(c):08X}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    raise TypeError(value)


# -- lines -------------------------------------------------------------------------------------------------------------

DOCUMENT = '''\
top = 1  # [not.a.table]
"quo\\"ted".'lit eral'.x = """
[not]
a = "table"\\
"""
[ a . "b.c" ]
list = [ 1,
  [2,
   3], # comment ]
  { x = 1, y.z = [
    "s" ] },
]
d = 1979-05-27 07:32:00
e = \'\'\'
' '' "quotes" \'\'\'\'
f = """a ""quotes"" """""
[[rules]]
from = "x"
[rules.sub]
k = 1
[[rules.more]]
k = 2
[[rules.more]]
k = 3
[[rules]]
to = { a = "]", b = '}' }
[[rules.more]]
k = 4
'''

LINES = {
    ("top",): 1,
    ('quo"ted',): 2,
    ('quo"ted', "lit eral"): 2,
    ('quo"ted', "lit eral", "x"): 2,
    ("a", "b.c"): 6,
    ("a", "b.c", "list"): 7,
    ("a", "b.c", "list", 0): 7,
    ("a", "b.c", "list", 1): 8,
    ("a", "b.c", "list", 1, 0): 8,
    ("a", "b.c", "list", 1, 1): 9,
    ("a", "b.c", "list", 2): 10,
    ("a", "b.c", "list", 2, "x"): 10,
    ("a", "b.c", "list", 2, "y"): 10,
    ("a", "b.c", "list", 2, "y", "z"): 10,
    ("a", "b.c", "list", 2, "y", "z", 0): 11,
    ("a", "b.c", "d"): 13,
    ("a", "b.c", "e"): 14,
    ("a", "b.c", "f"): 16,
    ("rules",): 17,
    ("rules", 0): 17,
    ("rules", 0, "from"): 18,
    ("rules", 0, "sub"): 19,
    ("rules", 0, "sub", "k"): 20,
    ("rules", 0, "more"): 21,
    ("rules", 0, "more", 0): 21,
    ("rules", 0, "more", 0, "k"): 22,
    ("rules", 0, "more", 1): 23,
    ("rules", 0, "more", 1, "k"): 24,
    ("rules", 1): 25,
    ("rules", 1, "to"): 26,
    ("rules", 1, "to", "a"): 26,
    ("rules", 1, "to", "b"): 26,
    ("rules", 1, "more"): 27,
    ("rules", 1, "more", 0): 27,
    ("rules", 1, "more", 0, "k"): 28,
}


def test_the_lines_of_keys():
    tomllib.loads(DOCUMENT)
    assert places.lines(DOCUMENT) == LINES


def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return set()
    return {(*path, k) for k, _ in inner} | {p for k, v in inner for p in paths(v, (*path, k))}


PIECES = st.lists(
    st.sampled_from([
        *"[]{}=.,#\"'\n ab01_-\\", '"""', "'''", "[[a]]\n", "[b]\n", "[a.b]\n", "a = 1\n", "b = [1,\n2]\n", "\r\n",
        'c = {a.b = 1, "c" = []}\n', "\t", "é", "1979-05-27 07:32:00", "true", "1e3", "a.b = ", "\\\n",
    ]),
    max_size=14,
).map("".join)  # fmt: skip


@given(PIECES)
def test_for_any_valid_document_every_key_and_element_has_a_line(text):
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = places.lines(text.replace("\r\n", "\n"))
    wanted = paths(tree)
    # A table that only a longer header implies ([a.b] makes a) has none.
    assert set(found) <= wanted
    assert {p for p in wanted - set(found) if not any(len(q) > len(p) and q[: len(p)] == p for q in found)} == set()
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("relay.example.com", "relay.example.com"), ("Relay.Bücher.example.", "relay.xn--bcher-kva.example"), ("", ""),
        ("[192.0.2.1]", "[192.0.2.1]"), ("[ipv6:2001:DB8::0:1]", "[IPv6:2001:db8::1]"),
    ],
)  # fmt: skip
def test_our_own_name(folder, written, name):
    assert load(folder, f'[smtp]\nhostname = "{written}"').smtp.hostname == name
