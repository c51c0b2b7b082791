"""Messages per second through the relay, as ratios to an aiosmtpd that discards: same loop, one process each.

The relay tracks opens and links, stores its record before it sends, and hands on to a sink in C that pipelines.
Goal at 5 kB without DKIM: 0.75 x, at 50 kB 2 x; with Ed25519 at 5 kB 0.65 x.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from bench import _load

SESSIONS = 10
SIZES = {"5 kB": (5_000, 3000), "50 kB": (50_000, 800)}  # octets, messages a round

RELAY = """
state_dir = "state"
[smtp]
listen = ["127.0.0.1:{smtp}"]
hostname = "relay.example"
[upstream]
url = "smtp://127.0.0.1:{sink}"
[tracking]
url = "https://t.example.com"
opens = {track}
links = {track}
[admin]
listen = "127.0.0.1:{admin}"
[http]
listen = "127.0.0.1:{http}"
"""
SIGNED = """
[[dkim]]
domain = "example.com"
selector = "t1"
key = "key.pem"
"""


def message(size: int) -> bytes:
    """A newsletter of about `size` octets: multipart/alternative, quoted-printable HTML, a link in every
    eighth paragraph."""
    head = (
        b"From: Sender <sender@example.com>\r\nTo: Recipient <recipient@example.org>\r\nSubject: What is new this week\r\n"
        b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative; boundary="=_part"\r\n\r\n--=_part\r\nContent-Type: text/plain\r\n\r\n'
        b"What is new this week: see the other part.\r\n--=_part\r\nContent-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<!doctype html><html><body>\r\n"
    )
    tail = b"</body></html>\r\n--=_part--\r\n"
    lines, length, number = [], len(head) + len(tail), 0
    while length < size:
        number += 1
        line = (
            b'<p style=3D"margin:0">Paragraph %d has something to say, and then it says more =\r\nof it.</p>\r\n'
            % number
        )
        if number % 8 == 0:
            line += b'<a href=3D"https://example.com/news/%d?week=3D1&amp;from=3Dmail">Read on</a>\r\n' % number
        lines.append(line)
        length += len(line)
    return head + b"".join(lines) + tail


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default=",".join(SIZES), help='for example "5 kB"')
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = _load.generator(folder)
        for size in options.sizes.split(","):
            measure(folder / size.replace(" ", ""), generator, size, options.rounds)
    return 0


def measure(folder: Path, generator: Path, size: str, count: int) -> None:
    octets, messages = SIZES[size]
    folder.mkdir()
    file = folder / "message.eml"
    file.write_bytes(message(octets))
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in ("discard", "ours"):
            ports[name] = stack.enter_context(
                _load.printing_its_port(sys.executable, "-m", "bench._subjects", name, log=folder / f"{name}.log")
            )
        ports["sink"] = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        for name, track, signed in (("tracked", "true", ""), ("untracked", "false", ""), ("signed", "true", SIGNED)):
            ports[name] = start_relay(stack, folder / name, ports["sink"], track, signed)

        def subject(name: str, times: int = 1) -> object:
            return lambda: _load.load(generator, "smtp", ports[name], SESSIONS, messages * times, file)

        found = _load.rounds(
            count,
            {
                "aiosmtpd that discards": subject("discard"),
                "generator alone (a sink in C)": subject("sink", 5),
                "SMTP in alone, discarding": subject("ours", 2),
                "relay, opens and links tracked, stored": subject("tracked"),
                "relay, the same with Ed25519": subject("signed"),
                "relay, nothing tracked": subject("untracked"),
            },  # type: ignore[dict-item]
        )
    title = (
        f"{size} ({len(file.read_bytes())} octets), {messages} messages, {SESSIONS} sessions, {count} rounds, medians"
    )
    _load.table(title, found, "aiosmtpd that discards", "generator alone (a sink in C)")


def start_relay(stack: contextlib.ExitStack, folder: Path, sink: int, track: str, signed: str) -> int:
    folder.mkdir()
    if signed:
        ed25519_key(folder / "key.pem")
    smtp, admin, http = _load.free_ports(3)
    toml = RELAY.format(smtp=smtp, sink=sink, track=track, admin=admin, http=http) + signed
    stack.enter_context(_load.relay(folder, toml, "--only", "smtp,queue"))
    return smtp


def ed25519_key(file: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    file.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    file.chmod(0o600)


if __name__ == "__main__":
    sys.exit(main())
