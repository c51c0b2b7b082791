"""The messages that wait for their time, as Nylas' clients see them: listed, found, cancelled.

Owns: their form. Leaves to others: making one (a send with `send_at`), sending it (`relay.schedules`), the words
(`core.schedules`).
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from relay.core import schedules
from relay.store import Schedule
from tracking_http.api import cursors, problems
from tracking_http.api.calls import Call, Listing
from tracking_http.api.envelopes import Page
from tracking_http.api.routing import Route


class Status(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    description: str


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    schedule_id: str
    status: Status
    close_time: int | UnsetType = UNSET


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    message: str


def shown(schedule: Schedule) -> Scheduled:
    code, description = schedules.WORDS[schedule.state]
    return Scheduled(
        schedule_id=schedule.schedule_id,
        status=Status(code=code, description=description),
        close_time=int(schedule.closed_at) if schedule.closed_at else UNSET,
    )


async def listed(call: Call) -> Page:
    query: Listing = call.query
    before = cursors.read(query.page_token, str) if query.page_token else ""
    found = await call.services.store.schedules(call.grant_id, query.limit + 1, before)
    items, more = found[: query.limit], len(found) > query.limit
    return Page([shown(s) for s in items], cursors.write(items[-1].schedule_id) if more else None)


async def find(call: Call) -> Scheduled:
    return shown(await known(call))


async def cancel(call: Call) -> Cancelled:
    schedule = await known(call)
    if not await call.services.store.cancel_schedule(
        call.grant_id, schedule.schedule_id, time.time(), schedules.NOTICE
    ):
        raise problems.invalid(
            f"The message can't be cancelled any more: that is so from {schedules.NOTICE:.0f} seconds before it is sent."
        )
    return Cancelled(message="requested cancelation for workflow")


async def known(call: Call) -> Schedule:
    found = await call.services.store.schedule(call.grant_id, call.path("schedule_id"))
    if found is None:
        raise problems.missing("schedule")
    return found


ID = "019506a1-6f3c-7b1e-8c55-0f2b9a4d7e10"
EXAMPLE: dict[str, Any] = {
    "schedule_id": ID, "status": {"code": "pending", "description": "schedule send awaiting send at time"},
}  # fmt: skip
PATH = "/v3/grants/{grant_id}/messages/schedules"

ROUTES = (
    Route(
        "GET", PATH, "read", listed, "List scheduled messages", query=Listing, answer=list[Scheduled], shown=EXAMPLE,
        description="Newest first: those that wait, and those that were sent, failed or were cancelled.",
    ),
    Route("GET", f"{PATH}/{{schedule_id}}", "read", find, "Find a scheduled message", answer=Scheduled, shown=EXAMPLE),
    Route(
        "DELETE", f"{PATH}/{{schedule_id}}", "send", cancel, "Cancel a scheduled message",
        description="Possible until 10 seconds before it is sent.", answer=Cancelled, status=202,
        shown={"message": "requested cancelation for workflow"},
    ),
)  # fmt: skip
