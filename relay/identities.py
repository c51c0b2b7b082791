"""The key of the hashes by which hits of one program are known again (see `core.neighbours`): it lives a day.

Owns: the file of today's key, which the processes of a machine share. Yesterday's is deleted with the first hit of today:
then nobody can tell any more whose hashes those were. Leaves to others: the hashes.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

DAY = 86_400
FOLDER = "identities"


class Identities:
    """`now` gives the key of a moment. Where the folder can't be used, this process has a key of its own."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER
        self._day = -1
        self._key = b""

    def now(self, at: float) -> bytes:
        day = int(at // DAY)
        if day != self._day:
            self._day, self._key = day, self._of(day)
        return self._key

    def _of(self, day: int) -> bytes:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path = self._folder / f"{day}"
            made = self._folder / f".{secrets.token_hex(8)}"
            with open(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
            with suppress(FileExistsError):  # another process was first
                os.link(made, path)
            made.unlink()
            for old in self._folder.iterdir():
                if old.name.isdecimal() and old.name != path.name:
                    old.unlink(missing_ok=True)
            return path.read_bytes()[:64]
        except OSError:
            return secrets.token_bytes(32)
