"""Every notification is valid by its schema, says what the contract says, and verifies with others' code."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from standardwebhooks.webhooks import Webhook

from relay.core import payload
from relay.core.model import Endpoint, Event, EventType, Format, History, Sent, SentCopy
from tests import contract
from tests.store.contract import T0, sent

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
MESSAGE = sent().with_(thread_id="t1")
V3 = Endpoint("e1", "https://x", ())
LATER: dict[str, Any] = {
    "schedule_id": "s1", "send_at": 1_700_000_060, "subject": "Hello", "snippet": "Hello, Bob",
    "from": [{"email": "ann@example.com"}], "to": [{"email": "bob@example.org", "name": "Bob"}],
    "attachments": [{"id": "a1", "filename": "a.txt", "content_type": "text/plain", "size": 5}],
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "message.opened": {},
    "message.link_clicked": {"link_index": 2, "url": "https://a.example/"},
    "thread.replied": {"data": {"reply_id": "r1", "reply_internet_id": "r1@x", "from_self": False}},
    "message.bounce_detected": {"data": {"code": 550, "status": "5.1.1", "reason": "no such user"}},
    "message.send_success": {"data": LATER},
    "message.send_failed": {"data": {**LATER, "code": 550, "reason": "550 no such user"}},
    "grant.expired": {"data": {"access": "mailbox"}},
    "grant.updated": {"data": {"access": "mailbox"}},
}


def event(kind: str, **changes: Any) -> Event:
    values: dict[str, Any] = {
        "recipient": "bob@example.org", "ip": "8.8.8.8", "user_agent": "Mail/1.0", "verdict": "human", "reason": "plain",
        "grant_id": "sales", "sequence": 4, "counted": True, "ordinal": 1, "position": 9,
    }  # fmt: skip
    identity = "0195f000-0000-7000-8000-000000000001"
    return Event(identity, kind, "m1", T0 + 60.7, **(values | KINDS.get(kind, {}) | changes))  # type: ignore[arg-type]


def history(kind: str, message: Sent | None = MESSAGE, **changes: Any) -> History:
    last = event(kind, **changes)
    first = last.with_(event_id="first", at=T0 + 5.2, ordinal=0, link_index=0, ip="", user_agent="")
    counts = (1, 0, 1) if kind == "message.link_clicked" else ()
    return History(last, message, (first, last), counts, T0 + 5.2, 2 if kind == "thread.replied" else 0)


def shaped(trigger: str, format: Format = "nylas", past: History | None = None, attempt: int = 1) -> Any:
    past = past or history(trigger.removesuffix(".legacy"))
    body = payload.shape(past, replace(V3, format=format), application_id="app", attempt=attempt, trigger=trigger)
    return json.loads(body)


@pytest.mark.parametrize(
    "trigger", [name for names in payload.NAMES["nylas"].values() for name in names if name != payload.CHANGED]
)
@pytest.mark.parametrize("message", [MESSAGE, None], ids=["known", "purged"])
def test_nylas_by_its_schema(trigger: str, message: Sent | None) -> None:
    made = shaped(trigger, past=history(trigger.removesuffix(".legacy"), message))
    assert contract.errors(made) == []
    assert made["type"] == trigger


BELIEF = {"from": "eve@example.net", "verified": False, "authentication": {"dmarc": "fail", "spf": "pass"}}


@pytest.mark.parametrize("kind", ["thread.replied", "message.bounce_detected"])
def test_how_far_a_mail_is_believed_stands_among_our_additions(kind: str) -> None:
    made = shaped(kind, past=history(kind, data={**KINDS[kind]["data"], **BELIEF}))
    assert contract.errors(made) == []
    assert {name: made["data"]["object"][name] for name in BELIEF} == BELIEF


@pytest.mark.parametrize(
    ("kind", "name"), [("message.bounce_detected", "email.bounced"), ("message.complained", "email.complained")]
)
def test_how_far_a_report_is_believed_stands_in_unosends_too(kind: str, name: str) -> None:
    made = shaped(name, "unosend", history(kind, data={"code": 550, "reason": "no", **BELIEF}))
    assert contract.errors(made) == []
    assert (made["data"]["verified"], made["data"]["authentication"]) == (False, BELIEF["authentication"])
    assert made["data"]["from"] != BELIEF["from"]  # it is the message's


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k, names in payload.NAMES["unosend"].items() for n in names if n != payload.CHANGED]
)
@pytest.mark.parametrize("message", [MESSAGE, None], ids=["known", "purged"])
def test_unosend_by_its_schema(kind: str, name: str, message: Sent | None) -> None:
    assert contract.errors(shaped(name, "unosend", history(kind, message))) == []
    assert contract.errors(shaped(name, "unosend", history(kind, message, recipient=""))) == []


CHANGE = {
    "event_id": "00000000-0000-7000-8000-000000000001",
    "event_type": "message.opened",
    "event_at": 1e9,
    "from": "human",
}


def test_a_changed_verdict_is_one_of_ours() -> None:
    """Neither vendor has it: only who names the trigger gets it, and never through Nylas' registry."""
    past = history(payload.CHANGED, data=CHANGE, verdict="scanner", reason="burst", first_verdict="human")
    nylas = shaped(payload.CHANGED, past=past)["data"]["object"]
    assert (nylas["changed_event_id"], nylas["changed_event_type"]) == (CHANGE["event_id"], "message.opened")
    assert [nylas[name] for name in ("previous_verdict", "first_verdict", "verdict", "reason")] == [
        "human",
        "human",
        "scanner",
        "burst",
    ]
    unosend = shaped(payload.CHANGED, "unosend", past)["data"]
    assert (unosend["changed_event_type"], unosend["verdict"], unosend["first_verdict"]) == (
        "email.opened",
        "scanner",
        "human",
    )
    hook = replace(V3, triggers=(payload.CHANGED,))
    assert payload.triggers(hook, past.event) == (payload.CHANGED,)
    assert payload.triggers(replace(hook, triggers=()), past.event) == ()
    assert payload.triggers(replace(hook, registry="nylas"), past.event) == ()
    assert payload.triggers(replace(hook, registry="unosend", format="unosend"), past.event) == (payload.CHANGED,)


