"""The keys that sign tokens, in one file: made, read, rotated.

Owns: `<state_dir>/keys/tokens.json`, who may write it when, and when a running process reads it again.
Leaves to others: how a private file is written (`files`), what is signed (`core.tokens`).

The file is JSON: `{"current": 1, "keys": {"0": {"secret": "<base64 of 32 octets>", "created": "<ISO 8601>"}, …}}`.
It is only ever replaced whole, under a lock that all processes share. A key is
never removed: whoever loses it loses every link and pixel signed with it. So there is room for 32, and a 33rd is
refused rather than given the number of an old one. A key that was seen by others has to go by hand, links and all.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from relay import causes, files, log
from relay.core import tokens
from relay.core.model import Keys

LOG = log.room("keys")

SECRET_SIZE = 32
STAT_SECONDS = 1.0  # a running process looks at most this often whether the file is another


class Unusable(Exception):
    """The keys can't be had: the file is damaged, not readable, or full. The text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One key as `token-key list` shows it. `created` is ISO 8601 in UTC."""

    key_id: int
    created: str
    current: bool


class Stored(msgspec.Struct):
    secret: str
    created: str = ""


class Document(msgspec.Struct):
    current: int
    keys: dict[str, Stored]


class TokenKeys:
    """The keys of one file, made where there is none. `now` gives what the file says, give or take a second. A file that
    goes or breaks while the process runs changes nothing: the keys at hand go on verifying. `clock` gives seconds of any
    origin."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._seen: tuple[int, ...] = ()
        self._complaint = ""
        self._next_look = clock() + STAT_SECONDS
        self._seen, self._keys = read_or_make(path)

    def now(self) -> Keys:
        """Pass it on as it is: whoever signs or verifies asks again each time."""
        if self._clock() >= self._next_look:
            self.reload_if_changed()
        return self._keys

    def reload_if_changed(self) -> bool:
        """Reads the file again where it is another than before; True if so. Costs one stat a second at most."""
        now = self._clock()
        if now < self._next_look:
            return False
        self._next_look = now + STAT_SECONDS
        try:
            if mark(os.stat(self.path)) == self._seen:
                self._complaint = ""
                return False
            self._seen, self._keys = load(self.path)
        except (Unusable, OSError) as reason:
            if str(reason) != self._complaint:  # said once, not once a second
                LOG.warning("keys_not_reloaded", path=str(self.path), reason=str(reason))
            self._complaint = str(reason)
            return False
        LOG.info("keys_reloaded", current=self._keys.current, keys=len(self._keys.secrets))
        return True


def dry_run() -> Keys:
    """Keys of no installation, for a dry run without any: nothing is read or written. Always the same, so that a dry run
    over its own output knows its work again."""
    return Keys(0, {0: b"trackrelay dry run".ljust(SECRET_SIZE, b".")})


def rotate(path: Path) -> Listed:
    """Adds a key and makes it the one that signs; the others go on verifying. Running processes see it within a
    second. Raises `Unusable` where there are 32 already."""
    read_or_make(path)
    try:
        return added(path)
    except OSError as reason:
        raise Unusable(f"{causes.at(reason, path)}") from reason


def add(path: Path) -> Listed:
    """Adds a key that verifies, and signs nothing before `activate`. Raises `Unusable`, as `rotate`."""
    read_or_make(path)
    try:
        return added(path, signs=False)
    except OSError as reason:
        raise Unusable(f"{causes.at(reason, path)}") from reason


def merge(path: Path, content: bytes) -> list[int]:
    """Adds the keys of another node's file that are lacking here, under their numbers; they sign nothing before
    `activate`. Where there is no file yet it begins with these, and signs with what the other did. Gives the numbers that
    are new. Raises `Unusable`, and nothing was done, where a number is another key's here."""
    others = parsed(content, Path("what is to be added"))
    try:
        files.make_folder(path.parent)
        with locking(path):
            document = parsed(path.read_bytes(), path) if path.exists() else Document(others.current, {})
            for number, key in others.keys.items():
                if document.keys.get(number, key).secret != key.secret:
                    raise Unusable(
                        f"{path} has another key {number}: two nodes made keys of their own. Nothing was added"
                    )
            new = [number for number in others.keys if number not in document.keys]
            if new:
                document.keys |= {number: others.keys[number] for number in new}
                replace(path, document)
    except OSError as reason:
        raise Unusable(f"{causes.at(reason, path)}") from reason
    return sorted(map(int, new))


