"""The stream of events as they happen.

Owns: its route. Leaves to others: the stream (`tracking_http.dashboard.pages.events`), which the page reads too.
"""

from __future__ import annotations

from aiohttp import web

from tracking_http.api.calls import Call
from tracking_http.api.routing import Route
from tracking_http.dashboard import pages


async def watch(call: Call) -> web.StreamResponse:
    return await pages.events(call.request)


ROUTES = (
    Route(
        "GET",
        "/api/events/live",
        "read",
        watch,
        "Events as they happen",
        "Server-sent events. Who connects again sends the last `id` in Last-Event-ID and misses nothing that is still "
        "near; otherwise `reset` comes first. It ends when the key is revoked.",
        media="text/event-stream",
        answers={503: "Too many streams are open."},
    ),
)
