"""The spool: mail that waits for the upstream. Works whether the service runs or not.

An entry that is being sent at this moment belongs to the service: retry and drop say so, and leave it alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.config import Settings
    from relay.core import queue
    from relay.spool import disk, requests

HELP = "the spool: list, show, retry or drop what waits"
STEP = 1000  # entries between two signs of progress


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(step=STEP)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="what waits, oldest first")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    show = verbs.add_parser("show", help="one entry: envelope, attempts, header fields")
    show.add_argument("id", metavar="ID")
    show.add_argument("--content", action="store_true", help="the message itself and nothing else")
    retry = verbs.add_parser("retry", help="try now, whatever the schedule says")
    retry.add_argument("ids", metavar="ID", nargs="*")
    retry.add_argument("--all", action="store_true", help="everything that waits")
    drop = verbs.add_parser("drop", help="remove for good: it counts as given up, and its sender is not told")
    drop.add_argument("ids", metavar="ID", nargs="+")


def run(args: argparse.Namespace) -> int:
    from relay import config
    from relay.spool import disk

    if args.verb == "retry" and bool(args.ids) == args.all:
        print("trackrelay queue retry: name some entries, or --all", file=sys.stderr)
        return 2
    args.settings = config.settings_of(args)
    kept = disk.Disk(args.settings.state_dir / "spool")
    verbs = {"list": listing, "show": show, "retry": retry, "drop": drop}
    return verbs[args.verb](kept, args)


def listing(kept: disk.Disk, args: argparse.Namespace) -> int:
    import msgspec

    now, count = time.time(), 0
    for name in kept.scan():
        found = kept.measured(name)
        if found is None:
            continue
        entry, size = found
        if args.json:
            line = msgspec.json.encode({**msgspec.to_builtins(entry), "size": size}).decode()
        else:
            if not count:
                print(
                    f"{'ID':19}  {'AGE':>6}  {'SIZE':>8}  {'TRIES':>5}  {'NEXT':>6}  SENDER -> RECIPIENTS: LAST REPLY"
                )
            line = row(entry, size, now)
        print(line)
        count += 1
        if count % args.step == 0:
            sys.stdout.flush()
    if not count and not args.json:
        print("nothing waits")
    return 0


def row(entry: queue.Entry, size: int, now: float) -> str:
    from relay import log

    to = [r.address for r in entry.waiting]
    named = ", ".join(to[:3]) + (f" and {len(to) - 3} more" if len(to) > 3 else "")
    soon = "login" if entry.login else "now"  # it waits for its user, whose password is not kept
    pause = soon if entry.next_at <= now else span(entry.next_at - now)
    said = f": {entry.last_reply}" if entry.last_reply else ""
    words = f"{entry.reverse_path or '<>'} -> {named}{said}"
    return f"{entry.entry_id:19}  {span(now - entry.created_at):>6}  {size:>8}  {entry.attempts:>5}  {pause:>6}  {log.safe(words)}"


def span(seconds: float) -> str:
    """A rough length of time: 45s, 12m, 5h, 3d."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"


def show(kept: disk.Disk, args: argparse.Namespace) -> int:
    from relay import log
    from relay.core import envelopes

    entry = kept.read(args.id)
    if entry is None:
        return unknown(args.id)
    content = kept.content(args.id)
    if args.content:
        sys.stdout.buffer.write(content)
        return 0
    now = time.time()
    print(
        f"entry         {entry.entry_id} ({entry.kind}{', for the login ' + log.safe(entry.login) if entry.login else ''})"
    )
    print(f"message       {entry.message_id or '-'}")
    print(f"kept          {stamp(entry.created_at)}, {span(now - entry.created_at)} ago; {len(content)} octets")
    after = f" once {log.safe(entry.login)} has logged in" if entry.login else ""
    print(f"attempts      {entry.attempts}, the next {'now' if entry.next_at <= now else stamp(entry.next_at)}{after}")
    if entry.duplicates:
        print(f"uncertain     after {entry.duplicates} attempts the upstream may have had it, but gave no answer")
    print(f"sender        <{log.safe(entry.reverse_path)}> {' '.join(entry.options)}".rstrip())
    for recipient in entry.recipients:
        words = " ".join([f"<{recipient.address}>", *recipient.options, recipient.state, recipient.reply])
        print(f"recipient     {log.safe(words).rstrip()}")
    print()
    for line in envelopes.header_section(content).decode("utf-8", "replace").split("\r\n"):
        print(log.safe(line).replace("\\x09", "\t"))
    return 0


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def retry(kept: disk.Disk, args: argparse.Namespace) -> int:
    from relay.spool import requests

    def now(name: str) -> requests.Result:
        return requests.retry(kept, name, time.time())

    return each(kept, kept.scan() if args.all else args.ids, now, "to be tried now", every=args.all, step=args.step)


def drop(kept: disk.Disk, args: argparse.Namespace) -> int:
    from relay.spool import requests

    gone: list[queue.Entry] = []

    def remove(name: str) -> requests.Result:
        found = requests.drop(kept, name, whoever())
        if isinstance(found, str):
            return found
        gone.append(found)
        return "done"

    code = each(kept, args.ids, remove, "dropped", every=False, step=args.step)
    record(args.settings, gone)
    return code


def whoever() -> str:
    """Who types this: the user that became root, if sudo says so."""
    import os
    import pwd

    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def record(settings: Settings, gone: list[queue.Entry]) -> None:
    """The messages' record says "given up". Where it can't be written now, who sends writes it later."""
    import asyncio

    from relay import opening, store
    from relay.spool import requests

    async def write() -> None:
        async with opening.opened(settings) as opened:
            await requests.record_dropped(opened, gone)

    if gone:
        try:
            asyncio.run(write())
        except store.Unavailable as reason:
            print(
                f"trackrelay queue: the record does not say so yet, the service will write it: {reason}",
                file=sys.stderr,
            )


def each(
    kept: disk.Disk, names: Iterable[str], act: Callable[[str], requests.Result], done: str, *, every: bool, step: int
) -> int:
    """Does it to each entry. The exit code is 1 if one that was named could not be claimed."""
    from relay.spool import disk

    count, missed, shown = 0, 0, False
    for name in names:
        try:
            result = act(name)
        except disk.Unwritable as reason:
            print(f"trackrelay queue: {name}: {reason}", file=sys.stderr)
            missed += 1
        else:
            if result != "done":
                missed += not every
                if result == "busy" and not every:
                    print(f"trackrelay queue: {name}: it is being sent right now", file=sys.stderr)
                elif not every:
                    unknown(name)
                continue
            count += 1
        if sys.stderr.isatty() and (count + missed) % step == 0:
            print(f"\r{count + missed}", end="", file=sys.stderr, flush=True)
            shown = True
    if shown:
        print("\r", end="", file=sys.stderr, flush=True)
    kept.wake()
    print(f"{count} {'entry' if count == 1 else 'entries'} {done}")
    return 1 if missed else 0


def unknown(name: str) -> int:
    from relay import log

    print(f"trackrelay queue: {log.safe(name)}: no such entry", file=sys.stderr)
    return 1