def test_a_complaint_has_no_code_for_nothing_was_refused() -> None:
    made = shaped(
        "email.complained", "unosend", history("message.complained", data={"reason": "r", "feedback": "abuse"})
    )
    assert contract.errors(made) == []
    assert {"reason": "r", "code": 0, "bounce_type": "", "complaint_type": "abuse"}.items() <= made["data"].items()


def test_an_open() -> None:
    made = shaped("message.opened")
    thing = made["data"].pop("object")
    assert made == {
        "specversion": "1.0", "type": "message.opened", "source": "/com/nylas/tracking",
        "id": "0195f000-0000-7000-8000-000000000001", "time": 1_700_000_060, "webhook_delivery_attempt": 1,
        "data": {"application_id": "app", "grant_id": "sales"},
    }  # fmt: skip
    recents = thing.pop("recents")
    assert thing == {
        "object": "message", "grant_id": "sales", "message_id": "m1", "label": "spring", "sender_app_id": "app",
        "timestamp": 1_700_000_060, "message_data": {"count": 2, "timestamp": 1_700_000_060},
        "recipient": "bob@example.org", "internet_message_id": "m1@mail.example", "verdict": "human", "reason": "plain",
        "sequence": 4, "event_id": "0195f000-0000-7000-8000-000000000001", "metadata": {"campaign": "7"},
    }  # fmt: skip
    assert [(r["opened_id"], r["timestamp"], r["ip"]) for r in recents] == [
        (0, 1_700_000_005, ""),
        (1, 1_700_000_060, "8.8.8.8"),
    ]
    assert recents[-1]["verdict"] == "human"


def test_a_click_counts_every_link() -> None:
    thing = shaped("message.link_clicked")["data"]["object"]
    assert thing["link_data"] == [
        {"count": 1, "url": "https://a.example/"},
        {"count": 0, "url": "https://b.example/"},
        {"count": 1, "url": "https://a.example/"},
    ]
    assert [(r["click_id"], r["link_index"]) for r in thing["recents"]] == [("0", "0"), ("1", "2")]


