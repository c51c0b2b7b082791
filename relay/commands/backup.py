"""Copy the database, keys, journal and spool into a new folder, consistently, while the service runs.

To restore, stop the service and put the folder's content into state_dir."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings

HELP = "copy database, keys and spool while the service runs"
FOLDERS = ("keys", "spool", "journal")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="made by this command; must not exist, or be empty")


def run(args: argparse.Namespace) -> int:
    import asyncio
    from pathlib import Path

    from relay import config

    return asyncio.run(copy(config.settings_of(args), Path(args.directory)))


async def copy(settings: Settings, to: Path) -> int:
    from relay import store

    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        print(f"trackrelay backup: {to} is there already and not empty; name a new folder", file=sys.stderr)
        return 2
    if not settings.state_dir.is_dir():
        print(
            f"trackrelay backup: {settings.state_dir} is not there: nothing has run with {settings.file}",
            file=sys.stderr,
        )
        return 1
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = 0
    for name in FOLDERS:
        count += copy_folder(settings.state_dir / name, to / name)
    opened = store.open(settings.store.url, settings.state_dir)
    try:
        await opened.start()
        await opened.backup(to / "trackrelay.db")
    except store.Unavailable as reason:
        print(f"trackrelay backup: {reason}", file=sys.stderr)
        return 1
    finally:
        await opened.stop()
    print(f"{to}: the database and {count} files of {', '.join(FOLDERS)}")
    return 0


def copy_folder(source: Path, to: Path) -> int:
    """Files that go away meanwhile (a message that was just delivered) are not missed. Returns how many were copied."""
    import shutil

    count = 0
    if not source.is_dir():
        return 0
    to.mkdir(mode=0o700, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            count += copy_folder(path, to / path.name)
            continue
        try:
            shutil.copy2(path, to / path.name)
            count += 1
        except FileNotFoundError:
            continue
    return count
