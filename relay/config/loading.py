"""Finds relay.toml and turns it into settings.

Owns: the search, reading the file by the table, secrets, every mistake with its line. Leaves to others: single values
(`kinds`), what is wrong only in combination (`contradictions`), what has no effect (`gaps`).
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from relay.config import contradictions, gaps, kinds, locators, places, secrets, settings, syntax, table
from relay.config.kinds import Use, Wrong
from relay.config.settings import OAuth2, Settings
from relay.config.table import Option, Section
from relay.core.model import Rule, Tracking
from relay.roles import ALL as ROLES

SYSTEM = Path("/etc/trackrelay/relay.toml")
AT_LINE = re.compile(r" \(at line (\d+), column \d+\)")


class Missing(Exception):
    """There is no file. The text says where it was looked for."""


@dataclass(frozen=True, order=True, slots=True)
class Mistake:
    """One thing wrong: `line` from 1, `key` as "section.key" (with indexes: "rules[0].from"), a sentence."""

    line: int
    key: str
    sentence: str


class InvalidSettings(Exception):
    """A file with mistakes: all of them, in order. The text has one line for each, `FILE:LINE: key: sentence`."""

    def __init__(self, file: Path, mistakes: list[Mistake]) -> None:
        self.file = file
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(_line(file, m) for m in self.mistakes))


def find(path: str | Path | None, environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> Path:
    """The file of --config (`path`), else $TRACKRELAY_CONFIG, ./relay.toml, /etc/trackrelay/relay.toml (`system`)."""
    named = path or environ.get("TRACKRELAY_CONFIG")
    # Not Path.is_file: it raises where a folder may not be entered, such as root's own when root runs a command as
    # another user.
    if named:
        if os.path.isfile(named):
            return Path(named)
        origin = "--config" if path else "$TRACKRELAY_CONFIG"
        if os.path.isdir(named):
            raise Missing(
                f"{named}, which {origin} names, is a folder; name the file in it, such as {os.path.join(named, 'relay.toml')}"
            )
        raise Missing(f"there is no file {named}, which {origin} names, or its folder may not be entered")
    for candidate in (Path("relay.toml"), system):
        if os.path.isfile(candidate):
            return candidate
    try:
        os.stat(system)
    except PermissionError as error:
        from relay import causes

        raise Missing(f"{system} can't be read: {causes.of(error)}") from None
    except OSError:
        pass
    raise Missing(f"no configuration: neither ./relay.toml nor {system} exists; name a file by --config")


def load(
    path: str | Path,
    environ: Mapping[str, str] = os.environ,
    roles: frozenset[str] = frozenset(ROLES),
    *,
    needs_secrets: bool = True,
) -> Settings:
    """The settings of a file. Raises `InvalidSettings` with all mistakes, `Missing` if it can't be read. Secrets that
    none of `roles` needs are "", and their files are not opened; without `needs_secrets` so are those that only the unit of
    systemd has."""
    file = Path(path)
    try:
        text = file.read_bytes()
    except OSError as error:
        from relay import causes

        raise Missing(f"{file} can't be read: {causes.of(error)}") from None
    return read(text, file, environ, roles, needs_secrets=needs_secrets)


def read(
    text: bytes,
    file: Path,
    environ: Mapping[str, str] = os.environ,
    roles: frozenset[str] = frozenset(ROLES),
    *,
    needs_secrets: bool = True,
) -> Settings:
    """The settings of a text that is in that file, or will be. As `load`."""
    return _Reader(file, environ, roles, needs_secrets).run(text)


def settings_of(
    args: argparse.Namespace, roles: frozenset[str] = frozenset(ROLES), *, needs_secrets: bool = False
) -> Settings:
    """The settings for a command, by `args.config`, with the secrets of `roles`. One that does not need them does without
    those that systemd has for the unit only, but for the database's. If there are no settings, it says why on stderr and exits 2."""
    try:
        return load(find(args.config), roles=roles, needs_secrets=needs_secrets)
    except (Missing, InvalidSettings) as error:
        print(error if isinstance(error, InvalidSettings) else f"trackrelay: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _line(file: Path, mistake: Mistake) -> str:
    return f"{file}:{mistake.line}: {mistake.key}: {mistake.sentence}"


class _Reader:
    """One reading of one file."""

    def __init__(self, file: Path, environ: Mapping[str, str], roles: frozenset[str], needs_secrets: bool) -> None:
        self.file, self.roles, self.needs_secrets = file, roles, needs_secrets
        self.environ = environ
        self.use = Use(file.absolute().parent, environ)
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []
        self.wrong: set[places.Path] = set()  # the paths of mistakes, and all above them
        self.lines: dict[places.Path, int] = {}

    def run(self, raw: bytes) -> Settings:
        tree = self._parse(raw)
        self._unknown_tables(tree)
        values: dict[str, Any] = {"file": self.file.absolute()}
        for section in table.SECTIONS:
            if not section.key:
                values |= self._fields(section, tree, ())
            elif section.many:
                values[section.key] = self._many(section, tree.get(section.key, []))
            else:
                values[section.key] = self._one(section, tree.get(section.key, {}))
        values["rules"] = tuple(self._rule(values["tracking"], given) for given in values["rules"])
        if "state_dir" not in tree:
            values["state_dir"] = self._state_dir()
        found = contradictions.resolve(Settings(**values), tree, self.mistake, self.warn)
        found = secrets.without_withheld(found)
        gaps.look(found, self.warn)
        self._exposed(tree)
        if self.mistakes:
            raise InvalidSettings(self.file, self.mistakes)
        return replace(found, warnings=tuple(_line(self.file, w) for w in sorted(set(self.warnings))))

    def _parse(self, raw: bytes) -> dict[str, Any]:
        if why := syntax.encoding(raw):
            self._stop(1, why)
        try:
            text = raw.decode().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            self._stop(raw.count(b"\n", 0, error.start) + 1, "the file is not UTF-8; save it as UTF-8")
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            words, at = str(error), AT_LINE.search(str(error))
            line = int(at[1]) if at else text.rstrip().count("\n") + 1
            words = AT_LINE.sub("", words).removesuffix(" (at end of document)")
            # An unclosed text or list is noticed on the line after it.
            hint = syntax.hint(text, line, words) or f"{words[:1].lower()}{words[1:]}"
            self._stop(line, f"this is not TOML: {hint}")
        except RecursionError:
            self._stop(1, "the file is nested too deeply")
        self.lines = places.lines(text.replace("\r\n", "\n"))
        return tree

    def _stop(self, line: int, sentence: str) -> NoReturn:
        raise InvalidSettings(self.file, [Mistake(line, "syntax", sentence)])

    # -- mistakes

    def mistake(self, path: places.Path, sentence: str, because: Sequence[str | places.Path] = ()) -> None:
        """`because` says what the sentence rests on: keys beside the path, or whole paths. If one of them is wrong
        itself, its value is not known, and nothing follows from it."""
        rests = [(*path[:-1], cause) if isinstance(cause, str) else cause for cause in because]
        if any(cause in self.wrong for cause in rests):
            return
        self.wrong |= {path[:end] for end in range(1, len(path) + 1)}
        self.mistakes.append(Mistake(self._line_of(path), places.name_of(path), sentence))

    def warn(self, path: places.Path, sentence: str) -> None:
        self.warnings.append(Mistake(self._line_of(path), places.name_of(path), sentence))

    def _line_of(self, path: places.Path) -> int:
        """The line of the path, or of the closest table above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    # -- tables

    def _unknown_tables(self, tree: dict[str, Any]) -> None:
        top = [o.key for o in table.TOP.options]
        for key, value in tree.items():
            if key in table.BY_KEY or key in top:
                continue
            homes = [s.key for s in table.SECTIONS if s.key and s.option(key)]
            tables = isinstance(value, dict) or (
                isinstance(value, list) and any(isinstance(each, dict) for each in value)
            )
            if not tables and homes:
                others = f" (or {', '.join(f'[{home}]' for home in homes[1:4])})" if homes[1:] else ""
                self.mistake((key,), f"there is no such key at the top; it belongs into [{homes[0]}]{others}")
            else:
                self.mistake((key,), "there is no such key" + _nearest(key, [*table.BY_KEY, *top]))

    def _one(self, section: Section, given: Any) -> Any:
        path = (section.key,)
        if not isinstance(given, dict):
            several = isinstance(given, list) and given and isinstance(given[0], dict)
            hint = f"write [{section.key}] once, in single brackets" if several else "write it as a table"
            self.mistake(path, f"should be a table, not {kinds.kind_of(given)}; {hint}")
            return section.values()
        return section.values(**self._fields(section, given, path))

    def _many(self, section: Section, given: Any) -> tuple[Any, ...]:
        path = (section.key,)
        if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
            self.mistake(path, f"there can be several; write [[{section.key}]] in double brackets for each")
            return ()
        made = []
        for index, entry in enumerate(given):
            values = self._fields(section, entry, (*path, index))
            if section is table.RULES:
                made.append(values)
            else:
                blank = {o.attribute: "" for o in section.options if o.required}  # a mistake already where it stays
                made.append(section.values(**{**blank, **values}))
        return tuple(made)

    def _complete(self, section: Section, values: dict[str, Any]) -> bool:
        return all(o.attribute in values for o in section.options if o.required)

    def _rule(self, base: Tracking, values: dict[str, Any]) -> Rule:
        names = {f.name for f in fields(Tracking)}
        laid = {key: value for key, value in values.items() if key in names}
        return Rule(values.get("sender", "*"), values.get("recipient", "*"), replace(base, **laid), frozenset(laid))

    def _options(self, section: Section) -> tuple[Option, ...]:
        if section is not table.RULES:
            return section.options
        return section.options + tuple(o for o in table.TRACKING.options if o.key not in table.NOT_IN_RULES)

    def _fields(
        self, section: Section, given: dict[str, Any], path: places.Path, *, withhold: bool = False
    ) -> dict[str, Any]:
        """What the file sets, by the names of the settings' fields. What is wrong is reported and left out. `withhold`:
        none of its secrets is read."""
        values: dict[str, Any] = {}
        known: set[str] = set()
        for option in self._options(section):
            known |= {option.key, f"{option.key}_file"} if option.secret else {option.key}
            value: Any
            needed = not withhold and not self.roles.isdisjoint(option.roles)
            if needed and not self.needs_secrets and section is not table.STORE:
                name = given.get(f"{option.key}_file" if option.secret else option.key)
                needed = not locators.outside(name, self.use)
            try:
                if option.secret:
                    value = self._secret(option.key, given, path, needed)
                elif option.key not in given:
                    value = None
                elif option.kind is table.LOGIN:
                    value = self._oauth2(given[option.key], (*path, option.key), needed)
                elif option.kind is locators.PRESENT and not needed:
                    value = locators.beside(kinds.text_of(given[option.key], self.use), self.use)
                else:
                    value = option.kind.read(given[option.key], self.use)
            except Wrong as wrong:
                for below, sentence in wrong.found:
                    self.mistake((*path, option.key, *below), sentence)
                continue
            if value is not None:
                values[option.attribute] = value
            elif option.required:
                also = f" or {option.key}_file" if option.secret else ""
                self.mistake((*path, option.key), f"is needed here{also and ', ' + option.key + also}; an example: "
                             f"{kinds.shown(option.example)}")  # fmt: skip
        if path:
            for key in given:
                if key not in known:
                    self._unknown(section, key, known, path)
        return values

    def _unknown(self, section: Section, key: str, known: set[str], path: places.Path) -> None:
        if section is table.RULES and key in table.NOT_IN_RULES:
            self.mistake((*path, key), "can't differ by rule; it belongs into [tracking]")
            return
        near = _nearest(key, sorted(known))
        homes = [f"[{s.key}]" if s.key else "the top, before the first table" for s in table.SECTIONS if s.option(key)]
        if not near and homes:
            near = f"; it belongs into {homes[0]}"
        self.mistake((*path, key), f"there is no such key in {section.key}{near}")

    # -- secrets

    def _oauth2(self, given: Any, path: places.Path, needed: bool) -> OAuth2 | None:
        if not isinstance(given, dict):
            raise Wrong(f"should be {table.LOGIN.words}; not {kinds.kind_of(given)}")
        values = self._fields(table.OAUTH2, given, path, withhold=not needed)
        return OAuth2(**values) if self._complete(table.OAUTH2, values) else None

    def _secret(self, key: str, given: dict[str, Any], path: places.Path, needed: bool) -> str | None:
        if not needed:
            return secrets.WITHHELD if key in given or f"{key}_file" in given else None
        if f"{key}_file" not in given or key in given:
            return secrets.read(key, given, self.use)
        try:
            text, warning = secrets.from_file(given[f"{key}_file"], self.use)
        except Wrong as wrong:
            self.mistake((*path, f"{key}_file"), wrong.found[0][1])
            self.wrong.add((*path, key))
            return ""
        if warning:
            self.warn((*path, f"{key}_file"), warning)
        return text

    def _exposed(self, tree: dict[str, Any]) -> None:
        """Warns if a secret is in the file itself and others can read that file."""
        if not self.file.is_file() or not self.file.stat().st_mode & 0o077:
            return
        for path in self.lines:
            key = path[-1] if path else ""
            section = table.BY_KEY.get(str(path[0])) if path else None
            if key in secrets.KEYS and section:
                value: Any = tree
                for step in path:
                    value = value[step]
                if isinstance(value, str) and not value.startswith("env:"):
                    self.warn(path, f"others on this machine can read {self.file}; use {key}_file, or chmod 600 it")

    def _state_dir(self) -> Path:
        """$STATE_DIRECTORY of a systemd unit (the first, if it names several), or else the default."""
        given = self.environ.get("STATE_DIRECTORY", "").split(":")[0]
        return Path(given) if given else locators.beside(str(settings.Settings().state_dir), self.use)


def _nearest(key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
