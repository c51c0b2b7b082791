"""A vendor's headers mean what docs/migrating.md says where its dialect is on, and nothing where it is off."""

import json
from email.header import Header
from email.message import EmailMessage

import pytest

from relay.core import headers, instructions
from relay.core.instructions import dialects
from relay.core.model import VENDORS, Tracking

BASE = Tracking(url="https://t.example.com")


def message(lines):
    return headers.read("\r\n".join([*lines, "From: a@example.com", "", "body"]).encode())


def read(dialect, *lines):
    return instructions.read(message(lines), dialects=[dialect] if dialect else [], hosts=["t.example.com"])


def meaning(told, tracking=BASE):
    decision = instructions.decide(told, tracking=tracking, rules=(), sender="a@example.com", recipient="r@x")
    letters = "ol"
    found = "".join(c for c, value in zip(letters, (decision.opens, decision.links), strict=True) if value)
    assert not decision.thread_replies
    return found or ("-" if told.switches else decision.reason)


TABLE = [
    # dialect, lines, switches ("-": all off; a reason: it says nothing), text_links, pixel, label
    ("mandrill", ["X-MC-Track: opens, clicks"], "ol", None, None, None),
    ("mandrill", ["X-MC-Track: opens"], "o", None, None, None),
    ("mandrill", ["X-MC-Track: clicks_all"], "l", True, None, None),
    ("mandrill", ["X-MC-Track: opens,clicks_htmlonly"], "ol", False, None, None),
    ("mandrill", ["X-MC-Track: opens, clicks_textonly"], "o", None, None, None),
    ("mandrill", ["X-MC-Track: none"], "-", None, None, None),
    ("mandrill", ["X-MC-Track:"], "-", None, None, None),
    ("mandrill", ["X-MC-Track: false"], "-", None, None, None),
    ("mandrill", ["X-MC-Track: everything"], "invalid_instruction", None, None, None),
    ("mandrill", ["X-MC-Track: clicks_all, clicks_htmlonly"], "invalid_instruction", None, None, None),
    ("mandrill", ["X-MC-Track: opens", "X-MC-Track: clicks"], "invalid_instruction", None, None, None),
    ("mandrill", ["X-MC-Tags: welcome, trial"], "not_requested", None, None, "welcome"),
    ("mandrill", ["X-MC-Tags: , =?utf-8?q?Gr=C3=BC=C3=9Fe?="], "not_requested", None, None, "Grüße"),
    ("postmark", ["X-PM-TrackOpens: true"], "o", None, None, None),
    ("postmark", ["X-PM-TrackOpens: false", "X-PM-TrackLinks: HtmlAndText"], "l", True, None, None),
    ("postmark", ["X-PM-TrackLinks: HtmlOnly"], "l", False, None, None),
    ("postmark", ["X-PM-TrackLinks: TextOnly"], "-", None, None, None),
    ("postmark", ["X-PM-TrackLinks: none"], "-", None, None, None),
    ("postmark", ["X-PM-TrackLinks: yes"], "invalid_instruction", None, None, None),
    ("postmark", ["X-PM-Tag: receipt"], "not_requested", None, None, "receipt"),
    ("mailgun", ["X-Mailgun-Track: yes"], "ol", None, None, None),
    ("mailgun", ["X-Mailgun-Track: no"], "-", None, None, None),
    ("mailgun", ["X-Mailgun-Track: htmlonly"], "ol", False, None, None),
    ("mailgun", ["X-Mailgun-Track: yes", "X-Mailgun-Track-Clicks: no"], "o", None, None, None),
    ("mailgun", ["X-Mailgun-Track: no", "X-Mailgun-Track-Opens: yes"], "o", None, None, None),
    ("mailgun", ["X-Mailgun-Track-Clicks: htmlonly"], "l", False, None, None),
    ("mailgun", ["X-Mailgun-Track-Opens: True"], "o", None, None, None),
    ("mailgun", ["X-Mailgun-Track-Opens: yes", "X-Mailgun-Track-Pixel-Location-Top: yes"], "o", None, "top", None),
    ("mailgun", ["X-Mailgun-Track-Opens: yes", "X-Mailgun-Track-Pixel-Location-Top: no"], "o", None, "bottom", None),
    ("mailgun", ["X-Mailgun-Tag: one", "X-Mailgun-Tag: two"], "not_requested", None, None, "one"),
    ("mailgun", ["X-Mailgun-Track: maybe"], "invalid_instruction", None, None, None),
    ("sendgrid", ['X-SMTPAPI: {"filters":{"opentrack":{"settings":{"enable":1}}}}'], "o", None, None, None),
    (
        "sendgrid",
        ['X-SMTPAPI: {"filters":{"clicktrack":{"settings":{"enable":"1","enable_text":true}}}}'],
        "l",
        True,
        None,
        None,
    ),
    (
        "sendgrid",
        ['X-SMTPAPI: {"filters":{"clicktrack":{"settings":{"enable":1,"enable_text":0}}}}'],
        "l",
        False,
        None,
        None,
    ),
    ("sendgrid", ['X-SMTPAPI: {"filters":{"opentrack":{"settings":{"enable":0}}}}'], "-", None, None, None),
    (
        "sendgrid",
        ['X-SMTPAPI: {"filters":{"clicktrack":{"settings":{"enable":0,"enable_text":1}}}}'],
        "-",
        None,
        None,
        None,
    ),
    ("sendgrid", ['X-SMTPAPI: {"category": ["news", "march"]}'], "not_requested", None, None, "news"),
    ("sendgrid", ['X-SMTPAPI: {"category": "news"}'], "not_requested", None, None, "news"),
    ("sendgrid", ['X-SMTPAPI: {"filters":{"footer":{"settings":{"enable":1}}}}'], "not_requested", None, None, None),
    ("sendgrid", ["X-SMTPAPI: {}"], "not_requested", None, None, None),
    ("sendgrid", ["X-SMTPAPI: nonsense"], "invalid_instruction", None, None, None),
    ("sendgrid", ['X-SMTPAPI: {"filters": []}'], "not_requested", None, None, None),
    ("sendgrid", ['X-SMTPAPI: {"filters": [1]}'], "invalid_instruction", None, None, None),
    (
        "sendgrid",
        ['X-SMTPAPI: {"filters":{"opentrack":{"settings":{"enable":5}}}}'],
        "invalid_instruction",
        None,
        None,
        None,
    ),
    ("sparkpost", ['X-MSYS-API: {"options":{"open_tracking":true,"click_tracking":true}}'], "ol", None, None, None),
    ("sparkpost", ['X-MSYS-API: {"options":{"open_tracking":true}}'], "o", None, None, None),
    ("sparkpost", ['X-MSYS-API: {"options":{"click_tracking":false}}'], "-", None, None, None),
    ("sparkpost", ['X-MSYS-API: {"campaign_id": "spring", "tags": ["a", "b"]}'], "not_requested", None, None, "a"),
    ("sparkpost", ['X-MSYS-API: {"campaign_id": "spring"}'], "not_requested", None, None, "spring"),
    ("sparkpost", ['X-MSYS-API: {"options": "x"}'], "invalid_instruction", None, None, None),
    ("mailjet", ["X-Mailjet-TrackOpen: 1", "X-Mailjet-TrackClick: 0"], "o", None, None, None),
    ("mailjet", ["X-Mailjet-TrackClick: 1"], "l", None, None, None),
    ("mailjet", ["X-Mailjet-TrackOpen: 0"], "-", None, None, None),
    ("mailjet", ["X-Mailjet-TrackOpen: 7"], "invalid_instruction", None, None, None),
    ("mailjet", ["X-Mailjet-Campaign: spring"], "not_requested", None, None, "spring"),
    ("unosend", ["X-Unosend-Track-Opens: true", "X-Unosend-Track-Clicks: 1"], "ol", None, None, None),
    ("unosend", ["X-Unosend-Track-Clicks: true"], "l", None, None, None),
    ("unosend", ["X-Unosend-Track-Opens: false"], "-", None, None, None),
    ("unosend", ["X-Unosend-Tags: a, b"], "not_requested", None, None, "a"),
    ("unosend", ['X-Unosend-Tags: ["a", "b"]'], "not_requested", None, None, "a"),
]


