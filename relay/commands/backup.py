"""Copy the SQLite database, keys, journal and spool into a new folder, consistently, while the service runs.

To restore, stop the service and put the folder's content into state_dir."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings

HELP = "copy database, keys and spool while the service runs"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="a new or empty folder for the copy")


def run(args: argparse.Namespace) -> int:
    import asyncio
    from pathlib import Path

    from relay import config

    return asyncio.run(copy(config.settings_of(args), Path(args.directory)))


async def copy(settings: Settings, to: Path) -> int:
    from relay import causes, files, opening, store

    try:
        full = any(to.iterdir())
    except FileNotFoundError:
        full = False
    except OSError as reason:
        print(f"trackrelay backup: {causes.at(reason, to)}; name a new folder", file=sys.stderr)
        return 1 if isinstance(reason, PermissionError) else 2
    if full:
        print(f"trackrelay backup: {to} exists and is not empty; name a new folder", file=sys.stderr)
        return 2
    try:
        async with opening.opened(settings) as opened:
            files.make_folder(to)
            try:
                count = sum(copy_folder(settings.state_dir / name, to / name) for name in files.FOLDERS)
                whole = await opened.backup(to / "trackrelay.db")
            except OSError as reason:
                return not_whole(to, causes.at(reason, to))
            except store.Unavailable as reason:
                return not_whole(to, str(reason))
    except store.Unavailable as reason:  # nothing was copied
        print(f"trackrelay backup: {reason}", file=sys.stderr)
        return 1
    except OSError as reason:
        print(f"trackrelay backup: {causes.at(reason, to)}", file=sys.stderr)
        return 1
    os.sync()  # once, and not for each of the files: there may be thousands
    what = f"{count} files of {', '.join(files.FOLDERS)}"
    print(f"{to}: the database and {what}" if whole else f"{to}: {what}. The database is not in it: save it by pg_dump")
    return 0


def not_whole(to: Path, reason: str) -> int:
    print(f"trackrelay backup: {reason}; the backup in {to} is incomplete: remove it", file=sys.stderr)
    return 1


def copy_folder(source: Path, to: Path) -> int:
    """Returns how many files were copied. Files that disappear meanwhile (a message that was just delivered) do not matter."""
    from relay import files

    count = 0
    if not source.is_dir():
        return 0
    files.make_folder(to)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            count += copy_folder(path, to / path.name)
            continue
        if path.suffix != ".tmp":
            with contextlib.suppress(FileNotFoundError):
                files.copy(path, to / path.name)
                count += 1
    return count
