"""What messages of 10 MB in flight cost in memory, all at once, behind an upstream that thinks.

The peak of the relay's memory, over what it had before, as a ratio to the most bytes in flight that the relay itself
counted (trackrelay_smtp_in_flight_bytes). Goal: at most 1.3 x. The same with TLS from clients and to
the upstream, and with five recipients each, who get copies of their own: four copies over all are in memory beside the
messages, so that their share is the larger the fewer messages there are. Needs libssl-dev for the generator.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from bench import _load, _relay
from tests.fakes import certificates

MESSAGES = 100
COPIED, RECIPIENTS = 20, 5
OCTETS = 10_000_000
THINKS = 20  # seconds: longer than all of them take to arrive
THINKS_OF_A_COPY = 4  # there are many more of them, and eight at a time
PATIENT = 'patience = "300s"\n'


def big(size: int) -> bytes:
    """The newsletter of 20 kB with an attachment that makes it `size` octets."""
    mail = _relay.newsletter(20_000)
    tail = b"--=_part--\r\n"
    attachment = (
        b"--=_part\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="data.bin"\r\n\r\n'
    )
    room = size - len(mail) - len(attachment)
    return mail.removesuffix(tail) + attachment + b"".join(
        base64.b64encode(os.urandom(57)) + b"\r\n" for _ in range(room // 78)
    ) + tail  # fmt: skip


@contextlib.contextmanager
def watching(relay: _relay.Relay) -> Iterator[list[float]]:
    """The bytes in flight, twice a second."""
    seen, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            seen.append(_load.metrics(relay.admin)["trackrelay_smtp_in_flight_bytes"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--only", choices=("clear", "tls", "copies"))
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder, tls=True)
        pem = certificates.make(folder)
        file = folder / "message.eml"
        file.write_bytes(big(OCTETS))
        sinks = [
            stack.enter_context(_load.printing_its_port(generator, "sink", n, *pem, log=folder / f"sink-{n}.log"))
            for n in (THINKS, THINKS_OF_A_COPY)
        ]
        cases = {
            "clear": ("in clear", options.messages, 1),
            "tls": ("STARTTLS both ways", options.messages, 1),
            "copies": (f"{RECIPIENTS} copies of each", COPIED, RECIPIENTS),
        }
        for key, (what, messages, copies) in cases.items():
            if options.only in (None, key):
                sink = sinks[copies > 1].port
                measure(folder / key, what, generator, pem if key == "tls" else None, sink, messages, copies, file)
    return 0


def measure(
    folder: Path, what: str, generator: Path, pem: certificates.Pair | None, sink: int, messages: int, copies: int,
    file: Path,
) -> None:  # fmt: skip
    """In a process of its own: the allocator does not give back all that it once had."""
    smtp = f'certificate = "{pem.certificate}"\nkey = "{pem.key}"' if pem else ""
    upstream = PATIENT + f'tls = "{"required" if pem else "never"}"'
    env = {"SSL_CERT_FILE": str(pem.certificate)} if pem else {}
    with contextlib.ExitStack() as stack:
        relay = _relay.start(stack, folder, sink, smtp=smtp, upstream=upstream, env=env)
        before, _ = _load.resident(relay.pid)
        mode = "starttls" if pem else "smtp"
        with watching(relay) as seen:
            result = _load.load(generator, mode, relay.port, messages, messages, file, f"rcpt={copies}")
        _, peak = _load.resident(relay.pid)
        _relay.proved(relay, messages, copies=copies)
    flight = max(seen)
    print(
        f"  {messages:3} messages of {OCTETS / 1e6:.0f} MB, {what:18} {result['seconds']:6.1f} s   "
        f"{flight / 1e6:5.0f} MB in flight, memory from {before / 1e6:.0f} to {peak / 1e6:5.0f} MB   "
        f"{(peak - before) / flight:.2f} x   goal 1.3",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
