"""Whoever takes messages from SMTP in: keeps them, and answers as it is told."""

from __future__ import annotations

import asyncio

from relay.core.model import Reply, Submission


class Taker:
    """`replies` are given in order, then 250; an exception among them is raised. While `gate` is not set nothing is
    answered. `taken` is what came, `finished` how many were answered."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies = list(replies)
        self.taken: list[Submission] = []
        self.finished = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, submission: Submission) -> Reply:
        self.taken.append(submission)
        await self.gate.wait()
        reply = self.replies.pop(0) if self.replies else Reply(250, f"2.0.0 Ok {len(self.taken)}")
        self.finished += 1
        if isinstance(reply, Exception):
            raise reply
        return reply
