"""Every command where something that it needs is missing, may not be read or written, or is broken: one sentence on standard
error and the right exit code, never a traceback."""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import relay
import tracking_http
from relay import dumps, log, store
from relay.__main__ import COMMANDS, main

NOBODY = 65534
LINES = """
run --only webhooks
check
rewrite message.eml
inspect message.eml
inspect gone.eml
classify hits.json
events
events --message x
messages list
messages show x
queue list
queue show 0a
queue show 0a --content
queue retry 0a
queue retry --all
queue drop 0a
webhooks list
webhooks list --dead
webhooks replay --dead
user list
user add ann --password-file password
user remove ann
api-key list
api-key create k
api-key revoke k
token-key list
token-key rotate
token-key rotate --force
token-key add
token-key add --from gone.json
token-key activate 1
token-key activate 1 --force
links list
links block https://e.test/
links block <m@x.test>
links unblock https://e.test/
suppress add bob@e.test
suppress add --csv gone.csv
suppress list
suppress remove bob@e.test
suppress requests
suppress requests --done bob@e.test
dkim create --ed25519 e.test s1
counts rebuild
counts resume
store copy --to sqlite:other.db
nodes
nodes --json
nodes remove other
nodes remove other --force
backup copy
export --recipient ada@example.net
erase --recipient ada@example.net --yes
erase --recipient ada@example.net --yes --queue
units made
""".strip().splitlines()
UNCONFIGURED = {
    "rewrite message.eml",
    "inspect message.eml",
    "inspect gone.eml",
    "classify hits.json",
    "units made",
}  # work without a file
SENTENCE = re.compile(r"trackrelay(?: [a-z-]+)*: |(?:added|removed) ann$|.*relay\.toml: smtp\.auth is ")
RAW = re.compile(r"Traceback|\[Errno|Permission denied|Not a directory|No such file|File exists|Is a directory")
SETTINGS = """
[smtp]
listen = ["127.0.0.1:0"]
auth = "users"
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[upstream]
url = "smtp://127.0.0.1:1"
tls = "never"
"""


def test_all_commands_are_walked_through() -> None:
    apart = {"demo", "init"}  # demo has no files, init makes what the others need: below
    assert {line.split()[0] for line in LINES} == set(COMMANDS) - apart


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where everybody may look in, as pytest's own folder is not."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    (made / "relay.toml").write_text(SETTINGS)
    (made / "message.eml").write_bytes(b"Subject: x\r\n\r\nhello\r\n")
    (made / "hits.json").write_text('{"kind":"open","at":1}')
    (made / "password").write_text("a long password\n")
    for path in made.iterdir():
        path.chmod(0o644)
    monkeypatch.chdir(made)
    monkeypatch.delenv("TRACKRELAY_CONFIG", raising=False)
    monkeypatch.setattr(dumps, "forbid", lambda: None)  # of the process, and this one is pytest's
    monkeypatch.setattr(log, "start", lambda *_: None)
    yield made
    for path in [made, *made.rglob("*")]:
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(made)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Without root's rights: who is not root has none anyway. What is imported meanwhile must be there already, since the
    interpreter's own files may be out of reach."""
    for package in (relay, tracking_http):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in (
        "pwd",
        "dns.asyncresolver",
        "sqlite_utils",
        "uvloop",
        "encodings.idna",
        "encodings.punycode",
        "argon2",
    ):
        importlib.import_module(name)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def walk(capsys: pytest.CaptureFixture[str], lines: list[str] = LINES) -> dict[str, int]:
    """The exit code of each; what they say is looked at here."""
    codes = {}
    for line in lines:
        try:
            code = main(line.split())
        except SystemExit as ended:
            code = int(ended.code or 0)
        shown = capsys.readouterr()
        assert not RAW.search(shown.err), (line, shown.err)
        for each in shown.err.splitlines():
            assert SENTENCE.match(each), (line, each)
        if code and not line.startswith("check"):
            assert shown.err.strip(), line
        codes[line] = code
    return codes


def ended(codes: dict[str, int], code: int) -> set[str]:
    return {line for line, found in codes.items() if found == code}


def prepared(folder: Path) -> None:
    """As a service leaves it."""

    async def once() -> None:
        opened = store.open("sqlite:trackrelay.db", folder / "var")
        await opened.start()
        await opened.stop()

    (folder / "var").mkdir(mode=0o700)
    asyncio.run(once())


# -- the settings ------------------------------------------------------------------------------------------------------


def gone(folder: Path) -> None:
    (folder / "relay.toml").unlink()


