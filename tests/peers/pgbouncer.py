"""PgBouncer, a private one on 127.0.0.1, which gives each transaction any of its connections."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import free_port, listening, require
from tests.peers.postgres import Server, as_owner

CONFIG = """[databases]
* = user=postgres host={host} port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 50
unix_socket_dir =
logfile =
[users]
"""


@contextmanager
def running(server: Server) -> Iterator[int]:
    """Its port. It has two connections to the server for each database, however many ask."""
    program = require("pgbouncer", package="pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir="/tmp"))
    folder.chmod(0o755)
    port = free_port()
    file = folder / "pgbouncer.ini"
    file.write_text(CONFIG.format(host=server.folder, server=server.port, port=port))
    process = subprocess.Popen(
        as_owner(program, str(file)), stdout=(folder / "log").open("ab"), stderr=subprocess.STDOUT, cwd="/"
    )
    try:
        listening(process, port, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