def activate(path: Path, key_id: int) -> None:
    """That key signs from now on; the others go on verifying. Raises `Unusable` where it is not there."""
    try:
        with locking(path):
            document = parsed(path.read_bytes(), path)
            if str(key_id) not in document.keys:
                raise Unusable(f"{path} has no key {key_id}; see: trackrelay token-key list")
            if document.current != key_id:
                document.current = key_id
                replace(path, document)
    except FileNotFoundError as reason:
        raise Unusable(f"there is no {path}: the first start makes it") from reason
    except OSError as reason:
        raise Unusable(f"{causes.at(reason, path)}") from reason


def added(path: Path, *, signs: bool = True) -> Listed:
    with locking(path):
        document = parsed(path.read_bytes(), path)
        free = next((n for n in range(tokens.KEY_IDS) if str(n) not in document.keys), None)
        if free is None:
            raise Unusable(
                f"{path} holds {tokens.KEY_IDS} keys, and a token has room for no more: the current key stays. "
                "A key can only be taken out by hand, and every link signed with it dies."
            )
        if signs:
            document.current = free
        document.keys[str(free)] = fresh()
        replace(path, document)
        return Listed(free, document.keys[str(free)].created, signs)


def listing(path: Path) -> list[Listed]:
    """The keys by age, oldest first. Raises `Unusable` where there is no file or it can't be read."""
    try:
        document = parsed(path.read_bytes(), path)
    except FileNotFoundError as reason:
        raise Unusable(f"there is no {path}: the first start makes it") from reason
    except OSError as reason:
        raise Unusable(f"{causes.at(reason, path)}") from reason
    rows = [Listed(int(n), key.created, int(n) == document.current) for n, key in document.keys.items()]
    return sorted(rows, key=lambda row: (row.created, row.key_id))


def arrange(folder: Path) -> None:
    """Logins and saved refresh tokens that an earlier version put beside the token keys go into folders of their own,
    which units can hide from some roles. What is in its new place already stays."""
    for pattern, own in (("smtp-users*", "logins"), ("oauth2-*", "oauth2")):
        for path in sorted(folder.glob(pattern)):
            files.make_folder(folder / own)
            if (folder / own / path.name).exists():
                LOG.warning("key_file_left", path=str(path), used=str(folder / own / path.name))
            else:
                path.rename(folder / own / path.name)


# -- the file ----------------------------------------------------------------------------------------------------------


def read_or_make(path: Path) -> tuple[tuple[int, ...], Keys]:
    """The file's keys, made first where it is missing. Of processes that start at once one makes it, and all read
    the same. A file that is there but damaged is never replaced: that would kill every link."""
    try:
        if not path.exists():
            files.make_folder(path.parent)
            with locking(path):
                if not path.exists():
                    replace(path, Document(0, {"0": fresh()}))
        return load(path)
    except OSError as reason:
        raise Unusable(f"{causes.at(reason, path)}") from reason


def load(path: Path) -> tuple[tuple[int, ...], Keys]:
    """What tells this version of the file from another, and its keys."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        document = parsed(file.read(), path)
    if status.st_mode & 0o077:
        LOG.warning("keys_readable_by_others", path=str(path), mode=oct(status.st_mode & 0o777))
    secrets = {int(n): base64.b64decode(key.secret) for n, key in document.keys.items()}
    return mark(status), Keys(document.current, secrets)


def mark(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def parsed(content: bytes, path: Path) -> Document:
    try:
        document = msgspec.json.decode(content, type=Document)
        for number, key in document.keys.items():
            if not number.isdecimal() or str(int(number)) != number or int(number) >= tokens.KEY_IDS:
                raise ValueError(f"{number!r} is no key id")
            if len(base64.b64decode(key.secret, validate=True)) != SECRET_SIZE:
                raise ValueError(f"key {number} does not have {SECRET_SIZE} octets")
        if str(document.current) not in document.keys:
            raise ValueError(f"the current key {document.current} is not among the keys")
    except (msgspec.MsgspecError, ValueError) as reason:
        raise Unusable(
            f"{path} is damaged ({reason}). Put it back from a backup: without these keys every link already sent is dead."
        ) from reason
    return document


def fresh() -> Stored:
    secret = base64.b64encode(os.urandom(SECRET_SIZE)).decode("ascii")
    return Stored(secret, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def locking(path: Path) -> contextlib.AbstractContextManager[None]:
    """Alone among all processes that change this file."""
    return files.locked(path.with_suffix(".lock"))


def replace(path: Path, document: Document) -> None:
    files.write(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
