"""Asks at a terminal, and again until an answer can be read.

Owns: the questions. Leaves to others: what an answer means (`answers`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from relay.config.kinds import Wrong
from relay.init import known

T = TypeVar("T")


class Ended(Exception):
    """The terminal was closed, or Ctrl-D pressed, before all was answered."""


UPSTREAM = f"""
1. Which server delivers your mail? Its name (smtp.example.com, or with a port: mail.example.com:465),
   or one of these: {", ".join(known.WORDS)}.
   local is a mail server on this machine."""
TRACKING = """
2. By which host name do recipients reach the tracking server? It is in every link, for years: one of its own below
   your domain, such as t.example.com."""
TRACK = """
3. Whose mail is tracked? all, or none (a message may ask for it itself, by X-Track), or some senders:
   *@sales.example.com, jane@example.com"""
WEBHOOK = """
4. Which URL is told of opens, clicks and replies? Such as https://app.example.com/hooks; or none."""


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def ask(prompt: str, read: Callable[[str], T], default: str = "") -> T:
    """`default` is what Enter alone means."""
    shown = f" [{default}]" if default else ""
    while True:
        print(f"   {prompt}{shown}: ", end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            say("   That is not UTF-8; set this terminal to UTF-8.")
            continue
        if not line:
            raise Ended
        try:
            return read(line.strip() or default)
        except Wrong as wrong:
            say(f"   {sentence(wrong)}")


def ask_hidden(prompt: str, read: Callable[[str], T]) -> T:
    """Nothing of it is shown."""
    import getpass

    while True:
        try:
            return read(getpass.getpass(f"   {prompt} (not shown): "))
        except EOFError:
            raise Ended from None
        except Wrong as wrong:
            say(f"   {sentence(wrong)}")


def sentence(wrong: Wrong) -> str:
    words = "; ".join(words for _, words in wrong.found)
    return f"{words[:1].upper()}{words[1:]}."
