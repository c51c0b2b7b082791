"""`trackrelay init`: as people run it, by options, by standard input and at a terminal; and what it makes of any answers."""

from __future__ import annotations

import base64
import os
import pty
import pwd
import re
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import config
from relay.config.kinds import Wrong
from relay.core import domains, networks
from relay.init import answers, known, steps, writing

ROOT = Path(__file__).parent.parent.parent
RAW = re.compile(r"Traceback|\[Errno")


def init(*words: object, typed: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "TRACKRELAY_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "relay", "init", *map(str, words)],
        input=typed, capture_output=True, text=True, timeout=120, cwd=cwd, env={**environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert not RAW.search(done.stderr), done.stderr
    return done


USUAL = ("--upstream", "mail.example.com", "--tracking-host", "t.example.com", "--no-check")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- by options --------------------------------------------------------------------------------------------------------


def test_by_options(tmp_path: Path) -> None:
    (tmp_path / "password").write_text('a "long" p\\ssw\u00f6rd\n')
    folder = tmp_path / "new" / "place"
    done = init(
        folder, "--upstream", "mail.example.com:465", "--login", "jane@example.com", "--password-file", tmp_path / "password",
        "--tracking-host", "t.example.com", "--track", "sales.example.com, jane@example.com", "--webhook",
        "https://app.example.com/hooks?a=b", "--no-check",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = config.load(folder / "relay.toml", {})
    assert found.upstream.url == "smtps://jane%40example.com@mail.example.com:465"
    assert found.upstream.password == 'a "long" p\\ssw\u00f6rd'
    assert (found.tracking.url, found.tracking.opens, found.tracking.links) == ("https://t.example.com", False, False)
    assert [(r.sender, r.tracking.opens, r.tracking.links) for r in found.rules] == [
        ("*@sales.example.com", True, True), ("jane@example.com", True, True),
    ]  # fmt: skip
    (hook,) = found.webhooks
    assert (hook.url, hook.secret[:6]) == ("https://app.example.com/hooks?a=b", "whsec_")
    assert len(base64.b64decode(hook.secret[6:])) >= 24
    assert found.state_dir == folder / "var"
    assert found.warnings == ()
    assert [mode(folder / name) for name in ("secrets", "secrets/upstream", "secrets/webhook")] == [0o700, 0o600, 0o600]
    assert mode(folder / "relay.toml") & 0o007 == 0
    assert "password" not in (folder / "relay.toml").read_text().replace("password_file", "")
    assert hook.secret not in done.stdout
    assert "t.example.com. IN A" in done.stdout
    assert "t.example.com {\n" in done.stdout
    assert "server_name t.example.com;" in done.stdout
    assert f"trackrelay run --config {folder}/relay.toml" in done.stdout
    assert not list(folder.rglob("*.tmp"))


def test_the_least(tmp_path: Path) -> None:
    done = init(*USUAL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = config.load(tmp_path / "relay.toml", {})
    assert found.upstream.url == "smtp://mail.example.com:25"
    assert (found.tracking.opens, found.tracking.links, found.rules, found.webhooks) == (True, True, (), ())
    assert (tmp_path / "secrets" / "webhook").read_text().startswith("whsec_"), "there for a webhook that comes later"
    assert not (tmp_path / "secrets" / "upstream").exists()


def test_the_password_on_standard_input(tmp_path: Path) -> None:
    for folder, more in ((tmp_path / "a", ()), (tmp_path / "b", ("--password-file", "-"))):
        assert init(folder, *USUAL, "--login", "jane", *more, typed="secret word\r\n").returncode == 0
        assert config.load(folder / "relay.toml", {}).upstream.password == "secret word"


def test_it_ends_in_check_and_has_its_exit_code(tmp_path: Path) -> None:
    done = init(tmp_path, "--upstream", "127.0.0.1:1", "--tracking-host", "http://127.0.0.1:1")
    assert f"ok       file: {tmp_path}/relay.toml has no mistakes" in done.stdout
    assert "FAILED   upstream: " in done.stdout
    assert done.returncode == 1
    assert done.stdout.index("FAILED") < done.stdout.index("What comes next")


def test_a_key_for_dkim(tmp_path: Path) -> None:
    done = init(tmp_path, *USUAL, "--dkim", "example.com:s2")
    assert done.returncode == 0
    (entry,) = config.load(tmp_path / "relay.toml", {}).dkim
    assert (entry.domain, entry.selector, mode(entry.key)) == ("example.com", "s2", 0o600)
    assert 's2._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=' in done.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text("mine\n")
    done = init(tmp_path, *USUAL)
    assert done.returncode == 1
    assert done.stderr == (
        f"trackrelay init: {tmp_path}/relay.toml is there already, and stays as it is; edit it and run trackrelay check, or "
        "name another folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["relay.toml"]
    assert (tmp_path / "relay.toml").read_text() == "mine\n"


@pytest.mark.parametrize("text", ["", "# Nothing is set yet.\n\n  # [upstream]\r\n"])
def test_a_file_that_sets_nothing_is_none(tmp_path: Path, text: str) -> None:
    """Such as the Debian package brings."""
    (tmp_path / "relay.toml").write_text(text)
    assert init(tmp_path, *USUAL).returncode == 0
    assert config.load(tmp_path / "relay.toml", {}).tracking.url == "https://t.example.com"


def test_a_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").symlink_to("elsewhere.toml")
    assert init(tmp_path, *USUAL).returncode == 1
    assert (tmp_path / "relay.toml").is_symlink()
    assert not (tmp_path / "elsewhere.toml").exists()


def test_secrets_that_are_there_are_used(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / "secrets" / "upstream").write_text("there before\n")
    (tmp_path / "secrets" / "webhook").write_text("whsec_before\n")
    for path in (tmp_path / "secrets").iterdir():
        path.chmod(0o600)
    (tmp_path / "other").write_text("another\n")
    done = init(
        tmp_path,
        *USUAL,
        "--login",
        "jane",
        "--password-file",
        tmp_path / "other",
        "--webhook",
        "https://a.example.com/",
    )
    assert done.returncode == 1
    assert "upstream is there already, with another password; remove it" in done.stderr
    assert not (tmp_path / "relay.toml").exists()
    assert init(tmp_path, *USUAL, "--login", "jane", "--webhook", "https://a.example.com/").returncode == 0
    found = config.load(tmp_path / "relay.toml", {})
    assert (found.upstream.password, found.webhooks[0].secret) == ("there before", "whsec_before")


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file where a folder is to be")
    done = init(tmp_path, *USUAL)
    assert done.returncode == 1
    assert done.stderr.startswith("trackrelay init: ")
    assert [path.name for path in tmp_path.iterdir()] == ["secrets"]
    new = tmp_path / "secrets" / "below"
    assert init(new, *USUAL).returncode == 1


WRONG = [
    (("--upstream", ""), "--upstream: name the server"),
    (("--upstream", "smpt.example.com:abc"), "--upstream: .* is neither a server's name"),
    (("--upstream", "jane@example.com"), "--upstream: .* is an address; name the server, such as smtp.example.com"),
    (("--upstream", "gmial"), "--upstream: .* did you mean gmail"),
    (("--upstream", "ses"), "--upstream: Amazon SES has a server for each region; write its name: email-smtp.REGION"),
    (("--upstream", "smtp://jane:word@mail.example.com"), "--upstream: a password does not belong in a URL"),
    (("--upstream", "http://mail.example.com"), "--upstream: .* should begin with smtp:// or smtps:// or lmtp://"),
    (("--upstream", "127.0.0.1:2525"), "upstream.url is this relay itself: mail would loop"),
    (("--upstream", "0.0.0.0"), "--upstream: .* is no machine that can be reached"),
    (("--upstream", "postmark"), "--login: Postmark takes mail only with a login: the server token"),
    (("--upstream", "smtp://a@mail.example.com", "--login", "b"), "--login: is 'b', and --upstream names 'a'"),
    (("--login", "jane"), "--password-file: is needed for the login jane"),
    (("--login", "jane", "--password-file", "gone"), "--password-file: there is no file .*gone"),
    (("--password-file", "gone"), "--password-file: there is no login that it belongs to"),
    (("--tracking-host", "http://t.example.com"), "--tracking-host: .* is http, .*; write https://t.example.com"),
    (("--tracking-host", "/t"), "--tracking-host: .* is only a path"),
    (("--tracking-host", "203.0.113.9"), "--tracking-host: 203.0.113.9 is an address"),
    (("--tracking-host", "tracking"), "--tracking-host: tracking is no full name"),
    (("--tracking-host", "t.example.com?x=1"), "--tracking-host: .* has a query"),
    (("--track", "some people"), '--track: "some" is neither all nor none'),
    (("--webhook", "app.example.com"), "--webhook: .* is no URL"),
    (("--webhook", "http://app.example.com/hooks"), r"webhooks\[0\].url is http, by which anybody"),
    (("--dkim", "example.com:a b"), "--dkim: .* is not a DKIM selector"),
    (("--user", "nobody-of-that-name"), "--user: there is no user"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_is_wrong_is_a_sentence(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = init(tmp_path / "x", *USUAL, *words)
    assert done.returncode == 2
    assert re.search(f"^trackrelay init: {sentence}", done.stderr, re.M), done.stderr
    assert not (tmp_path / "x").exists()


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    done = init(tmp_path, "--track", "x y", "--webhook", "z")
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
        "--track", "--webhook", "--upstream", "--tracking-host",
    ]  # fmt: skip


def usable(user: pwd.struct_passwd) -> bool:
    """Whether that user can run this interpreter: not where it is in root's own folder."""
    try:
        done = subprocess.run([sys.executable, "-c", "import imaplib"], user=user.pw_uid, capture_output=True, cwd="/")
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that everybody may pass, as pytest's own is not."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_writes_for_the_service(passable: Path) -> None:
    """relay.toml is root's and the service may read it; the secrets and the state are its own. check runs as the service's user."""
    nobody = pwd.getpwnam("nobody")
    folder = passable / "etc"
    done = init(folder, "--upstream", "127.0.0.1:1", "--tracking-host", "t.invalid", "--user", "nobody")
    owned = {name: (p.stat().st_uid, p.stat().st_gid, mode(p)) for name, p in (
        (name, folder / name) for name in (".", "relay.toml", "secrets", "secrets/webhook", "var"))}  # fmt: skip
    root, theirs = (0, nobody.pw_gid), (nobody.pw_uid, nobody.pw_gid)
    assert owned == {
        ".": (*root, 0o750), "relay.toml": (*root, 0o640), "secrets": (*theirs, 0o700), "secrets/webhook": (*theirs, 0o600),
        "var": (*theirs, 0o700),
    }  # fmt: skip
    if usable(nobody):
        assert f"ok       state_dir: {folder}/var can be written to" in done.stdout
    else:
        assert "the service's user can't run the program (No module named" in done.stderr
        assert done.returncode == 1


# -- at a terminal -----------------------------------------------------------------------------------------------------


class Terminal:
    """The command at a pseudo-terminal of its own."""

    def __init__(self, *words: object) -> None:
        self.seen = ""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.environ["PYTHONPATH"] = str(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "relay", "init", *map(str, words)])

    def until(self, words: str, seconds: float = 60.0) -> str:
        """What was shown up to these words, and is then forgotten."""
        deadline = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.screen, 65_536).decode(errors="replace")
                except OSError:  # the other side is closed
                    break
        assert words in self.seen, self.seen
        before, _, self.seen = self.seen.partition(words)
        return before + words

    def type(self, line: str) -> None:
        os.write(self.screen, f"{line}\n".encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and all that was still shown."""
        while True:
            try:
                more = os.read(self.screen, 65_536)
            except OSError:
                more = b""
            if not more:
                break
            self.seen += more.decode(errors="replace")
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.screen)
        return code, self.seen


def test_at_a_terminal(tmp_path: Path) -> None:
    """Each answer that can't be read is asked again, with what would be right; the password is never shown."""
    terminal = Terminal(tmp_path, "--no-check")
    terminal.until("Server: ")
    terminal.type("jane@example.com")
    assert "name the server, such as smtp.example.com" in terminal.until("Server: ")
    terminal.type("127.0.0.1:2525")
    assert "this relay itself" in terminal.until("Server: ")
    terminal.type("smtp.gmail.com")
    terminal.until("Login there (your whole address): ")
    terminal.type("")
    assert "takes mail only with a login" in terminal.until("Login there (your whole address): ")
    terminal.type("jane@b\u00fccher.example")
    terminal.until("An app password, which needs 2-step verification of jane@b\u00fccher.example (not shown): ")
    terminal.type(" blank first")
    terminal.until("(not shown): ")
    terminal.type('p"ss \u00e4\\word')
    shown = terminal.until("Host: ")
    assert "ss " not in shown.replace("address", "")
    terminal.type("http://t.example.com")
    assert "write https://t.example.com" in terminal.until("Host: ")
    terminal.type("t.b\u00fccher.example")
    terminal.until("Whose [all]: ")
    terminal.type("sales.example.com")
    terminal.until("URL [none]: ")
    terminal.type("http://app.example.com/hooks")
    assert "is http" in terminal.until("URL [none]: ")
    terminal.type("")
    code, rest = terminal.end()
    assert code == 0, rest
    assert "What comes next" in rest
    found = config.load(tmp_path / "relay.toml", {})
    assert networks.server(found.upstream.url) == ("smtp", "jane@b\u00fccher.example", "smtp.gmail.com", 587)
    assert found.upstream.password == 'p"ss \u00e4\\word'
    assert found.upstream.bounce_from == "jane@xn--bcher-kva.example"
    assert (found.tracking.url, found.tracking.per_recipient) == ("https://t.xn--bcher-kva.example", False)
    assert [rule.sender for rule in found.rules] == ["*@sales.example.com"]
    assert found.webhooks == ()


def test_what_an_option_answers_is_not_asked(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, *USUAL, "--login", "none", "--webhook", "none")
    asked = terminal.until("Whose [all]: ")
    assert "Server: " not in asked
    assert "Host: " not in asked
    terminal.type("none")
    assert terminal.end()[0] == 0
    found = config.load(tmp_path / "relay.toml", {})
    assert (found.tracking.opens, found.rules) == (False, ())


@pytest.mark.parametrize(("key", "code"), [("\x04", 2), ("\x03", 130)], ids=["Ctrl-D", "Ctrl-C"])
def test_who_stops_finds_nothing_written(tmp_path: Path, key: str, code: int) -> None:
    terminal = Terminal(tmp_path / "x")
    terminal.until("Server: ")
    terminal.type("mail.example.com")
    terminal.until("Login there [none]: ")
    os.write(terminal.screen, key.encode())
    assert terminal.end()[0] == code
    assert not (tmp_path / "x").exists()


# -- any answers -------------------------------------------------------------------------------------------------------

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
INTERNATIONAL = st.sampled_from(
    ["b\u00fccher", "\u043f\u043e\u0447\u0442\u0430", "\u4f8b\u3048", "stra\u00dfe", "M\u00dcNCHEN", "xn--bcher-kva"]
)
NAME = st.builds(
    ".".join, st.lists(LABEL | INTERNATIONAL, min_size=1, max_size=3).map(lambda found: [*found, "example"])
)
ADDRESS_4 = st.ip_addresses(v=4).map(str).filter(lambda text: not networks.everywhere(text))
ADDRESS_6 = st.ip_addresses(v=6).map(str).filter(lambda text: not networks.everywhere(text))
PORT = st.integers(1, 65_535)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@st.composite
def servers(draw: st.DrawFn) -> tuple[str, str, int | None]:
    """(as it is answered, its host, its port or None)"""
    host = draw(NAME | ADDRESS_4 | ADDRESS_6)
    port = draw(st.none() | PORT)
    bracketed = f"[{host}]" if ":" in host and (port or draw(st.booleans())) else host
    scheme = draw(st.sampled_from(["", "", "smtp://", "smtps://"]))
    if scheme and ":" in host:
        bracketed = f"[{host}]"
    return f"{scheme}{bracketed}{f':{port}' if port else ''}", host, port


@settings(max_examples=300, deadline=None)
@given(
    server=servers(), login=TEXT | st.just(""), tracking=NAME,
    track=st.sampled_from(["all", "none"]) | st.lists(NAME | st.builds("{}@{}".format, LABEL, NAME), min_size=1, max_size=3),
    webhook=st.just("none") | st.builds("https://{}/{}".format, NAME, st.from_regex(r"[\w/?=&%.~-]{0,12}", fullmatch=True)),
)  # fmt: skip
def test_any_answers_give_a_file_that_means_them(
    server: tuple[str, str, int | None], login: str, tracking: str, track: str | list[str], webhook: str
) -> None:
    """For all answers that are taken: the file loads, and says what was answered."""
    said, host, port = server
    read = answers.server(said)
    name = answers.login(login)
    found = answers.Answers(
        read.url(name), answers.tracking(tracking), answers.track(track if isinstance(track, str) else ", ".join(track)),
        answers.webhook(webhook),
    )  # fmt: skip
    try:
        loaded = config.read(writing.toml(found, "./var").encode(), Path("/nowhere/relay.toml"), {}, frozenset())
    except config.InvalidSettings as reason:
        if any(not re.search("loop|private|http", mistake.sentence) for mistake in reason.mistakes):
            raise
        return
    upstream = networks.server(loaded.upstream.url)
    assert upstream.login == name
    assert upstream.host == domains.spelt(host)
    assert upstream.port == (port or (465 if upstream.scheme == "smtps" else 587 if name else 25))
    assert loaded.tracking.url == f"https://{domains.spelt(tracking)}"
    assert (loaded.tracking.opens, loaded.tracking.links) == (track == "all",) * 2
    wanted = [] if isinstance(track, str) else track
    patterns = [f"{who.rpartition('@')[0] or '*'}@{domains.spelt(who.rpartition('@')[2])}" for who in wanted]
    assert [rule.sender for rule in loaded.rules] == list(dict.fromkeys(patterns))
    assert [hook.url for hook in loaded.webhooks] == ([] if webhook == "none" else [webhook])


@given(TEXT)
def test_any_password_comes_back_from_its_file_or_is_refused(password: str) -> None:
    try:
        taken = answers.password(password)
    except Wrong:
        if password == password.strip() and not password.startswith("\ufeff"):
            raise
        return
    assert taken == password
    assert taken.encode().decode().strip() == password, "as a file of secrets is read"


@given(st.text(max_size=40))
def test_any_text_is_an_answer_or_a_sentence(text: str) -> None:
    sentences = [wrong for read in READERS if (wrong := refused(read, text))]
    assert all(words for wrong in sentences for _, words in wrong.found)


READERS: tuple[Callable[[str], object], ...] = (
    answers.server,
    answers.login,
    answers.tracking,
    answers.track,
    answers.webhook,
    answers.dkim,
    answers.password,
)


def refused(read: Callable[[str], object], text: str) -> Wrong | None:
    try:
        read(text)
    except Wrong as wrong:
        return wrong
    return None


@pytest.mark.parametrize("word", [word for each in known.KNOWN for word in each.words])
def test_a_provider_is_known_by_its_words(word: str) -> None:
    each = known.named(word.upper())
    assert each is not None
    if not each.server:
        with pytest.raises(Wrong, match="REGION"):
            answers.server(word)
        return
    server = answers.server(word)
    assert server.known is each, "and by its server"
    found = answers.Answers(server.url("jane@example.com"), "https://t.example.com", answers.ALL)
    loaded = config.read(writing.toml(found, "./var").encode(), Path("/nowhere/relay.toml"), {}, frozenset())
    assert networks.server(loaded.upstream.url)[2:] == networks.endpoint(each.server)


def test_the_recipes_of_the_documents_are_the_same() -> None:
    page = (ROOT / "docs" / "upstreams.md").read_text()
    for each in known.KNOWN:
        if each.server and each.name in page:
            host, port = networks.endpoint(each.server)
            assert f"{host}:{port}" in page or each.name in ("Brevo", "MailerSend", "Emailit", "Mandrill"), each.name
            assert not each.login or f"{each.login}@{host}" in page or each.name == "Emailit", each.name


def test_what_comes_next_has_the_answers_in_it() -> None:
    server = answers.server("local")
    found = answers.Answers(server.url(""), "https://t.example.com:8443", answers.track("*@sales.example.com"))
    text = steps.text(found, Path("/etc/trackrelay/relay.toml"), addresses=["192.0.2.7", "2001:db8::7"])
    assert "t.example.com. IN A 192.0.2.7\n   t.example.com. IN AAAA 2001:db8::7" in text
    assert "t.example.com:8443 {" in text
    assert "listen 8443 ssl" in text
    assert "trackrelay dkim create sales.example.com t1" in text
    assert "systemctl enable --now trackrelay" in text
    here = answers.Answers(server.url(""), "http://127.0.0.1:8080", answers.ALL)
    assert "IN A" not in steps.text(here, Path("/x y/relay.toml"), addresses=[])
    assert "run --config '/x y/relay.toml'" in steps.text(here, Path("/x y/relay.toml"), addresses=[])