@pytest.mark.parametrize(("dialect", "lines", "switches", "text_links", "pixel", "label"), TABLE)
def test_what_maps_to_what(dialect, lines, switches, text_links, pixel, label):
    told = read(dialect, *lines)
    assert (meaning(told), told.text_links, told.pixel, told.label) == (switches, text_links, pixel, label)
    assert len(told.strip) == len(lines)
    for other in (None, *(v for v in VENDORS if v != dialect)):
        assert read(other, *lines) == instructions.NOTHING


@pytest.mark.parametrize(
    ("dialect", "lines", "metadata"),
    [
        ("mandrill", ['X-MC-Metadata: {"user": "5", "n": 7, "deep": {"a": [1, null]}}'],
         {"user": "5", "n": "7", "deep": '{"a":[1,null]}'}),
        ("postmark", ["X-PM-Metadata-Client-Id: 12345", "x-pm-metadata-color: blau", "X-PM-Metadata-Name: =?utf-8?q?J=C3=B6rg?="],
         {"Client-Id": "12345", "color": "blau", "Name": "Jörg"}),
        ("mailgun", ['X-Mailgun-Variables: {"a": "1"}', 'X-Mailgun-Variables: {"b": true, "a": "2"}'],
         {"a": "1", "b": "true"}),
        ("sendgrid", ['X-SMTPAPI: {"unique_args": {"id": 5}}'], {"id": "5"}),
        ("sparkpost", ['X-MSYS-API: {"metadata": {"k": "v"}}'], {"k": "v"}),
        ("mailjet", ["X-MJ-CustomID: 17", 'X-MJ-EventPayload: {"any": "format"}'],
         {"CustomID": "17", "EventPayload": '{"any": "format"}'}),
    ],
)  # fmt: skip
def test_metadata(dialect, lines, metadata):
    told = read(dialect, *lines)
    assert (dict(told.metadata), told.invalid) == (metadata, None)
    assert len(told.strip) == len(lines)


