"""A connection between a program and a server, with every octet that the program says written down.

with tap.on(server_port) as line:
    ... a program speaks to line.port
    line.said
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Tap:
    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.said = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                threading.Thread(target=self._carry, args=(client, server, self.said), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, None), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, said: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while octets := one.recv(65_536):
                if said is not None:
                    said += octets  # before the server has them: what it has taken is written down
                other.sendall(octets)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def message(self) -> bytes:
        """What stood between the last DATA and CRLF.CRLF, as it was sent."""
        return bytes(self.said).rpartition(b"DATA\r\n")[2].partition(b"\r\n.\r\n")[0] + b"\r\n"

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def on(server: int) -> Iterator[Tap]:
    tap = Tap(server)
    try:
        yield tap
    finally:
        tap.close()