def test_a_click_of_a_message_whose_row_is_gone_says_what_its_tokens_said() -> None:
    thing = shaped("message.link_clicked", past=history("message.link_clicked", None))["data"]["object"]
    assert [link["url"] for link in thing["link_data"]] == ["https://a.example/", "about:blank", "https://a.example/"]
    assert thing["label"] == thing["internet_message_id"] == ""


def test_a_reply() -> None:
    thing = shaped("thread.replied")["data"]["object"]
    wanted = {
        "object": "thread", "message_id": "r1", "root_message_id": "m1", "reply_to_message_id": "m1",
        "reply_data": {"count": 2}, "thread_id": "t1", "from_self": False, "label": "spring",
    }  # fmt: skip
    assert {name: thing[name] for name in wanted} == wanted
    assert (thing["reply_from"], thing["copy_recipient"], thing["kind"]) == ({"address": "", "name": ""}, "", "reply")
    assert "excerpt" not in thing


@pytest.mark.parametrize("trigger", ["thread.replied", "thread.replied.legacy"])
def test_who_answered_what_stands_in_the_notification(trigger: str) -> None:
    data = {
        "reply_from": {"address": "Eve@example.net", "name": "Eve"}, "copy_recipient": "bob@example.org", "kind": "reaction",
        "gesture": "\N{THUMBS UP SIGN}", "root_message_id": "m0", "root_label": "autumn", "reply_to_message_id": "m2",
        "excerpt": "Yes.",
    }  # fmt: skip
    made = shaped(trigger, past=history("thread.replied", data=data))
    assert contract.errors(made) == []
    thing = made["data"]["object"]
    for name in ("reply_from", "copy_recipient", "kind", "gesture", "excerpt"):
        assert thing[name] == data[name]
    said = thing["deltas"][0]["object_data"]["metadata"] if "deltas" in thing else thing
    assert said["reply_to_message_id"] == "m2"
    assert said.get("label", said.get("payload")) == "autumn"
    assert said.get("root_message_id", "m0") == "m0"


def test_a_bounce() -> None:
    made = shaped("message.bounce_detected")
    assert made["source"] == "/nylas/send"
    thing = made["data"]["object"]
    assert thing["bounced_addresses"] == "bob@example.org"
    assert (thing["code"], thing["bounce_reason"], thing["type"]) == (550, "no such user", "mailbox_unavailable")
    assert thing["bounce_date"] == "Tue, 14 Nov 2023 22:14:20 +0000"
    origin = thing["origin"]
    assert (origin["from"], origin["cc"], origin["bcc"], origin["id"]) == (
        ["ann@example.com"], ["dora@example.org"], [], "m1",
    )  # fmt: skip


def test_a_message_that_was_sent_later() -> None:
    made = shaped("message.send_success")
    assert (made["source"], set(made["data"])) == ("/nylas/send", {"application_id", "grant_id", "object"})
    assert {"id": "m1", **LATER, "cc": [], "bcc": [], "reply_to": []}.items() <= made["data"]["object"].items()


def test_a_message_that_could_not_be_sent_later_says_why() -> None:
    made = shaped("message.send_failed", past=history("message.send_failed", None))
    assert made["data"]["object"]["to"] == LATER["to"]
    assert made["data"]["reason"] == "550 no such user"
    assert made["data"]["error"] == {"type": "provider_error", "message": "550 no such user", "status_code": 550}


def test_a_grant_whose_credentials_stop_working_and_work_again() -> None:
    made = shaped("grant.expired", past=history("grant.expired", None, reason="535 no", recipient=""))
    assert made["source"] == "/nylas/system"
    thing = made["data"]["object"]
    assert (thing["code"], thing["grant_id"], thing["reason"], thing["access"]) == (25009, "sales", "535 no", "mailbox")
    assert (thing["recipient"], thing["internet_message_id"], thing["metadata"]) == ("", "", {})
    assert shaped("grant.updated", past=history("grant.updated", None))["data"]["object"]["code"] == 25014


