"""The line of each key in a TOML file, which the standard library's parser does not tell.

Owns: a walk over text that `tomllib` has accepted, so it does not have to judge. Leaves to others: every value.
A path is a tuple of keys and, in arrays, indexes: ("rules", 0, "from"). https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
SPACE = re.compile(r"[ \t]*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
LITERAL = re.compile(r"'[^']*'")
# Up to two quotes may stand before the closing three.
LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
LONG_LITERAL = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)
PLAIN = re.compile(r"[^,\]}\n#]*")


def name_of(path: Path) -> str:
    """("rules", 0, "from") -> "rules[0].from"."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".") or "file"


def lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table, key and array element of a valid document."""
    return _Walk(text).run()


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}  # of arrays of tables
        self.line = 1
        self.seen = 0  # lines are counted up to here

    def run(self) -> dict[Path, int]:
        table: Path = ()
        at = self._blank(0)
        while at < len(self.text):
            if self.text.startswith("[[", at):
                at, table = self._array_table(at)
            elif self.text[at] == "[":
                start = at
                keys, at = self._keys(at + 1)
                table = self._resolve(keys)
                self._note(table, start)
                at += 1
            else:
                at = self._pair(at, table)
            at = self._blank(at)
        return self.found

    def _array_table(self, start: int) -> tuple[int, Path]:
        keys, at = self._keys(start + 2)
        array = (*self._resolve(keys[:-1]), keys[-1])
        number = self.counts.get(array, 0)
        self.counts[array] = number + 1
        self._note(array, start)
        self._note((*array, number), start)
        return at + 2, (*array, number)

    def _resolve(self, keys: list[str]) -> Path:
        """The path of a header: a key that names an array of tables means its last one."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def _pair(self, start: int, table: Path) -> int:
        keys, at = self._keys(start)
        path = table
        for key in keys:
            path = (*path, key)
            self._note(path, start)
        return self._value(self._space(at + 1), path)

    def _keys(self, at: int) -> tuple[list[str], int]:
        """The parts of a dotted key, and where the text goes on (at `=` or `]`)."""
        keys = []
        while True:
            at = self._space(at)
            match = BARE_KEY.match(self.text, at)
            if match:
                keys.append(match[0])
            else:
                match = _must(BASIC if self.text[at] == '"' else LITERAL, self.text, at)
                keys.append(str(tomllib.loads(f"k = {match[0]}")["k"]))
            at = self._space(match.end())
            if self.text[at] != ".":
                return keys, at
            at += 1

    def _value(self, at: int, path: Path) -> int:
        """Past the value that begins here."""
        text = self.text
        if text[at] == "[":
            return self._array(at, path)
        if text[at] == "{":
            return self._inline(at, path)
        for mark, pattern in (('"""', LONG_BASIC), ("'''", LONG_LITERAL), ('"', BASIC), ("'", LITERAL)):
            if text.startswith(mark, at):
                return _must(pattern, text, at).end()
        return _must(PLAIN, text, at).end()

    def _array(self, at: int, path: Path) -> int:
        at = self._blank(at + 1)
        number = 0
        while self.text[at] != "]":
            self._note((*path, number), at)
            at = self._blank(self._value(at, (*path, number)))
            if self.text[at] == ",":
                at = self._blank(at + 1)
            number += 1
        return at + 1

    def _inline(self, at: int, path: Path) -> int:
        at = self._blank(at + 1)
        while self.text[at] != "}":
            at = self._blank(self._pair(at, path))
            if self.text[at] == ",":
                at = self._blank(at + 1)
        return at + 1

    def _note(self, path: Path, at: int) -> None:
        self.line += self.text.count("\n", self.seen, at)
        self.seen = at
        self.found.setdefault(path, self.line)

    def _blank(self, at: int) -> int:
        return _must(BLANK, self.text, at).end()

    def _space(self, at: int) -> int:
        return _must(SPACE, self.text, at).end()


def _must(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    match = pattern.match(text, at)
    if match is None:
        raise ValueError(f"not the TOML that tomllib accepts, at character {at}")
    return match
