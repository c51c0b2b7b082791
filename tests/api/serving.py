"""The admin listener with the APIs, in this process, on a free port of loopback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from relay import config, store
from relay.store.contract import Store
from tracking_http import access, admin
from tracking_http.api import calls

GRANTS = (
    config.Grant("sales", email="sales@example.com", addresses=("*@sales.example.com", "sales@example.com")),
    config.Grant("hr", email="hr+jobs@example.com", addresses=("hr+jobs@example.com",)),
    config.Grant("default"),
)
# The text of a key is its name. "sales-read" may read what belongs to the grant "sales".
SCOPES = {"send": ("send",), "read": ("read",), "manage": ("manage",), "all": ("admin",), "none": ()}
KEYS = {
    f"{grant}-{name}" if grant else name: store.ApiKey(
        f"{grant}-{name}" if grant else name,
        access.digest_of(f"{grant}-{name}" if grant else name),
        scopes,
        grant,
    )
    for grant in ("", "sales", "hr")
    for name, scopes in SCOPES.items()
}


@dataclass
class Said:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def data(self) -> Any:
        assert self.status < 300, self.raw
        return self.body["data"]


@dataclass
class Api:
    """`ask` makes a call with the key of that name; `json=`, `data=`, `headers=` are aiohttp's."""

    known: Store
    settings: config.Settings
    app: web.Application
    port: int
    session: aiohttp.ClientSession
    runner: web.AppRunner

    @property
    def connections(self) -> int:
        assert self.runner.server
        return len(self.runner.server.connections)

    async def ask(self, method: str, path: str, key: str = "all", **how: Any) -> Said:
        from yarl import URL

        headers = dict(how.pop("headers", {}))
        if key:
            headers.setdefault("Authorization", f"Bearer {key}")
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **how) as answer:
            return Said(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, key: str = "all", **how: Any) -> Said:
        return await self.ask("GET", path, key, **how)

    async def post(self, path: str, body: Any = None, key: str = "all", **how: Any) -> Said:
        return await self.ask("POST", path, key, json=body, **how)


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path,
    *,
    known: Store | None = None,
    settings: config.Settings | None = None,
    keys: Sequence[store.ApiKey] = (),
    **services: Any,
) -> AsyncIterator[Api]:
    """`services` are fields of `calls.Services`. A store that is given is started and stopped here."""
    known = known or store.open("memory:", tmp_path)
    await known.start()
    for key in (*KEYS.values(), *keys):
        await known.add_api_key(key)
    settings = replace(settings or config.Settings(grants=GRANTS), state_dir=tmp_path)
    app = admin.application(settings, known, services=calls.Services(settings=settings, store=known, **services))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, **admin.RUNNER)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            yield Api(known, settings, app, runner.addresses[0][1], session, runner)
        finally:
            await runner.cleanup()
            await known.stop()
