"""The store for a command: opened, and closed at the end.

Owns: what a command says where no service has run yet. Leaves to others: what is asked of it (`commands`), its own faults
(`store.Unavailable`), the service's start (`app`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Literal

from relay import config, files, store
from relay.store.contract import Store

Missing = Literal["refuse", "make", "empty"]


@contextlib.asynccontextmanager
async def opened(settings: config.Settings, missing: Missing = "refuse") -> AsyncIterator[Store]:
    """Where there is no state folder yet, and so no database: "refuse" says so, "make" makes it as the first start would, "empty" gives a
    store with nothing in it, which nobody keeps. Raises `store.Unavailable`, or OSError."""
    url = settings.store.url
    if not url.startswith(store.POSTGRESQL) and not there(settings):
        if missing == "refuse":
            raise store.Unavailable(f"{settings.state_dir} does not exist: no service has run with {settings.file} yet")
        if missing == "make":
            files.make_folder(settings.state_dir)
        else:
            url = "memory:"
    found = store.open(url, settings.state_dir, password=settings.store.password)
    try:
        await found.start()
        yield found
    finally:
        await found.stop()


def there(settings: config.Settings) -> bool:
    """Raises OSError where it can't be seen, or is no folder."""
    try:
        os.listdir(settings.state_dir)
    except FileNotFoundError:
        return False
    return True
