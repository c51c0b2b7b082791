"""Say what the classifier makes of hits: one JSON line each in, and one out, in the same order. No store is asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from relay.core import traces

HELP = "say what hits are taken for: people, proxies, scanners …"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help='hits as lines of JSON; "-" or none is standard input')
    parser.add_argument("--networks", metavar="FILE", help="a table of networks instead of the one that comes with us")


def run(args: argparse.Namespace) -> int:
    import json
    import sys
    from pathlib import Path

    from relay import causes, network_list
    from relay.core import origins, traces

    try:
        table = network_list.load(Path(args.networks) if args.networks else None)
    except OSError as reason:
        return failed(causes.at(reason))
    except origins.Unreadable as reason:
        return failed(f"{args.networks}:{reason.line}: {reason}")
    hits: list[traces.Line] = []
    for name in args.files or ["-"]:
        try:
            if name == "-":
                hits += lines("standard input", sys.stdin.buffer)
            else:
                with Path(name).open("rb") as file:
                    hits += lines(name, file)
        except OSError as reason:
            return failed(causes.at(reason))
        except ValueError as reason:  # an unreadable line, or a NUL in the name
            return failed(str(reason))
    for judged in traces.judge(hits, table.of):
        line = {"verdict": judged.verdict, "reason": judged.reason, "first_verdict": judged.first_verdict}
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


def lines(name: str, file: BinaryIO) -> list[traces.Line]:
    """Raises ValueError, with file and line."""
    from relay.core import traces

    found = []
    for number, line in enumerate(file, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # as programs on Windows begin a file
        if not line.strip():
            continue
        try:
            found.append(traces.read(line))
        except traces.Unreadable as reason:
            raise ValueError(f"{name}:{number}: {reason}") from None
    return found


def failed(sentence: str) -> int:
    import sys

    print(f"trackrelay classify: {sentence}", file=sys.stderr)
    return 2
