"""Which services work with a state folder: each says so in a file there, which it holds locked while it runs.

Owns: the folder `running` in it, who is there, and who has the same role twice. Leaves to others: saying it (`app`, `check`),
what the processes tell each other (`units`). The kernel frees the lock of one that dies, and the next one that comes takes its
file away. It is no reason not to start: spool and database stand several, but nobody means to have two.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from relay import files, roles

FOLDER = "running"
LOCK = ".lock"
MOST = 64  # files that are looked at


class Occupant(NamedTuple):
    """A service, by the process that an operator would stop, and the user that it runs as."""

    pid: int
    user: str
    roles: tuple[str, ...]

    def __str__(self) -> str:
        return f"process {self.pid} ({self.user})"


class Place:
    """What a service holds while it runs. `others` are those that were there before."""

    def __init__(self, path: Path, descriptor: int, others: Collection[Occupant]) -> None:
        self.others = tuple(others)
        self._path, self._descriptor = path, descriptor

    async def leave(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def enter(state_dir: Path, own: Collection[str], pid: int) -> Place:
    """Raises OSError where that can't be written."""
    folder = state_dir / FOLDER
    files.make_folder(folder)
    with files.locked(folder / LOCK):
        others = list(_look(folder, sweeps=True))
        path = folder / secrets.token_hex(8)
        descriptor = files.create(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            said = {"pid": pid, "user": user(os.geteuid()), "roles": [role for role in roles.ALL if role in own]}
            files.fill(descriptor, json.dumps(said).encode())
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
    return Place(path, descriptor, others)


def there(state_dir: Path) -> list[Occupant]:
    """Those that this user may see. Only looks."""
    return list(_look(state_dir / FOLDER, sweeps=False))


def twice(found: Iterable[Occupant]) -> dict[tuple[str, ...], list[Occupant]]:
    """The roles that several have, each with all of these."""
    by_others: dict[tuple[Occupant, ...], list[str]] = {}
    everybody = sorted(found)
    for role in roles.ALL:
        having = tuple(one for one in everybody if role in one.roles)
        if len(having) > 1:
            by_others.setdefault(having, []).append(role)
    return {tuple(those): list(having) for having, those in by_others.items()}


def user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _look(folder: Path, *, sweeps: bool) -> Iterator[Occupant]:
    with contextlib.suppress(OSError):  # nobody was ever there, or it is not for us to see
        for path in sorted(folder.iterdir())[: MOST + 1]:
            if path.name == LOCK:
                continue
            with contextlib.suppress(OSError, ValueError, KeyError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    said = json.loads(file.read())
                    yield Occupant(int(said["pid"]), str(said["user"]), tuple(said["roles"]))
                    continue
                if sweeps:
                    path.unlink()
