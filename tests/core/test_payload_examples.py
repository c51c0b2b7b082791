"""Each notification has every field of its example in Nylas' documentation, of the same type and, where it is no
placeholder, with the same value; and no other fields but those that we name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.core import payload
from relay.core.model import Endpoint, Event, Format, History, Sent, SentCopy
from tests import contract

EXAMPLES = Path(contract.__file__).parent / "examples"
AGENT = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
AT = 1_733_261_154.0
MESSAGE = Sent(
    message_id="m1", grant_id="g1", internet_message_id="m1@mail.example", submitted_at=AT - 60, sender="ann@example.com",
    to=("bob@example.org",), cc=("cy@example.org",), subject="Hello", label="Hello world",
    links=("client_url",), copies=(SentCopy("bob@example.org", 0, True), SentCopy("dan@example.org", 1, True)),
    thread_id="t1",
)  # fmt: skip
LATER: dict[str, Any] = {
    "schedule_id": "s1", "send_at": 1_234_567_880, "subject": "Mock Subject",
    "from": [{"email": "a@b.example"}],
    **{name: [{"email": "a@b.example", "name": "A"}] for name in ("to", "cc", "bcc", "reply_to")},
    "attachments": [{"id": "a1", "filename": "myfile.txt", "content_type": "text/plain", "size": 16}],
}  # fmt: skip
DATA: dict[str, dict[str, Any]] = {
    "thread.replied": {"reply_id": "r1", "reply_to_message_id": "m1", "from_self": True},
    "message.bounce_detected": {"code": 550, "reason": "An example message describing the reason for the bounce."},
    "message.send_success": LATER,
    "message.send_failed": LATER | {"code": 550, "reason": "550 no"},
    "grant.expired": {"access": "mailbox"},
    "grant.updated": {"access": "mailbox"},
}
# Ours may stand anywhere inside data.object, but for v2's deltas, and nowhere else.
ENVELOPE = {"webhook_delivery_attempt", "data.grant_id", "data.reason", "data.error"}
RECENT = {"recipient", "verdict", "reason"}
# Of a message that was sent later nothing is kept but what it said of itself. v2 has no namespaces in its help pages.
LACKING = {"data.object.body", "data.object.attachments[].content"}


def history(kind: Any) -> History:
    event = Event(
        "e1", kind, "m1", AT, 0, "bob@example.org", 0, "client_url", ip="203.0.113.9", user_agent=AGENT, verdict="proxy",
        reason="plain", data=DATA.get(kind, {}), grant_id="g1", sequence=3, counted=True, ordinal=0, position=9,
    )  # fmt: skip
    counts = (8,) if kind == "message.link_clicked" else ()
    return History(event, MESSAGE, (event,), counts, AT)


def made(name: str, format: Format) -> Any:
    endpoint = Endpoint("w1", "https://x.example", (name,), format=format)
    past = history(name.removesuffix(".legacy"))
    return json.loads(payload.shape(past, endpoint, application_id="app", attempt=1, trigger=name))


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each path with what stands there; of a list its first element."""
    yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and value:
        yield from fields(value[0], f"{path}[]")


def same_kind(theirs: Any, ours: Any) -> bool:
    return type(theirs) is type(ours) or theirs == "OPEN_COUNT"


CONSTANT = {
    "specversion", "type", "source", "webhook_delivery_attempt", "data.object.object", "data.object.code",
    "data.object.type", "data.object.deltas[].object", "data.object.deltas[].type",
    "data.object.deltas[].object_data.object", "data.object.deltas[].object_data.metadata.count",
    "data.object.deltas[].object_data.metadata.payload", "data.object.deltas[].object_data.metadata.from_self",
    "data.object.deltas[].object_data.metadata.recents[].id", "data.object.deltas[].object_data.metadata.link_data[].count",
    "data.object.deltas[].object_data.metadata.recents[].link_index", "data.object.deltas[].object_data.metadata.link_data[].url",
    "deltas[].type", "deltas[].object", "deltas[].object_data.object", "deltas[].object_data.metadata.recents[].id",
    "data.object.recents[].opened_id", "data.object.recents[].click_id", "data.object.recents[].link_index",
    "data.object.send_at", "data.object.use_draft", "data.object.subject",
}  # fmt: skip
NAMES: list[tuple[str, Format]] = [
    *((path.stem, "nylas") for path in sorted(EXAMPLES.glob("*.json"))),
    *((path.stem, "nylas-v2") for path in sorted((EXAMPLES / "v2").glob("*.json"))),
]


@pytest.mark.parametrize(("name", "format"), NAMES)
def test_field_by_field(name: str, format: Format) -> None:
    folder = EXAMPLES / "v2" if format == "nylas-v2" else EXAMPLES
    example = json.loads((folder / f"{name}.json").read_text("utf-8"))
    theirs, ours = dict(fields(example)), dict(fields(made(name, format)))
    assert {path for path in theirs if path not in ours} <= LACKING
    assert {path for path in theirs if path in ours and not same_kind(theirs[path], ours[path])} == set()
    differing = {path: (theirs[path], ours[path]) for path in CONSTANT & theirs.keys() if theirs[path] != ours[path]}
    assert {path: pair for path, pair in differing.items() if not placeholder(path, pair[0], format)} == {}
    for path in ours.keys() - theirs.keys():
        parent, _, last = path.rpartition(".")
        known = (
            path in ENVELOPE
            or parent in {"data.error"}
            or (path.startswith("data.object.") and not path.startswith("data.object.deltas"))
            or (parent.endswith("recents[]") and last in RECENT | {"timestamp"})
            or (format == "nylas-v2" and last in {"namespace_id", "timestamp"})
        )
        assert known, path


def placeholder(path: str, value: Any, format: Format) -> bool:
    return value in ("OPEN_COUNT", "client_url") or (format == "nylas-v2" and path.endswith("link_index"))


def test_each_example_is_of_something_that_is_sent() -> None:
    triggers = {name for names in payload.NAMES["nylas"].values() for name in names}
    assert {name for name, format in NAMES if format == "nylas"} <= triggers
    assert {name for name, format in NAMES if format == "nylas-v2"} == set(payload.NAMES["nylas-v2"])
