"""The logins of `auth = "users"`: a file of names and argon2 hashes.

Owns: the form of the file (one `name:hash` a line), that it is changed under a lock, hashing, verification away from the
event loop. Leaves to others: how a private file is written (`relay.files`), when a login is asked for, how often it may
be tried (`throttle`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import argon2

from relay import files
from relay.config import Settings

# OWASP's first choice for argon2id: 46 MiB and one pass, some 30 ms; two at a time bound its memory.
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
AT_ONCE = 2
NAME = re.compile(r"[^\x00-\x20\x7f-\x9f:]{1,128}")
MAX_PASSWORD = 1024  # characters


class InvalidLogin(ValueError):
    """A name or password that can't be used, with a sentence that says why."""


def path(settings: Settings) -> Path:
    """Beside the token keys, so that a backup has it."""
    return settings.state_dir / "keys" / "smtp-users"


# -- the file ----------------------------------------------------------------------------------------------------------


def read(file: Path) -> dict[str, str]:
    """Name -> hash; empty where there is no file. A damaged line is no login, whatever octets are in it."""
    try:
        text = file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return {}
    pairs = (line.rpartition(":")[::2] for line in text.splitlines() if line and not line.startswith("#"))
    return {name: hashed for name, hashed in pairs if name and hashed}


def add(file: Path, name: str, password: str) -> bool:
    """Adds a login or sets its password anew; True where it is new. Raises `InvalidLogin`."""
    if not NAME.fullmatch(name):
        raise InvalidLogin("a name has 1 to 128 characters, none of them a space, a colon or a control")
    if not password or len(password) > MAX_PASSWORD:
        raise InvalidLogin(f"a password has 1 to {MAX_PASSWORD} characters")
    hashed = HASHER.hash(password)
    with changing(file) as users:
        new = name not in users
        users[name] = hashed
    return new


def remove(file: Path, name: str) -> bool:
    """False where there is no such login."""
    with changing(file) as users:
        return users.pop(name, None) is not None


@contextmanager
def changing(file: Path) -> Iterator[dict[str, str]]:
    """The logins, to be changed in place; on disk when the block ends without an exception."""
    files.make_folder(file.parent)
    with files.locked(file.with_suffix(".lock")):
        users = read(file)
        before = dict(users)
        yield users
        if users != before:
            files.write(file, "".join(f"{name}:{hashed}\n" for name, hashed in sorted(users.items())).encode())


# -- verification ------------------------------------------------------------------------------------------------------


def fits(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


class Book:
    """The logins for a running server. Follows changes of the file within a second."""

    def __init__(
        self,
        file: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        fits: Callable[[str, str], bool] = fits,
    ) -> None:
        self._file, self._clock, self._fits = file, clock, fits
        self._threads = ThreadPoolExecutor(AT_ONCE, "argon2")
        self._secret = secrets.token_bytes(32)
        self._known: dict[str, tuple[str, bytes]] = {}  # login -> (hash in the file, digest of the password that fits)
        self._users: dict[str, str] = {}
        self._looked, self._stamp = -1.0, (0, 0, 0)
        self._decoy = decoy()

    async def verify(self, login: str, password: str) -> bool:
        """Whether this is the login's password. Takes as long for a login that there is not. A password that was
        right before is known again by a keyed digest: clients that log in for every message cost no argon2."""
        self._follow()
        hashed = self._users.get(login)
        digest = hmac.digest(self._secret, password.encode("utf-8", "surrogatepass"), hashlib.sha256)
        known = self._known.get(login)
        if hashed and known and known[0] == hashed and hmac.compare_digest(known[1], digest):
            return True
        loop = asyncio.get_running_loop()
        good = await loop.run_in_executor(
            self._threads, self._fits, hashed or self._decoy, password[: MAX_PASSWORD + 1]
        )
        if not (hashed and good):
            return False
        self._known[login] = (hashed, digest)
        return True

    def _follow(self) -> None:
        now = self._clock()
        if self._looked >= 0 and now - self._looked < 1:
            return
        self._looked = now
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            stamp = (0, 0, 0)
        if stamp != self._stamp:
            self._users, self._stamp = read(self._file), stamp
            self._known = {name: known for name, known in self._known.items() if name in self._users}


def decoy() -> str:
    """A hash that no password has, of the same cost as all: for logins that there are not."""
    salt, digest = (base64.b64encode(secrets.token_bytes(n)).decode().rstrip("=") for n in (16, 32))
    return f"$argon2id$v=19$m={HASHER.memory_cost},t={HASHER.time_cost},p={HASHER.parallelism}${salt}${digest}"
