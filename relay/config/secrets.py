"""Secrets: KEY = "the secret itself", KEY = "env:NAME", or KEY_file = "a path".

Owns: reading them, holding back those that a process does not need, and noticing if others on the machine can read them too. Leaves to others: what they open.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from relay.config import kinds, locators
from relay.config.kinds import Use, Wrong

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KEYS = frozenset({"password", "secret", "mailbox_password", "client_secret", "refresh_token"})
LARGEST = 65_536  # octets of a file
# Stands for a secret that this process does not need, while the file is judged: it is there, and nobody has read it.
WITHHELD = "".join(("with", "held"))  # an object of its own: told by identity, since a secret may be any text

V = TypeVar("V", bound="DataclassInstance")


def read(key: str, given: Mapping[str, Any], use: Use) -> str | None:
    """The secret of KEY, or None without the key. KEY_file beside it is a mistake."""
    if key not in given:
        return None
    if f"{key}_file" in given:
        raise Wrong(f"is given twice, here and as {key}_file; keep one")
    text = kinds.text_of(given[key], use)
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        if name not in use.environ:
            raise Wrong(f"the environment variable {name or '(no name)'} is not set")
        text = use.environ[name]
    if not text:
        raise Wrong(f'is empty; write the secret, "env:NAME", or name a file by {key}_file')
    return text


def from_file(given: Any, use: Use) -> tuple[str, str]:
    """The secret in the file, without the blanks around it, and a warning or ""."""
    file = _path(kinds.text_of(given, use), use)
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise locators.absent(file, use) from None
    except OSError as error:
        from relay import causes

        raise Wrong(f"{file} can't be read: {causes.of(error)}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise Wrong(f"{file} is UTF-16, or no text at all; save it as UTF-8")
    try:
        text = content.decode().removeprefix("\ufeff").strip()  # as Notepad begins a file
    except UnicodeDecodeError:
        raise Wrong(f"{file} is not UTF-8; save it as UTF-8") from None
    if not text or len(content) > LARGEST:
        raise Wrong(
            f"{file} is {'too long for a secret' if text else 'empty'}; it should have one line, with nothing but the secret"
        )
    if kinds.CONTROL.search(text):
        raise Wrong(f"{file} has more than one line; a secret is one")
    if not stat.S_ISREG(mode) or not mode & 0o077 or _of_systemd(file, use):
        return text, ""
    return text, f"others on this machine can read {file}; chmod 600 it"


def without_withheld(values: V) -> V:
    """The settings with "" in place of each `WITHHELD`."""
    changed = {f.name: _without(getattr(values, f.name)) for f in fields(values)}
    return replace(values, **changed)


def _without(value: Any) -> Any:
    if value is WITHHELD:
        return ""
    if is_dataclass(value) and not isinstance(value, type):
        return without_withheld(value)
    if isinstance(value, tuple):
        return tuple(map(_without, value))
    return value


def _path(name: str, use: Use) -> Path:
    if not name:
        raise Wrong("is empty; name the file that holds the secret")
    return locators.private(name, use)


def _of_systemd(file: Path, use: Use) -> bool:
    return locators.CREDENTIALS in use.environ and file.is_relative_to(use.environ[locators.CREDENTIALS])
