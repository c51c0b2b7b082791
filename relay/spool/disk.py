"""The spool on disk: one file per entry, owned by who holds its lock. Blocking; call it off the loop.

Owns: the form of the files, who may change one, and what happens to one that the disk does not take or does not let go.
Leaves to others: how a file gets onto the disk (`relay.files`), what the state means (`core.queue`), sending.

    ID.msg     one line of JSON (`core.queue.Entry` as it was put), then the message's bytes; never changed
    ID.now     the entry's state since the first attempt, replaced as a whole; its absence means none was made
    ID.held    an ID.msg to be, of which somebody has to write down first that it is one: then it gets that name
    *.tmp      a file that was not finished; nobody was promised anything
    ID.dropped what an operator removed, until somebody who sends has said so in the log and to the store
    .wake      touched when something was put or changed, so that a process which sends looks again
    broken/    what can't be read: kept for a person to look at

An entry exists from the moment that ID.msg has its name and the folder was fsynced. Whoever sends or changes one holds
an exclusive flock on ID.msg: the system releases it when a process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from relay import causes, files, log
from relay.core import queue

LOG = log.room("spool")

NAME = re.compile(r"[0-9a-f]{1,40}")


DROPPED = "dropped from the queue"


class Dropped(msgspec.Struct, frozen=True):
    """An entry that an operator removed: as it stood, and who it was."""

    entry: queue.Entry
    by: str


class Unwritable(Exception):
    """The disk did not take it (full, read-only, failing). Nothing was kept; the text says why."""


class Claim:
    """An entry that is ours until `release` or `remove`; `Disk` makes it. `entry` is its state as it was saved last."""

    __slots__ = ("_descriptor", "_disk", "entry")

    def __init__(self, disk: Disk, entry: queue.Entry, descriptor: int) -> None:
        self.entry = entry
        self._disk, self._descriptor = disk, descriptor

    def content(self) -> bytes:
        """The message's bytes."""
        with open(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            file.readline()
            return file.read()

    def save(self, entry: queue.Entry) -> None:
        """Replaces the entry's state, where it is still there. Raises `Unwritable`: then the old one stands."""
        if os.fstat(self._descriptor).st_nlink:
            self._disk.replace(entry)
        self.entry = entry

    def rewrite(self, entry: queue.Entry) -> None:
        """The entry from its first line on, with the same message: who was taken out of it stands nowhere any more. Raises
        `Unwritable`: then the old one stands."""
        self._descriptor = self._disk.rewrite(entry, self.content(), self._descriptor)
        self.entry = entry

    def remove(self) -> None:
        """Done with it. The lock goes last, so that nobody takes it up in between."""
        self._disk.remove(self.entry.entry_id)
        self.release()

    def drop(self, by: str) -> None:
        """As `remove`, for an operator; and a note of it for who sends, if the disk takes one."""
        self._disk.remove(self.entry.entry_id)
        self._disk.note(Dropped(self.entry, by))
        self.release()

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Disk:
    """The spool in the folder `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._refused: list[tuple[Path, int]] = []  # what was not kept, and can't be removed yet; and its lock

    def _path(self, entry_id: str, kind: str) -> Path:
        return self.directory / f"{entry_id}.{kind}"

    def start(self) -> None:
        """Makes the folder, and takes away what a crash left unfinished."""
        files.make_folder(self.directory)
        files.sweep(self.directory, time.time())
        for path in self.directory.glob("*.now"):
            if not self._path(path.stem, "msg").exists():
                path.unlink(missing_ok=True)  # the entry was done with

    def trouble(self) -> str:
        """Why nothing could be kept now, or ""."""
        try:
            files.make_folder(self.directory)
            with tempfile.TemporaryFile(dir=self.directory) as file:
                file.write(b"x" * 4096)
        except OSError as reason:
            return causes.brief(reason)
        return ""

    def put(self, entry: queue.Entry, content: bytes) -> Claim:
        """Keeps a message: when this returns it survives a loss of power. Raises `Unwritable`; where the disk does not
        even let it be taken back, it stays locked until it does (`take_back`)."""
        self.take_back()
        temporary, final = self._path(entry.entry_id, "tmp"), self._path(entry.entry_id, "msg")
        try:
            descriptor = files.create(temporary)
        except OSError as reason:
            raise Unwritable(causes.brief(reason)) from reason
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.fill(descriptor, queue.write(entry), content)
            files.finish(descriptor, temporary, final)
        except OSError as reason:
            with contextlib.suppress(OSError):
                temporary.unlink()
            try:
                final.unlink(missing_ok=True)
            except OSError:
                LOG.error("not_taken_back", entry=entry.entry_id)  # its client will bring it again: nobody may send it
                self._refused.append((final, descriptor))
            else:
                os.close(descriptor)
            raise Unwritable(causes.brief(reason)) from reason
        return Claim(self, entry, descriptor)

    def hold(self, entry: queue.Entry, content: bytes) -> None:
        """Keeps a message that is no entry yet: `admit` makes it one, `drop` takes it away; until then it is nobody's to
        send. Durable when it returns. Raises `Unwritable`."""
        try:
            files.write(self._path(entry.entry_id, "held"), queue.write(entry) + content)
        except OSError as reason:
            raise Unwritable(causes.brief(reason)) from reason

    def admit(self, prefix: str) -> list[str]:
        """What is held under such names becomes entries: their ids. What became one before, and may be gone since, is
        none again. Raises OSError."""
        names = sorted(path.stem for path in self.directory.glob(f"{prefix}*.held"))
        for name in names:
            os.rename(self._path(name, "held"), self._path(name, "msg"))
        if names:
            files.sync(self.directory)
        return names

    def drop(self, prefix: str) -> None:
        """What is held under such names goes."""
        for path in self.directory.glob(f"{prefix}*.held"):
            path.unlink(missing_ok=True)

    def has(self, prefix: str) -> bool:
        """Is there an entry of such a name, or something held? Blocks: it reads the folder."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.directory) as found:
            return any(item.name.startswith(prefix) and item.name.endswith((".msg", ".held")) for item in found)
        return False

    def take_back(self) -> None:
        """Removes what was refused, and could not be removed then."""
        waiting, self._refused = self._refused, []
        for path, descriptor in waiting:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                self._refused.append((path, descriptor))
            else:
                os.close(descriptor)

    def replace(self, entry: queue.Entry) -> None:
        """The entry's state, for who holds its claim. Raises `Unwritable`: then the old one stands."""
        try:
            files.write(self._path(entry.entry_id, "now"), queue.write(entry))
        except OSError as reason:
            raise Unwritable(causes.brief(reason)) from reason

    def rewrite(self, entry: queue.Entry, content: bytes, held: int) -> int:
        """In place of the file that is `held`: the new one's descriptor, with its lock. For who holds its claim."""
        temporary, final = self._path(entry.entry_id, "tmp"), self._path(entry.entry_id, "msg")
        try:
            descriptor = files.create(temporary)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                files.fill(descriptor, queue.write(entry), content)
                files.finish(descriptor, temporary, final)
            except OSError:
                os.close(descriptor)
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        except OSError as reason:
            raise Unwritable(causes.brief(reason)) from reason
        self._path(entry.entry_id, "now").unlink(missing_ok=True)
        os.close(held)
        return descriptor

    def remove(self, entry_id: str) -> None:
        """For who holds its claim."""
        for kind in ("msg", "now"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(entry_id, kind))
        files.sync(self.directory)

    def note(self, gone: Dropped) -> None:
        with contextlib.suppress(OSError):  # the disk may be full, and that a reason to drop some
            files.write(self._path(gone.entry.entry_id, "dropped"), msgspec.json.encode(gone))

    def notes(self) -> list[Dropped]:
        """What was dropped, oldest first; each is had once, over all processes."""
        found = []
        for path in sorted(self.directory.glob("*.dropped")):
            try:
                gone = msgspec.json.decode(path.read_bytes(), type=Dropped)
                path.unlink()
            except FileNotFoundError:  # another process was faster
                continue
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as reason:
                LOG.warning("not_read", path=path, reason=str(reason))
                continue
            found.append(gone)
        return found

    def claim(self, entry_id: str) -> Claim | None:
        """The entry, if it is there, whole, and nobody else's now."""
        try:
            descriptor = os.open(self._path(entry_id, "msg"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink == 0:  # removed between open and lock
                raise BlockingIOError
            entry = self.read(entry_id)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if entry is None:
            os.close(descriptor)
            return None
        return Claim(self, entry, descriptor)

    def named(self, entry_id: str) -> bool:
        """Could it be an entry's name? What a person typed becomes a path only then."""
        return bool(NAME.fullmatch(entry_id))

    def content(self, entry_id: str) -> bytes:
        """The message's bytes; OSError where it has gone."""
        with open(self._path(entry_id, "msg"), "rb") as file:
            file.readline()
            return file.read()

    def size(self, entry_id: str) -> int:
        """Octets of the file, envelope and message, 0 where it has gone."""
        try:
            return os.stat(self._path(entry_id, "msg")).st_size
        except FileNotFoundError:
            return 0

    def read(self, entry_id: str) -> queue.Entry | None:
        """The entry as it stands. One that can't be read is set aside, whole, with a line in the log."""
        found = self.measured(entry_id)
        return found[0] if found else None

    def measured(self, entry_id: str) -> tuple[queue.Entry, int] | None:
        """The same, with the octets of its message."""
        if not self.named(entry_id):
            return None
        message = self._path(entry_id, "msg")
        try:
            with open(message, "rb") as file:
                entry = queue.read(line := file.readline(1 << 24))
                size = os.fstat(file.fileno()).st_size - len(line)
            with contextlib.suppress(FileNotFoundError):
                entry = queue.read(self._path(entry_id, "now").read_bytes())
            if entry.entry_id != entry_id:
                raise queue.Unreadable(f"it calls itself {entry.entry_id}")
        except FileNotFoundError:
            return None
        except queue.Unreadable as reason:
            self.set_aside(entry_id, str(reason))
            return None
        return entry, size

    def set_aside(self, entry_id: str, reason: str) -> None:
        broken = self.directory / "broken"
        files.make_folder(broken)
        for kind in ("msg", "now"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._path(entry_id, kind), broken / f"{entry_id}.{kind}")
        LOG.error("set_aside", entry=entry_id, folder=str(broken), reason=reason)

    def scan(self) -> Iterator[str]:
        """The ids of all entries, oldest first."""
        try:
            with os.scandir(self.directory) as found:
                return iter(sorted(item.name[:-4] for item in found if item.name.endswith(".msg")))
        except FileNotFoundError:
            return iter(())

    def changed_at(self, entry_id: str) -> int:
        """When its state was written last, in nanoseconds; 0 where no attempt was made."""
        try:
            return os.stat(self._path(entry_id, "now")).st_mtime_ns
        except FileNotFoundError:
            return 0

    def wake(self) -> None:
        path = self.directory / ".wake"
        with contextlib.suppress(OSError):
            os.close(files.open(path))
            os.utime(path)

    def woken_at(self) -> int:
        try:
            return os.stat(self.directory / ".wake").st_mtime_ns
        except FileNotFoundError:
            return 0
