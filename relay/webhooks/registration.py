"""Endpoints that are made by the API: what may be one, the challenge that it passes, its id and secrets.

Owns: the rules that all three APIs share. Leaves to others: the forms in which an API shows them (`tracking_http.api`),
the request (`post`), which addresses are allowed (`guard`), keeping them (`store`).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from relay.core import urls
from relay.core.model import Endpoint
from relay.webhooks.guard import AddressRefused
from relay.webhooks.post import Poster

MAX_ENDPOINTS = 100  # each is looked at with each event
MAX_URL = 2048  # characters
MAX_ADDRESSES = 20
TOLD = "unable.verify.webhook_url : "  # how Nylas begins
SECRET_OCTETS = 32  # Standard Webhooks: 24 to 64


class Endpoints(Protocol):
    """What this room needs of a store."""

    async def endpoints(self) -> list[Endpoint]: ...
    async def add_endpoint(self, endpoint: Endpoint) -> None: ...
    async def update_endpoint(self, endpoint: Endpoint) -> bool: ...


class Unfit(Exception):
    """What was asked for can't be an endpoint; the text is a sentence for who asked."""


class Unverified(Unfit):
    """Its URL did not answer the challenge."""


def new_id() -> str:
    return "wh_" + secrets.token_hex(10)


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_OCTETS)).decode("ascii")


def challenged(url: str, value: str) -> str:
    """The URL with `challenge`, as Nylas appends it."""
    url = url.partition("#")[0]
    return f"{url}{'&' if '?' in url else '?'}challenge={value}"


async def challenge(poster: Poster, url: str) -> None:
    """Raises `Unverified` unless the URL answers 200 with exactly the value that it is asked for."""
    value = secrets.token_urlsafe(24)
    answer, body = await poster.fetch(challenged(url, value), len(value))
    if answer.status == 0:
        raise Unverified(f"{TOLD}{answer.error}")
    if answer.status != 200:
        raise Unverified(f"{TOLD}status is not ok, got {answer.status}")
    if body != value.encode():
        raise Unverified(f"{TOLD}the body is not exactly the value of challenge")


async def examine(poster: Poster, endpoint: Endpoint) -> None:
    """Raises `Unfit` where it can't be one as it is."""
    url = endpoint.url
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Unfit(f"The URL has up to {MAX_URL} characters, all of them ASCII, and no space.")
    try:
        await poster.examine(url)
    except AddressRefused as reason:
        raise Unfit(f"The URL is refused: {reason}.") from reason
    if len(endpoint.notify) > MAX_ADDRESSES:
        raise Unfit(f"At most {MAX_ADDRESSES} mail addresses are told.")
    for address in endpoint.notify:
        local, _, domain = address.rpartition("@")
        if not local or not domain or len(address) > 254 or not address.isprintable() or set(" <>,;") & set(address):
            raise Unfit(f"{address[:100]!r} is no mail address.")


async def make(store: Endpoints, poster: Poster, endpoint: Endpoint, now: float, *, ask: bool) -> Endpoint:
    """The endpoint as it was kept, with its id and secret, which is minted once the challenge was passed (with `ask`).
    Raises `Unfit`."""
    await examine(poster, endpoint)
    if ask:
        await challenge(poster, endpoint.url)
    if sum(one.source == "api" for one in await store.endpoints()) >= MAX_ENDPOINTS:
        raise Unfit(f"There are {MAX_ENDPOINTS} endpoints already.")
    made = replace(
        endpoint,
        endpoint_id=new_id(),
        secret=new_secret(),
        source="api",
        created_at=now,
        updated_at=now,
        status_updated_at=now,
    )
    await store.add_endpoint(made)
    return made


async def change(
    store: Endpoints, poster: Poster, endpoint: Endpoint, changes: dict[str, Any], now: float, *, ask: bool
) -> Endpoint | None:
    """The endpoint as it is now; None where it went meanwhile. With `ask`, a change of its URL and an activation ask for
    the challenge again. Raises `Unfit`, and nothing was changed."""
    if changes.get("url") == urls.masked(endpoint.url):  # as it is shown: nothing of it was changed
        del changes["url"]
    wanted = replace(endpoint, **changes)
    await examine(poster, wanted)
    wakes = wanted.status == "active" and endpoint.status != "active"
    if ask and (wanted.url != endpoint.url or wakes):
        await challenge(poster, wanted.url)
    latest = await current(store, endpoint.endpoint_id)  # the challenge took its time
    if latest is None:
        return None
    changed = replace(latest, **changes, updated_at=now)
    if changed.status != latest.status:
        changed = replace(changed, status_updated_at=now)
    return changed if await store.update_endpoint(changed) else None


async def rotate(store: Endpoints, endpoint: Endpoint, now: float) -> Endpoint | None:
    """With a new secret; the old one signs beside it for a while (`webhooks.ROTATION`)."""
    changed = replace(endpoint, secret=new_secret(), previous_secret=endpoint.secret, rotated_at=now, updated_at=now)
    return changed if await store.update_endpoint(changed) else None


async def current(store: Endpoints, endpoint_id: str) -> Endpoint | None:
    return next((one for one in await store.endpoints() if one.endpoint_id == endpoint_id), None)


def unique(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
