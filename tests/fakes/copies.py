"""A tracker that gives fixed copies: one per recipient, told apart by one header field, or one for all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from relay import outbound
from relay.core import headers, rewrite
from relay.core.model import Reply, Submission
from relay.outbound.copies import PendingCopy


class FixedTracker:
    """`together`: all recipients share one copy. `refusal`: what it answers instead. `refused`: the addresses that get no
    copy, and why. `upstream`: the name of the one that is chosen. Ids are 20 characters and count up; `rendered` counts
    the copies made, by recipient index."""

    def __init__(
        self,
        *,
        together: bool = False,
        refusal: Reply | None = None,
        refused: Mapping[str, Reply] | None = None,
        upstream: str = "default",
    ) -> None:
        self.together, self.refusal, self.upstream = together, refusal, upstream
        self.refused = refused or {}
        self.ids: list[str] = []
        self.rendered: dict[int, int] = {}

    async def track(self, submission: Submission, *, key: bytes = b"") -> outbound.Tracked:
        self.ids.append(f"{len(self.ids) + 1:020d}")
        if self.refusal:
            return outbound.Tracked(self.ids[-1], (), self.refusal)
        to = tuple(recipient for recipient in submission.recipients if recipient.address not in self.refused)
        groups = [to] if self.together and to else [(recipient,) for recipient in to]
        refused = tuple((r, self.refused[r.address]) for r in submission.recipients if r.address in self.refused)
        copies = tuple(
            PendingCopy(i, tuple(group), make := partial(self.render, i, submission.content), make, submission.options)
            for i, group in enumerate(groups)
        )
        return outbound.Tracked(self.ids[-1], copies, refused=refused, upstream=self.upstream)

    def render(self, index: int, content: bytes) -> rewrite.Rendering:
        self.rendered[index] = self.rendered.get(index, 0) + 1
        return rewrite.Rendering(headers.read(content), trace=b"X-Copy: %d\r\n" % index)
