"""What comes after `trackrelay init`, as text that can be taken as it is: DNS records, the proxy before the tracking server, the start.

Owns: that text. Leaves to others: the key of a DKIM record (`core.dkim`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from relay.core import domains, networks
from relay.init import answers as reading
from relay.init import known
from relay.init.answers import Answers

SYSTEM = Path("/etc/trackrelay")  # where the units look
BEHIND = "127.0.0.1:8080"


def text(answers: Answers, file: Path, *, addresses: Sequence[str], record: str = "") -> str:
    """`addresses`: the public ones of this machine, as far as it knows; `record`: a DKIM record as a line of a zone file."""
    host = domains.of_url(answers.tracking)
    steps = []
    if not (networks.loopback(host) or host.endswith(".localhost")):
        steps += [_dns(host, addresses), _proxy(answers.tracking, host)]
    steps += [_dkim(answers, file, record), _start(file)]
    return "\n\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))


def _dns(host: str, addresses: Sequence[str]) -> str:
    rows = [f"   {host}. IN {'AAAA' if ':' in address else 'A'} {address}" for address in addresses]
    if rows:
        return "\n".join(["Publish in DNS where the tracking host is, this machine or the proxy before it:", *rows])
    return "\n".join(
        [
            "Publish in DNS where the tracking host is. This machine does not know its public address; write it in place of the last word",
            "   (and an AAAA record, if there is an IPv6 address):",
            f"   {host}. IN A ADDRESS",
        ]
    )


def _proxy(url: str, host: str) -> str:
    site = urlsplit(url).netloc.rpartition("@")[2]
    return "\n".join(
        [
            f"Let a proxy with TLS pass {host} to {BEHIND}. Caddy gets the certificate itself; in /etc/caddy/Caddyfile:",
            "",
            *_indented(caddy(site)),
            "",
            "   Or nginx, after certbot certonly --nginx -d " + host + "; in /etc/nginx/conf.d/trackrelay.conf:",
            "",
            *_indented(nginx(host, urlsplit(url).port or 443)),
        ]
    )


def caddy(site: str) -> str:
    return f"{site} {{\n\treverse_proxy {BEHIND}\n}}"


def nginx(host: str, port: int = 443) -> str:
    return f"""\
server {{
    listen {port} ssl http2;
    listen [::]:{port} ssl http2;
    server_name {host};
    ssl_certificate     /etc/letsencrypt/live/{host}/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/{host}/privkey.pem;
    access_log off;                       # it would hold recipients' addresses
    large_client_header_buffers 4 16k;    # links can be 2,000 characters long
    location / {{
        proxy_pass http://{BEHIND};
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
    }}
}}"""


def _dkim(answers: Answers, file: Path, record: str) -> str:
    domain = reading.sending_domain(answers)
    if answers.dkim:
        return f"Publish the key with which mail From {answers.dkim[0]} is signed, a TXT record:\n   {record}"
    theirs = known.at(answers.server.host)
    if theirs and theirs.signs:
        return (
            f"DKIM: {theirs.name} signs, once the records that it asks for are published. Nothing is to be done here."
        )
    return "\n".join(
        [
            "DKIM: if your upstream does not sign, sign here. This makes a key, and prints its DNS record and the lines for relay.toml:",
            f"   trackrelay dkim create {domain} t1 --config {shlex.quote(str(file))}",
        ]
    )


def _start(file: Path) -> str:
    lines = [f"Try it all again, and start once nothing is FAILED: trackrelay check --config {shlex.quote(str(file))}"]
    if file.parent == SYSTEM:
        lines += ["   systemctl enable --now trackrelay       (docs/install.md has the unit)"]
    else:
        lines += [f"   trackrelay run --config {shlex.quote(str(file))}"]
    return "\n".join([*lines, "   Then let your programs send to 127.0.0.1, port 2525 (docs/clients.md)."])


def _indented(block: str) -> list[str]:
    return [f"   {line}" if line else "" for line in block.splitlines()]
