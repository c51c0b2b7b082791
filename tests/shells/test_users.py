"""The file of SMTP logins, its verification, and `trackrelay user`."""

import argparse
import os
import threading

import pytest

from relay import config
from relay.check import state_dir
from relay.commands import user
from relay.smtp import auth, users


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "keys" / "logins" / "smtp-users"


def test_the_file(file):
    assert users.read(file) == {}
    assert users.add(file, "jane", "one") is True
    assert users.add(file, "joe@example.com", "two") is True
    assert users.add(file, "jane", "three") is False
    assert set(users.read(file)) == {"jane", "joe@example.com"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "three" not in file.read_text()
    assert "$argon2id$" in file.read_text()
    assert users.remove(file, "jane") is True
    assert users.remove(file, "jane") is False
    assert set(users.read(file)) == {"joe@example.com"}


def test_senders_stand_behind_the_hash(file):
    users.add(file, "jane", "one", ["*@Sales.Example", "jane@x.example"])
    assert users.read(file)["jane"].senders == ("*@sales.example", "jane@x.example")
    users.add(file, "jane", "two")  # a new password, and the same senders
    assert users.fits(users.read(file)["jane"].hashed, "two")
    assert users.read(file)["jane"].senders == ("*@sales.example", "jane@x.example")
    users.add(file, "jane", "two", ["*"])
    users.add(file, "joe", "three")
    assert [login.senders for login in users.read(file).values()] == [("*",), ()]
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize("pattern", ["", "a b@x", "a:b@x", "<a@x>", "a@x,b@x", "a\n@x", "*ä@mü*.example"])
def test_patterns_that_can_not_be(file, pattern):
    with pytest.raises(users.InvalidLogin):
        users.add(file, "jane", "password", [pattern])
    assert users.read(file) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
@pytest.mark.parametrize("mask", [0o000, 0o077], ids=oct)
def test_what_root_adds_the_service_can_read(file, mask):
    """In folders that root makes, inside one that is the service's."""
    state = file.parents[2]
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    before = os.umask(mask)
    try:
        users.add(file, "jane", "one")
        users.add(file, "joe", "two")
    finally:
        os.umask(before)
    for path, mode in ((file.parent, 0o700), (file, 0o600), (file.with_suffix(".lock"), 0o600)):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65534, mode)
    assert sorted(p.name for p in file.parent.iterdir()) == ["smtp-users", "smtp-users.lock"]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "a\x00", "x" * 129, "a\u0085b"])
def test_names_that_can_not_be(file, name):
    with pytest.raises(users.InvalidLogin):
        users.add(file, name, "password")


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_passwords_that_can_not_be(file, password):
    with pytest.raises(users.InvalidLogin):
        users.add(file, "jane", password)


def test_many_at_once(file):
    threads = [threading.Thread(target=users.add, args=(file, f"user{n}", "x")) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(users.read(file)) == 12


async def test_verification(file):
    hashed: list[str] = []

    def fits(known: str, password: str) -> bool:
        hashed.append(known)
        return users.fits(known, password)

    users.add(file, "jane", "pässword")
    book = users.Book(file, fits=fits)
    assert await book.verify("jane", "pässword")
    assert await book.verify("jane", "pässword")
    assert len(hashed) == 1  # the second time it was known
    assert not await book.verify("jane", "passwort")
    assert not await book.verify("nobody", "pässword")
    assert len(hashed) == 3
    real, decoy = (h.split("$")[1:4] for h in hashed[1:])
    assert decoy == real == users.read(file)["jane"].hashed.split("$")[1:4]  # a login that there is not costs the same
    assert not await book.verify("", "")
    users.add(file, "jane", "new")
    users.add(file, "joe", "x")
    assert not await book.verify("jane", "pässword")
    assert await book.verify("jane", "new")
    assert await book.verify("joe", "x")
    users.remove(file, "jane")
    assert not await book.verify("jane", "new")


async def test_a_damaged_line_is_no_login(file):
    users.add(file, "jane", "x")
    with file.open("ab") as out:
        out.write(b"joe:plaintext\n:nobody\nempty:\n# comment:x\n\xff\xfe:\x80\n")
    users.add(file, "ann", "y")
    book = users.Book(file)
    assert not await book.verify("joe", "plaintext")
    assert await book.verify("jane", "x")


def command(tmp_path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    user.arguments(parser)
    args = parser.parse_args(list(words))
    args.config = str(tmp_path / "relay.toml")
    return user.run(args)


def test_the_command(tmp_path, capsys):
    (tmp_path / "relay.toml").write_text('state_dir = "state"\n')
    (tmp_path / "password").write_text("secret words \nsecond line\n")
    assert command(tmp_path, "add", "jane", "--password-file", str(tmp_path / "password")) == 0
    assert command(tmp_path, "add", "jane", "--password-file", str(tmp_path / "password")) == 0
    assert command(tmp_path, "add", "b ad", "--password-file", str(tmp_path / "password")) == 2
    assert command(tmp_path, "add", "joe", "--password-file", str(tmp_path / "missing")) == 2
    assert command(tmp_path, "list") == 0
    captured = capsys.readouterr()
    assert captured.out == "jane\n"
    assert "secret" not in captured.out + captured.err
    file = tmp_path / "state" / "keys" / "logins" / "smtp-users"
    assert users.fits(users.read(file)["jane"].hashed, "secret words ")
    assert command(tmp_path, "remove", "jane") == 0
    assert command(tmp_path, "remove", "jane") == 1


def test_the_command_where_the_file_is_not_there_to_be_used(tmp_path, capsys):
    """A sentence, never a traceback."""
    (tmp_path / "relay.toml").write_text('state_dir = "state"\n')
    (tmp_path / "state" / "keys" / "logins" / "smtp-users").mkdir(parents=True)
    (tmp_path / "password").write_text("secret words\n")
    for words in (("list",), ("remove", "jane"), ("add", "jane", "--password-file", str(tmp_path / "password"))):
        assert command(tmp_path, *words) == 1
        assert f"trackrelay user {words[0]}: " in capsys.readouterr().err


async def test_a_file_that_cannot_be_read_is_no_wrong_password(tmp_path, caplog):
    settings = config.Settings(state_dir=tmp_path, smtp=config.Smtp(auth="users"))
    users.path(settings).mkdir(parents=True)
    authenticator = auth.Authenticator(users.Book(users.path(settings)), None)
    assert await authenticator.admit("jane", "x", None) == auth.UNAVAILABLE
    assert "login_check_failed" in caplog.text
    assert "Traceback" not in caplog.text
    assert [str(f).split()[0] for f in await state_dir.logins(settings)] == ["FAILED"]
    users.path(settings).rmdir()
    assert "nobody can log in" in str(*await state_dir.logins(settings))
    users.add(users.path(settings), "jane", "x")
    assert [f.kind for f in await state_dir.logins(settings)] == ["ok"]
    users.path(settings).chmod(0o644)
    assert "chmod 600" in str((await state_dir.logins(settings))[-1])
