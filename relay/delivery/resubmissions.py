"""Clients that leave before their answer, and come back with the same message.

Many clients give up after seconds, and then send the message again; the first one is on its way by then. Owns: knowing
the message again, for a while. Leaves to others: noticing that a client is gone (`smtp`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from relay.core.model import Reply, Submission

Key = tuple[str, str, tuple[str, ...], int, int]
REMEMBER_SECONDS = 900.0
MOST = 10_000  # clients that left


@dataclass(eq=False, slots=True)
class Visit:
    """One submission under way, or one whose client left. `answer` is set at the end."""

    key: Key
    answer: asyncio.Future[Reply]
    left: bool = False
    until: float = 0.0


class Resubmissions:
    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._by_task: dict[asyncio.Task[Reply], Visit] = {}
        self._left: dict[Key, Visit] = {}

    def before(self, submission: Submission) -> Visit | None:
        """The visit of a client that brought this message, and left without its answer. A 4xx that it would have had is
        none: nobody has the message then."""
        if not self._left:
            return None
        visit = self._left.get(fingerprint(submission))
        if visit is None or visit.until < self.clock():
            return None
        if visit.answer.done() and visit.answer.result().code // 100 == 4:
            return None
        return visit

    def begin(self, task: asyncio.Task[Reply], submission: Submission) -> Visit:
        visit = Visit(fingerprint(submission), asyncio.get_running_loop().create_future())
        self._by_task[task] = visit
        return visit

    def end(self, task: asyncio.Task[Reply], reply: Reply) -> None:
        self._by_task.pop(task).answer.set_result(reply)

    def left(self, task: asyncio.Task[Reply]) -> None:
        """The client that `task` works for is gone. Says nothing of tasks that are done: those were answered."""
        visit = self._by_task.get(task)
        if visit is None:
            return
        now = self.clock()
        visit.left, visit.until = True, now + REMEMBER_SECONDS
        self._left.pop(visit.key, None)
        self._left[visit.key] = visit
        for key, oldest in list(self._left.items()):
            if oldest.until >= now and len(self._left) <= MOST:
                break
            del self._left[key]


def fingerprint(submission: Submission) -> Key:
    """The same for the same message from the same login to the same recipients. Python's own hash of bytes is SipHash
    with a key of this process (PEP 456): 64 bits that nobody can aim at. A digest would give up the interpreter's lock
    and wait to get it back, for every message, and nearly none comes twice."""
    content = submission.content
    recipients = tuple(recipient.address for recipient in submission.recipients)
    return (submission.login, submission.reverse_path, recipients, len(content), hash(content))
