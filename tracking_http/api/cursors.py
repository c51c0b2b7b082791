"""Where a list goes on, as text that means nothing to a client.

Owns: its form: base64url of MessagePack. Leaves to others: what is in it (the last row's key, which a query goes on
behind). It gives no rights: the query that it goes into has the key's grant as a filter of its own.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from tracking_http.api import problems

T = TypeVar("T")

MAX_LENGTH = 1024


def write(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).rstrip(b"=").decode("ascii")


def read(text: str, type_: type[T]) -> T:
    """The key that `write` was given, which has this type, such as `tuple[float, str]`. Raises a 400."""
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=type_)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise problems.invalid("The cursor is none that was given out here.") from None
