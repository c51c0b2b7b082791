"""The demo's webhook consumer: a program as its users have one, which notes what it was sent.

Owns: the endpoint, its check of the signature, the list of what came, how each can be verified by hand. Leaves to others:
sending them (`webhooks`), their shape (`core.payload`), showing them (`pages`).
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import secrets
import time
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from relay.core import unicode_domains

MAX_NOTIFICATIONS = 300  # kept; the oldest go
TRIGGERS = ("message.opened", "message.link_clicked", "thread.replied", "message.bounce_detected")
SIGNING = ("x-nylas-signature", "webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Notification:
    """One POST as it came: its header fields in their order, and the octets of its body."""

    id: str
    at: float
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Notifications:
    """What came, oldest first. `secret` is what the sender signs with."""

    def __init__(self, *, most: int = MAX_NOTIFICATIONS) -> None:
        self.most = most
        self.secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        self.found: OrderedDict[str, Notification] = OrderedDict()

    def take(self, headers: tuple[tuple[str, str], ...], body: bytes) -> bool:
        """Whether it is kept: its signature has to be right."""
        given = next((value for name, value in headers if name.lower() == "x-nylas-signature"), "")
        expected = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
            return False
        one = Notification(secrets.token_hex(8), time.time(), headers, body)
        self.found[one.id] = one
        while len(self.found) > self.most:
            self.found.popitem(last=False)
        return True

    def told(self, place: str, after: str = "") -> list[dict[str, Any]]:
        """Those for the page that came after this one, or all; newest first. `place` is the URL at which
        /demo/webhooks/ID/body is."""
        newer = itertools.takewhile(lambda one: one.id != after, reversed(self.found.values()))
        return [self.view(one, place) for one in newer]

    def view(self, one: Notification, place: str) -> dict[str, Any]:
        sent = json.loads(one.body)
        about = sent["data"]["object"]
        named = {name.lower(): value for name, value in one.headers}
        url = f"{place}/demo/webhooks/{one.id}/body"
        return {
            "id": one.id,
            "at": one.at,
            "type": sent["type"],
            "message": about.get("root_message_id") or about.get("message_id") or about.get("origin", {}).get("id", ""),
            "recipient": unicode_domains.shown_in(
                about.get("recipient") or ", ".join(about.get("bounced_addresses", ()))
            ),
            "headers": [[name, value, name.lower() in SIGNING] for name, value in one.headers],
            "body": json.dumps(sent, indent=2, ensure_ascii=False),
            "octets": len(one.body),
            "url": url,
            "verify": [
                ["Shell", shell(url, self.secret, named["x-nylas-signature"])],
                ["Python", python(url, self.secret, named)],
            ],
        }


def shell(url: str, secret: str, signature: str) -> str:
    """A check with curl and openssl, of the body as it came."""
    return (
        f"signature={signature}\n"
        f"secret='{secret}'\n"
        f"expected=$(curl -s {url} |\n"
        f"  openssl dgst -sha256 -hmac \"$secret\" -r | cut -d ' ' -f 1)\n"
        '[ "$expected" = "$signature" ] && echo "The signature is right." || echo "The signature is wrong."\n'
    )


def python(url: str, secret: str, named: dict[str, str]) -> str:
    """The same with Python's standard library, and the signature of Standard Webhooks too."""
    signed = f"{named['webhook-id']}.{named['webhook-timestamp']}.".encode()
    return (
        "import base64, hashlib, hmac, urllib.request\n"
        "\n"
        f'body = urllib.request.urlopen("{url}").read()\n'
        f'secret = "{secret}"\n'
        "\n"
        "# x-nylas-signature: hex, the key is the secret as it stands\n"
        "expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()\n"
        f"nylas = hmac.compare_digest(expected, {named['x-nylas-signature']!r})\n"
        "\n"
        "# webhook-signature (Standard Webhooks): base64, over id.timestamp.body\n"
        'key = base64.b64decode(secret.removeprefix("whsec_"))\n'
        f"signed = {signed!r} + body\n"
        'expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()\n'
        f"standard = hmac.compare_digest(expected, {named['webhook-signature']!r})\n"
        "\n"
        'print("The signatures are right." if nylas and standard else "A signature is wrong.")\n'
    )
