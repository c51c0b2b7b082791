"""Whoever takes messages from SMTP in: keeps them, and answers as it is told."""

from __future__ import annotations

import asyncio

from relay.core.model import Reply, Submission


class Handle:
    def __init__(self, taker: Taker, reply: asyncio.Future[Reply]) -> None:
        self.reply, self._taker = reply, taker

    def client_gone(self) -> None:
        self._taker.left += 1


class Taker:
    """`replies` are given in order, then 250; an exception among them is raised. While `gate` is not set nothing is
    answered. `taken` is what came, `finished` how many were answered, `left` how many clients were gone before."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies = list(replies)
        self.taken: list[Submission] = []
        self.finished = self.left = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, submission: Submission) -> Handle:
        self.taken.append(submission)
        return Handle(self, asyncio.ensure_future(self._answer()))

    async def _answer(self) -> Reply:
        await self.gate.wait()
        reply = self.replies.pop(0) if self.replies else Reply(250, f"2.0.0 Ok {len(self.taken)}")
        self.finished += 1
        if isinstance(reply, Exception):
            raise reply
        return reply
