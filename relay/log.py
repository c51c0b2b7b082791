"""One line per event: a name and its fields, as text or JSON.

Owns: the form of a line, and clipping and escaping what others wrote into it. Leaves to others: what is worth a line.
As text: `2026-01-31T12:00:00.000Z INFO smtp accepted message_id=… size=5120`. Control characters, including those
that reverse text, are escaped: one event is one line, and a subject can't drive a terminal. Of a value at most 200
characters are written (of a traceback, which nobody else writes, all): nobody fills a disk with one long word.
The line that every message has is written with those of others, within 50 ms.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import re
import sys
import time
from contextlib import nullcontext, suppress
from typing import Any, Literal, TextIO

# C0, DEL, C1, line and paragraph separators, and the bidirectional controls of Unicode.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A value that needs no quotes: no white space, quotation mark, = or backslash, and nothing of UNSAFE. Of ASCII, or of anything.
BARE = re.compile(
    r'[!#-<>-\[\]-~]+|[^\s"=\\\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+'
)

MAX_VALUE = 200  # characters of a value
TOGETHER_SECONDS = 0.05
LARGEST_WRITE = 4096  # octets at once: POSIX writes so many to a pipe together, and several processes may have one log
WHOLE = "traceback"  # the field that is not clipped


def clipped(value: Any) -> Any:
    """The value, as text where it is neither a number nor short."""
    if type(value) is int or value is True or value is False or type(value) is float:
        return value
    text = value if type(value) is str else str(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def safe(text: str) -> str:
    """The text with each control character as \\xNN or \\uNNNN."""
    if text.isprintable():  # as nearly all are: then nothing of UNSAFE is in it
        return text
    return UNSAFE.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", text)


class Room:
    """The log of one room. Fields are keyword arguments; those that are None are left out."""

    __slots__ = ("_logger", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger = logging.getLogger(f"trackrelay.{name}")

    def debug(self, event: str, **fields: Any) -> None:
        self._write(logging.DEBUG, event, fields, False)

    def info(self, event: str, **fields: Any) -> None:
        self._write(logging.INFO, event, fields, False)

    def often(self, event: str, **fields: Any) -> None:
        """Like `info`, of what happens again and again: such lines are written together, within TOGETHER_SECONDS. A process
        that is killed loses those that wait."""
        if _lines and self._logger.isEnabledFor(logging.INFO):
            _lines[0].write("INFO", self._name, event, fields, together=True)
        else:
            self._write(logging.INFO, event, fields, False)

    def warning(self, event: str, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields, False)

    def error(self, event: str, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields, False)

    def exception(self, event: str, **fields: Any) -> None:
        """Like `error`, with the traceback of the current exception in the field `traceback`."""
        self._write(logging.ERROR, event, fields, True)

    def _write(self, level: int, event: str, fields: dict[str, Any], trace: bool) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if trace or not _lines:
            flush()
            self._logger.log(level, event, extra={"fields": fields}, exc_info=trace)
        else:
            _lines[0].write(logging.getLevelName(level), self._name, event, fields)


def room(name: str) -> Room:
    return Room(name)


class Form(logging.Formatter):
    """Records as lines. `form` is "text" or "json"."""

    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self.form = form
        self._second, self._stamp = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        name = record.name.removeprefix("trackrelay.")
        return self.line(record.created, record.levelname, name, record.getMessage(), fields)

    def line(self, at: float, level: str, room: str, event: str, fields: dict[str, Any]) -> str:
        second = int(at)
        if second != self._second:  # a busy service writes many lines per second
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int((at - second) * 1000):03d}Z"
        if _marks:
            fields = {**_marks, **fields}
        if self.form == "json":
            told = {k: v if k == WHOLE else clipped(v) for k, v in fields.items() if v is not None}
            line = {"time": stamp, "level": level.lower(), "room": room, "event": event, **told}
            return UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(line, ensure_ascii=False, default=str))
        words = [stamp, level, room, safe(event)]
        for key, value in fields.items():
            if type(value) is int:
                words.append(f"{key}={value}")
            elif value is not None:
                words.append(f"{key}={quoted(value, None if key == WHOLE else MAX_VALUE)}")
        return " ".join(words)


class Lines:
    """Writes our own events straight to the stream. There is one for each message, and the record that Python's logging
    makes of it is half of what a line costs."""

    def __init__(self, handler: logging.StreamHandler[TextIO], form: Form) -> None:
        self.handler, self.form = handler, form
        self._waiting: list[str] = []
        self._size = 0  # of what waits
        self._loop: asyncio.AbstractEventLoop | None = None  # whose timer will write it

    def write(self, level: str, room: str, event: str, fields: dict[str, Any], *, together: bool = False) -> None:
        """The lines stand in the order in which they were written, also where one waits and the next does not."""
        line = self.form.line(time.time(), level, room, event, fields) + "\n"
        with self.handler.lock or nullcontext():
            if self._size + len(line) > LARGEST_WRITE:
                self._put_waiting()
            if not (together and line.isascii() and self._wait(line)):
                self._put("".join((*self._waiting, line)))
                self._waiting.clear()
                self._size = 0

    def flush(self) -> None:
        with self.handler.lock or nullcontext():
            self._put_waiting()

    def _wait(self, line: str) -> bool:
        """False where nothing would write it later."""
        if not self._waiting or self._loop is None or not self._loop.is_running():
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            self._loop.call_later(TOGETHER_SECONDS, self.flush)
        self._waiting.append(line)
        self._size += len(line)
        return True

    def _put_waiting(self) -> None:
        if self._waiting:
            self._put("".join(self._waiting))
            self._waiting.clear()
            self._size = 0

    def _put(self, text: str) -> None:
        with suppress(OSError, ValueError):  # if nobody reads the log, that is no reason to fail
            self.handler.stream.write(text)
            self.handler.stream.flush()


# Without `start`, as in most commands, nothing is written: Python would print bare events to stderr.
logging.getLogger("trackrelay").addHandler(logging.NullHandler())

_marks: dict[str, Any] = {}  # fields of each line of this process

_lines: list[Lines] = []  # set by `start`; without it (in tests) lines go through Python's logging


def quoted(value: Any, most: int | None = MAX_VALUE) -> str:
    """A value as it stands in a line of text, of at most so many characters. Its own backslashes are doubled, so that it
    can't end the quotes and continue as another field."""
    text = value if type(value) is str else str(value)
    if most is not None and len(text) > most:
        text = text[: most - 3] + "..."
    if BARE.fullmatch(text):
        return text
    text = safe(text.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{text}"'


def mark(**fields: Any) -> None:
    """From now on each line of this process has these fields too, before its own."""
    _marks.update(fields)


def flush() -> None:
    """Writes what waits. Python's own end does it too."""
    for lines in _lines:
        lines.flush()


atexit.register(flush)


def start(form: Literal["text", "json"] = "text", level: int = logging.INFO) -> None:
    """From now on, logs go to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Form(form))
    flush()
    _lines[:] = [Lines(handler, Form(form))]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("trackrelay").setLevel(level)
