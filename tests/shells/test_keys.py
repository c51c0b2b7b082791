"""The key file: made once whoever starts first, never lost, rotated under a running process."""

import itertools
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from relay import keys
from relay.core import tokens
from relay.core.model import Token

TOKEN = Token("open", bytes(12), 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "keys" / "tokens.json"


def token_keys(path):
    """That look at the file whenever they are asked."""
    return keys.TokenKeys(path, clock=itertools.count().__next__)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_file_is_made_for_its_owner_alone(path):
    old = os.umask(0)
    try:
        found = token_keys(path)
    finally:
        os.umask(old)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert len(found.now().secrets[found.now().current]) == 32
    assert keys.TokenKeys(path).now() == found.now()
    assert sorted(p.name for p in path.parent.iterdir()) == ["tokens.json", "tokens.lock"]


def test_processes_that_start_at_once_have_one_key(path):
    code = (
        "import sys, pathlib; from relay import keys; from relay.core import tokens; from relay.core.model import Token\n"
        "sys.stdin.readline(); found = keys.TokenKeys(pathlib.Path(sys.argv[1]))\n"
        "print(tokens.write(Token('open', bytes(12), 0), found.now()))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1


def test_threads_that_start_at_once_have_one_key(path):
    start, found = threading.Barrier(8), []

    def run():
        start.wait()
        found.append(keys.TokenKeys(path).now())

    started = [threading.Thread(target=run) for _ in range(8)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert len(found) == 8
    assert all(k == found[0] for k in found)


def test_rotation_is_seen_by_a_running_process_and_old_tokens_verify(path):
    found = token_keys(path)
    before = tokens.write(TOKEN, found.now())
    added = keys.rotate(path)
    assert found.now().current == added.key_id == 1
    after = tokens.write(TOKEN, found.now())
    assert before != after
    assert tokens.read(before, "open", found.now()) == tokens.read(after, "open", found.now()) == TOKEN
    assert mode(path) == 0o600
    assert [(row.key_id, row.current) for row in keys.listing(path)] == [(0, False), (1, True)]


def test_a_process_that_looks_seldom(path):
    """The file is asked for once a second and not for every pixel."""
    found = keys.TokenKeys(path, clock=lambda: 7.0)
    keys.rotate(path)
    assert found.now().current == 0
    assert not found.reload_if_changed()


def test_rotating_what_is_not_there_makes_it_first(path):
    assert keys.rotate(path).key_id == 1
    assert len(keys.listing(path)) == 2


def test_a_thirty_third_key_is_refused_and_nothing_changes(path):
    for _ in range(31):
        keys.rotate(path) if path.exists() else keys.TokenKeys(path)
    keys.rotate(path)
    before = path.read_bytes()
    with pytest.raises(keys.Unusable, match="32 keys"):
        keys.rotate(path)
    assert path.read_bytes() == before
    assert keys.TokenKeys(path).now().current == 31


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"{}",
        b'{"current": 0, "keys": {}}',
        b'{"current": 0, "keys": {"0": {"secret": "c2hvcnQ="}}}',
        b'{"current": 0, "keys": {"0": {"secret": "!!"}}}',
        b'{"current": 32, "keys": {"32": {"secret": "' + b"A" * 43 + b'="}}}',
        b'{"current": 0, "keys": {"00": {"secret": "' + b"A" * 43 + b'="}}}',
    ],
)
def test_a_damaged_file_is_never_replaced(path, content):
    """A new key in its place would kill every link that was ever sent."""
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for attempt in (keys.TokenKeys, keys.rotate, keys.listing):
        with pytest.raises(keys.Unusable, match="damaged"):
            attempt(path)
    assert path.read_bytes() == content


def test_a_file_that_breaks_or_goes_leaves_a_running_process_as_it_is(path, caplog):
    found = token_keys(path)
    before = found.now()
    whole = path.read_bytes()
    path.write_bytes(b"{")
    assert [found.now() for _ in range(3)] == [before] * 3
    path.unlink()
    assert found.now() == before
    assert sum("keys_not_reloaded" in r.message for r in caplog.records) == 2
    path.write_bytes(whole)
    path.chmod(0o600)
    assert found.now() == before


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(keys.Unusable):
        keys.TokenKeys(tmp_path / "keys" / "tokens.json")


def test_a_process_that_died_while_writing_leaves_nothing_in_the_way(path):
    path.parent.mkdir(parents=True)
    draft = path.with_name("tokens.json.0a1b2c3d.tmp")
    draft.write_bytes(b'{"current": 0, "ke')
    before = keys.TokenKeys(path).now()
    assert keys.rotate(path).key_id == 1
    assert keys.TokenKeys(path).now().secrets[0] == before.secrets[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(path):
    """An operator rotates as root, the service reads as itself."""
    path.parent.parent.mkdir(parents=True)
    os.chown(path.parent.parent, 4321, 4321)
    keys.TokenKeys(path)
    keys.rotate(path)
    for made in (path.parent, path, path.with_suffix(".lock")):
        assert (made.stat().st_uid, made.stat().st_gid) == (4321, 4321)


def test_secrets_are_not_shown(path):
    found = token_keys(path)
    secret = json.loads(path.read_text())["keys"]["0"]["secret"]
    assert secret not in repr(keys.listing(path)) + repr(found.now()) + repr(found.__dict__)


def test_the_keys_of_a_dry_run_are_the_same_each_time_and_of_no_installation(path):
    text = tokens.write(TOKEN, keys.dry_run())
    assert tokens.read(text, "open", keys.dry_run()) == TOKEN
    assert tokens.read(text, "open", token_keys(path).now()) is None


# -- files of an earlier version ---------------------------------------------------------------------------------------


def test_what_lay_beside_the_token_keys_goes_into_folders_of_its_own(tmp_path):
    for name in ("tokens.json", "smtp-users", "smtp-users.lock", "oauth2-1234"):
        (tmp_path / name).write_text(name)
    for _ in range(2):
        keys.arrange(tmp_path)
        found = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
        assert found == {
            "tokens.json": "tokens.json",
            "logins/smtp-users": "smtp-users",
            "logins/smtp-users.lock": "smtp-users.lock",
            "oauth2/oauth2-1234": "oauth2-1234",
        }


def test_a_file_in_its_new_place_is_not_replaced_by_an_old_one(tmp_path, caplog):
    (tmp_path / "logins").mkdir()
    (tmp_path / "logins" / "smtp-users").write_text("new")
    (tmp_path / "smtp-users").write_text("old")
    keys.arrange(tmp_path)
    assert (tmp_path / "logins" / "smtp-users").read_text() == "new"
    assert (tmp_path / "smtp-users").read_text() == "old"
