"""What keeps all mail from an upstream, whatever the message: told before the queue is full.

Owns: what is known of one upstream now, one line in the log for each time of trouble, the metric. Leaves to others: what a
failure is and says (`failures`), and looking again (`failover`).
"""

from __future__ import annotations

import re
from typing import get_args

from relay import log, metrics
from relay.upstream.failures import Kind, Trouble

LOG = log.room("upstream")

# A server's reply has an identifier of its own each time: of one line per time of trouble, words with digits say nothing.
VARYING = re.compile(r"\S*\d\S*")


class Troubles:
    """`name` is the upstream's, `address` where it is."""

    def __init__(self, name: str, address: str) -> None:
        self._name, self._address = name, address
        self.connecting: Trouble | None = None  # why the last connection could not be had
        self._ours = True  # it was one of ours, with no client's own login
        self._speaking: Trouble | None = None  # why the last message was refused, which says nothing of the message
        self._said = ""
        self._gauges = {kind: metrics.UPSTREAM_TROUBLE.labels(name, kind) for kind in get_args(Kind)}
        self._tell()

    @property
    def now(self) -> Trouble | None:
        return self.connecting or self._speaking

    def cannot_connect(self, trouble: Trouble, *, ours: bool) -> None:
        self.connecting, self._ours = trouble, ours
        self._tell()

    def connected(self, *, ours: bool) -> None:
        """A login of a client's says nothing of ours, nor ours of those."""
        if self.connecting and (self.connecting.kind != "login" or ours is self._ours):
            self.connecting = None
            self._tell()

    def refused(self, trouble: Trouble) -> None:
        self._speaking = trouble
        self._tell()

    def heard(self) -> None:
        """It said something of a message."""
        if self._speaking:
            self._speaking = None
            self._tell()

    def _tell(self) -> None:
        now = self.now
        for kind, gauge in self._gauges.items():
            gauge.set(now is not None and now.kind == kind)
        said = f"{now.kind} {VARYING.sub('', now.sentence)}" if now else ""
        if said == self._said:
            return
        self._said = said
        if now:
            LOG.warning("upstream_unreachable" if now is self.connecting else "upstream_refuses_us",
                        upstream=self._address, name=self._name, kind=now.kind, reason=now.sentence)  # fmt: skip
        else:
            LOG.info("upstream_works_again", upstream=self._address, name=self._name)