def test_whom_no_header_names_is_bcc() -> None:
    people = ("BOB@example.org", "ob@example.org", "eve@fa\u00df.test", "eve@fass.test")
    copies = tuple(SentCopy(person, index, True) for index, person in enumerate(people))
    message = MESSAGE.with_(to=("bob@Example.org",), cc=("eve@xn--fa-hia.test",), copies=copies)
    origin = shaped("message.bounce_detected", past=history("message.bounce_detected", message))["data"]["object"][
        "origin"
    ]
    assert origin["bcc"] == ["ob@example.org", "eve@fass.test"]


def test_legacy_is_v2_inside_v3() -> None:
    made = shaped("message.link_clicked.legacy")
    assert made["source"] == "/com/nylas/v2/webhooks"
    assert made["id"] != shaped("message.link_clicked")["id"]
    thing = made["data"]["object"]
    (delta,) = thing["deltas"]
    assert delta["type"] == "message.link_clicked"
    assert delta["object_data"]["account_id"] == delta["object_data"]["namespace_id"] == "sales"
    recent = delta["object_data"]["metadata"]["recents"][-1]
    assert (recent["id"], recent["link_index"]) == (1, 2)
    assert thing["recipient"] == "bob@example.org"
    assert shaped("thread.replied.legacy")["data"]["object"]["object"] == "thread"


@pytest.mark.parametrize("kind", list(payload.NAMES["nylas-v2"]))
def test_bare_v2(kind: str) -> None:
    made = shaped(kind, "nylas-v2")
    assert list(made) == ["deltas"]
    (delta,) = made["deltas"]
    assert (delta["type"], delta["object"], delta["date"]) == (kind, "metadata", 1_700_000_060)
    metadata = delta["object_data"]["metadata"]
    assert (metadata["payload"], metadata["sender_app_id"]) == ("spring", "app")
    if kind != "thread.replied":
        assert isinstance(metadata["recents"][0]["id"], int)


def test_unosend_says_the_first_open_and_this_one() -> None:
    made = shaped("email.opened", "unosend", history("message.opened"))
    assert made["created_at"] == "2023-11-14T22:14:20.700Z"
    assert made["data"]["opened_at"] == "2023-11-14T22:13:25.200Z"
    assert (made["id"], made["data"]["to"]) == ("evt_0195f000000070008000000000000001", "bob@example.org")


def test_unosend_names_a_link_three_times() -> None:
    data = shaped("email.clicked", "unosend", history("message.link_clicked", data={"tid": "t"}))["data"]
    assert data["link"] == data["link_url"] == data["url"] == "https://a.example/"
    assert data["tid"] == "t"


@pytest.mark.parametrize("kind", list(payload.NAMES["unosend"]))
def test_every_unosend_event(kind: str) -> None:
    made = shaped("", "unosend", history(kind))
    assert made["type"] == payload.NAMES["unosend"][kind][0]
    assert made["data"]["email_id"] == "m1"


def test_a_retry_repeats_the_body_but_for_its_number() -> None:
    for trigger in ("message.opened", "message.opened.legacy"):
        first, second = shaped(trigger, attempt=1), shaped(trigger, attempt=2)
        assert first.pop("webhook_delivery_attempt") == 1
        assert second.pop("webhook_delivery_attempt") == 2
        assert first == second
    assert shaped("message.opened", "nylas-v2", attempt=1) == shaped("message.opened", "nylas-v2", attempt=2)


def test_a_format_without_a_name_for_it() -> None:
    with pytest.raises(ValueError, match=r"message\.sent"):
        shaped("", past=history("message.sent"))


