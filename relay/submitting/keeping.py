"""What was sent by API, kept to be had back: `[admin] keep_messages`.

Owns: what of a message is kept (what its recipients get, before tracking), for how long and how much. Leaves to others: the
store, showing it (the APIs).
"""

from __future__ import annotations

import time
from typing import Protocol

from relay import config, log, metrics, outbound, store
from relay.core import headers, parts
from relay.core.model import Edit

LOG = log.room("submitting")


class Records(Protocol):
    """What is asked of a store here."""

    async def keep_message(self, message_id: str, at: float, octets: bytes, *, oldest: float, most: int) -> None: ...


async def keep(settings: config.Admin, records: Records, message_id: str, content: bytes) -> None:
    """Where the settings say so. A message that was sent stays sent: what can't be kept is said in the log."""
    if not settings.keep_messages:
        return
    head = headers.read(content)
    left_out = [Edit(field.start, field.end, b"") for field in head.fields if outbound.never_leaves(field.name)]
    if head.start:  # a line of an mbox
        left_out.append(Edit(0, head.start, b""))
    now = time.time()
    try:
        await records.keep_message(
            message_id, now, parts.splice(content, left_out), oldest=now - settings.keep_messages,
            most=settings.keep_messages_size,
        )  # fmt: skip
    except store.Unavailable as reason:
        metrics.ERRORS.labels("submitting").inc()
        LOG.error("not_kept_for_later", message_id=message_id, reason=str(reason))