def a_folder(folder: Path) -> None:
    gone(folder)
    (folder / "relay.toml").mkdir()


def no_toml(folder: Path) -> None:
    (folder / "relay.toml").write_text("[smtp\n")


@pytest.mark.parametrize("spoil", [gone, a_folder])
def test_without_settings(folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    codes = walk(capsys)
    assert ended(codes, 0) == UNCONFIGURED
    assert ended(codes, 2) == codes.keys() - UNCONFIGURED


def test_settings_that_may_not_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "relay.toml").chmod(0)
    with somebody_else():
        codes = walk(capsys)
    assert ended(codes, 2) == {line for line in codes if not line.startswith(("inspect", "classify", "units"))}
    with somebody_else(), pytest.raises(SystemExit):
        main(["events"])
    assert re.fullmatch(
        r"trackrelay: relay.toml can't be read: permission denied to the user .*\n", capsys.readouterr().err
    )


def test_settings_that_are_no_toml(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_toml(folder)
    for line in LINES:
        if not line.startswith(("inspect", "classify", "units")):
            with pytest.raises(SystemExit) as stopped:
                main(line.split())
            assert stopped.value.code == 2
            assert re.match(r"relay\.toml:1: ", capsys.readouterr().err)


# -- the state folder --------------------------------------------------------------------------------------------------

EMPTY = {"queue list", "queue retry --all", "user list", "links list"}  # nothing is there, and that is no fault
OWN = {"user add ann --password-file password", "token-key rotate", "token-key rotate --force", "token-key add",
       "links block https://e.test/",
       "dkim create --ed25519 e.test s1"}  # fmt: skip
# What makes its own file in it, whatever became of the database.
UNDONE = {"user remove ann", "links unblock https://e.test/"}  # what those before it did


def test_before_the_first_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Logins, keys and blocked links can be made; what reads says that no service has run."""
    codes: dict[str, int] = {}
    for line in LINES[1:]:  # `run` would be that start
        codes |= walk(capsys, [line])
        shutil.rmtree(folder / "var", ignore_errors=True)
    works = (
        EMPTY
        | OWN
        | UNCONFIGURED
        | {"api-key create k", "webhooks list", "webhooks list --dead", "suppress add bob@e.test"}
    )
    assert ended(codes, 0) == works
    assert ended(codes, 1) == codes.keys() - works
    assert main(["events"]) == 1
    assert capsys.readouterr().err == (
        f"trackrelay events: {folder / 'var'} does not exist: no service has run with {folder / 'relay.toml'} yet\n"
    )


def test_what_was_made_before_the_first_start_is_the_services(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["user", "add", "ann", "--password-file", "password"]) == 0
    assert main(["api-key", "create", "k", "--scope", "read,manage", "--scope", "send", "--scope", "read"]) == 0
    assert main(["api-key", "list"]) == 0
    assert "\tread,manage,send\t" in capsys.readouterr().out
    assert {oct(path.stat().st_mode & 0o777) for path in [folder / "var", *folder.glob("var/**/")]} == {"0o700"}
    assert {oct(p.stat().st_mode & 0o777) for p in folder.glob("var/**/*") if p.is_file()} == {"0o600"}


def test_a_state_folder_that_cannot_be_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.chmod(0o555)
    with somebody_else():
        codes = walk(capsys)
    assert ended(codes, 2) == set()
    assert ended(codes, 0) == EMPTY | UNCONFIGURED - {"units made"} | {"webhooks list", "webhooks list --dead"}


def test_a_state_folder_that_may_not_be_entered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(folder)
    (folder / "var").chmod(0)
    with somebody_else():
        codes = walk(capsys)
    assert ended(codes, 2) == {"rewrite message.eml"}
    assert ended(codes, 0) == {"inspect message.eml", "inspect gone.eml", "classify hits.json"}


def test_a_state_folder_that_may_only_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(folder)
    for path in folder.glob("var/*"):
        path.chmod(0o444)
    (folder / "var").chmod(0o555)
    with somebody_else():
        codes = walk(capsys)
    assert ended(codes, 2) == set()
    assert ended(codes, 0) == EMPTY | UNCONFIGURED - {"units made"}


def test_a_state_folder_that_is_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "var").write_text("x")
    codes = walk(capsys)
    assert ended(codes, 2) == set()
    assert ended(codes, 0) == UNCONFIGURED


# -- the database ------------------------------------------------------------------------------------------------------


def newer(folder: Path) -> None:
    prepared(folder)
    with sqlite3.connect(folder / "var" / "trackrelay.db") as db:
        db.execute("INSERT INTO migrations VALUES (9999, 0)")
    db.close()


def damaged(folder: Path) -> None:
    (folder / "var").mkdir(mode=0o700)
    (folder / "var" / "trackrelay.db").write_bytes(b"no database, and long enough to see that" * 100)


def no_file(folder: Path) -> None:
    (folder / "var" / "trackrelay.db").mkdir(mode=0o700, parents=True)
    (folder / "var").chmod(0o700)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(newer, "the database has schema 9999"), (damaged, "trackrelay.db: it is no SQLite database, or a damaged one; restore"),
     (no_file, "trackrelay.db: it can't be opened; check its folder")],
)  # fmt: skip
def test_a_database_that_cannot_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], words: str
) -> None:
    spoil(folder)
    codes = walk(capsys)
    assert ended(codes, 2) == set()
    by_force = {"token-key activate 1 --force"}  # since nobody knows what other nodes have
    assert ended(codes, 0) == EMPTY | OWN - {"token-key rotate"} | by_force | UNDONE | UNCONFIGURED
    assert main(["messages", "list"]) == 1
    assert capsys.readouterr().err.startswith(f"trackrelay messages: {words}")


# -- the first settings ------------------------------------------------------------------------------------------------


def test_settings_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shut").mkdir(mode=0)
    (folder / "taken").mkdir()
    (folder / "taken" / "secrets").write_text("no folder")
    places = ("shut", "shut/below", "password", "password/below", "taken", ".")
    with somebody_else():
        codes = walk(capsys, [f"init {to} --upstream local --tracking-host t.e.test --no-check" for to in places])
    assert set(codes.values()) == {1}
    assert sorted(path.name for path in folder.rglob("*") if "init" in path.name or path.suffix == ".tmp") == []
    assert list((folder / "taken").iterdir()) == [folder / "taken" / "secrets"]


# -- files that a command is given -------------------------------------------------------------------------------------


def test_a_backup_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(folder)
    (folder / "var").chmod(0o700)
    (folder / "shut").mkdir(mode=0)
    (folder / "full").mkdir()
    (folder / "full" / "x").write_text("x")
    if os.geteuid() == 0:
        for path in (folder / "var", *(folder / "var").iterdir()):
            os.chown(path, NOBODY, NOBODY)
    with somebody_else():
        for to, code, words in (
            ("shut/copy", 1, "shut/copy: permission denied to the user "),
            ("shut", 1, "shut: permission denied to the user "),
            ("password", 2, "password: a part of the path is a file, and no folder; "),
            ("full", 2, "full exists and is not empty; name a new folder"),
        ):
            assert main(["backup", to]) == code, to
            said = capsys.readouterr()
            assert said.err.startswith(f"trackrelay backup: {words}"), said.err
            assert said.err.count("\n") == 1
            assert "incomplete" not in said.err  # nothing was begun


def test_a_password_file_that_cannot_be_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "latin").write_bytes(b"p\xe4ssword\n")
    for name, words in (
        ("gone", "gone: there is no such file or folder; check the path"), ("latin", "latin: it is no text in UTF-8"),
        (".", ".: it is a folder, and a file is needed; check the path"),
    ):  # fmt: skip
        assert main(["user", "add", "ann", "--password-file", name]) == 2
        assert capsys.readouterr().err == f"trackrelay user add: {words}\n"


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "--config F user list",
        "--config=F user list",
        "user --config F user-list",
        "user list --config F",
        "--conf F user list",
    ],
)
def test_the_settings_may_be_named_anywhere(folder: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    (folder / "events").write_text(SETTINGS + '[tracking]\nurl = "x"\n')  # a file's name that is a command's too
    with pytest.raises(SystemExit):
        main(words.replace("F", "events").replace("user-list", "list").split())
    assert capsys.readouterr().err.startswith("events:")


def test_the_settings_that_are_named_last_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other.toml").write_text("[smtp]\nprot = 1\n")
    with pytest.raises(SystemExit):
        main(["--config", "relay.toml", "user", "list", "--config", "other.toml"])
    assert capsys.readouterr().err.startswith("other.toml:2: ")


@pytest.mark.parametrize("scope", ["everything", "read,everything", "", "Read"])
def test_an_unknown_scope(folder: Path, capsys: pytest.CaptureFixture[str], scope: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["api-key", "create", "k", "--scope", scope])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert f"{scope.split(',')[-1]!r} is no scope; there are send, read, manage, admin\n" in said.err
    assert said.out == ""
    assert not (folder / "var").exists()
