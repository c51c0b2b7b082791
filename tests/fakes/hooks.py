"""A receiver of notifications on loopback, which remembers what it got and can be told to fail.

`Hooks` answers 200 unless `script` says otherwise: a function of (how many came before, the request's headers) to an
`Answer`. An `Answer` can be a status, with headers, after a pause, or a connection cut without a word.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    cut: bool = False
    body: bytes = b"ok"


@dataclass(frozen=True)
class Received:
    """One request, as it came. `at` is time.monotonic()."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    answered: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[int, Mapping[str, str]], Answer]


class Hooks:
    """Use `async with hooks.receiver() as hook`; `hook.url` is where it listens."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or (lambda number, headers: Answer())
        self.received: list[Received] = []
        self.connections = 0
        self.under_way = 0
        self.most_under_way = 0
        self.url = ""
        self._news = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {k.lower(): v for k, v in request.headers.items()}
        answer = self.script(len(self.received), headers)
        self.received.append(
            Received(request.path_qs, headers, body, time.monotonic(), 0 if answer.cut else answer.status)
        )
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        async with self._news:
            self._news.notify_all()
        try:
            if answer.pause:
                await asyncio.sleep(answer.pause)  # as it was told
        finally:
            self.under_way -= 1
        if answer.cut:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)

    @property
    def accepted(self) -> list[Received]:
        return [r for r in self.received if 200 <= r.answered < 300]

    async def until(self, condition: Callable[["Hooks"], bool], timeout: float = 20.0) -> None:
        """Waits until `condition` is true of what was received."""
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: condition(self))


@asynccontextmanager
async def receiver(script: Script | None = None, *, tls: Any = None) -> AsyncIterator[Hooks]:
    hooks = Hooks(script)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hooks.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    hooks.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/hook"
    try:
        yield hooks
    finally:
        await runner.cleanup()
