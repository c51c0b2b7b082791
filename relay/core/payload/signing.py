"""The headers that prove where a notification comes from.

Owns: the headers of Nylas, Standard Webhooks 1.0 and Unosend. Leaves to others: the bytes, and keeping the secrets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from relay.core.model import Format

PREFIX = "whsec_"


def signatures(
    body: bytes, secret: str, *, event_id: str, timestamp: int, format: Format, previous: str = ""
) -> dict[str, str]:
    """The headers that sign exactly these bytes. `event_id` is the notification's id, `timestamp` the Unix second of
    this attempt. During a rotation, `previous` is the old secret: Standard Webhooks carries signatures by both, the
    others only by the new one.

    For Nylas and Unosend the key is the secret's text, for Standard Webhooks the bytes that its base64 encodes."""
    if format == "unosend":
        signed = f"{timestamp}.".encode() + body
        return {"X-Unosend-Signature": mac(secret.encode(), signed).hex(), "X-Unosend-Timestamp": str(timestamp)}
    signed = f"{event_id}.{timestamp}.".encode() + body
    both = [f"v1,{base64.b64encode(mac(key(s), signed)).decode()}" for s in (secret, previous) if s]
    return {
        "x-nylas-signature": mac(secret.encode(), body).hex(),
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(both),
    }


def key(secret: str) -> bytes:
    """The key of a Standard Webhooks secret, which is `whsec_` and base64. For any other text, its bytes."""
    text = secret.removeprefix(PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or secret.encode()
    except (binascii.Error, ValueError):
        return secret.encode()


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hashlib.sha256)
