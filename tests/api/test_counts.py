"""Aggregates, metrics and exports over HTTP."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay import store
from relay.core.model import Event, SentCopy
from relay.store import UpstreamReply, lists
from tests.api.serving import Api, serving
from tests.store.contract import click, event, sent
from tracking_http.api.own import export


@pytest.fixture(params=["memory:", "sqlite:t.db"], ids=["memory", "sqlite"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, known=store.open(request.param, tmp_path)) as started:
        yield started


NOW = (int(time.time()) - 7200) // 3600 * 3600 + 10.0  # none of these hours ends within a test


async def fill(server: Api) -> None:
    """Two messages of sales to three, one of hr."""
    known = server.known
    people = tuple(SentCopy(f"{name}@{name}.example", index, True) for index, name in enumerate("abc"))
    for message_id, grant, label in (("m1", "sales", "spring"), ("m2", "sales", "=sum(1)"), ("m3", "hr", "spring")):
        await known.record_sent(
            sent(message_id, grant_id=grant, label=label, copies=people, submitted_at=NOW, subject="=HYPERLINK(1)")
        )
        await known.record_replies([UpstreamReply(message_id, tuple(c.recipient for c in people), "done", "250")])
    for index, verdict in ((0, "human"), (0, "human"), (1, "scanner")):
        await known.append(event(message_id="m1", at=NOW + 100 * index, recipient_index=index, verdict=verdict))
    await known.append(click(message_id="m1", at=NOW, verdict="human"))
    await known.append(click(message_id="m3", at=NOW, url="https://b.example/", verdict="human"))
    await known.append(event("message.bounce_detected", "m2", NOW, recipient="c@c.example"))


async def test_aggregates(server: Api) -> None:
    await fill(server)
    (one,) = (await server.get("/api/aggregates", "sales-read")).data
    assert (one["sent"], one["delivered"], one["bounced"]) == (6, 6, 1)
    assert one["people"] == {"opens": 1, "first_opens": 1, "clicks": 1, "first_clicks": 1}
    assert one["machines"] == {"opens": 1, "first_opens": 1, "clicks": 0, "first_clicks": 0}
    assert one["rates"] == {"delivery_rate": 100.0, "bounce_rate": 16.7, "open_rate": 16.7, "click_rate": 16.7}
    asked: dict[str, dict[str, int]] = {}
    for by in ("label", "grant", "sender", "sending_domain", "recipient_domain", "link_host"):
        rows = (await server.get(f"/api/aggregates?by={by}&step=all")).data
        asked[by] = {row["key"]: row["sent"] for row in rows}
    assert asked == {
        "label": {"=sum(1)": 3, "spring": 6},
        "grant": {"hr": 3, "sales": 6},
        "sender": {"ann@example.com": 9},
        "sending_domain": {"example.com": 9},
        "recipient_domain": {"a.example": 3, "b.example": 3, "c.example": 3},
        "link_host": {"a.example": 0, "b.example": 0},
    }
    assert (await server.get(f"/api/aggregates?from={int(NOW) + 86_400}&to={int(NOW) + 90_000}")).data == []


async def test_pages_of_aggregates(server: Api) -> None:
    await fill(server)
    query = f"by=recipient_domain&step=all&utc_offset=2&from={int(NOW) - 86_400}&to={int(NOW) + 3_600}"
    whole = (await server.get(f"/api/aggregates?{query}")).data
    found: list[Any] = []
    cursor = ""
    while True:
        said = (await server.get(f"/api/aggregates?{query}&limit=1&cursor={cursor}")).body
        found += said["data"]
        cursor = said.get("next_cursor", "")
        if not cursor:
            break
    assert found == whole
    assert len(whole) == 3


@pytest.mark.parametrize(
    "query",
    ["step=week", "by=url", "from=5&to=5", "utc_offset=99", "from=-1", "from=x", "limit=0", "cursor=zzz"],
)
async def test_what_can_not_be_asked(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as server:
        assert (await server.get(f"/api/aggregates?{query}")).status == 400


async def test_a_count_that_is_not_done_says_so(server: Api) -> None:
    await fill(server)
    await server.known.begin_recount()
    assert (await server.get("/api/aggregates")).body["counting"]
    while await server.known.recount() is not None:
        pass
    said = (await server.get("/api/aggregates")).body
    assert (said["counting"], said["data"][0]["sent"]) == (False, 9)


async def test_metrics(server: Api) -> None:
    await fill(server)
    for path in ("/v1/metrics", "/api/v1/metrics"):
        found = (await server.get(f"{path}?days=7", "sales-read")).data
        assert found["period"]["days"] == 7
        assert found["summary"] == {
            "total": 6, "sent": 6, "delivered": 6, "bounced": 1, "failed": 0, "queued": 0, "scheduled": 0, "opens": 2,
            "unique_opens": 2, "clicks": 1, "unique_clicks": 1, "machine_opens": 1, "machine_clicks": 0,
            "people_opens": 1, "people_unique_opens": 1, "people_clicks": 1, "people_unique_clicks": 1, "machine_unique_opens": 1,
            "machine_unique_clicks": 0,
        }  # fmt: skip
        assert found["rates"] == {
            "delivery_rate": 100.0,
            "bounce_rate": 16.7,
            "open_rate": 33.3,
            "click_rate": 16.7,
            "people_open_rate": 16.7,
            "people_click_rate": 16.7,
        }
        assert found["time_series"] == [{"period": time.strftime("%Y-%m-%d", time.gmtime(NOW)), "count": 6}]
    hours = (await server.get("/v1/metrics?group_by=hour")).data["time_series"]
    assert hours == [{"period": time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(NOW)), "count": 9}]
    status = (await server.get("/v1/metrics?group_by=status")).data["time_series"]
    assert status == [{"period": "delivered", "count": 9}, {"period": "bounced", "count": 1}]
    for wrong in ("days=91", "days=0", "group_by=week"):
        assert (await server.get(f"/v1/metrics?{wrong}")).status == 400


async def test_nothing_was_sent(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        found = (await server.get("/v1/metrics")).data
        assert set(found["rates"].values()) == {0.0}
        assert found["time_series"] == []
        assert (await server.get("/v1/metrics/links")).data == {"links": [], "total_clicks": 0}


async def test_links(server: Api) -> None:
    await fill(server)
    assert (await server.get("/v1/metrics/links")).data == {
        "links": [
            {"url": "https://a.example/", "clicks": 1, "machine_clicks": 0, "percentage": 50.0},
            {"url": "https://b.example/", "clicks": 1, "machine_clicks": 0, "percentage": 50.0},
        ],
        "total_clicks": 2,
    }
    assert len((await server.get("/v1/metrics/links?limit=1")).data["links"]) == 1
    assert (await server.get("/v1/metrics/links", "hr-read")).data["total_clicks"] == 1


# -- exports -----------------------------------------------------------------------------------------------------------


def rows(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode(), newline="")))


async def test_exports_as_csv(server: Api) -> None:
    await fill(server)
    said = await server.get("/api/export/messages", "sales-read")
    assert said.headers["Content-Type"].startswith("text/csv")
    assert said.headers["Content-Disposition"] == 'attachment; filename="messages.csv"'
    found = rows(said.raw)
    assert [row["id"] for row in found] == ["m2", "m1"]
    assert [(row["subject"], row["label"]) for row in found] == [
        ("'=HYPERLINK(1)", "'=sum(1)"),
        ("'=HYPERLINK(1)", "spring"),
    ]
    assert {k: found[1][k] for k in ("recipients", "delivered", "opened", "clicked", "machine_opened")} == {
        "recipients": "3", "delivered": "3", "opened": "1", "clicked": "1", "machine_opened": "1",
    }  # fmt: skip
    events = rows((await server.get("/api/export/events", "hr-read")).raw)
    assert [(e["message_id"], e["type"], e["url"]) for e in events] == [
        ("m3", "message.link_clicked", "https://b.example/")
    ]
    counted = rows((await server.get("/api/export/aggregates?by=grant&step=day")).raw)
    assert [(row["key"], row["sent"], row["first_opens"]) for row in counted] == [("hr", "3", "0"), ("sales", "6", "1")]


async def test_exports_as_lines(server: Api) -> None:
    await fill(server)
    said = await server.get(f"/api/export/events?format=jsonl&from={int(NOW) + 50}")
    assert said.headers["Content-Type"] == "application/jsonl"
    assert [json.loads(line)["verdict"] for line in said.raw.splitlines()] == ["scanner"]
    said = await server.get(f"/api/export/messages?format=jsonl&to={int(NOW)}")
    assert said.raw == b""


async def test_what_is_no_export_and_who_may_not(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert (await server.get("/api/export/keys")).status == 404
        assert (await server.get("/api/export/events?format=xlsx")).status == 400
        assert (await server.get("/api/export/events", "send")).status == 403
        assert (await server.get("/api/export/events", "")).status == 401
        assert (await server.get("/api/export/events")).raw.startswith(b"id,type,message_id")


async def test_an_export_of_many_is_whole_and_none_is_there_twice(server: Api) -> None:
    """Also where many were submitted at one time."""
    many = [sent(f"m{number:05d}", grant_id="sales", submitted_at=NOW + number // 700) for number in range(1234)]
    await asyncio.gather(*map(server.known.record_sent, many))
    found = rows((await server.get("/api/export/messages")).raw)
    assert sorted(row["id"] for row in found) == [f"m{number:05d}" for number in range(1234)]


async def test_an_export_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """A page more or less is all that there is of it, whatever its length."""

    class Endless:
        asked = 0

        async def list_events(self, asked: lists.Events, limit: int) -> lists.Listed[Event]:
            self.asked += 1
            some = [event(position=n, user_agent="x" * 500) for n in range(limit)]
            return lists.Listed(some, (1.0, self.asked) if self.asked * limit < 8_000 else None)

    known = Endless()
    pages = export.events(known, "", export.Asked())  # type: ignore[arg-type]
    tracemalloc.start()
    size = sum([len(export.as_csv(page)) async for page in pages])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert known.asked == 8_000 // export.ROWS
    assert size > 4 * peak


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM", "'@SUM"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("  =1", "'  =1"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"), ("a=1", "a=1"), ("", ""), (-1, -1), (True, "true"),
        (("=a", "b"), "'=a, b"), ({}, ""), ({"a": 1}, '{"a":1}'),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula(value: Any, written: Any) -> None:
    assert export.cell(value) == written
