"""The system's Chromium, driven by playwright: one private instance per test, nothing of it leaves loopback.

    with browser.running() as chromium:                # in a test without an event loop
        page = chromium.new_page()
    async with browser.running_async() as chromium:    # in an async test
        page = await chromium.new_page()

`watch(page)` notes what a hostile message would cause: dialogs, errors, refused loads, requests to other hosts.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.peers import require

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE = 90_000  # milliseconds for what a page is to show: the machine may have much else to do
LOOPBACK = {"127.0.0.1", "localhost", "[::1]", ""}


def chromium() -> str:
    """The path of Chromium; skips (or fails with REQUIRE_SERVERS=1) where it or playwright is missing."""
    path = require("chromium", package="chromium")
    try:
        import playwright  # noqa: F401
    except ImportError:
        words = "playwright is not installed (pip install playwright)"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(words)
        pytest.skip(words)
    return path


@contextmanager
def running(*flags: str) -> Iterator[Any]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield started
        finally:
            started.close()


@asynccontextmanager
async def running_async(*flags: str) -> AsyncIterator[Any]:
    path = chromium()
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield started
        finally:
            await started.close()


@dataclass
class Seen:
    """What a page did. `console` are warnings and errors, `errors` uncaught exceptions, `outside` requests to hosts
    that are not this machine."""

    dialogs: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.harmless and not self.console

    @property
    def harmless(self) -> bool:
        """Clean but for the console, where a browser also says what it refused to load."""
        return not (self.dialogs or self.errors or self.outside)


def watch(page: Any) -> Seen:
    """Dialogs are noted and left to playwright, which closes them only where somebody listens: so they are closed."""
    seen = Seen()

    def dialog(one: Any) -> Any:
        seen.dialogs.append(one.message)
        return one.dismiss()

    page.on("dialog", dialog)
    page.on("console", lambda m: seen.console.append(m.text) if m.type in ("warning", "error") else None)
    page.on("pageerror", lambda e: seen.errors.append(str(e)))
    page.on("request", lambda r: seen.outside.append(r.url) if is_outside(r.url) else None)
    return seen


def is_outside(url: str) -> bool:
    found = urlsplit(url)
    return found.scheme in ("http", "https", "ws", "wss") and found.hostname not in LOOPBACK
