"""Messages, threads and activity by v3: each list whole, each thing by its ids, nothing of another grant's."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from relay import store
from relay.core.model import Event, SentCopy
from tests.api.serving import Api, serving
from tests.store.contract import T0, click, event, sent
from tests.store.test_lists import answer, keep


@pytest_asyncio.fixture(params=["memory:", "sqlite:test.db"], ids=["memory", "sqlite"])
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    async with serving(tmp_path, known=store.open(request.param, tmp_path)) as found:
        yield found


async def pages(server: Api, path: str, key: str = "all", **query: Any) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = {**query, **({"page_token": token} if token else {})}
        said = await server.get(path + "?" + "&".join(f"{k}={quote(str(v))}" for k, v in page.items()), key)
        found += said.data
        token = said.body.get("next_cursor")
        if token is None:
            return found


async def test_messages_are_listed_filtered_and_found(server: Api) -> None:
    dora = SentCopy("dora@example.org", 2, True)
    await server.known.record_sent(
        sent("m1", copies=(*sent().copies, dora), metadata={"key1": "spring", "key2": "a,b"})
    )
    await server.known.record_sent(
        sent("m2", submitted_at=T0 + 10, subject="Offer", thread_replies=False, references=("m1@mail.example",))
    )
    await server.known.record_sent(sent("m3", grant_id="hr", submitted_at=T0 + 20))
    path = "/v3/grants/sales/messages"
    assert [m["id"] for m in await pages(server, path, limit=1)] == ["m2", "m1"]
    assert [m["id"] for m in await pages(server, path, "sales-read")] == ["m2", "m1"]
    for query, expected in (
        ("subject=offer", ["m2"]),
        ("to=bob@example.org&limit=1", ["m2"]),
        ("any_email=nobody@example.org,bob@example.org", ["m2", "m1"]),
        ("from=ann@example.com", ["m2", "m1"]),
        ("from=eve@example.com", []),
        ("cc=dora@example.org", ["m1"]),
        (f"received_after={int(T0)}", ["m2"]),
        (f"received_before={int(T0) + 1}", ["m1"]),
        ("thread_id=m1", ["m2", "m1"]),
        ("metadata_pair=key1:spring,key2:a,b", ["m1"]),
        ("metadata_pair=key1:spring&metadata_pair=key2:none", []),
        ("metadata_pair=key3:spring", []),
        ("in=SENT&unread=false&starred=false", ["m2", "m1"]),
        ("in=INBOX", []),
        ("unread=true", []),
        ("made_up=1", ["m2", "m1"]),
    ):
        assert [m["id"] for m in (await server.get(f"{path}?{query}")).data] == expected, query
    for query in ("has_attachment=true", "search_query_native=x", "fields=raw_mime", "limit=0", "page_token=x"):
        assert (await server.get(f"{path}?{query}")).status == 400, query
    found = (await server.get(f"{path}/m2")).data
    assert found["grant_id"] == "sales"
    assert (found["thread_id"], found["subject"], found["date"]) == ("m1", "Offer", int(T0) + 10)
    assert [p["email"] for p in found["from"] + found["to"]] == [
        "ann@example.com",
        "bob@example.org",
        "Čeněk <c@example.org>",
    ]
    assert "tracking_options" not in found
    assert "body" not in found
    with_options = (await server.get(f"{path}/m2?fields=include_tracking_options")).data
    assert with_options["tracking_options"] == {
        "opens": True,
        "links": True,
        "thread_replies": False,
        "label": "spring",
    }
    headers = (await server.get(f"{path}/m2?fields=include_headers")).data["headers"]
    assert {"name": "Message-ID", "value": "<m2@mail.example>"} in headers
    assert {"name": "In-Reply-To", "value": "<m1@mail.example>"} in headers
    assert set((await server.get(f"{path}/m2?select=subject,date")).data) == {
        "id",
        "grant_id",
        "object",
        "subject",
        "date",
    }
    for name in ("m2@mail.example", "<m2@mail.example>"):
        assert (await server.get(f"{path}/{quote(name, safe='')}")).data["id"] == "m2"
    for name in ("m3", "m3@mail.example", "nothing", "%3C%3E"):
        assert (await server.get(f"{path}/{name}")).status == 404, name


async def test_an_answer_is_found_by_its_id_and_in_its_thread(server: Api) -> None:
    await server.known.record_sent(sent("m1", to=("bob@example.org",), cc=()))
    await server.known.record_sent(sent("m2", submitted_at=T0 + 5))
    await keep(server.known, answer(7))
    found = (await server.get("/v3/grants/sales/messages/a007")).data
    assert (found["id"], found["folders"], found["snippet"], found["excerpt"]) == (
        "a007",
        ["INBOX"],
        "Yes, please.",
        "Yes, please.",
    )
    assert found["from"] == [{"email": "bob@example.org", "name": "Bob"}]
    assert (await server.get("/v3/grants/hr/messages/a007")).status == 404
    threads = await pages(server, "/v3/grants/sales/threads", limit=1)
    assert [(t["id"], t["message_ids"]) for t in threads] == [("m1", ["m1", "a007"]), ("m2", ["m2"])]
    thread = (await server.get("/v3/grants/sales/threads/m1")).data
    assert thread == threads[0]
    assert thread["latest_draft_or_message"]["id"] == "a007"
    assert thread["latest_message_received_date"] == int(T0) + 7
    assert [p["email"] for p in thread["participants"]] == ["ann@example.com", "bob@example.org"]
    assert (await server.get("/v3/grants/hr/threads/m1")).status == 404
    assert (await server.get("/v3/grants/sales/threads?unread=true")).data == []


async def test_activity_is_listed_newest_first_of_the_key_s_own_grant(server: Api) -> None:
    await server.known.record_sent(sent("m1"))
    await server.known.record_sent(
        sent("m2", grant_id="hr", label="autumn", copies=(SentCopy("zoe@example.org", 0, True),))
    )
    for made in (
        event(at=T0 + 1),
        click(1, at=T0 + 2),
        event(message_id="m2", at=T0 + 3),
        event("message.sent", at=T0 + 4),
    ):
        await server.known.append(made)
    path, since = "/v3/activity/tracking", int(T0)
    assert (await server.get(path)).data == []  # of the last seven days
    found = await pages(server, path, start=since, limit=1)
    assert [(a["event_type"], a["message_id"]) for a in found] == [
        ("opened", "m2"),
        ("link_clicked", "m1"),
        ("opened", "m1"),
    ]
    assert (found[1]["link_index"], found[1]["url"], found[1]["from"]) == ("1", "https://a.example/", "ann@example.com")
    assert [a["message_id"] for a in await pages(server, path, "hr-read", start=since)] == ["m2"]
    for query, expected in (
        ("event_type=link_clicked", 1),
        ("event_type=opened&event_type=message.link_clicked", 3),
        ("label=autumn", 1),
        ("grant_id=sales", 2),
        ("from=ann@example.com&sending_domain=example.com", 3),
        ("thread_id=m1&message_id=m1", 2),
        (f"end={since + 2}", 1),
    ):
        assert len((await server.get(f"{path}?start={since}&{query}")).data) == expected, query
    assert (await server.get(f"{path}?grant_id=sales", "hr-read")).status == 404
    assert (await server.get(f"{path}?event_type=other")).status == 400
    one = f"{path}/{found[1]['id']}"
    assert (await server.get(one)).data == found[1]
    assert (await server.get(one, "hr-read")).status == 404


async def test_emails_and_events_by_v1(server: Api) -> None:
    now = time.time()
    await server.known.record_sent(sent("m1", submitted_at=now - 9, to=("bob@example.org",)))
    await server.known.record_sent(sent("m2", submitted_at=now - 8, grant_id="hr"))
    for made in (event(at=now - 5), event(at=now - 4), click(at=now - 3), event("thread.replied", at=now - 2)):
        await server.known.append(made)
    found = (await server.get("/v1/emails?limit=1")).data
    assert [e["id"] for e in found["data"]] == ["m2"]
    assert found["pagination"].pop("next_cursor")
    assert found["pagination"] == {"total": 2, "limit": 1, "offset": 0, "has_more": True}
    assert [e["id"] for e in (await server.get("/api/v1/emails?offset=1")).data["data"]] == ["m1"]
    one = (await server.get("/v1/emails/m1", "sales-read")).data
    assert (one["from"], one["to"], one["status"]) == ("ann@example.com", ["bob@example.org"], "queued")
    assert one["opened_at"] == (await server.get("/v1/events?event_type=opened")).data["data"][-1]["created_at"]
    assert (await server.get("/v1/emails/m2")).data["opened_at"] is None
    assert (await server.get("/v1/emails/m1", "hr-read")).status == 404
    events = await server.get("/v1/events?email_id=m1&limit=2")
    assert events.body["success"] is True
    assert [(e["type"], e["email_id"]) for e in events.data["data"]] == [("clicked", "m1"), ("opened", "m1")]
    pagination = events.data["pagination"]
    assert pagination.pop("next_cursor")
    assert pagination == {"total": 3, "limit": 2, "offset": 0, "has_more": True}
    assert events.data["filters"] == {"email_id": "m1", "event_type": None, "days": 7}
    for offset, kinds in ((1, ["opened", "opened"]), (2, ["opened"]), (3, [])):
        there = (await server.get(f"/v1/events?email_id=m1&offset={offset}")).data
        assert [e["type"] for e in there["data"]] == kinds
        assert there["pagination"] == {"total": 3, "limit": 50, "offset": offset, "has_more": False}
    metadata = events.data["data"][0]["metadata"]
    assert (metadata["url"], metadata["ip"]) == ("https://a.example/", metadata["ip_address"])
    assert (await server.get("/v1/events", "hr-read")).data["data"] == []
    assert (await server.get("/v1/events?days=91")).status == 400


async def test_messages_and_events_of_our_own(server: Api) -> None:
    await server.known.record_sent(sent("m1"))
    await server.known.record_sent(sent("m2", submitted_at=T0 + 8, grant_id="hr", label="autumn"))
    await server.known.append(event(at=T0 + 1))
    await server.known.append(click(at=T0 + 2))
    assert [m["id"] for m in (await server.get("/api/messages")).data] == ["m2", "m1"]
    first = await server.get("/api/messages?limit=1")
    rest = await server.get(f"/api/messages?limit=1&cursor={first.body['next_cursor']}")
    assert [m["id"] for m in first.data + rest.data] == ["m2", "m1"]
    assert "next_cursor" not in rest.body
    assert [m["id"] for m in (await server.get("/api/messages?label=autumn&state=pending")).data] == ["m2"]
    assert [m["id"] for m in (await server.get("/api/messages?recipient=bob@example.org", "sales-read")).data] == ["m1"]
    assert (await server.get("/api/messages?grant=sales", "hr-read")).status == 404
    whole = (await server.get("/api/messages/m1")).data
    assert [c["recipient"] for c in whole["message"]["copies"]] == ["bob@example.org", "c@example.org"]
    assert [e["type"] for e in whole["events"]] == ["message.link_clicked", "message.opened"]
    assert (await server.get("/api/messages/m1", "hr-read")).status == 404
    assert [e["type"] for e in (await server.get("/api/events?type=message.opened")).data] == ["message.opened"]
    assert (await server.get("/api/events", "hr-read")).data == []


async def test_what_a_hit_was_taken_for_at_first_is_said_everywhere(server: Api) -> None:
    now = float(int(time.time()) - 60)
    await server.known.record_sent(sent("m1", submitted_at=now - 9))
    hit = await server.known.append(click(at=now).with_(verdict="human", reason="browser"))
    assert isinstance(hit, Event)
    kept = await server.known.correct(hit.event_id, "scanner", "burst")
    assert kept is not None
    own = next(e for e in (await server.get("/api/events")).data if e["event_id"] == hit.event_id)
    whole = next(e for e in (await server.get("/api/messages/m1")).data["events"] if e["event_id"] == hit.event_id)
    for found in (own, whole):
        assert [found[name] for name in ("verdict", "reason", "first_verdict")] == ["scanner", "burst", "human"]
        assert found["changed_at"] == kept.changed_at
    metadata = (await server.get("/v1/events?event_type=clicked")).data["data"][0]["metadata"]
    assert [metadata[name] for name in ("verdict", "verdict_reason", "first_verdict")] == ["scanner", "burst", "human"]
    assert metadata["changed_at"].startswith("20")
    (active,) = (await server.get("/v3/activity/tracking?event_type=link_clicked")).data
    assert (active["verdict"], active["first_verdict"], active["changed_at"]) == (
        "scanner",
        "human",
        int(kept.changed_at),
    )
    lines = (await server.get(f"/api/export/events?format=jsonl&from={int(now) - 1}")).raw.decode().splitlines()
    row = next(one for one in map(json.loads, lines) if one["id"] == hit.event_id)
    assert (row["verdict"], row["reason"], row["first_verdict"]) == ("scanner", "burst", "human")
    assert row["changed_at"].startswith("20")
