"""What waits in the spool.

Owns: its routes and forms, and whose an entry is: its message's grant. Leaves to others: the files (`relay.spool.disk`),
what is done to one (`relay.spool.requests`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from relay import store
from relay.core import envelopes, queue
from relay.spool import disk, requests
from tracking_http.api import cursors, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Page
from tracking_http.api.problems import Problem
from tracking_http.api.routing import Route

T = TypeVar("T")

BATCH = 1000  # entries that are read at a time
MAX_HEADER = 65_536  # octets that are shown


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(description="`next_cursor` of the page before.")] = ""


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    state: Literal["waiting", "done", "never"]
    reply: Annotated[str, Meta(description="What the upstream said last.")]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    message_id: Annotated[str, Meta(description="Empty for a report of ours.")]
    kind: Literal["mail", "report"]
    created_at: int
    next_at: Annotated[int, Meta(description="When it is tried next; in the past: at once.")]
    attempts: int
    uncertain: Annotated[
        int, Meta(description="Attempts after which the upstream may have had it, but gave no answer.")
    ]
    size: Annotated[int, Meta(description="Octets of the message.")]
    reverse_path: str
    recipients: list[Recipient]
    last_reply: str
    upstream: str
    login: Annotated[str, Meta(description="It waits until this login comes again, whose password is not kept.")]


class Whole(Waiting, frozen=True, kw_only=True):
    header: Annotated[str, Meta(description="The header section, as it will leave.")]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: Literal["to be tried now", "dropped"]


def shown(entry: queue.Entry, size: int) -> dict[str, object]:
    return {
        "id": entry.entry_id,
        "message_id": entry.message_id,
        "kind": entry.kind,
        "created_at": int(entry.created_at),
        "next_at": int(entry.next_at),
        "attempts": entry.attempts,
        "uncertain": entry.duplicates,
        "size": size,
        "reverse_path": entry.reverse_path,
        "recipients": [Recipient(address=r.address, state=r.state, reply=r.reply) for r in entry.recipients],
        "last_reply": entry.last_reply,
        "upstream": entry.upstream,
        "login": entry.login,
    }


async def on_disk(call: Call, work: Callable[[disk.Disk], T]) -> T:
    """Off the loop, with the spool."""
    try:
        return await asyncio.to_thread(work, disk.Disk(call.services.spool))
    except PermissionError as reason:
        raise Problem(503, "", "This process may not read the spool.") from reason


async def own(call: Call, entry: queue.Entry) -> bool:
    """Whether it may be shown: a report of ours is nobody's but the operator's."""
    if not call.grant_id:
        return True
    sent = await call.services.store.sent(entry.message_id) if entry.message_id else None
    return sent is not None and call.sees(sent.grant_id)


def after(kept: disk.Disk, last: str, most: int) -> list[tuple[queue.Entry, int]]:
    """So many entries whose ids come after this one, with their sizes."""
    found: list[tuple[queue.Entry, int]] = []
    for entry_id in behind(kept, last):
        one = kept.measured(entry_id)
        if one is not None:
            found.append(one)
        if len(found) == most:
            break
    return found


def behind(kept: disk.Disk, last: str) -> Iterator[str]:
    return (entry_id for entry_id in kept.scan() if entry_id > last)


async def listed(call: Call) -> Page:
    """A cursor is an entry that its reader has seen: those of others would tell a grant's key when they came."""
    limit = call.query.limit
    last = cursors.read(call.query.cursor, str) if call.query.cursor else ""
    most = BATCH if call.grant_id else limit
    mine: list[Waiting] = []
    while found := await on_disk(call, functools.partial(after, last=last, most=most)):
        for entry, size in found:
            last = entry.entry_id
            if await own(call, entry):
                if len(mine) == limit:
                    return Page(mine, cursors.write(mine[-1].id))
                mine.append(Waiting(**shown(entry, size)))  # type: ignore[arg-type]
    return Page(mine)


async def find(call: Call) -> queue.Entry:
    entry = await on_disk(call, lambda kept: kept.read(call.path("id")))
    if entry is None or not await own(call, entry):
        raise problems.missing("entry")
    return entry


async def show(call: Call) -> Whole:
    entry = await find(call)

    def read(kept: disk.Disk) -> tuple[int, bytes]:
        content = kept.content(entry.entry_id)
        return len(content), envelopes.header_section(content)

    try:
        size, header = await on_disk(call, read)
    except FileNotFoundError:
        raise problems.missing("entry") from None
    return Whole(**shown(entry, size), header=header[:MAX_HEADER].decode("utf-8", "replace"))  # type: ignore[arg-type]


async def ask(call: Call, act: Callable[[disk.Disk, str], requests.Result]) -> str:
    """Does it to the entry in the path; its id."""
    entry_id = (await find(call)).entry_id

    def work(kept: disk.Disk) -> requests.Result:
        result = act(kept, entry_id)
        kept.wake()
        return result

    try:
        result = await on_disk(call, work)
    except disk.Unwritable as reason:
        raise Problem(503, "", f"The disk does not take it: {reason}.") from reason
    if result == "missing":
        raise problems.missing("entry")
    if result == "busy":
        raise Problem(409, "", "It is being sent right now.")
    return entry_id


async def retry(call: Call) -> Result:
    entry_id = await ask(call, lambda kept, name: requests.retry(kept, name, time.time()))
    return Result(id=entry_id, status="to be tried now")


async def drop(call: Call) -> Result:
    gone: list[queue.Entry] = []

    def remove(kept: disk.Disk, name: str) -> requests.Result:
        found = requests.drop(kept, name, f"the API, key {call.who.name}")
        if isinstance(found, str):
            return found
        gone.append(found)
        return "done"

    result = Result(id=await ask(call, remove), status="dropped")
    with contextlib.suppress(store.Unavailable):  # who sends writes it later
        await requests.record_dropped(call.services.store, gone)
    return result


EXAMPLE = {
    "id": "0193c5a1f2b7d3e4f5", "message_id": "0q8v1c2d3e4f5g6h7i8j", "kind": "mail", "created_at": 1_735_689_600,
    "next_at": 1_735_689_660, "attempts": 1, "uncertain": 0, "size": 2048, "reverse_path": "mara@example.com",
    "recipients": [{"address": "jonas@example.org", "state": "waiting", "reply": "451 4.7.1 Greylisted"}],
    "last_reply": "451 4.7.1 Greylisted", "upstream": "default", "login": "",
}  # fmt: skip
BUSY = {409: "It is being sent right now."}

ROUTES = (
    Route("GET", "/api/queue", "read", listed, "List what waits, oldest first", query=Asked, answer=list[Waiting],
          shown=EXAMPLE),
    Route("GET", "/api/queue/{id}", "read", show, "Show what waits: envelope, attempts, header fields", answer=Whole,
          shown={**EXAMPLE, "header": "From: mara@example.com\r\nSubject: Hello\r\n"}),
    Route("POST", "/api/queue/{id}/retry", "manage", retry, "Try it now", "Whatever the schedule says.", answer=Result,
          answers=BUSY, shown={"id": EXAMPLE["id"], "status": "to be tried now"}),
    Route("DELETE", "/api/queue/{id}", "manage", drop, "Remove it for good", "It counts as given up; its sender is not told.", answer=Result,
          answers=BUSY, shown={"id": EXAMPLE["id"], "status": "dropped"}),
)  # fmt: skip
