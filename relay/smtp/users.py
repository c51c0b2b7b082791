"""The logins of `auth = "users"`: a file of names and argon2 hashes.

Owns: the form of the file (one `name:hash` or `name:hash:senders` a line, the senders' patterns separated by spaces),
that it is changed under a lock, hashing, verification away from the event loop. Leaves to others: how a private file is written (`relay.files`), when a login is asked for, how often it may
be tried (`throttle`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import argon2

from relay import files
from relay.config import Settings
from relay.core import addresses

# OWASP's first choice for argon2id: 46 MiB and one pass, some 30 ms; two at a time bound its memory.
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
AT_ONCE = 2
NAME = re.compile(r"[^\x00-\x20\x7f-\x9f:]{1,128}")
PATTERN = re.compile(r"[^\s\x00-\x20\x7f-\x9f:<>,]{1,320}")
MAX_PASSWORD = 1024  # characters


class Login(NamedTuple):
    """`senders` are the patterns of the addresses that it may send as; empty where none were set."""

    hashed: str
    senders: tuple[str, ...] = ()


class InvalidLogin(ValueError):
    """A name or password that can't be used, with a sentence that says why."""


def path(settings: Settings) -> Path:
    """Below the token keys, so that a backup has it, in a folder that other roles can be kept from."""
    return settings.state_dir / "keys" / "logins" / "smtp-users"


# -- the file ----------------------------------------------------------------------------------------------------------


def read(file: Path) -> dict[str, Login]:
    """By name; empty where there is no file. A damaged line is no login, whatever octets are in it."""
    try:
        text = file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return {}
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        hashed, _, senders = rest.partition(":")
        if name and hashed and not name.startswith("#"):
            found[name] = Login(hashed, tuple(senders.split()))
    return found


def add(file: Path, name: str, password: str, senders: Sequence[str] | None = None) -> bool:
    """Adds a login or sets its password anew; True where it is new. Its senders stay as they are with None. Raises
    `InvalidLogin`."""
    if not NAME.fullmatch(name):
        raise InvalidLogin("a name has 1 to 128 characters, none of them a space, a colon or a control")
    if not password or len(password) > MAX_PASSWORD:
        raise InvalidLogin(f"a password has 1 to {MAX_PASSWORD} characters")
    patterns = None if senders is None else spelt(senders)
    hashed = HASHER.hash(password)
    with changing(file) as users:
        new = name not in users
        users[name] = Login(hashed, (() if new else users[name].senders) if patterns is None else patterns)
    return new


def spelt(senders: Iterable[str]) -> tuple[str, ...]:
    """The patterns as the file has them. Raises `InvalidLogin`."""
    found = []
    for text in senders:
        if not PATTERN.fullmatch(text):
            raise InvalidLogin(f"{text!r} is no pattern for an address, such as *@sales.example.com")
        try:
            found.append(addresses.pattern(text))
        except ValueError as error:
            raise InvalidLogin(f"{text}: {error}; write the domain as DNS has it (xn--...), or whole") from None
    return tuple(dict.fromkeys(found))


def remove(file: Path, name: str) -> bool:
    """False where there is no such login."""
    with changing(file) as users:
        return users.pop(name, None) is not None


@contextmanager
def changing(file: Path) -> Iterator[dict[str, Login]]:
    """The logins, to be changed in place; on disk when the block ends without an exception."""
    files.make_folder(file.parent)
    with files.locked(file.with_suffix(".lock")):
        users = read(file)
        before = dict(users)
        yield users
        if users != before:
            files.write(file, "".join(line(name, users[name]) for name in sorted(users)).encode())


def line(name: str, login: Login) -> str:
    return ":".join([name, login.hashed, *([" ".join(login.senders)] if login.senders else [])]) + "\n"


# -- verification ------------------------------------------------------------------------------------------------------


def fits(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


class Book:
    """The logins for a running server. Follows changes of the file at once: each question costs a look at its time and
    inode, some microseconds."""

    def __init__(self, file: Path, *, fits: Callable[[str, str], bool] = fits) -> None:
        self._file, self._fits = file, fits
        self._threads = ThreadPoolExecutor(AT_ONCE, "argon2")
        self._secret = secrets.token_bytes(32)
        self._known: dict[str, tuple[str, bytes]] = {}  # login -> (hash in the file, digest of the password that fits)
        self._users: dict[str, Login] = {}
        self._stamp = (0, 0, 0)
        self._decoy = decoy()

    def find(self, login: str) -> Login | None:
        """The login as it stands now. Raises OSError."""
        self._follow()
        return self._users.get(login)

    async def verify(self, login: str, password: str) -> bool:
        """Whether this is the login's password. Takes as long for a login that there is not. A password that was
        right before is known again by a keyed digest: clients that log in for every message cost no argon2."""
        found = self.find(login)
        hashed = found.hashed if found else ""
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
