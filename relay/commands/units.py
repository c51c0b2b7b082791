"""Write the systemd files for the place where this program is installed: a unit for all roles, one for each role, their
target, and the user. With --config they name that file; it need not be there yet. Else it is
/etc/trackrelay/relay.toml."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HELP = "write the systemd files for where this is installed"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="where to: /etc/systemd/system, or any folder to look at them")
    parser.add_argument("--force", action="store_true", help="also in place of files that are there and differ")
    parser.add_argument("--program", metavar="PATH", help="what the units start; this very program by default")


def run(args: argparse.Namespace) -> int:
    import os
    import sys
    from pathlib import Path

    from relay import causes, files, installed

    to = Path(args.directory)
    words = [os.path.abspath(args.program)] if args.program else installed.program()
    config = Path(os.path.abspath(args.config or installed.CONFIG))
    for path, allowed in ((words[0], installed.STARTABLE), (str(config), installed.PLAIN)):
        if not allowed.fullmatch(path):
            print(f"trackrelay units: {path!r} is a path that a unit can't name; choose a plainer one", file=sys.stderr)
            return 2
    texts = installed.units(words, config)
    try:
        different = [name for name, text in texts.items() if differs(to / name, text)]
        if different and not args.force:
            print(
                f"trackrelay units: nothing was written, since these in {to} differ: {', '.join(different)}. --force "
                "replaces them; what you change in a drop-in (systemctl edit trackrelay) outlasts that",
                file=sys.stderr,
            )
            return 1
        files.make_folder(to)
        for name, text in texts.items():
            files.write(to / name, text.encode(), mode=files.PUBLIC)  # in place of a link too, such as a mask
            print(to / name)
    except OSError as reason:
        print(f"trackrelay units: {causes.at(reason, to)}", file=sys.stderr)
        return 1
    if not args.program:
        for sentence in installed.out_of_reach(words, config):
            print(f"trackrelay units: {sentence}", file=sys.stderr)
    print(f"trackrelay units: now: systemd-sysusers {to}/trackrelay.sysusers; systemctl daemon-reload", file=sys.stderr)
    return 0


def differs(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() != text.encode()
    except FileNotFoundError:
        return False
