"""Endpoints and their notifications: list them, test one, replay what was missed.

ID is an endpoint's (wh_…) for `test`, and an event's for `replay`. TIME is ISO 8601 (2026-01-31T12:00, local time if
there is no offset) or an age: 90s, 15m, 2h, 3d. A running service sends what `replay` makes due within a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import Settings
    from relay.core.model import Endpoint, EndpointStatus
    from relay.store import Backlog, Notification, NotificationState

HELP = "list endpoints and dead letters, test one, replay by id or since a time"


class Outbox(Protocol):
    """What is asked of a store here."""

    async def endpoints(self) -> list[Endpoint]: ...
    async def set_endpoint_status(self, endpoint_id: str, status: EndpointStatus, at: float) -> bool: ...
    async def notifications(self, *, state: NotificationState, limit: int) -> list[Notification]: ...
    async def backlog(self) -> list[Backlog]: ...
    async def replay(
        self, now: float, *, event_ids: Sequence[str], since: float | None, dead: bool, endpoint_id: str
    ) -> int: ...


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser(
        "list", help="each endpoint: its state, and how many notifications wait, were delivered, are dead"
    )
    listing.add_argument("--dead", action="store_true", help="the dead letters instead, newest first")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    trying = verbs.add_parser("test", help="send one signed example notification, and print the answer")
    trying.add_argument("target", metavar="URL|ID", help="an endpoint; any other URL gets the mock secret")
    trying.add_argument("--trigger", default="", help="its type; by default the endpoint's first")
    trying.add_argument("--json", action="store_true", help="the result as a JSON object")
    again = verbs.add_parser("replay", help="send again, with the whole schedule of retries")
    again.add_argument("ids", metavar="ID", nargs="*", help="the notifications of these events")
    again.add_argument("--since", metavar="TIME", help="those of all events since then")
    again.add_argument("--dead", action="store_true", help="all dead letters")
    again.add_argument("--endpoint", default="", metavar="ID", help="only to this endpoint")
    again.add_argument("--json", action="store_true", help="the result as a JSON object")


def run(args: argparse.Namespace) -> int:
    import asyncio
    import time

    from relay import config
    from relay.core import moments

    settings = config.settings_of(args, needs_secrets=True)
    if args.verb == "replay":
        if not (args.ids or args.since or args.dead):
            print("trackrelay webhooks: replay needs an ID, --since TIME or --dead", file=sys.stderr)
            return 2
        args.after = moments.read(args.since, time.time()) if args.since else None
        if args.since and args.after is None:
            print(f"trackrelay webhooks: {args.since!r} is no time; write 2026-01-31T12:00 or 2h", file=sys.stderr)
            return 2
    return asyncio.run(act(settings, args))


async def act(settings: Settings, args: argparse.Namespace) -> int:
    from relay import opening, store

    verbs = {"list": show, "test": try_out, "replay": replay}
    try:
        async with opening.opened(settings, "refuse" if args.verb == "replay" else "empty") as opened:
            return await verbs[args.verb](settings, opened, args)
    except store.Unavailable as reason:
        print(f"trackrelay webhooks: {reason}", file=sys.stderr)
        return 1


# -- list --------------------------------------------------------------------------------------------------------------


async def show(settings: Settings, outbox: Outbox, args: argparse.Namespace) -> int:
    from relay.core import urls

    if args.dead:
        for notification in await outbox.notifications(state="dead", limit=1000):
            fields = {
                "event_id": notification.event_id,
                "trigger": notification.trigger,
                "message_id": notification.message_id,
                "endpoint_id": notification.endpoint_id,
                "attempts": notification.attempt,
                "since": stamp(notification.first_at),
                "given_up": stamp(notification.settled_at),
                "status": notification.status,
                "error": notification.error,
            }
            say(fields, args.json)
        return 0
    backlog = {b.endpoint_id: b for b in await outbox.backlog()}
    for endpoint in await known(settings, outbox):
        stand = backlog.get(endpoint.endpoint_id)
        fields = {
            "endpoint_id": endpoint.endpoint_id,
            "status": endpoint.status,
            "made_by": "relay.toml" if endpoint.source == "config" else f"API {endpoint.registry}",
            "format": endpoint.format,
            "url": urls.shown(endpoint.url),
            "triggers": list(endpoint.triggers),
            "pending": stand.pending if stand else 0,
            "delivered": stand.delivered if stand else 0,
            "dead": stand.dead if stand else 0,
            "oldest_pending": stamp(stand.oldest) if stand and stand.oldest else "",
        }
        say(fields, args.json)
    return 0


async def known(settings: Settings, outbox: Outbox) -> list[Endpoint]:
    """The endpoints of the store with their secrets, and those of the configuration that no service has seen yet."""
    from relay.webhooks import endpoints

    own = endpoints.by_id(settings)
    found = [endpoints.whole(endpoint, own) for endpoint in await outbox.endpoints()]
    seen = {endpoint.endpoint_id for endpoint in found}
    return found + [endpoint for endpoint in own.values() if endpoint.endpoint_id not in seen]


# -- test --------------------------------------------------------------------------------------------------------------


async def try_out(settings: Settings, outbox: Outbox, args: argparse.Namespace) -> int:
    import time

    from relay.core import urls
    from relay.webhooks import trying
    from relay.webhooks.guard import Guard
    from relay.webhooks.post import Poster

    endpoint = await target(settings, outbox, args.target)
    if endpoint is None:
        print(
            f"trackrelay webhooks: {args.target!r} is no endpoint and no URL; see: trackrelay webhooks list",
            file=sys.stderr,
        )
        return 2
    now = time.time()
    request = trying.request(endpoint, settings.application_id, args.trigger, now)
    if request is None:
        wanted = args.trigger or (endpoint.triggers or ("",))[0]
        print(f"trackrelay webhooks: {wanted!r} is not sent in the format {endpoint.format!r}", file=sys.stderr)
        return 2
    poster = Poster(Guard(settings.webhook_delivery.allow_private))
    begun = time.monotonic()
    answer = await poster.post(endpoint.url, request.body, request.headers, now)
    took = time.monotonic() - begun
    await poster.close()
    outcome = {
        "url": urls.shown(endpoint.url),
        "trigger": request.trigger,
        "notification_id": request.number,
        "status": answer.status,
        "error": answer.error,
        "milliseconds": round(took * 1000),
    }
    if answer.good and endpoint.status == "failed":  # it had answered 410 once, and is there again
        await outbox.set_endpoint_status(endpoint.endpoint_id, "active", time.time())
        outcome["now"] = "active"
    say(outcome, args.json)
    return 0 if answer.good else 1


async def target(settings: Settings, outbox: Outbox, text: str) -> Endpoint | None:
    from relay.core.model import Endpoint
    from relay.webhooks.examples import MOCK_SECRET

    for endpoint in await known(settings, outbox):
        if text in (endpoint.endpoint_id, endpoint.url):
            return endpoint
    return Endpoint("test", text, (), MOCK_SECRET) if text.startswith(("http://", "https://")) else None


# -- replay ------------------------------------------------------------------------------------------------------------


async def replay(settings: Settings, outbox: Outbox, args: argparse.Namespace) -> int:
    import time

    if args.endpoint and args.endpoint not in {e.endpoint_id for e in await known(settings, outbox)}:
        print(f"trackrelay webhooks: {args.endpoint!r} is no endpoint; see: trackrelay webhooks list", file=sys.stderr)
        return 2
    count = await outbox.replay(
        time.time(), event_ids=args.ids, since=args.after, dead=args.dead, endpoint_id=args.endpoint
    )
    if args.json:
        print(json.dumps({"due": count}))
    else:
        print(f"{count} notification{'' if count == 1 else 's'} due again")
    return 0 if count or not args.ids else 1


def stamp(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def say(fields: dict[str, Any], as_json: bool) -> None:
    """One line: the values, for people without the empty ones and with their names where they say nothing alone."""
    if as_json:
        print(json.dumps(fields, ensure_ascii=False))
        return
    from relay import log

    words = [",".join(v) if isinstance(v, list) else str(v) for v in fields.values()]
    pairs = zip(fields, words, strict=True)
    print(
        "  ".join(
            log.safe(w if not w[:1].isdigit() else f"{k}={w}") for k, w in pairs if w not in ("", "0") or k == "pending"
        )
    )
