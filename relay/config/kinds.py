"""How one value of the file is read, and how a default is written back for the documents.

Owns: the plain kinds (text, number, choice, list, duration, size) and the sentences that say what would be right. A
kind's `read` gets the TOML value and its context, and returns the setting's value or raises `Wrong`. Leaves to others:
files, networks and URLs (`locators`), keys, tables, lines, secrets.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]i?)?B?", re.IGNORECASE)
OCTETS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Wrong(ValueError):
    """A value that can't be used. `found` has one sentence per mistake, each with the path below the key."""

    def __init__(self, sentence: str = "", found: Sequence[tuple[tuple[str | int, ...], str]] = ()) -> None:
        self.found = tuple(found) or (((), sentence),)
        super().__init__("; ".join(words for _, words in self.found))


@dataclass(frozen=True)
class Use:
    """The context of a value: the folder of its file, and the environment."""

    folder: Path = Path(".")
    environ: Mapping[str, str] = field(default_factory=dict)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """`words` tell people what belongs here. `write` turns a setting's value into its TOML form."""

    words: str
    read: Callable[[Any, Use], Any]
    write: Callable[[Any], Any] = _same


def shown(value: object) -> str:
    """A value as part of a sentence: spelled as in TOML, and cut if it is long."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value).replace("'", '"')
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(value: object) -> str:
    for types, name in (
        (bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"), (list, "a list"),
        (dict, "a table"),
    ):  # fmt: skip
        if isinstance(value, types):
            return name
    return "a date or time"


# -- the plain ones ----------------------------------------------------------------------------------------------------


def _typed(value: Any, wanted: type, words: str) -> Any:
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise Wrong(f"should be {words}, not {kind_of(value)}")
    return value


def text_of(value: Any, use: Use) -> str:
    """Text without control characters."""
    text: str = _typed(value, str, "text")
    if CONTROL.search(text):
        raise Wrong("has a control character (a line break, a tab, …) in it; leave it out")
    return text


def _flag(value: Any, use: Use) -> bool:
    flag: bool = _typed(value, bool, "true or false")
    return flag


TEXT = Kind("text", text_of)
FLAG = Kind("true or false", _flag)


def line_of_text(most: int) -> Kind:
    def read(value: Any, use: Use) -> str:
        text = text_of(value, use)
        if len(text) > most:
            raise Wrong(f"has {len(text):,} characters; at most {most:,} fit")
        return text

    return Kind(f"text of at most {most:,} characters", read)


def named(words: str, pattern: str, example: str) -> Kind:
    """Text that must match `pattern` as a whole."""
    compiled = re.compile(pattern)

    def read(value: Any, use: Use) -> str:
        text = text_of(value, use)
        if not compiled.fullmatch(text):
            raise Wrong(f"{shown(text)} is not {words}; an example: {shown(example)}")
        return text

    return Kind(words, read)


def number(least: int, most: int | None = None) -> Kind:
    words = f"a whole number from {least:,}" + (f" to {most:,}" if most is not None else " up")

    def read(value: Any, use: Use) -> int:
        whole: int = _typed(value, int, words)
        if whole < least or (most is not None and whole > most):
            raise Wrong(f"{whole} is out of range; it should be {words}")
        return whole

    return Kind(words, read)


def number_or(name: str, least: int, most: int) -> Kind:
    """A number, or one word."""
    whole = number(least, most)
    words = f'{whole.words}, or "{name}"'

    def read(value: Any, use: Use) -> int | str:
        if value == name:
            return name
        if isinstance(value, str):
            raise Wrong(f"{shown(value)} should be {words}")
        found: int = whole.read(value, use)
        return found

    return Kind(words, read)


def choice(*names: str) -> Kind:
    words = " or ".join([", ".join(f'"{n}"' for n in names[:-1]), f'"{names[-1]}"']) if names[1:] else f'"{names[0]}"'

    def read(value: Any, use: Use) -> str:
        if not isinstance(value, str) or value not in names:
            near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.7)
            if near:
                raise Wrong(
                    f'{shown(value)} is none of the choices; did you mean "{near[0]}"? There are {words.replace(" or ", " and ")}'
                )
            raise Wrong(f"{shown(value)} is none of the choices; write {words}")
        return value

    return Kind(words, read)


def listing(kind: Kind) -> Kind:
    def read(value: Any, use: Use) -> tuple[Any, ...]:
        if not isinstance(value, list):
            example = f"; write [{shown(value)}]" if isinstance(value, str | int) else ""
            raise Wrong(f"should be a list, in brackets, not {kind_of(value)}{example}")
        good, bad = [], []
        for index, element in enumerate(value):
            try:
                good.append(kind.read(element, use))
            except Wrong as wrong:
                bad += [((index, *path), words) for path, words in wrong.found]
        if bad:
            raise Wrong(found=bad)
        return tuple(good)

    return Kind(f"a list; each {kind.words}", read, lambda values: [kind.write(v) for v in values])


def several(kind: Kind, *, none: bool = True) -> Kind:
    """One, or a list; "" is none, if there may be none."""
    many = listing(kind)

    def read(value: Any, use: Use) -> tuple[Any, ...]:
        if isinstance(value, list):
            if not value and not none:
                raise Wrong("is empty; name at least one")
            found: tuple[Any, ...] = many.read(value, use)
            return found
        one = kind.read(value, use)
        return (one,) if one else ()

    return Kind(
        f"{kind.words}; or a list of them",
        read,
        lambda values: kind.write(values[0]) if len(values) == 1 else many.write(values),
    )


def _texts(value: Any, use: Use) -> dict[str, str]:
    table: dict[str, Any] = _typed(value, dict, 'a table such as { utm_source = "mail" }')
    bad = []
    for key, text in table.items():
        try:
            text_of(text, use)
        except Wrong as wrong:
            bad += [((key, *path), words) for path, words in wrong.found]
    if bad:
        raise Wrong(found=bad)
    return dict(table)


TEXTS = Kind("a table of texts", _texts, dict)


def _mode(value: Any, use: Use) -> int:
    text = text_of(value, use)
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise Wrong(f'{shown(text)} is not a mode such as "0660": three octal digits, for owner, group and others')
    return int(text, 8)


MODE = Kind('the mode of a file, such as "0660"', _mode, lambda mode: f"{mode:04o}")


# -- times and sizes ---------------------------------------------------------------------------------------------------


def duration(least: float) -> Kind:
    words = 'a time such as "4s", "90m", "1h30m" or "5d"'

    def read(value: Any, use: Use) -> float:
        text: str = _typed(value, str, words)
        if not DURATION.fullmatch(text):
            raise Wrong(f"{shown(text)} is not {words} (units: ms, s, m, h, d, w)")
        seconds = sum(float(n) * SECONDS[unit] for n, unit in DURATION_PART.findall(text))
        if seconds < least:
            raise Wrong(f"{shown(text)} is too short; at least {written_duration(least)}")
        return seconds

    return Kind(words, read, written_duration)


def written_duration(seconds: float) -> str:
    """432000.0 -> "5d", 5400.0 -> "1h30m"."""
    left, parts = round(seconds * 1000), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(SECONDS[unit] * 1000))
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def size(least: int) -> Kind:
    words = 'a size such as "50MB" (million octets), "50MiB" or a number of octets'

    def read(value: Any, use: Use) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            octets = value
        else:
            match = SIZE.fullmatch(_typed(value, str, words).strip())
            if not match:
                raise Wrong(f"{shown(value)} is not {words}")
            octets = int(float(match[1]) * OCTETS[(match[2] or "").lower()])
        if octets < least:
            raise Wrong(f"{shown(value)} is too small; at least {written_size(least)}")
        return octets

    return Kind(words, read, written_size)


def written_size(octets: int) -> str | int:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if octets and octets % factor == 0:
            return f"{octets // factor}{unit}"
    return octets
