"""Private files: whole or not there, for their owner alone, and for the service where root made them."""

import fcntl
import itertools
import os
import signal
import stat
import threading
import time
from contextlib import contextmanager

import pytest

from relay import files
from tests.fakes import faults

OLD, NEW = b"the old one\n", b"the new one, which is longer\n" * 1000
SERVICE = 65534  # a user who is not root
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def owner(path):
    return path.stat().st_uid, path.stat().st_gid


def make_everything(folder):
    """All ways to a private file or folder; gives what they made."""
    deep = folder / "one" / "two"
    files.make_folder(deep)
    files.write(deep / "written", OLD)
    files.write(deep / "written", NEW)
    files.write(deep / "new", NEW, over=False)
    os.close(files.create(deep / "created"))
    os.close(files.open(deep / "opened"))
    os.close(files.open(deep / "opened"))
    files.copy(deep / "written", deep / "copied")
    with files.locked(deep / "locked"):
        pass
    return [deep.parent, deep], sorted(deep.iterdir())


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177], ids=oct)
def test_for_its_owner_alone_whatever_the_umask(tmp_path, mask):
    if mask == 0o177 and os.geteuid() != 0:
        pytest.skip("with such a umask only root can open a folder that it made")
    with umask(mask):
        folders, made = make_everything(tmp_path)
    assert {mode(path) for path in folders} == {0o700}
    assert [(path.name, mode(path)) for path in made] == [
        (name, 0o600) for name in ("copied", "created", "locked", "new", "opened", "written")
    ]
    assert (tmp_path / "one" / "two" / "copied").read_bytes() == NEW


@as_root
def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path):
    os.chown(tmp_path, SERVICE, SERVICE)
    folders, made = make_everything(tmp_path)
    assert {owner(path) for path in folders + made} == {(SERVICE, SERVICE)}


@as_root
def test_what_belonged_to_root_and_is_written_anew_belongs_to_the_owner_of_the_folder(tmp_path):
    os.chown(tmp_path, SERVICE, SERVICE)
    (tmp_path / "logins").write_bytes(OLD)
    files.write(tmp_path / "logins", NEW)
    assert owner(tmp_path / "logins") == (SERVICE, SERVICE)


@as_root
def test_root_gives_away_nothing_that_was_there(tmp_path):
    """The owner of the folder may have put a link where a lock is looked for."""
    theirs = tmp_path / "theirs"
    files.make_folder(theirs)
    os.chown(theirs, SERVICE, SERVICE)
    secret = tmp_path / "secret"
    secret.write_bytes(OLD)
    secret.chmod(0o640)
    for name in ("linked", "opened"):
        (theirs / name).symlink_to(secret)
    with files.locked(theirs / "linked"):
        pass
    os.close(files.open(theirs / "opened"))
    files.write(theirs / "opened", NEW)
    assert (owner(secret), mode(secret), secret.read_bytes()) == ((0, 0), 0o640, OLD)
    assert owner(theirs / "opened") == (SERVICE, SERVICE)
    assert not (theirs / "opened").is_symlink()


def test_one_that_is_there_is_not_replaced_where_that_was_said(tmp_path):
    files.write(tmp_path / "key", OLD, over=False)
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "key", NEW, over=False)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", OLD)]


@pytest.mark.parametrize("fault", [faults.full, faults.broken], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("how", ["over", "new", "beside"])
def test_a_disk_that_fails_at_any_step_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, how, fault):
    path = tmp_path / "file"
    for number in itertools.count(1):
        path.unlink(missing_ok=True)
        if how == "over":
            path.write_bytes(OLD)
        with monkeypatch.context() as patch:
            taken = faults.at(patch, number, fault)
            try:
                files.write(path, NEW, over=how != "beside")
                failed = False
            except OSError:
                failed = True
        found = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        if not failed:
            assert (found, taken[0]) == ({"file": NEW}, number - 1)  # a whole run without a fault
            assert number > 5
            break
        # The last steps, opening the folder and its fsync, come when the file has its name.
        assert found in (({"file": OLD} if how == "over" else {}), {"file": NEW})
        assert (found == {"file": NEW}) == (number >= 6)


def test_a_folder_that_cannot_be_made_is_not_there_by_half(tmp_path, monkeypatch):
    for number in itertools.count(1):
        with monkeypatch.context() as patch:
            taken = faults.at(patch, number, faults.broken)
            try:
                files.make_folder(tmp_path / str(number))
            except OSError:
                continue
            assert taken[0] < number
            break
    # Its own fsync is last: by then the folder is there as it should be.
    assert {mode(path) for path in tmp_path.iterdir()} == {0o700}
    assert len(list(tmp_path.iterdir())) == 1 + 2


def test_a_process_that_dies_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    for number in itertools.count(1):
        child = os.fork()
        if child == 0:
            faults.at(monkeypatch, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            files.write(path, NEW)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert path.read_bytes() in (OLD, NEW)
        if os.WIFEXITED(status):
            break
        assert (path.read_bytes() == NEW) == (number >= 6)
        path.write_bytes(OLD)
    assert number > 6
    files.sweep(tmp_path, time.time() + 2 * files.ABANDONED_SECONDS)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_many_that_write_one_file(tmp_path):
    """The last one counts, whoever it is; it is whole, and nothing of the others is left."""
    path, start, failed = tmp_path / "file", threading.Barrier(8), []

    def run(number):
        start.wait()
        try:
            for _ in range(10):
                files.write(path, b"%d\n" % number * 5000)
        except OSError as reason:
            failed.append(reason)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert path.read_bytes() in [b"%d\n" % n * 5000 for n in range(8)]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_goes_what_is_being_written_stays(tmp_path):
    (tmp_path / "below").mkdir()
    old, young, held = tmp_path / "below" / "a.01.tmp", tmp_path / "a.02.tmp", tmp_path / "a.03.tmp"
    for path in (old, young, held):
        path.write_bytes(OLD)
    (tmp_path / "a").write_bytes(OLD)
    for path in (old, held, tmp_path / "a"):
        os.utime(path, (1, 1))
    with files.locked(held):
        files.sweep(tmp_path, time.time())
    assert sorted(p.name for p in tmp_path.rglob("a*")) == ["a", "a.02.tmp", "a.03.tmp"]
    files.sweep(tmp_path / "nowhere", time.time())


def test_a_lock_is_one_process_s(tmp_path):
    inside, release = threading.Event(), threading.Event()

    def hold():
        with files.locked(tmp_path / "lock"):
            inside.set()
            release.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    with (tmp_path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    release.set()
    other.join()
    with files.locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize(
    ("state_dir", "keys", "refused", "readable"),
    [
        (0o700, 0o700, False, False),
        (0o700, None, False, False),
        (0o755, 0o700, False, True),
        (0o750, 0o700, False, True),
        (0o711, 0o700, False, True),
        (0o777, 0o700, True, True),
        (0o1777, 0o700, True, True),  # a tmpfs as it is mounted without a mode
        (0o770, 0o700, True, True),
        (0o702, 0o700, True, True),
        (0o700, 0o777, True, False),  # chmod -R 777, mended at the top only
    ],
)
def test_who_else_can_write(tmp_path, state_dir, keys, refused, readable):
    folder = tmp_path / "var"
    assert (files.exposed(folder), files.readable(folder)) == ("", False)
    folder.mkdir()
    if keys:
        (folder / "keys").mkdir()
        (folder / "keys").chmod(keys)
    folder.chmod(state_dir)
    found = files.exposed(folder)
    assert bool(found) == refused
    assert f"chmod -R go-rwx {folder}" in found or not refused
    assert files.readable(folder) == readable
