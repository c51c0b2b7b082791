"""A private rspamd as a milter that scans by itself, adds its header fields and signs: its own folder and port, no Redis,
no DNS, gone afterwards.

    with rspamd.running(folder, signing) as server:
        ... server.port

`signing` is what stands in local.d/dkim_signing.conf.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import peers

SETTINGS = """
options {{
  filters = "dkim,regexp";
  tempdir = "{folder}"; control_socket = "{folder}/control.sock mode=0600"; pidfile = "{folder}/pid";
  cache_file = "{folder}/symbols.cache"; hs_cache_dir = "{folder}/"; history_file = "{folder}/history";
  url_tld = "{folder}/suffixes";
  dns {{ nameserver = ["127.0.0.1:{nobody}"]; timeout = 0.05s; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "info"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; milter = yes; count = 1; timeout = 120s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
modules {{ path = "/usr/share/rspamd/plugins/"; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
metric {{ name = "default"; }}
milter_headers {{ use = ["x-spamd-bar", "x-spam-level"]; skip_local = false; skip_authenticated = false; }}
dkim_signing {{
  sign_local = true; sign_authenticated = true; use_domain = "header"; use_esld = true;
  {signing}
}}
"""


@dataclass(frozen=True)
class Server:
    port: int
    folder: Path

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def running(folder: Path, signing: str) -> Iterator[Server]:
    program = peers.require("rspamd", package="rspamd")
    server = Server(peers.free_port(), folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suffixes").write_text("com\ntest\n")  # Debian's list takes it ten seconds
    (folder / "rspamd.conf").write_text(
        SETTINGS.format(folder=folder, port=server.port, nobody=peers.free_port(), signing=signing)
    )
    output = folder / "output"
    process = subprocess.Popen(
        [program, "-f", "-i", "-u", "root", "-g", "root", "-c", folder / "rspamd.conf"],
        stdin=subprocess.DEVNULL, stdout=output.open("wb"), stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        peers.listening(process, server.port, output)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has nothing to save, and takes its time over that
        process.wait(20)
