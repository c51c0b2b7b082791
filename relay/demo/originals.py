"""What a client handed in, by the bytes that left for it.

Owns: noting each copy as it is made. Leaves to others: making it (`outbound`), asking for it (`inbox`), what differs
(`marks`).
A copy that arrives is known by its digest, so that its original is never guessed: bytes that changed on the way have none.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from relay import delivery, outbound
from relay.core import rewrite
from relay.core.model import Submission
from relay.outbound import copies

MAX_COPIES = 200  # that have left and not arrived


class Originals:
    """The messages before the relay changed them. `through` stands between the relay's delivery and its tracker."""

    def __init__(self, *, most: int = MAX_COPIES) -> None:
        self.most = most
        self._found: OrderedDict[bytes, bytes] = OrderedDict()

    def through(self, tracker: delivery.Tracker) -> delivery.Tracker:
        return Noting(tracker, self)

    def note(self, rendering: rewrite.Rendering) -> rewrite.Rendering:
        self._found[digest(rendering.content())] = rendering.head.raw
        while len(self._found) > self.most:
            self._found.popitem(last=False)
        return rendering

    def of(self, copy: bytes) -> bytes | None:
        """What these bytes were made of, once; None where no copy had exactly these."""
        return self._found.pop(digest(copy), None)


class Noting:
    """A tracker whose copies are noted as they are made."""

    def __init__(self, tracker: delivery.Tracker, noted: Originals) -> None:
        self._tracker, self._noted = tracker, noted

    async def track(self, submission: Submission, *, key: bytes = b"") -> outbound.Tracked:
        tracked = await self._tracker.track(submission, key=key)
        return tracked.with_(copies=tuple(map(self._noting, tracked.copies)))

    def _noting(self, copy: copies.PendingCopy) -> copies.PendingCopy:
        return copy.with_(rendering=lambda: self._noted.note(copy.rendering()))


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
