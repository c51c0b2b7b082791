"""Messages, events and counters as CSV or JSON lines.

Owns: the columns, the stream: some hundred rows at a time, and only as fast as the client reads. No cell is a formula for a
spreadsheet. Leaves to others: reading pages (`relay.store`), the form of counters (`aggregates`).

A stream that the store fails ends without its last chunk, so a client knows that something is missing.
"""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, field

from relay.core.counts import COUNTERS
from relay.core.model import Event, Sent
from relay.store import Engagement, lists
from relay.store.contract import Store
from tracking_http.api import calls, problems
from tracking_http.api.calls import Call
from tracking_http.api.own import aggregates
from tracking_http.api.routing import Route

ROWS = 100  # that are read at a time: a millisecond or two in which mail and pixels wait
LONGEST_PAUSE = 0.1  # seconds: a client that reads slowly leaves time enough by itself
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
TYPES = {"csv": "text/csv; charset=utf-8; header=present", "jsonl": "application/jsonl"}
NOBODY = Engagement()

Row = Mapping[str, Any]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    format: Literal["csv", "jsonl"] = "csv"
    since: Annotated[calls.Time, Meta(description="Unix seconds. Else from the first on.")] = field(
        name="from", default=0
    )
    until: Annotated[calls.Time, Meta(description="Unix seconds; what is then is left out. Else now.")] = field(
        name="to", default=0
    )
    step: aggregates.Step = "hour"
    by: aggregates.By = "label"


# -- rows --------------------------------------------------------------------------------------------------------------


def when(at: float) -> str:
    """RFC 3339, with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


MESSAGES = (
    "id", "grant_id", "internet_message_id", "submitted_at", "sender", "to", "cc", "subject", "label", "metadata", "size",
    "opens_tracked", "links_tracked", "reason", "thread_id", "recipients", "delivered", "failed", "opened", "clicked",
    "machine_opened", "machine_clicked", "opens", "clicks", "machine_opens", "machine_clicks",
)  # fmt: skip
EVENTS = (
    "id", "type", "message_id", "grant_id", "at", "recipient", "link_index", "url", "method", "ip", "user_agent", "referer",
    "verdict", "reason", "counted", "sequence", "data", "first_verdict", "changed_at",
)  # fmt: skip
AGGREGATES = ("at", "key", *COUNTERS)


def of_message(sent: Sent, did: Engagement) -> Row:
    states = [copy.state for copy in sent.copies]
    values = (
        sent.message_id, sent.grant_id, sent.internet_message_id, when(sent.submitted_at), sent.sender, sent.to, sent.cc,
        sent.subject, sent.label, sent.metadata, sent.size, sent.opens, sent.links_tracked, sent.reason or "",
        sent.thread_id, len(states), states.count("done") + states.count("handed"), states.count("never"), did.opened,
        did.clicked, did.machine_opened, did.machine_clicked, did.opens, did.clicks, did.machine_opens, did.machine_clicks,
    )  # fmt: skip
    return dict(zip(MESSAGES, values, strict=True))


def of_event(event: Event) -> Row:
    values = (
        event.event_id, event.type, event.message_id, event.grant_id, when(event.at), event.recipient, event.link_index,
        event.url, event.method, event.ip, event.user_agent, event.referer, event.verdict, event.reason, event.counted,
        event.sequence, event.data, event.first_verdict, when(event.changed_at) if event.changed_at else "",
    )  # fmt: skip
    return dict(zip(EVENTS, values, strict=True))


async def messages(known: Store, grant_id: str, query: Asked) -> AsyncIterator[list[Row]]:
    """Newest first."""
    asked = lists.Messages(grant_id=grant_id, since=float(query.since), until=end_of(query))
    while True:
        page = await known.list_messages(asked, ROWS)
        did = await known.engagements([sent.message_id for sent in page.items])
        yield [of_message(sent, did.get(sent.message_id, NOBODY)) for sent in page.items]
        if page.after is None:
            return
        asked = asked.with_(before=page.after)


async def events(known: Store, grant_id: str, query: Asked) -> AsyncIterator[list[Row]]:
    """Newest first."""
    asked = lists.Events(grant_id=grant_id, since=float(query.since), until=end_of(query))
    while True:
        page = await known.list_events(asked, ROWS)
        yield [of_event(event) for event in page.items]
        if page.after is None:
            return
        asked = asked.with_(before=page.after)


def end_of(query: Asked) -> float:
    """What comes while the export runs is not in it."""
    return float(query.until or time.time())


async def counters(known: Store, grant_id: str, query: Asked) -> AsyncIterator[list[Row]]:
    after: tuple[int, str] | None = None
    until = query.until or int(time.time()) + 1
    while page := await known.aggregates(
        query.by, query.since, until, step=query.step, grant_id=grant_id, after=after, limit=ROWS
    ):
        after = (page[-1].at, page[-1].key)
        yield [{"at": when(one.at), "key": one.key, **one.counters} for one in page]


Source = Callable[[Store, str, Asked], AsyncIterator[list[Row]]]
WHAT: Mapping[str, tuple[Sequence[str], Source]] = {
    "messages": (MESSAGES, messages),
    "events": (EVENTS, events),
    "aggregates": (AGGREGATES, counters),
}

# -- text --------------------------------------------------------------------------------------------------------------


def cell(value: Any) -> Any:
    """What a CSV file has of a value. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    elif isinstance(value, Mapping):
        value = msgspec.json.encode(value).decode() if value else ""
    elif isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and (value.startswith(FORMULA) or value.lstrip().startswith(FORMULA)):
        return f"'{value}"
    return value


