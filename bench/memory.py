"""What 100 messages of 10 MB in flight cost in memory, all at once, behind an upstream that thinks.

The peak of the relay's memory, over what it had before, as a ratio to the bytes in flight. Goal: at most 1.3 x.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from bench import _load
from bench.relay import RELAY, message

MESSAGES = 100
OCTETS = 10_000_000
THINKS = 20  # seconds: longer than all of them take to arrive


def big(size: int) -> bytes:
    """The newsletter of 20 kB with an attachment that makes it `size` octets."""
    mail = message(20_000)
    tail = b"--=_part--\r\n"
    attachment = (
        b"--=_part\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="data.bin"\r\n\r\n'
    )
    room = size - len(mail) - len(attachment)
    return mail.removesuffix(tail) + attachment + b"".join(
        base64.b64encode(os.urandom(57)) + b"\r\n" for _ in range(room // 78)
    ) + tail  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        file = folder / "message.eml"
        file.write_bytes(big(OCTETS))
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", THINKS, log=folder / "sink.log"))
        smtp, admin, http = _load.free_ports(3)
        toml = RELAY.format(smtp=smtp, sink=sink, track="true", admin=admin, http=http)
        toml = toml.replace("[tracking]", 'patience = "300s"\n[tracking]')
        process = stack.enter_context(_load.relay(folder / "relay", toml, "--only", "smtp,queue"))
        before, _ = _load.resident(process.pid)
        result = _load.load(generator, "smtp", smtp, options.messages, options.messages, file)
        _, peak = _load.resident(process.pid)
    flight = options.messages * OCTETS
    print(
        f"{options.messages} messages of {OCTETS / 1e6:.0f} MB in {result['seconds']:.1f} s: from {before / 1e6:.0f} MB "
        f"to {peak / 1e6:.0f} MB, {(peak - before) / flight:.2f} x the bytes in flight"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