def test_metadata_is_bounded():
    assert "16,384" in read("mandrill", "X-MC-Metadata: " + json.dumps({"k": "v" * 20_000})).invalid


@pytest.mark.parametrize(
    "line",
    [
        "X-MC-Subaccount: x", "X-MC-SigningDomain: x", "X-MC-Autotext: on", "X-MC-GoogleAnalytics: x",
        "X-PM-Message-Stream: outbound", "X-PM-Bounce-Type: x", "X-Mailgun-Dkim: yes", "X-Mailgun-Require-TLS: yes",
        "X-Mailgun-Drop-Message: yes", "X-Mailjet-Prio: 2", "X-Mailjet-DeduplicateCampaign: y", "X-MJ-TemplateID: 1",
        "X-SES-CONFIGURATION-SET: x", "X-Unosend-Other: x",
    ],
)  # fmt: skip
def test_other_headers_of_a_vendor_are_neither_read_nor_removed(line):
    assert instructions.read(message([line]), dialects=VENDORS, hosts=[]) == instructions.NOTHING


def test_a_dialect_sets_all_three_switches():
    defaults = Tracking(url="https://t.example.com", opens=True, links=True, thread_replies=True)
    told = read("postmark", "X-PM-TrackOpens: true")
    decision = instructions.decide(told, tracking=defaults, rules=(), sender="a@b", recipient="c@d")
    assert (decision.opens, decision.links, decision.thread_replies) == (True, False, False)
    assert set(decision.source.values()) == {"X-PM-TrackOpens"}
    tag = read("postmark", "X-PM-Tag: only a tag")
    decision = instructions.decide(tag, tracking=defaults, rules=(), sender="a@b", recipient="c@d")
    assert (decision.opens, decision.links, decision.thread_replies) == (True, True, True)


