"""PostgreSQL, a private server in a folder of its own: by its unix socket and on 127.0.0.1, for whoever asks, without
fsync. Each test has a database for itself: one that another test had, emptied, for to make one takes thirty times as long."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from relay.store.postgres import schema
from tests import peers
from tests.peers import free_port, listening
from tests.until import eventually

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "logging_collector": "off",
}
EMPTY = """
DO $$
DECLARE
  name text;
BEGIN
  SET LOCAL lock_timeout = 5000;
  FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname NOT IN ('migrations', 'counting', 'standings') LOOP
    EXECUTE 'DELETE FROM ' || name;
  END LOOP;
  DELETE FROM standings;
  UPDATE counting SET upto = NULL, position = 0;
  ALTER TABLE deliveries ALTER delivery_id RESTART;
END $$
"""


def program(name: str) -> str:
    """Of the newest version there is, 15 or newer. Without one the test skips, or fails with REQUIRE_SERVERS=1."""
    found = [path / name for path in DEBIAN if int(path.parent.name) >= 15 and (path / name).exists()]
    if found:
        return str(found[-1])
    words = f"{name} of PostgreSQL 15 or newer is not on this machine (Debian package postgresql)"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(words)
    pytest.skip(words)


def as_owner(*words: str) -> list[str]:
    """The command as a user that PostgreSQL accepts, ended with this process whatever becomes of it."""
    become = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig=QUIT", *become, "--", *words]


class Server:
    """`settings` go into postgresql.conf."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, of: Server | None = None, port: int = 0) -> None:
        """With `of` it is a standby of that server; `port` is one that another had which is gone."""
        self.port = port or free_port()
        # The socket's path has to be short, and the folders of pytest are closed to all but their owner.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        self.data = self.folder / "data"
        self._numbers = itertools.count()
        self._free: list[str] = []
        self._settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self.folder.chmod(0o755)
        if of is None:
            self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        else:
            self.run("pg_basebackup", "-D", str(self.data), "-h", str(of.folder), "-p", str(of.port), "-U", "postgres",
                     "-R", "--no-sync", "-c", "fast", "-X", "stream")  # fmt: skip
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        lines += [f"port = {self.port}\n", f"unix_socket_directories = '{self.folder}'\n"]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n")

    def owned(self, path: Path) -> Path:
        """A copy of a file that the server alone may read."""
        copy = self.folder / path.name
        shutil.copy(path, copy)
        copy.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(copy, "postgres", "postgres")
        return copy

    def run(self, name: str, *words: str) -> None:
        done = subprocess.run(as_owner(program(name), *words), capture_output=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        log = self.folder / "log"
        self._process = subprocess.Popen(
            as_owner(program("postgres"), "-D", str(self.data)),
            stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
            cwd="/",
        )
        listening(self._process, self.port, log)
        # It listens before it answers.
        eventually(
            lambda: not self.running or self.psql("SELECT 1", quiet=True) is not None, peers.START_SECONDS, pause=0.05
        )
        assert self.running, log.read_text()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT one that is like a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def cpu(self) -> float:
        """Seconds of processor time that its processes have used so far: those that ended, too."""
        assert self._process is not None
        ticks, own = 0, self._process.pid
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it ended just now
                continue
            if path.parent.name == str(own):
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == str(own):
                ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """As the machine's end would: nothing of it runs any more."""
        self.stop(signal.SIGQUIT)

    def psql(self, sql: str, database: str = "postgres", *, quiet: bool = False) -> str | None:
        words = [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(self.port)]
        done = subprocess.run(
            [*words, "-U", "postgres", "-d", database, "-c", sql], capture_output=True, text=True, check=False
        )
        assert quiet or done.returncode == 0, done.stderr
        return done.stdout.strip() if done.returncode == 0 else None

    def url(self, database: str, *servers: Server, more: str = "") -> str:
        """By TCP, here and on these others."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self, *servers))
        return f"postgresql://postgres@{hosts}/{database}{more}"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of one that is empty, and up to date."""
        name = self._free.pop() if self._free else await self._new()
        db = await self._connected(name)
        await schema.migrate(db)
        await db.execute(EMPTY)
        await db.close()
        yield self.url(name)
        self._free.append(name)

    async def _new(self) -> str:
        name = f"test_{next(self._numbers)}"
        db = await self._connected("postgres")
        await db.execute(f"CREATE DATABASE {name}")
        await db.close()
        return name

    async def _connected(self, database: str) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(host=str(self.folder), port=self.port, user="postgres", database=database)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    server = Server(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()
