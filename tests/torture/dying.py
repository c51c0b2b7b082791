"""`trackrelay` that kills itself, or fails, at a step of its own: python -m tests.torture.dying run --config FILE

The steps are those after which something outside the process is different. DYING_KINDS says which are counted:

    fsync     os.fsync, before it          commit    COMMIT of SQLite, before it
    rename    os.rename, before it         unlink    os.unlink, before it
    write     os.write; half of it is done send      what goes out over TCP; half of it is sent
    open      os.open, before it           socket    a new socket, before it

DYING_AT=N     the step, counted from 1 over all those kinds, at which the process sends itself SIGKILL; 0 for never
DYING_POWER=1  a loss of power instead: first, what was written under the state's folder and not fsynced is taken away,
               and names that were given since their folder was fsynced are taken back. (SQLite's own files are left as
               they are: its promises are its own. A name that was taken away does not come back.)
DYING_ERROR=E  nobody dies: that step fails with this error (ENOSPC, EIO, EMFILE …), with a line on stderr (STRUCK), and
DYING_LAST=N   so do the next ones, N in all (1)
DYING_STEPS=F  when the process ends by itself, the number of steps of each kind is written to F as JSON

What is sent is seen at asyncio's own transport, so uvloop is not used here.
"""

from __future__ import annotations

import collections
import errno
import json
import os
import signal
import socket
import sqlite3
import stat
import sys
import threading
from asyncio import selector_events
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
KINDS = ("fsync", "commit", "rename", "unlink", "write", "send")
STRUCK = "a step fails: "
FAILING = ("fsync", "commit", "rename", "unlink", "write", "open", "socket")


class Disk:
    """What would be gone after a loss of power."""

    def __init__(self) -> None:
        self.paths: dict[int, str] = {}  # open for writing
        self.safe: dict[str, int] = {}  # octets that were fsynced
        self.files: dict[str, int] = {}  # which file that is: another process may have put one of its own there
        self.names: dict[str, str] = {}  # name whose folder was not fsynced since it was given -> the one before, or ""

    def opened(self, descriptor: int, path: str, made: bool) -> None:
        if path.endswith((".tmp", ".jsonl")):
            self.paths[descriptor] = path
            self.safe.setdefault(path, 0)
            self.files[path] = os.fstat(descriptor).st_ino
            if made:
                self.names[path] = ""

    def synced(self, descriptor: int) -> None:
        there = os.fstat(descriptor)
        if stat.S_ISDIR(there.st_mode):
            folder = os.readlink(f"/proc/self/fd/{descriptor}")
            self.names = {name: old for name, old in self.names.items() if os.path.dirname(name) != folder}
        elif descriptor in self.paths:
            self.safe[self.paths[descriptor]] = there.st_size

    def renamed(self, old: str, new: str, over: bool) -> None:
        if old not in self.safe:
            return
        self.safe[new], self.files[new] = self.safe.pop(old), self.files.pop(old)
        for descriptor, path in self.paths.items():
            if path == old:
                self.paths[descriptor] = new
        self.names.pop(old, None)
        if not over:
            self.names[new] = old

    def ours(self, path: str) -> bool:
        return os.path.exists(path) and os.stat(path).st_ino == self.files[path]

    def fail(self) -> None:
        for path, size in self.safe.items():
            if self.ours(path) and os.stat(path).st_size > size:
                os.truncate(path, size)
        for name, old in self.names.items():
            if self.ours(name):
                if old:
                    REAL["rename"](name, old)
                else:
                    REAL["unlink"](name)


REAL: dict[str, Callable[..., Any]] = {
    "open": os.open, "close": os.close, "fsync": os.fsync, "write": os.write, "rename": os.rename,
    "replace": os.replace, "unlink": os.unlink,
}  # fmt: skip
LOCK = threading.RLock()  # nothing happens between the step and the death, in no thread
steps: collections.Counter[str] = collections.Counter()
disk = Disk()
at = int(os.environ.get("DYING_AT", "0"))
power = os.environ.get("DYING_POWER") == "1"
error = os.environ.get("DYING_ERROR", "")
last = int(os.environ.get("DYING_LAST", "1"))
kinds = frozenset(os.environ.get("DYING_KINDS", ",".join(KINDS)).split(","))