def test_the_first_dialect_that_speaks_wins():
    lines = [
        "X-PM-TrackOpens: true",
        "X-PM-Tag: pm",
        "X-MC-Track: clicks",
        "X-MC-Tags: mc",
        'X-MC-Metadata: {"a":"mc"}',
    ]
    told = instructions.read(message([*lines, "X-PM-Metadata-a: pm"]), dialects=["postmark", "mandrill"], hosts=[])
    assert (told.switches["opens"], told.switches["links"][0], told.label) == ((True, "X-PM-TrackOpens"), False, "pm")
    assert told.metadata == {"a": "pm"}
    told = instructions.read(message([*lines, "X-PM-Metadata-a: pm"]), dialects=["mandrill", "postmark"], hosts=[])
    assert (told.switches["opens"][0], told.switches["links"][0], told.label) == (False, True, "mc")
    assert told.metadata == {"a": "mc"}


def test_our_headers_win_over_a_dialect():
    told = read("mandrill", "X-MC-Track: opens, clicks", "X-Track-Links: no", "X-Track-Label: own", "X-MC-Tags: theirs")
    assert (told.switches["opens"][0], told.switches["links"][0], told.label) == (True, False, "own")


WHOLE = {
    "unique_args": {"customer": "a value with words", "order": "1234567890"},
    "category": ["spring sale", "second"],
    "filters": {
        "clicktrack": {"settings": {"enable": 1, "enable_text": False}},
        "opentrack": {"settings": {"enable": 1, "replace": "%opentrack%"}},
    },
}


@pytest.mark.parametrize("width", [20, 33, 40, 60, 72, 76])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_json_that_was_cut_at_a_width(width, separators):
    """Folded anywhere, with a space put in: inside keys, literals and numbers. What is cut inside a text of the
    sender's own can't be known, and stays as the standard unfolds it."""
    text = json.dumps({"filters": WHOLE["filters"]}, separators=separators)
    folded = "\r\n ".join(text[at : at + width] for at in range(0, len(text), width))
    told = read("sendgrid", f"X-SMTPAPI: {folded}")
    assert (meaning(told), told.text_links) == ("ol", False)


@pytest.mark.parametrize("encode", ["plain", "header", "library"])
def test_json_that_a_mail_library_folded_or_encoded(encode):
    text = json.dumps(WHOLE | {"category": ["Frühling und Sommer", "x"]}, ensure_ascii=encode == "plain")
    if encode == "library":
        made = EmailMessage()
        made["X-SMTPAPI"] = text
        line = made.as_bytes().decode().replace("\n", "\r\n").rstrip()
    elif encode == "header":
        line = "X-SMTPAPI: " + Header(text, "utf-8", header_name="X-SMTPAPI").encode(linesep="\r\n")
    else:
        words = text.split(" ")
        line = "X-SMTPAPI: " + "\r\n ".join(words)
    told = read("sendgrid", line)
    assert (meaning(told), told.label, told.text_links) == ("ol", "Frühling und Sommer", False)
    assert told.metadata == WHOLE["unique_args"]


@pytest.mark.parametrize(
    "lines",
    [
        ["X-MC-Tags: =?utf-8?q?a=0D=0ABcc=3A_x?="],
        ["X-PM-Tag: a\x1bb"],
        ['X-MSYS-API: {"campaign_id": "a\\r\\nBcc: x"}'],
        ['X-SMTPAPI: {"category": "a\\u0000"}'],
        ["X-Mailgun-Tag: " + "x" * 3000],
    ],
)
def test_a_tag_that_is_no_label(lines):
    told = instructions.read(message(lines), dialects=VENDORS, hosts=[])
    assert told.invalid
    assert told.invalid.isprintable()


def test_every_vendor_has_a_dialect():
    assert set(dialects.DIALECTS) == set(VENDORS)