WANTS: list[tuple[str, tuple[str, ...], dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ("asked", ("message.opened",), {}, {}, ("message.opened",)),
    ("both names", ("message.opened", "message.opened.legacy"), {}, {}, ("message.opened", "message.opened.legacy")),
    ("another", ("thread.replied",), {}, {}, ()),
    ("none named is all", (), {}, {}, ("message.opened",)),
    ("not counted", ("message.opened",), {}, {"counted": False}, ()),
    ("verdict asked for", (), {"verdicts": ("human",)}, {}, ("message.opened",)),
    ("verdict not asked for", (), {"verdicts": ("proxy",)}, {}, ()),
    ("v2", ("message.opened",), {"format": "nylas-v2"}, {}, ("message.opened",)),
    ("unosend", ("email.opened",), {"format": "unosend"}, {}, ("email.opened",)),
    ("unosend repeat", ("email.opened",), {"format": "unosend"}, {"counted": False}, ("email.opened",)),
    ("unosend HEAD", ("email.opened",), {"format": "unosend"}, {"counted": False, "method": "HEAD"}, ()),
]


@pytest.mark.parametrize(("triggers", "asks", "seen", "expected"), [w[1:] for w in WANTS], ids=[w[0] for w in WANTS])
def test_who_is_owed_what(
    triggers: tuple[str, ...], asks: dict[str, Any], seen: dict[str, Any], expected: tuple[str, ...]
) -> None:
    endpoint = replace(V3, triggers=triggers, **asks)
    assert payload.triggers(endpoint, event("message.opened", **seen)) == expected
    assert payload.wants(endpoint, event("message.opened", **seen)) is bool(expected)


def test_verdicts_are_of_hits_only() -> None:
    assert payload.wants(replace(V3, verdicts=("human",)), event("thread.replied", verdict="unknown"))


def test_every_name_is_of_an_event_there_is() -> None:
    for names in payload.NAMES.values():
        assert set(names) <= set(get_args(EventType))


# -- signatures --------------------------------------------------------------------------------------------------------

BODY = '{"a":"Grüße"}'.encode()


def test_nylas_signature_is_keyed_on_the_secrets_text() -> None:
    made = payload.signatures(BODY, SECRET, event_id="x", timestamp=1, format="nylas")
    assert made["x-nylas-signature"] == hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_")])
def test_standard_webhooks_verify(secret: str) -> None:
    import time

    made = payload.signatures(BODY, secret, event_id="id-1", timestamp=int(time.time()), format="nylas")
    assert Webhook(SECRET).verify(BODY, made) == {"a": "Grüße"}
    with pytest.raises(Exception, match="signature"):
        Webhook(SECRET).verify(BODY + b" ", made)


def test_a_rotation_verifies_with_both_secrets() -> None:
    import time

    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    made = payload.signatures(BODY, other, event_id="i", timestamp=int(time.time()), format="nylas", previous=SECRET)
    for secret in (SECRET, other):
        assert Webhook(secret).verify(BODY, made)
    assert made["x-nylas-signature"] == hmac.new(other.encode(), BODY, hashlib.sha256).hexdigest()


def test_unosend_signature_is_over_time_and_body() -> None:
    made = payload.signatures(BODY, SECRET, event_id="x", timestamp=1700000000, format="unosend")
    expected = hmac.new(SECRET.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert made == {"X-Unosend-Signature": expected, "X-Unosend-Timestamp": "1700000000"}


def test_a_secret_that_is_no_base64_signs_with_its_text() -> None:
    made = payload.signatures(BODY, "not base64!", event_id="i", timestamp=1, format="nylas")
    expected = base64.b64encode(hmac.digest(b"not base64!", b"i.1." + BODY, "sha256")).decode()
    assert made["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize(
    "trigger", ["message.opened", "message.link_clicked", "message.opened.legacy", "message.link_clicked.legacy"]
)
def test_recents_have_no_user_agent_as_long_as_a_stranger_likes(trigger: str) -> None:
    past = history(trigger.removesuffix(".legacy"), user_agent="x" * 1000)
    text = json.dumps(shaped(trigger, past=past))
    assert "x" * 256 in text
    assert "x" * 257 not in text


def test_what_was_folded_before_is_said() -> None:
    past = history("message.opened", data={"folded": 7})
    assert shaped("message.opened", past=past)["data"]["object"]["folded"] == 7
    assert "folded" not in shaped("message.opened")["data"]["object"]
