"""Values become rows and come back. No field of these values has its default: one without a column would show."""

from typing import Any

import pytest

from relay.core.model import Endpoint, Event, Notice, Sent, SentCopy
from relay.core.nodes import Node
from relay.core.suppressions import Erasure, Suppression
from relay.store import ApiKey, Attempt, Cursor, Notification, tables

SENT = Sent(
    "m1", "sales", "m1@mail.example", 1.5, "ann@example.com", "bounces@example.com", ("bob@example.org", "Čeněk <c@x>"),
    ("dora@example.org",), "Grüße", "spring", {"campaign": "7"}, "8.8.4.4", 5120, True, True, True, "limit_links",
    ("https://a.example/",), (), ("x@y",), "m0", {"parts": [{"path": "1"}]},
)  # fmt: skip
EVENT = Event(
    "e1", "message.link_clicked", "m1", 2.5, 1, "bob@example.org", 2, "https://a.example/", "HEAD", "8.8.8.8", "Mail/1.0",
    "https://mail.example", "human", "why", {"x": ["ü", 1]}, "sales", 3, True, 4, 5,
)  # fmt: skip
VALUES: list[tuple[tables.Table[Any], Any, dict[str, Any]]] = [
    (tables.MESSAGES, SENT, {"copies": ()}),
    (tables.COPIES, SentCopy("bob@example.org", 1, True, "excluded_recipient", "done", "250 2.0.0 ok", "u@x"), {}),
    (tables.EVENTS, EVENT, {}),
    (tables.EVENTS, EVENT.with_(data={}), {}),
    (tables.CURSORS, Cursor("inbox", 1, 2, ("x", "y"), 1.5, ("UID 7",)), {}),
    (
        tables.ENDPOINTS,
        Endpoint(
            "e1",
            "https://e",
            ("a", "b"),
            "secret",
            ("human",),
            "unosend",
            "api",
            "pause",
            "unosend",
            "sales",
            "CRM",
            ("ops@example.com",),
            True,
            1.5,
            2.5,
            3.5,
            "old",
            4.5,
        ),
        {},
    ),
    (
        tables.NOTICES,
        Notice("n1", "e1", "failed", 2.5, 1.5, "HTTP 500", ("a@x", "b@y"), "https://e", "CRM", "nylas", "0a1b"),
        {},
    ),
    (
        tables.DELIVERIES,
        Notification(
            1,
            "e1",
            "m1",
            "w1",
            "message.opened",
            "dead",
            2,
            3.5,
            4.5,
            5.5,
            500,
            "on fire",
            (Attempt(1.5, 500, "on fire", 20),),
        ),
        {"event_id": "e1", "message_id": "m1"},
    ),
    (tables.API_KEYS, ApiKey("name", "digest", ("a", "b"), "sales", 1.5, 2.5), {}),
    (
        tables.NODES,
        Node("one", ("http", "smtp"), "p1", "0.1", 1.5, 2.5, 3, 4.5, {"0": "abc"}, 5, {"w1": "d.e"}, True),
        {},
    ),
    (tables.SUPPRESSIONS, Suppression("d", "sales", "manual", "bob@x", 1.5, "page", "e1", "note"), {}),
    (tables.ERASURES, Erasure("d", "bob@x", 1.5, "m1"), {}),
]


@pytest.mark.parametrize(
    ("table", "value", "elsewhere"), VALUES, ids=lambda x: x.name if isinstance(x, tables.Table) else ""
)
def test_a_row_is_the_value(table: tables.Table[Any], value: Any, elsewhere: dict[str, Any]) -> None:
    row = table.row(value)
    assert len(row) == len(table.names().split(", "))
    assert all(isinstance(field, str | int | float) for field in row)
    assert table.value(row, **elsewhere) == value


def test_what_is_beside_the_value_comes_last() -> None:
    row = tables.EVENTS.row(EVENT, '{"0":1}')
    assert dict(zip(tables.EVENTS.columns, row, strict=True))["link_counts"] == '{"0":1}'
    assert len(tables.EVENTS.names(beside=True).split(", ")) == len(row)