def as_csv(rows: Sequence[Row]) -> bytes:
    """RFC 4180."""
    text = io.StringIO()
    csv.writer(text).writerows([map(cell, row.values()) for row in rows])
    return text.getvalue().encode()


def as_lines(rows: Sequence[Row]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


# -- the stream --------------------------------------------------------------------------------------------------------


async def unhurried(pages: AsyncIterator[list[Row]]) -> AsyncIterator[list[Row]]:
    """Each page, and a pause as long as it took: an export may take twice the time, mail and pixels should not."""
    began = time.monotonic()
    async for rows in pages:
        yield rows
        await asyncio.sleep(min(time.monotonic() - began, LONGEST_PAUSE))
        began = time.monotonic()


async def send(stream: web.StreamResponse, octets: bytes, patience: float) -> None:
    """Returns once the client has room for more. Raises TimeoutError where it does not read."""
    async with asyncio.timeout(patience):
        await stream.write(octets)


async def export(call: Call) -> web.StreamResponse:
    query: Asked = call.query
    what = call.path("what")
    if what not in WHAT:
        raise problems.missing("export")
    columns, source = WHAT[what]
    write = as_csv if query.format == "csv" else as_lines
    head = (",".join(columns) + "\r\n").encode() if query.format == "csv" else b""
    pages = source(call.services.store, call.grant_id, query)
    return await streamed(call, f"{what}.{query.format}", TYPES[query.format], pages, write, head)


async def streamed(
    call: Call,
    name: str,
    kind: str,
    pages: AsyncIterator[list[Row]],
    write: Callable[[Sequence[Row]], bytes] = as_lines,
    head: bytes = b"",
) -> web.StreamResponse:
    """A file of that name and type."""
    first: list[Row] = await anext(pages, [])  # a store that is away is still a 503
    stream = web.StreamResponse(
        headers={
            "Content-Type": kind,
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            problems.REQUEST_ID_HEADER: call.request_id,
        }
    )
    await stream.prepare(call.request)
    try:
        if head:
            await send(stream, head, call.services.patience)
        await send(stream, write(first), call.services.patience)
        async for rows in unhurried(pages):
            await send(stream, write(rows), call.services.patience)
        await stream.write_eof()
    except TimeoutError:
        if transport := call.request.transport:
            transport.abort()
    except ConnectionError:  # the client went away
        pass
    return stream


ROUTES = (
    Route(
        "GET",
        "/api/export/{what}",
        "read",
        export,
        "Export messages, events or aggregates",
        "`what` is messages or events, newest first, or aggregates (counters by `by` and `step`). CSV "
        "(RFC 4180, UTF-8) or, with `format=jsonl`, one JSON object a line. It is streamed, whatever its size. In CSV a text "
        "that a spreadsheet would take for a formula has an apostrophe before it.",
        query=Asked,
        media="text/csv",
    ),
)
