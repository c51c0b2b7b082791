"""Private files: written whole, durable, and for their owner alone.

Owns: how such a file gets onto the disk (written beside its place, fsynced, renamed, its folder fsynced), its mode
(0600, in folders of 0700, whatever the umask), and whose it is. Where root writes, a file or folder belongs to the
owner of the folder it is in: the service runs as another user, and has to read what an operator made.
Leaves to others: what is in the files, their names, and who may write when.

Everything here blocks: call it off the loop. What fails raises OSError.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

FILE, FOLDER, PUBLIC = 0o600, 0o700, 0o644
FOLDERS = ("keys", "spool", "journal", "links")  # of private files, in state_dir
COPY_SIZE = 1 << 20  # octets in memory
ABANDONED_SECONDS = 3600.0  # after which a draft that nobody locks is one that a crash left

# -- the whole of it ---------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes, *, over: bool = True, mode: int = FILE) -> None:
    """The file, whole and on disk when this returns, in place of one that was there; FileExistsError where there is
    one and `over` is false. After any other error the old file stands, and nothing else is left. (The exception is a
    folder that can't be fsynced: then the new file is there, but may not be after a loss of power.) PUBLIC is the `mode`
    of what everybody may read."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = create(draft)
    try:
        fill(descriptor, content)
        if mode != FILE:
            os.fchmod(descriptor, mode)
        if over:
            finish(descriptor, draft, path)
        else:
            os.fsync(descriptor)
            os.link(draft, path)
            os.unlink(draft)
            sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error counts
            os.unlink(draft)
        raise
    finally:
        os.close(descriptor)


def copy(source: Path, path: Path) -> None:
    """A private copy, whole when this returns; FileExistsError where there is something already. Not fsynced: who
    copies many files does that for all at once (`os.sync`)."""
    with source.open("rb") as file:
        descriptor = create(path)
        try:
            while piece := file.read(COPY_SIZE):
                fill(descriptor, piece)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> None:
    """The folder, and those above it, where they are missing. One that is there is left as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        os.mkdir(path, FOLDER)
    except FileExistsError:
        if path.is_dir():  # another process was faster
            return
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _make_private(descriptor, FOLDER, path.parent)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(path)
        raise
    sync(path.parent)


def give(path: Path, uid: int, gid: int, mode: int) -> None:
    """Another owner and mode for a file or folder that this process has made. A link is not followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, now: float) -> None:
    """Takes away the drafts, here and in the folders below, that a crash left. `now` is in Unix seconds."""
    for path in folder.rglob("*.tmp"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if now - os.fstat(file.fileno()).st_mtime > ABANDONED_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all processes that lock this file, which is made for that. The kernel frees the lock of one that
    dies."""
    descriptor = open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def exposed(state_dir: Path) -> str:
    """Why nothing private can be kept there, as a sentence: others than the owner can write in it, or in one of
    FOLDERS. "" where all is well, or nothing is there yet."""
    for folder in (state_dir, *(state_dir / name for name in FOLDERS)):
        mode = _mode(folder)
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            return (
                f"{folder}: others can write there (mode {mode:04o}), and so plant keys and mail; "
                f'run "chmod -R go-rwx {state_dir}", or let state_dir name a folder of its own'
            )
    return ""


def readable(state_dir: Path) -> bool:
    """Can others than the owner look into it? What they see is names: the files are private all the same."""
    return bool(_mode(state_dir) & (stat.S_IRWXG | stat.S_IRWXO))


def _mode(folder: Path) -> int:
    try:
        return stat.S_IMODE(folder.stat().st_mode)
    except FileNotFoundError:
        return 0


# -- the steps ---------------------------------------------------------------------------------------------------------


def create(path: Path) -> int:
    """A descriptor, to read and write, of a new and empty file. FileExistsError where there is one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    try:
        _make_private(descriptor, FILE, path.parent)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return descriptor


def open(path: Path, flags: int = 0) -> int:
    """A descriptor, to read and write, of the file, which is made where it is missing. `flags` as in `os.open`. The mode
    and the owner of one that is there stay: it may be a link that somebody else put there."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | flags)
    except FileNotFoundError:
        pass
    with contextlib.suppress(FileExistsError):  # another process was faster
        os.close(create(path))
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | flags)


def fill(descriptor: int, *content: bytes) -> None:
    """Writes all of it, where the descriptor stands."""
    for piece in content:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]


def finish(descriptor: int, draft: Path, path: Path) -> None:
    """Gives a file that was filled as `draft` its name: durable when this returns."""
    os.fsync(descriptor)
    os.rename(draft, path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """What was made, renamed and removed in the folder is so after a loss of power too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private(descriptor: int, mode: int, above: Path) -> None:
    os.fchmod(descriptor, mode)  # a umask can only take away, but it may take away too much
    if os.geteuid() == 0:
        owner, own = os.stat(above), os.fstat(descriptor)
        if (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
