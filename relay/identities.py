"""The key of the hashes by which hits of one program are known again (see `core.neighbours`): it lives a day.

Owns: the file of today's key, which the processes of a machine share. Yesterday's is deleted with the first hit of today:
then nobody can tell any more whose hashes those were. Leaves to others: the hashes.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from relay import files, log

LOG = log.room("public")
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
        path = self._folder / str(day)
        try:
            files.make_folder(self._folder)
            with suppress(FileExistsError):  # another process was first, or this one is new
                files.write(path, secrets.token_bytes(32), over=False)
            for old in self._folder.iterdir():
                if old.name.isdecimal() and int(old.name) < day:
                    old.unlink(missing_ok=True)
            return path.read_bytes()[:64]
        except OSError as reason:
            LOG.warning("identities_not_shared", reason=str(reason))
            return secrets.token_bytes(32)
