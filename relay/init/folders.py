"""Puts a first configuration on the disk: the folder, `secrets/`, relay.toml as the last, so that a half never looks like a whole.

Owns: whose these are, that nothing is overwritten (but a relay.toml that sets nothing), and that nothing stays where something fails. Where root writes, the service's user
can read relay.toml, and the secrets are its own. Leaves to others: what is in the files, how a file is written (`files`).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from dataclasses import dataclass, field
from pathlib import Path

from relay import files

SERVICE = "trackrelay"  # the user of the units
SHARED_FOLDER, SHARED_FILE = 0o750, 0o640  # root's, and readable for the service


class Taken(Exception):
    """There is something already, which stays as it is. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int
    name: str


def owner(folder: Path, name: str = "") -> Owner | None:
    """Whom the service's files belong to where root writes: the user of that name, else whoever has the folder, else the service's
    user if there is one. None where they belong to whoever runs this. Raises KeyError for a name that nobody has."""
    if name:
        return _named(name)
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        there = folder.stat()
        if there.st_uid != 0:
            return Owner(there.st_uid, there.st_gid, _name(there.st_uid))
    try:
        return _named(SERVICE)
    except KeyError:
        return None


def _named(name: str) -> Owner:
    found = pwd.getpwnam(name)
    return Owner(found.pw_uid, found.pw_gid, found.pw_name)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass
class Writer:
    """All that is made, so that it can be taken back."""

    owner: Owner | None
    made: list[Path] = field(default_factory=list)

    def folder(self, path: Path, *, private: bool) -> None:
        """`private`: the service's alone; else root's, and the service may look in. Of one that is there nothing changes."""
        missing = [each for each in (path, *path.parents) if not each.exists()]
        files.make_folder(path)
        for each in reversed(missing):
            self.made.append(each)
            if self.owner and os.geteuid() == 0:
                own = private and each == path
                uid = self.owner.uid if own or self._theirs(each.parent) else 0
                files.give(each, uid, self.owner.gid, files.FOLDER if own else SHARED_FOLDER)

    def secret(self, path: Path, content: str, *, another: str) -> bool:
        """A file for the service alone. One with the same in it may be there: False. Raises `Taken`, with `another`, where something
        else is in it."""
        line = f"{content}\n".encode()
        try:
            files.write(path, line, over=False)
        except FileExistsError:
            if path.read_bytes().strip() != line.strip():
                raise Taken(f"{path} is there already, {another}") from None
            return False
        self.made.append(path)
        return True

    def settings(self, path: Path, content: str) -> None:
        try:
            files.write(path, content.encode(), over=not has_settings(path) and path.exists())
        except FileExistsError:
            raise Taken(taken(path)) from None
        self.made.append(path)
        if self.owner and os.geteuid() == 0 and not self._theirs(path.parent):
            files.give(path, 0, self.owner.gid, SHARED_FILE)

    def take_back(self) -> None:
        for path in reversed(self.made):
            with contextlib.suppress(OSError):  # what failed first counts
                path.rmdir() if path.is_dir() else path.unlink()
        self.made.clear()

    def _theirs(self, folder: Path) -> bool:
        return self.owner is not None and folder.stat().st_uid == self.owner.uid


def has_settings(path: Path) -> bool:
    """Is there something that is to stay? Not so a file of comments alone, as the Debian package brings it."""
    if path.is_symlink() or not path.is_file():
        return os.path.lexists(path)
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in path.read_bytes().splitlines())


def taken(path: Path) -> str:
    return f"{path} is there already, and stays as it is; edit it and run trackrelay check, or name another folder"


def open_to_others(folder: Path) -> bool:
    return bool(stat.S_IMODE(folder.stat().st_mode) & 0o077)
