"""HAProxy and nginx, each with a configuration that a test gives it, in the foreground."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests import peers
from tests.until import eventually

NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1000; }}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextlib.contextmanager
def haproxy(folder: Path, config: str, address: tuple[str, int]) -> Iterator[None]:
    """Until it listens at `address`."""
    path = peers.require("haproxy", package="haproxy")
    (folder / "haproxy.cfg").write_text(config)
    with running([path, "-q", "-f", str(folder / "haproxy.cfg")], folder, address):
        yield


@contextlib.contextmanager
def nginx(folder: Path, config: str, address: tuple[str, int]) -> Iterator[None]:
    """`config` without what Debian's own file says outside of its blocks."""
    path = peers.require("nginx", package="nginx-light")
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in TEMPORARY)
    text = NGINX.format(folder=folder) + config.replace("http {\n", f"http {{\n{temporary}", 1)
    (folder / "nginx.conf").write_text(text)
    with running([path, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")], folder, address):
        yield


@contextlib.contextmanager
def running(words: list[str], folder: Path, address: tuple[str, int]) -> Iterator[None]:
    log = folder / "balancer.log"
    with log.open("ab") as output:
        process = subprocess.Popen(["setpriv", "--pdeathsig=TERM", "--", *words], stdout=output, stderr=output)
    try:
        eventually(lambda: process.poll() is not None or listens(address), peers.START_SECONDS)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)


def listens(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0