def die() -> None:
    if power:
        disk.fail()
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def step(kind: str, whole: Callable[[], T], half: Callable[[], object] = lambda: None) -> T:
    with LOCK:
        steps[kind] += 1
        if at and kind in kinds:
            number = sum(steps[k] for k in kinds)
            if error and at <= number < at + last:
                half()
                raise failure(kind)
            if not error and number == at:
                half()
                die()
        return whole()


def failure(kind: str) -> Exception:
    """As the system says it; SQLite's in its own words, with the transaction still open."""
    REAL["write"](2, f"{STRUCK}{kind} {error}\n".encode())
    code = getattr(errno, error)
    if kind != "commit":
        return OSError(code, os.strerror(code))
    full = code == errno.ENOSPC
    found = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    found.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
    return found


def opening(path: Any, flags: int, *more: Any, **how: Any) -> int:
    with LOCK:
        name = os.path.abspath(os.fspath(path))
        made = bool(flags & os.O_CREAT) and not os.path.exists(name)
        descriptor: int = step("open", lambda: REAL["open"](path, flags, *more, **how))
        if flags & (os.O_WRONLY | os.O_RDWR):
            disk.opened(descriptor, name, made)
        return descriptor


def closing(descriptor: int) -> None:
    with LOCK:
        disk.paths.pop(descriptor, None)
        REAL["close"](descriptor)


def syncing(descriptor: Any) -> None:
    def whole() -> None:
        REAL["fsync"](descriptor)
        disk.synced(descriptor if isinstance(descriptor, int) else descriptor.fileno())

    step("fsync", whole)


def renaming(real: Callable[..., None]) -> Callable[..., None]:
    def rename(old: Any, new: Any, **how: Any) -> None:
        def whole() -> None:
            names = os.path.abspath(os.fspath(old)), os.path.abspath(os.fspath(new))
            over = os.path.exists(names[1])
            real(old, new, **how)
            disk.renamed(*names, over)

        step("rename", whole)

    return rename


def unlinking(path: Any, **how: Any) -> None:
    step("unlink", lambda: REAL["unlink"](path, **how))


def writing(descriptor: int, data: Any) -> int:
    if descriptor not in disk.paths:  # the log
        return int(REAL["write"](descriptor, data))
    view = memoryview(data)
    return step(
        "write", lambda: REAL["write"](descriptor, view), lambda: REAL["write"](descriptor, view[: len(view) // 2])
    )


class Socket(socket.socket):
    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is None:
            step("socket", lambda: None)
        super().__init__(family, type, proto, fileno)


class Connection(sqlite3.Connection):
    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return super().execute(sql, *values)
        return step("commit", lambda: super(Connection, self).execute(sql))


def install() -> None:
    sys.modules["uvloop"] = None  # type: ignore[assignment]
    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **how: connect(*a, **{"factory": Connection, **how})
    os.open, os.close, os.fsync, os.write = opening, closing, syncing, writing  # type: ignore[assignment]
    os.rename, os.replace, os.unlink = renaming(REAL["rename"]), renaming(REAL["replace"]), unlinking
    transport = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = transport.write

    def sending(self: Any, data: Any) -> None:
        step("send", lambda: write(self, data), lambda: write(self, bytes(data)[: len(data) // 2]))

    transport.write = sending
    socket.socket = Socket  # type: ignore[misc]


def main() -> int:
    install()
    from relay import __main__ as program

    code = program.main()
    if "DYING_STEPS" in os.environ:
        with open(os.environ["DYING_STEPS"], "w") as file:
            json.dump(steps, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
