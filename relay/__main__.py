"""The command line: finds the command, and imports no other."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from typing import NoReturn

from relay import __version__

if sys.version_info < (3, 11):  # noqa: UP036 - what comes next can't even be imported there
    sys.exit(f"trackrelay: needs Python 3.11 or newer, and this is {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable}); "
             "docs/install.md has the packages")  # fmt: skip

COMMANDS = (
    "demo", "run", "check", "rewrite", "inspect", "classify", "events", "messages", "queue", "webhooks", "user", "api-key", "token-key",
    "links", "suppress", "dkim", "counts", "store", "nodes", "backup", "export", "erase", "units", "init",
)  # fmt: skip


CONFIG = "the settings; else $TRACKRELAY_CONFIG, ./relay.toml, /etc/trackrelay/relay.toml"


def module_of(command: str) -> str:
    return f"relay.commands.{command.replace('-', '_')}"


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; with `only`, that command's arguments and just the names of the others."""
    top = argparse.ArgumentParser(
        prog="trackrelay", description="Open, click and reply tracking for the mail you send."
    )
    top.add_argument("--config", metavar="FILE", help=CONFIG)
    top.add_argument("--version", action="version", version=f"trackrelay {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        if only not in (None, name):
            commands.add_parser(name, add_help=False)
            continue
        room = importlib.import_module(module_of(name))
        own = commands.add_parser(name, help=room.HELP, description=room.__doc__ or room.HELP)
        own.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=CONFIG)
        room.arguments(own)
        config_everywhere(own)
        own.set_defaults(run=room.run)
    return top


def config_everywhere(parser: argparse.ArgumentParser) -> None:
    """--config after a verb too: `trackrelay user list --config FILE`. What stood before the command or the verb is kept."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                verb.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
                config_everywhere(verb)


def command_in(words: list[str]) -> str | None:
    """The command that is meant; None where that takes all of the command line to say."""
    rest = iter(words)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif not word.startswith("--config="):
            return word if word in COMMANDS else None
    return None


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 is done, 1 a check that failed, 2 bad usage or configuration."""
    words = sys.argv[1:] if arguments is None else arguments
    args = parser(command_in(words)).parse_args(words)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `trackrelay events | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as reason:  # a file or folder that can't be had, wherever a command meets it
        from relay import causes

        print(f"trackrelay {args.command}: {causes.at(reason)}", file=sys.stderr)
        return 1


def program() -> NoReturn:
    """`main` as a process of its own. A service ends at once, since all that it had is closed: to take the interpreter apart,
    object by object, takes a quarter of a second, and the next one can't listen before."""
    code = main()
    if command_in(sys.argv[1:]) != "run":
        sys.exit(code)
    from relay import log

    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it, or it was closed from the start
        log.flush()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    program()
