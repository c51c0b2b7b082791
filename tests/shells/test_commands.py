"""Commands whose input can't be used: a sentence and an exit code, never a traceback."""

import os
import re
import subprocess
import sys

import pytest

from relay import app, config, starting
from relay.__main__ import main

GOOD = '[upstream]\nurl = "smtp://127.0.0.1:25"\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relay.toml").write_text(GOOD)
    (tmp_path / "message.eml").write_bytes(b"Subject: x\r\n\r\nhello\r\n")
    return tmp_path


def said(capsys) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize("verb", [["list"], ["remove", "ann"]], ids=" ".join)
def test_user_names_the_mistakes_of_the_file(folder, capsys, verb):
    (folder / "relay.toml").write_text("[smtp]\nprot = 1\n")
    with pytest.raises(SystemExit) as stopped:
        main(["user", *verb])
    assert stopped.value.code == 2
    assert said(capsys).startswith("relay.toml:2: smtp.prot: there is no such key")


def test_rewrite_of_a_file_that_is_not_there(folder, capsys):
    assert main(["rewrite", "gone.eml"]) == 2
    assert said(capsys) == "trackrelay rewrite: gone.eml: there is no such file or folder; check the path\n"


def test_rewrite_with_a_damaged_key_file(folder, capsys):
    (folder / "var" / "keys").mkdir(parents=True, mode=0o700)
    (folder / "var" / "keys" / "tokens.json").write_text("{}")
    assert main(["rewrite", "message.eml"]) == 2
    assert "tokens.json is damaged" in said(capsys)


def test_rewrite_with_a_dkim_key_that_is_none(folder, capsys):
    (folder / "dkim.pem").write_text("no key")
    (folder / "relay.toml").write_text(f'{GOOD}[[dkim]]\ndomain = "e.test"\nselector = "t"\nkey = "dkim.pem"\n')
    assert main(["rewrite", "message.eml"]) == 2
    assert "this is no private key in PEM form" in said(capsys)


def test_rewrite_without_any_file_of_settings(folder, capsysbinary):
    (folder / "relay.toml").unlink()
    assert main(["rewrite", "message.eml"]) == 0
    out, err = capsysbinary.readouterr()
    assert (b"hello\r\n" in out, err) == (True, b"")


@pytest.mark.parametrize("words", [["events"], ["api-key", "list"], ["webhooks", "list"]], ids=" ".join)
def test_a_store_that_cannot_be_opened_is_one_sentence(folder, words):
    """In a process of its own: nothing has set up logging there, and Python would print the event's name too."""
    (folder / "var").mkdir(mode=0o700)
    (folder / "var" / "trackrelay.db").write_bytes(b"no database, and long enough to see that" * 100)
    done = subprocess.run([sys.executable, "-m", "relay", *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"trackrelay {words[0]}: .*\n", done.stderr)


async def test_a_state_folder_that_may_not_be_entered_ends_a_start_with_a_sentence(folder):
    (folder / "var").mkdir()
    (folder / "var").chmod(0)
    root = os.geteuid() == 0
    service = app.Service(config.Settings(state_dir=folder / "var"), frozenset({"admin"}))
    folder.chmod(0o755)
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(starting.CannotStart) as stopped:
            await service.start()
        assert stopped.value.code == 1
    finally:
        if root:
            os.seteuid(0)
        (folder / "var").chmod(0o700)
