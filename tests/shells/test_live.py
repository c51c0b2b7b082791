"""What the live page says of a message: words and states, over values."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import reasons
from relay.core.counts import COUNTERS
from relay.core.model import Event, EventType, Reason, Sent, SentCopy, Verdict
from relay.store import Aggregate, Engagement
from tracking_http.dashboard import phrases, rates, shape

COPY = SentCopy("a@example.org", 0, True, state="done", reply="250 2.0.0 Ok")
SENT = Sent("m1", "default", "id@example.org", 1000.0, sender="s@example.com", to=("a@example.org",), subject="Hello",
            opens=True, links_tracked=True, links=("https://x.example/a", "https://x.example/b"), copies=(COPY,))  # fmt: skip


def event(type_: EventType, verdict: Verdict = "human", **more: Any) -> Event:
    more.setdefault("counted", verdict != "self")
    more.setdefault("recipient", "a@example.org")
    return Event("e", type_, "m1", 1100.0, verdict=verdict, **more)


def names(sent: Sent, *events: Event) -> list[str]:
    return [state["name"] for state in shape.states(sent, events)]


def test_every_code_has_words() -> None:
    assert set(reasons.WORDS) == set(get_args(Reason))
    assert set(phrases.VERDICTS) == set(get_args(Verdict))
    assert set(phrases.TITLES) == set(get_args(EventType))
    assert all(text and not text.endswith(".") for text in reasons.WORDS.values())


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), ["delivered"]),
        ((event("message.opened"),), ["delivered", "opened"]),
        ((event("message.opened", "proxy"),), ["delivered", "opened"]),
        ((event("message.opened", "unknown"),), ["delivered", "opened"]),
        ((event("message.opened", "self"),), ["delivered"]),
        ((event("message.opened", "scanner"),), ["delivered", "machine"]),
        ((event("message.opened", "prefetch"),), ["delivered", "machine"]),
        ((event("message.opened", "prefetch"), event("message.opened")), ["delivered", "opened"]),
        ((event("message.opened", counted=False),), ["delivered"]),
        ((event("message.link_clicked", url="https://x.example/a"),), ["delivered", "clicked"]),
        ((event("message.link_clicked", "scanner", url="https://x.example/a"),), ["delivered", "machine"]),
        ((event("thread.replied", "unknown"),), ["delivered", "replied"]),
        ((event("thread.replied", "unknown", data={"from_self": True}),), ["delivered"]),
        ((event("message.auto_replied", "unknown"),), ["delivered", "auto"]),
        ((event("message.bounce_detected", "unknown"),), ["delivered", "bounced"]),
        ((event("message.delayed", "unknown"),), ["delivered", "waiting"]),
        ((event("message.complained", "unknown"),), ["delivered", "bounced"]),
    ],
)
def test_states_say_what_is_known(events: tuple[Event, ...], expected: list[str]) -> None:
    assert names(SENT, *events) == expected


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        (("pending",), "Sent"),
        (("done", "done"), "Delivered"),
        (("done", "never", "later"), "Delivered to 1 of 3"),
        (("never",), "Refused"),
        (("later", "pending"), "Waiting"),
    ],
)
def test_the_way_is_the_upstreams_word(copies: tuple[Any, ...], expected: str) -> None:
    sent = SENT.with_(copies=tuple(COPY.with_(index=i, state=s) for i, s in enumerate(copies)))
    assert shape.states(sent, ())[0]["text"] == expected


def test_untracked_says_why_in_words() -> None:
    sent = SENT.with_(reason="encrypted", copies=(COPY.with_(tracked=False, reason="encrypted"),))
    assert shape.states(sent, ())[1]["text"] == "Not tracked: it is encrypted"
    text = SENT.with_(copies=(COPY.with_(reason="no_html"),))
    assert shape.states(text, ())[1]["text"] == f"Only replies tracked: {reasons.WORDS['no_html']}"
    one = SENT.with_(
        copies=(COPY, COPY.with_(recipient="b@example.org", index=1, tracked=False, reason="excluded_recipient")),
    )
    assert shape.states(one, ())[1]["text"] == "1 of 2 not tracked"
    assert shape.details(one, ())["people"][1]["reason"] == f"Not tracked: {reasons.WORDS['excluded_recipient']}"


def test_reads_are_never_counted() -> None:
    """However often a pixel is loaded: opened at least once."""
    one = shape.details(SENT, [event("message.opened", position=1, ordinal=0)])
    many = shape.details(SENT, [event("message.opened", position=i, ordinal=i - 1) for i in range(1, 8)])
    assert one["states"] == many["states"]
    assert one["people"] == many["people"]
    assert [line["title"] for line in many["timeline"]] == ["Pixel loaded again"] * 6 + ["Opened at least once"]


SEVERAL = SENT.with_(copies=tuple(COPY.with_(recipient=f"{name}@example.org", index=i) for i, name in enumerate("abc")))


def test_of_several_recipients_so_many_opened() -> None:
    opened, clicked = event("message.opened"), event("message.link_clicked", url="https://x.example/a")
    did = Engagement(opened=2, clicked=1)

    def texts(sent: Sent, *events: Event) -> list[str]:
        return [state["text"] for state in shape.states(sent, events, did)[1:]]

    assert texts(SEVERAL, opened, clicked) == ["2 of 3 opened at least once", "1 of 3 clicked at least once"]
    # The first ones are older than what is read.
    assert texts(SEVERAL) == ["2 of 3 opened at least once", "1 of 3 clicked at least once"]
    assert texts(SENT) == ["Opened at least once", "Clicked at least once"]
    assert texts(SENT, opened, clicked) == ["Opened at least once", "Clicked x.example/a"]
    shared = SEVERAL.with_(copies=tuple(copy.with_(index=0) for copy in SEVERAL.copies))
    assert texts(shared, opened, clicked) == ["Opened at least once", "Clicked x.example/a"]


def test_each_recipients_first_open_is_called_so() -> None:
    hits = [(0, "scanner"), (0, "human"), (0, "human"), (1, "human"), (1, "proxy")]
    events = [
        event("message.opened", verdict, recipient_index=index, recipient=f"{'ab'[index]}@example.org",  # type: ignore[arg-type]
              ordinal=n, position=n + 1, sequence=n + 1)
        for n, (index, verdict) in enumerate(hits)
    ]  # fmt: skip
    titles = [line["title"] for line in shape.details(SEVERAL, events)["timeline"]][::-1]
    assert titles == [
        "Pixel loaded by a machine", "First open by a@example.org", "Pixel loaded again", "First open by b@example.org",
        "Pixel loaded again",
    ]  # fmt: skip
    assert [line["title"] for line in shape.details(SENT, events[:3])["timeline"]][::-1] == [
        "Pixel loaded by a machine", "Opened at least once", "Pixel loaded again",
    ]  # fmt: skip
    later = shape.details(SEVERAL, events[1:])["timeline"]  # what came before is not known
    assert {line["title"] for line in later} == {"Pixel loaded again"}


def test_the_table_of_rates() -> None:
    counters = dict.fromkeys(COUNTERS, 0)
    found = rates.table(
        [
            Aggregate(0, "b", counters | {"sent": 2, "delivered": 2, "first_opens": 1, "machine_opens": 4}),
            Aggregate(86_400, "b", counters | {"sent": 1, "failed": 1}),
            Aggregate(86_400, "a", counters | {"sent": 1, "delivered": 1, "first_opens": 1, "first_clicks": 1}),
        ]
    )
    assert [(row["at"], row["label"]) for row in found["rows"]] == [(86_400, "a"), (86_400, "b"), (0, "b")]
    whole = found["sum"]
    assert (whole["sent"], whole["delivered"], whole["failed"], whole["machine_opens"]) == (4, 3, 1, 4)
    assert (whole["opened"], whole["open_rate"], whole["clicked"], whole["click_rate"]) == (2, 66.7, 1, 33.3)


def test_links_and_recipients_have_their_own_marks() -> None:
    two = SENT.with_(copies=(COPY, COPY.with_(recipient="b@example.org", index=1)))
    events = [
        event("message.opened", recipient="b@example.org"),
        event("message.link_clicked", url="https://x.example/b", link_index=1, recipient="b@example.org"),
        event("message.link_clicked", "scanner", url="https://x.example/a", link_index=0, recipient="a@example.org"),
        event("thread.replied", "unknown", recipient="b@example.org"),
    ]
    found = shape.details(two, events)
    assert [(link["clicks"], link["machines"]) for link in found["links"]] == [(0, 1), (1, 0)]
    assert [(p["opened"], p["clicked"], p["replied"]) for p in found["people"]] == [(False,) * 3, (True,) * 3]


def test_what_was_left_alone_says_why() -> None:
    explanation = {
        "parts": [["1.1", "text/plain", None], ["1.2", "text/html", "edited"], ["2", "text/html", "attachment"]],
        "left": [
            ["1.2", "mailto:", "scheme", 1],
            ["1.2", "https://x.example", "limit_links", 3],
            ["1.2", "", "credentials", 1],
        ],
        "pixel": [None, None, "unsafe_place"],
        "unsigned": "a line has over 998 octets, and …",
    }
    found = shape.details(SENT.with_(explanation=explanation), ())["left"]
    assert [(one["what"], one["why"]) for one in found] == [
        ("mailto: (a link)", reasons.WORDS["scheme"]),
        ("https://x.example (3 links)", reasons.WORDS["limit_links"]),
        ("A link", reasons.WORDS["credentials"]),
        ("Part 2 (text/html)", reasons.WORDS["attachment"]),
        ("The pixel", reasons.WORDS["unsafe_place"]),
        ("The message, by us", "Not signed: a line has over 998 octets, and …"),
    ]
    for broken in ({"left": "x", "parts": [[1]], "pixel": 3}, {"reason": "no_html"}, {}):
        assert shape.details(SENT.with_(explanation=broken), ())["left"] == []


def test_an_instruction_that_could_not_be_read_is_told_in_its_own_words() -> None:
    sentence = "X-Track-Opens: 'perhaps' is neither yes nor no; write yes, no."
    sent = SENT.with_(
        reason="invalid_instruction", explanation={"invalid": sentence, "invalid_header": "X-Track-Opens"}
    )
    words = f"{reasons.WORDS['invalid_instruction']}: {sentence.rstrip('.')}"
    assert shape.details(sent, ())["reason"] == words
    assert shape.untracked(sent)[0]["title"] == f"Not tracked: {words}"
    for older in ({}, {"invalid": None}, {"invalid": ["x"]}, {"invalid": ""}):
        assert shape.details(sent.with_(explanation=older), ())["reason"] == reasons.WORDS["invalid_instruction"]
    assert shape.details(sent.with_(reason="no_html"), ())["reason"] == reasons.WORDS["no_html"]


@given(text=st.text(max_size=50), data=st.dictionaries(st.sampled_from(["subject", "reason", "status"]), st.text()))
def test_any_text_becomes_json(text: str, data: dict[str, str]) -> None:
    sent = SENT.with_(subject=text * 100, sender=text, label=text, links=(text,), metadata={text: text})
    found = shape.details(sent, [event("message.link_clicked", url=text, user_agent=text, reason=text, data=data)])
    assert json.loads(json.dumps(found))["subject"] == shape.clip(text * 100, 300)
