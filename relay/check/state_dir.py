"""The state folder and what is in it: the token keys, the logins, the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from relay import causes, config, files, occupants, roles, workers
from relay import store as stores
from relay.check import Finding, failure, ok, warning

ROOM = 1_000_000_000  # octets free in the state folder below which a warning is due
NO_ROOM = 20_000_000  # and below which the next large message does not fit
FILES, NO_FILES = 10_000, 100  # the same of files


async def folder(settings: config.Settings) -> list[Finding]:
    path = settings.state_dir
    if not path.exists():
        above = next(p for p in path.parents if p.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            return [failure("state_dir", f"{path} does not exist and can't be made: {above} is not writable")]
        return room(above, os.statvfs(above)) or [ok("state_dir", f"{path} will be made at the first start")]
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x")
            os.fsync(file.fileno())
    except OSError as error:
        return [failure("state_dir", f"nothing can be written to {path}: {causes.of(error)}")]
    exposed = files.exposed(path)
    if exposed:
        return [failure("state_dir", exposed)]
    found = [ok("state_dir", f"{path} can be written to")]
    found = room(path, os.statvfs(path)) or found
    if files.readable(path):
        found.append(warning("state_dir", f"others on this machine can look into {path}: chmod 700 it"))
    return found


def room(path: Path, disk: os.statvfs_result) -> list[Finding]:
    """Whether octets or files run out there; nothing where there are enough. Some file systems have no end of files, and say 0."""
    free, files_left = disk.f_bavail * disk.f_frsize, disk.f_favail
    found = []
    if not disk.f_blocks:  # no disk: /proc and the like
        return []
    if free < NO_ROOM:
        found.append(
            failure(
                "state_dir",
                f"{path} has only {free // 1_000_000} MB left: mail that can't be sent at once is refused; make room",
            )
        )
    elif free < ROOM:
        found.append(warning("state_dir", f"{path} has only {free // 1_000_000} MB left; a full disk stops the spool"))
    if disk.f_files and files_left < FILES:
        say = failure if files_left < NO_FILES else warning
        found.append(say("state_dir", f"{path} has room for only {files_left:,} more files (inodes; df -i), and each message in the spool is one: "
                         "remove small files there, or make the file system anew with more"))  # fmt: skip
    return found


async def keys(settings: config.Settings) -> list[Finding]:
    from relay import keys

    path = settings.state_dir / "keys" / "tokens.json"
    if not path.exists():
        return [warning("keys", f"{path} will be made at the first start. Back it up: losing it kills every link that "
                        "was ever sent")]  # fmt: skip
    try:
        many = len(keys.listing(path))
    except keys.Unusable as error:
        return [failure("keys", str(error))]
    held = f"{many} token key{'s' if many > 1 else ''}"
    return [warning("keys", f"{path} holds {held}. Losing it kills every link that was ever sent: keep it in your "
                    "backups")]  # fmt: skip


async def logins(settings: config.Settings) -> list[Finding]:
    from relay.smtp import accounts, users

    path = users.path(settings)
    if settings.smtp.auth != "users":
        return []
    try:
        held = users.read(path)
    except OSError as error:
        return [failure("logins", f"{path} can't be read: {causes.of(error)}")]
    many = len(held)
    if not many:
        return [warning("logins", 'nobody can log in yet: make a login with "trackrelay user add NAME"')]
    found = [ok("logins", f"{path} holds {many} login{'s' if many > 1 else ''}")]
    unbound = accounts.unbound(settings, ((name, login.senders) for name, login in held.items()))
    if unbound:
        found.append(failure("logins", unbound))
    if path.stat().st_mode & 0o077:
        found.append(warning("logins", f"others on this machine can read the hashes in {path}; chmod 600 it"))
    return found


async def running(settings: config.Settings) -> list[Finding]:
    """Who works there: as root, or with a role that another has."""
    path = settings.state_dir
    there = occupants.there(path)
    found = []
    if of_root := [f"process {one.pid}" for one in there if one.user == "root"]:
        found.append(
            warning("running", f"the service runs as root ({', '.join(of_root)}), and whoever breaks into it has the machine: give it a user "
                    "of its own, as the units do")
        )  # fmt: skip
    if not there and path.is_dir() and path.stat().st_uid == 0:
        found.append(
            warning("running", f"{path} is root's, so the service would have to run as root: let the user have it that it is to run as "
                    f"(chown -R trackrelay: {path})")
        )  # fmt: skip
    for shared, those in occupants.twice(there).items():
        found.append(
            warning("running", f"{' and '.join(map(str, those))} both have {', '.join(shared)} with {path}: run each role once")
        )  # fmt: skip
    return found


async def processes(settings: config.Settings) -> list[Finding]:
    """Whether several of them bring what they cost."""
    parts = workers.parts(settings, frozenset(roles.ALL))
    if len(parts) == 1:
        return []
    several = {role: sum(role in part.roles for part in parts) for role in ("smtp", "http")}
    found = " and ".join(f"{number} of {role}" for role, number in several.items() if number > 1)
    if not settings.store.url.startswith("sqlite"):
        return [ok("workers", f"{found}, under a supervisor")]
    return [
        warning("workers", f"{found} bring little with SQLite, where one of them writes at a time; PostgreSQL does the writing "
                'beside them: [store] url = "postgresql://…" (docs/postgresql.md)')
    ]  # fmt: skip


async def store(settings: config.Settings) -> list[Finding]:
    try:
        return [ok("store", await stores.examine(settings.store.url, settings.state_dir, settings.store.password))]
    except stores.Unavailable as reason:
        return [failure("store", str(reason))]
