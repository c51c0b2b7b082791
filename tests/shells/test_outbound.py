"""What leaves for each recipient, and that tracking fails open."""

import email
import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from relay import config, keys, outbound, store
from relay.core import dkim, headers, instructions, recoding, rewrite, threads, tokens
from relay.core.model import Event, Keys, Recipient, Rule, Sent, Submission, Token, Tracking
from relay.core.suppressions import Suppression
from relay.outbound import records
from relay.store import memory
from tests import oracle, samples
from tests.core import rewriting
from tests.fakes import certificates

BASE = "http://t.example.test"
KEYS = keys.dry_run()
PEM = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
SIGNERS = (dkim.load(PEM, "example.test", "s1"),)
HTML = (
    b"From: Ann <ann@example.test>\r\nTo: bob@example.test\r\nSubject: Hello\r\n"
    b"Message-ID: <first@example.test>\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n"
    b"%s\r\n"
    b'<p><a href="https://example.test/?a=1&amp;b=2">one</a> <a href="https://example.test/two">two</a></p>\r\n'
)


def settings(**tracking: Any) -> config.Settings:
    return config.Settings(tracking=Tracking(url=BASE, **tracking), grants=(config.Grant("default"),))


def tracker(given: config.Settings, kept: Any = None, signers: Any = ()) -> outbound.Tracker:
    return outbound.Tracker(given, lambda: KEYS, kept or memory.Memory(), signers, clock=lambda: 1_770_000_000.0)


def submission(content: bytes, *recipients: str, reverse_path: str = "ann@example.test") -> Submission:
    people = tuple(map(Recipient, recipients or ("bob@example.test",)))
    return Submission(reverse_path, people, content, peer="192.0.2.1", received_at=1_770_000_000.0)


async def sent_copies(room: outbound.Tracker, message: Submission) -> dict[str, bytes]:
    done = await room.track(message)
    return {r.address: copy.render() for copy in done.copies for r in copy.recipients}


class Broken(memory.Memory):
    """A store that takes nothing."""

    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        raise store.Unavailable("the disk is full")


async def test_all_is_tracked_and_recorded() -> None:
    kept = memory.Memory()
    room = tracker(settings(), kept)
    done = await room.track(submission(HTML % b"X-Track: all\r\nX-Track-Label: spring\r\n"))
    (copy,) = done.copies
    after = copy.render()
    assert oracle.damage(HTML % b"", after, BASE) == []
    assert len(re.findall(rb"/c/", after)) == 2
    assert len(re.findall(rb"/o/", after)) == 1
    assert b"x-track" not in after.lower()
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.links == ("https://example.test/?a=1&b=2", "https://example.test/two")
    assert (sent.label, sent.internet_message_id, sent.submitter_ip) == ("spring", "first@example.test", "192.0.2.1")
    assert (sent.opens, sent.links_tracked, sent.thread_replies) == (True, True, True)
    assert sent.copies[0].tracked


async def test_the_begin_of_an_author_that_no_address_could_have() -> None:
    kept = memory.Memory()
    author = b"a" * 5000 + b"@example.test"
    done = await tracker(settings(), kept).track(
        submission((HTML % b"X-Track: all\r\n").replace(b"ann@example.test", author))
    )
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.sender == "a" * records.MAX_SENDER
    assert sent.copies[0].tracked


async def test_what_comes_again_has_its_pixel_and_what_is_forwarded_gets_one() -> None:
    room = tracker(settings(opens=True, links=True))
    for content in (HTML % b"", (HTML % b"").replace(b"Message-ID: <first@example.test>\r\n", b"")):
        (once,) = (await sent_copies(room, submission(content))).values()
        (twice,) = (await sent_copies(room, submission(once, "carl@example.test"))).values()
        assert twice == once
        forward = re.sub(rb"Message-ID: <[^>]*>", b"Message-ID: <second@example.test>", once)
        (new,) = (await sent_copies(room, submission(forward))).values()
        old, own = (tokens.read(token.decode(), "open", KEYS) for token in re.findall(rb"/o/([\w-]+)", new))
        assert old
        assert own
        assert old.message_key != own.message_key
        assert re.findall(rb"/c/[\w-]+", new) == re.findall(rb"/c/[\w-]+", once)


async def test_each_copy_has_a_canary_of_its_own_where_a_rule_says_so() -> None:
    given = replace(
        settings(opens=True, links=True),
        rules=(store_rule("b@x.test", Tracking(url=BASE, opens=True, links=True, canary=True)),),
    )
    copies = await sent_copies(tracker(given), submission(HTML % b"", "a@x.test", "b@x.test"))
    found = {
        who: [t for text in re.findall(rb"/c/([\w-]+)", copy) if (t := tokens.read(text.decode(), "canary", KEYS))]
        for who, copy in copies.items()
    }
    assert [token.recipient for token in found["b@x.test"]] == [1]
    assert found["a@x.test"] == []
    (twice,) = (await sent_copies(tracker(given), submission(copies["b@x.test"], "b@x.test"))).values()
    assert twice == copies["b@x.test"]


async def test_whose_answers_are_told_is_said_of_each_copy() -> None:
    kept = memory.Memory()
    content = HTML % b"X-Track: all\r\nX-Track-Exclude: B@x.test\r\n"
    done = await tracker(settings(), kept).track(submission(content, "a@x.test", "b@x.test"))
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert [(copy.recipient, copy.thread_replies) for copy in sent.copies] == [("a@x.test", True), ("b@x.test", False)]


async def test_each_recipient_has_tokens_of_its_own() -> None:
    copies = await sent_copies(
        tracker(settings(opens=True, links=True)), submission(HTML % b"", "a@x.test", "b@x.test")
    )
    found = {}
    for recipient, content in copies.items():
        token = re.search(rb"/o/([\w-]+)", content)[1].decode()
        found[recipient] = tokens.read(token, "open", KEYS)
        assert oracle.damage(HTML % b"", content, BASE) == []
    assert [token.recipient for token in found.values() if token] == [0, 1]
    assert len({token.message_key for token in found.values() if token}) == 1


@pytest.mark.parametrize(("many", "tracking"), [(3, {"per_recipient": False}), (4, {"per_recipient_max": 3})])
async def test_one_copy_for_all_where_it_is_asked_for(many: int, tracking: dict[str, Any]) -> None:
    done = await tracker(settings(opens=True, **tracking)).track(
        submission(HTML % b"", *(f"r{i}@x.test" for i in range(many)))
    )
    assert [len(copy.recipients) for copy in done.copies] == [many]


async def test_one_body_for_all_where_the_door_has_only_one() -> None:
    """As a milter: the tokens are the message's, and the record says so; of one recipient they are that one's."""
    kept = memory.Memory()
    room = tracker(settings(opens=True, links=True), kept)
    for recipients in (["a@x.test", "b@x.test", "c@x.test"], ["a@x.test"]):
        handed = submission(HTML % b"", *recipients).with_(queue_id="4dLxyz", daemon="smtpd")
        done = await room.track(handed, one_group=True)
        (copy,) = done.copies
        assert [r.address for r in copy.recipients] == recipients
        sent = await kept.sent(done.message_id)
        assert sent is not None
        assert [(c.recipient, c.index, c.tracked) for c in sent.copies] == [(r, 0, True) for r in recipients]
        assert {c.state for c in sent.copies} == {"handed"}
        assert (sent.queue_id, sent.daemon) == ("4dLxyz", "smtpd")
        hit = Event(f"{len(recipients)}", "message.opened", done.message_id, 1_770_000_100.0)
        event = await kept.append(hit)
        assert event is not None
        assert event.recipient == ("a@x.test" if len(recipients) == 1 else "")


async def test_one_body_is_not_tracked_where_one_of_them_is_not() -> None:
    rules = (Rule("*", "*@y.test", Tracking(url=BASE, links=True), frozenset({"links", "opens"})),)
    given = replace(settings(opens=True, links=True), rules=rules)
    excluded = HTML % b"X-Track: all\r\nX-Track-Exclude: b@x.test\r\n"
    done = await tracker(given).track(submission(excluded, "a@x.test", "b@x.test"), one_group=True)
    assert [copy.render() for copy in done.copies] == [HTML % b""]
    done = await tracker(given).track(submission(HTML % b"", "a@x.test", "b@y.test"), one_group=True)
    (copy,) = done.copies
    assert (copy.render().count(b"/c/"), copy.render().count(b"/o/")) == (2, 0)


async def test_untracked_recipients_share_a_copy() -> None:
    content = HTML % b"X-Track: all\r\nX-Track-Exclude: b@x.test, c@x.test\r\n"
    done = await tracker(settings()).track(submission(content, "a@x.test", "b@x.test", "c@x.test"))
    assert [[r.address for r in copy.recipients] for copy in done.copies] == [["a@x.test"], ["b@x.test", "c@x.test"]]
    assert done.copies[1].render() == HTML % b""


async def test_a_rule_by_recipient_splits_the_copies() -> None:
    base = Tracking(url=BASE)
    rule = store_rule("*@x.test", replace(base, opens=True))
    given = replace(settings(), tracking=base, rules=(rule,))
    copies = await sent_copies(tracker(given), submission(HTML % b"", "a@x.test", "b@y.test"))
    assert b"/o/" in copies["a@x.test"]
    assert copies["b@y.test"] == HTML % b""


def store_rule(recipient: str, tracking: Tracking) -> Any:
    from relay.core.model import Rule

    return Rule("*", recipient, tracking, frozenset({"opens"}))


@pytest.mark.parametrize(
    ("more", "gone"),
    [
        (b"X-Track: none\r\n", b""),
        (b"x-TRACK-opens:\r\n no\r\n", b""),
        (b"Bcc: secret@x.test\r\n", b""),
        (b"Resent-Bcc: secret@x.test,\r\n other@x.test\r\n", b""),
    ],
)
async def test_what_never_leaves(more: bytes, gone: bytes) -> None:
    for kept in (memory.Memory(), Broken()):
        copies = await sent_copies(tracker(settings(), kept), submission(HTML % more))
        assert copies == {"bob@example.test": HTML % gone}


async def test_control_headers_behind_a_broken_line_do_not_leave_and_are_not_obeyed() -> None:
    broken = (
        HTML.replace(b"Subject: Hello", b"Subject: Hello\r\nthis is no field\r\nX-Track: all\r\nX-Track-Label:\r\n l")
        % b""
    )
    copies = await sent_copies(tracker(settings(opens=True)), submission(broken))
    expected = HTML.replace(b"Subject: Hello", b"Subject: Hello\r\nthis is no field") % b""
    assert copies == {"bob@example.test": expected}


async def test_it_fails_open_when_the_store_does_not_take_the_record() -> None:
    done = await tracker(settings(), Broken()).track(submission(HTML % b"X-Track: all\r\n", "a@x.test", "b@x.test"))
    (copy,) = done.copies
    assert copy.render() == HTML % b""
    assert len(copy.recipients) == 2


async def test_what_takes_too_long_to_read_leaves_as_it_came() -> None:
    """And the next message has its own time."""
    kept = memory.Memory()
    cpu = itertools.chain([0.0, 2.1], itertools.repeat(2.2))
    elapsed = itertools.count(0.0, 3.0)
    room = outbound.Tracker(
        settings(opens=True), lambda: KEYS, kept, clock=lambda: 1_770_000_000.0, cpu=cpu.__next__,
        elapsed=elapsed.__next__,
    )  # fmt: skip
    (copy,) = (done := await room.track(submission(HTML % b"X-Track-Label: a\r\n"))).copies
    assert copy.render() == HTML % b""
    sent = await kept.sent(done.message_id)
    assert sent
    assert sent.reason == "limit_time"
    (copy,) = (await room.track(submission(HTML % b""))).copies
    assert b"/o/" in copy.render()


async def test_many_control_headers_behind_a_broken_line() -> None:
    stray = b"X-Track: all\r\n to\r\nKept: a\r\n b\r\nBcc: c\r\n" * 3
    message = submission(b"From: a@b.test\r\nno field\r\n" + stray + b"\r\nBcc: in the body\r\n")
    copies = await sent_copies(tracker(settings(opens=True)), message)
    kept = b"From: a@b.test\r\nno field\r\n" + b"Kept: a\r\n b\r\n" * 3 + b"\r\nBcc: in the body\r\n"
    assert copies == {"bob@example.test": kept}


@pytest.mark.parametrize(
    ("reverse_path", "fields", "name"),
    [
        ("x@y.example", b"From: <Ann@Sales.example>\r\n", "sales"),  # From counts, in any case
        ("x@sales.example", b"From: a@other.example\r\n", "default"),
        ("X@SALES.example", b"Subject: no From\r\n", "sales"),
        ("", b"Subject: neither\r\n", "default"),
    ],
)
@pytest.mark.parametrize("fails", ["nothing", "the store", "the plan"])
async def test_the_upstream_is_chosen_once_by_the_sender_also_where_tracking_fails(
    monkeypatch: pytest.MonkeyPatch, fails: str, reverse_path: str, fields: bytes, name: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on fire")

    if fails == "the plan":
        monkeypatch.setattr(instructions, "read", fail)
    there = replace(settings(opens=True), upstreams=(config.NamedUpstream(id="sales", senders=("*@sales.example",)),))
    kept = Broken() if fails == "the store" else memory.Memory()
    content = fields + b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n"
    done = await tracker(there, kept).track(submission(content, reverse_path=reverse_path))
    assert done.upstream == name
    assert done.copies


@pytest.mark.parametrize("one_group", [False, True])
async def test_what_leaves_as_it_came_since_tracking_failed_is_on_record(
    monkeypatch: pytest.MonkeyPatch, *, one_group: bool
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on fire")

    monkeypatch.setattr(instructions, "read", fail)
    kept = memory.Memory()
    there = replace(settings(opens=True), grants=(config.Grant("sales", addresses=("*@example.test",)),))
    message = submission(HTML % b"", "bob@example.test", "eve@example.test")
    done = await tracker(there, kept).track(message, one_group=one_group)
    sent = await kept.sent(done.message_id)
    assert sent is not None
    state = "handed" if one_group else "pending"
    assert [(c.recipient, c.tracked, c.reason, c.state) for c in sent.copies] == [
        ("bob@example.test", False, "internal_error", state), ("eve@example.test", False, "internal_error", state),
    ]  # fmt: skip
    assert (sent.reason, sent.internet_message_id, sent.grant_id) == ("internal_error", "first@example.test", "sales")
    monkeypatch.setattr(kept, "record_sent", fail)
    before = samples.sample("errors_total", room="outbound")
    assert (await tracker(there, kept).track(message)).copies  # whatever becomes of the record
    assert samples.sample("errors_total", room="outbound") == before + 1


async def test_it_fails_open_when_a_copy_can_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> bytes:
        raise ZeroDivisionError

    done = await tracker(settings()).track(submission(HTML % b"X-Track: all\r\n"))
    monkeypatch.setattr(rewrite, "render", fails)
    assert done.copies[0].render() == HTML % b""


@given(content=st.binary(max_size=600) | st.text("aX-Track: ol\r\n<hef=\"'>/", max_size=300).map(str.encode))
async def test_any_bytes_leave(content: bytes) -> None:
    """For any bytes: every recipient gets a copy, and no control header is in its header section."""
    room = tracker(settings(opens=True, links=True))
    copies = await sent_copies(room, submission(content, "a@x.test", "b@x.test"))
    assert set(copies) == {"a@x.test", "b@x.test"}
    for after in copies.values():
        section = re.split(rb"\n\r?\n", b"\n" + after, maxsplit=1)[0]
        assert not re.search(rb"(?im)^x-track(-[!-9;-~]*)?[ \t]*:", section)


@given(
    lines=st.lists(
        st.sampled_from(
            [
                b"X-Track: all", b"x-track-label : a", b" folded", b"Bcc: a@x.test", b"no field", b"", b"From: a@example.test",
                b"References: <1@x>", b"Content-Type: text/html", b"<a href=https://example.test/>x</a>", b"From a@b",
                b">From a@b", b"\xef\xbb\xbfFrom: a@example.test",
                b"DKIM-Signature: v=1; d=x; h=from; bh=a; b=c", b"Message-ID: <1@x>", b"Content-Transfer-Encoding: 7bit",
                b"X-Note: " + b"word " * 300, b"word " * 300, b"Cc:" + b"a@b," * 300, b"x" * 1000,
            ]
        ),
        max_size=12,
    )
)  # fmt: skip
async def test_both_doors_get_the_same_message(lines: list[bytes]) -> None:
    """For any message: what SMTP sends is what a milter's edits make of the original, the signature too."""
    grant = config.Grant("default", mailbox=("maildir:/nowhere",))
    given = replace(settings(opens=True, links=True, references="always"), grants=(grant,))
    content = b"".join(line + b"\r\n" for line in lines)
    done = await tracker(given, None, SIGNERS).track(submission(content), one_group=True)
    (copy,) = done.copies
    for forgets in (True, False):
        assert rewriting.applied(content, copy.edits(), forgets=forgets) == copy.render()


async def test_message_id_and_date_are_made_where_missing() -> None:
    bare = re.sub(rb"(Message-ID|Date):[^\n]*\n", b"", HTML % b"X-Track: replies\r\n")
    copies = await sent_copies(tracker(settings()), submission(bare, "a@x.test", "b@x.test"))
    made = [email.message_from_bytes(content) for content in copies.values()]
    assert made[0]["Message-ID"] == made[1]["Message-ID"]
    token = threads.token(made[0]["Message-ID"].strip("<>"))
    assert token
    assert tokens.read(token, "reference", KEYS)
    assert made[0]["Date"] == "Mon, 02 Feb 2026 02:40:00 +0000"


async def test_an_entry_in_references_for_upstreams_that_rename() -> None:
    grant = config.Grant("default", mailbox=("maildir:/nowhere",))
    upstream = config.Upstream(url="smtp://user@email-smtp.eu-west-1.amazonaws.com:587")
    given = replace(settings(), grants=(grant,), upstream=upstream)
    content = HTML % b"X-Track: replies\r\nIn-Reply-To: <before@example.test>\r\n"
    copies = await sent_copies(tracker(given), submission(content))
    references = email.message_from_bytes(copies["bob@example.test"])["References"]
    ours, parent = references.split()
    assert parent == "<before@example.test>"
    assert tokens.read(threads.token(ours.strip("<>")) or "", "reference", KEYS)


@pytest.mark.parametrize(
    ("fields", "header", "words"),
    [
        (b"X-Track-Opens: perhaps\r\n", "X-Track-Opens", "X-Track-Opens: 'perhaps' is neither yes nor no; "),
        (b"x-track-OPENS: perhaps\r\n", "x-track-OPENS", "X-Track-Opens: 'perhaps' is neither yes nor no; "),
        (b"X-Track-Link: no\r\n", "X-Track-Link", "'X-Track-Link' is no control header; there are X-Track, "),
        (b"X-Track: everything\r\n", "X-Track", "X-Track: 'everything' is not understood; write all, none, "),
        (b"X-Track-Opens: yes\r\nX-Track-Opens: no\r\n", "X-Track-Opens", "X-Track-Opens is there more than once"),
        (b'X-Track: opens\r\nX-Track-Options: {"opens": 1\r\n', "X-Track-Options", "X-Track-Options: "),
        (b"X-Track-Label: " + b"x" * 3_000 + b"\r\n", "X-Track-Label", "X-Track-Label has 3000 characters; "),
        (b"X-Track-Domain: elsewhere.test\r\n", "X-Track-Domain", "X-Track-Domain: 'elsewhere.test' is no tracking host"),
        (b"X-Track-Exclude: nobody\r\n", "X-Track-Exclude", "X-Track-Exclude: 'nobody' is no address; "),
        (b"X-MC-Track: maybe\r\n", "X-MC-Track", "X-MC-Track: 'maybe' is not understood; "),
        (b"From: second@example.test\r\n", "From", "There are several From fields; "),
    ],
)  # fmt: skip
async def test_what_could_not_be_read_is_remembered_and_logged(
    fields: bytes, header: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With the field's name as it was written, and the sentence that says what would be right."""
    kept = memory.Memory()
    done = await tracker(settings(opens=True, dialects=("mandrill",)), kept).track(submission(HTML % fields))
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.reason == "invalid_instruction"
    assert sent.explanation["invalid_header"] == header
    assert sent.explanation["invalid"].startswith(words)
    (line,) = [record for record in caplog.records if record.message == "invalid_instruction"]
    told = line.__dict__["fields"]
    assert (told["message_id"], told["header"]) == (sent.message_id, header)
    assert told["reason"] == sent.explanation["invalid"]


async def test_what_could_be_read_says_nothing_of_that(caplog: pytest.LogCaptureFixture) -> None:
    kept = memory.Memory()
    done = await tracker(settings(), kept).track(submission(HTML % b"X-Track: all\r\n"))
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert "invalid" not in sent.explanation
    assert "invalid_instruction" not in caplog.text


async def test_the_explanation_is_of_the_copy_that_has_most_to_say() -> None:
    """The first recipient is excluded; the others' links are told of all the same."""
    kept = memory.Memory()
    content = HTML % b"X-Track: all\r\nX-Track-Exclude: bob@example.test\r\n"
    done = await tracker(settings(), kept).track(submission(content, "bob@example.test", "eve@example.test"))
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert [copy.reason for copy in sent.copies] == ["excluded_recipient", None]
    assert [row[2] for row in sent.explanation["parts"]] == ["edited"]


async def test_an_invalid_instruction_delivers_untracked_or_refuses() -> None:
    content = HTML % b"X-Track-Opens: perhaps\r\n"
    kept = memory.Memory()
    done = await tracker(settings(opens=True), kept).track(submission(content))
    assert done.copies[0].render() == HTML % b""
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.copies[0].reason == "invalid_instruction"
    refused = await tracker(settings(on_invalid="reject")).track(submission(content))
    assert refused.copies == ()
    assert refused.refusal is not None
    assert refused.refusal.code == 550
    assert re.fullmatch(r"5\.6\.0 X-Track-Opens.*open tracking disabled\.", refused.refusal.text)


LONG = b"X-Track-Label: " + b"x " * 1_500 + b"\r\n"
OPEN, LINK, REPLY = (
    "The message has not been sent. Please try resending with open tracking disabled.",
    "The message has not been sent. Link tracking cannot be supported for this number of links and/or size of payload."
    " Please try resending with link tracking disabled.",
    "The message has not been sent. Please try resending with reply tracking disabled.",
)


@pytest.mark.parametrize(
    ("fields", "defaults", "sentence"),
    [
        (b"X-Track-Opens: perhaps\r\n", {}, OPEN),
        (b"X-Track-Links: perhaps\r\n", {}, LINK),
        (b"X-Track-Thread-Replies: perhaps\r\n", {"opens": True}, REPLY),
        (b"X-Track-Opens: on\r\n" + LONG, {}, OPEN),
        (b"X-Track: links\r\n" + LONG, {}, LINK),
        (b"X-Track: thread_replies\r\n" + LONG, {"opens": True}, REPLY),
        (b'X-Track-Options: {"opens": true, "label": 7}\r\n', {}, OPEN),
        (b'X-Track-Options: {"thread_replies": true, "label": "%s"}\r\n' % (b"x " * 1_500), {}, REPLY),
        (LONG, {"opens": True}, OPEN),
        (LONG, {}, "The message has not been sent. Please try resending with tracking disabled."),
    ],
)
async def test_a_refusal_says_in_nylas_words_what_to_do_without(
    fields: bytes, defaults: dict[str, Any], sentence: str
) -> None:
    done = await tracker(settings(on_invalid="reject", **defaults)).track(submission(HTML % fields))
    assert done.refusal is not None
    why, _, rest = done.refusal.text.partition(" The message has not been sent.")
    assert f"The message has not been sent.{rest}" == sentence
    assert why.startswith("5.6.0 X-Track")
    assert why.endswith(".")
    assert not why.endswith("..")


@pytest.mark.parametrize(
    ("reverse_path", "more", "reason"),
    [("", b"", "null_sender"), ("ann@example.test", b"Auto-Submitted: auto-replied\r\n", "auto_reply")],
)
async def test_who_is_never_tracked(reverse_path: str, more: bytes, reason: str) -> None:
    kept = memory.Memory()
    done = await tracker(settings(), kept).track(
        submission(HTML % (b"X-Track: all\r\n" + more), reverse_path=reverse_path)
    )
    assert done.copies[0].render() == HTML % more
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.reason == reason


async def test_an_envelope_identifier_unless_the_client_has_one() -> None:
    room = tracker(settings())
    first = await room.track(submission(HTML % b""))
    name, _, value = first.copies[0].options[-1].partition("=t.")
    assert name == "ENVID"
    assert tokens.read(value, "reference", KEYS)
    second = await room.track(submission(HTML % b"").with_(options=("ENVID=mine", "BODY=8BITMIME")))
    assert second.copies[0].options == ("ENVID=mine", "BODY=8BITMIME")


async def test_what_comes_back_is_counted_and_refused_in_the_end() -> None:
    """Also where tracking could not be had; another's identifiers, and made-up ones, are left alone."""
    room = tracker(settings(opens=True, links=True))
    options: tuple[str, ...] = ("RET=HDRS",)
    identifiers = []
    for _ in range(5):
        done = await room.track(submission(HTML % b"").with_(options=options))
        assert done.refusal is None
        options = done.copies[0].options
        identifiers.append(next(o[6:] for o in options if o.startswith("ENVID=")))
        assert sorted(o.partition("=")[0] for o in options) == ["ENVID", "RET"]
    first = identifiers[0]
    assert identifiers == [first, *(f"{first}.{n}" for n in (2, 3, 4, 5))]
    assert {threads.enveloped(i)[0] for i in identifiers} == {first[2:]}
    for last in (options, ("envid=" + identifiers[-1],)):
        done = await room.track(submission(HTML % b"").with_(options=last))
        assert done.copies == ()
        assert str(done.refusal).startswith("554 5.4.6 ")
    assert (await tracker(settings(), Broken()).track(submission(HTML % b"").with_(options=options))).refusal
    other = tokens.write(Token("reference", b"\1" * 12, 0), Keys(0, {0: bytes(32)}))
    pixel = tokens.write(Token("open", b"\1" * 12, 0), KEYS)
    for strange in (f"t.{other}.5", f"t.{pixel}.5", "t..5", "t.5", f"{first}.5.5", f"x{first}"):
        done = await room.track(submission(HTML % b"").with_(options=(f"ENVID={strange}",)))
        assert done.copies[0].options == (f"ENVID={strange}",)


async def test_signed_last_over_what_leaves() -> None:
    import dkim as reference

    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    signer = dkim.load(certificates.pem(key), "example.test", "s1")
    stale = b"DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=x; h=from; bh=AAAA; b=BBBB\r\n"
    copies = await sent_copies(tracker(settings(), None, (signer,)), submission(HTML % (stale + b"X-Track: all\r\n")))
    (content,) = copies.values()
    assert content.count(b"DKIM-Signature:") == 1
    import base64

    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    assert reference.verify(content, dnsfunc=lambda *_, **__: record)


RECORD = dkim.record(SIGNERS[0]).encode()
WORDS = b"word " * 300
PLAIN_TOP = re.sub(rb"text/html; charset=utf-8\r\n%s", b"text/plain\r\n", HTML).partition(b"\r\n\r\n")[0] + b"\r\n"
STRANGERS = b"DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=x; h=from; bh=AAAA; b=BBBB\r\n"
ON, OFF = settings(opens=True, links=True), settings()


def good(content: bytes) -> bool:
    import dkim as reference

    assert not recoding.long_line(content)
    return reference.DKIM(content).verify(dnsfunc=lambda *_, **__: RECORD)


LONG_LINES = [
    (HTML % b"" + b"<p>" + WORDS + b"</p>\r\n", {}),  # beside what is edited
    (HTML % b"" + b'<p><a href="https://a.test/' + b"x" * 960 + b'">y</a></p>\r\n', {}),  # in it
    (HTML % (b"X-Note: " + WORDS + b"\r\n"), {}),
    (HTML % (b"References: " + b"<1@example.test> " * 80 + b"\r\n"), {}),
    (PLAIN_TOP + b"\r\n" + WORDS + b"\r\n", {}),
    (re.sub(rb"MIME-Version[^\n]*\n", b"", PLAIN_TOP) + b"\r\n" + "Gr\u00fc\u00dfe ".encode() * 200, {}),
    (
        PLAIN_TOP + b"X-Track-Label: a\r\nBcc: c@x.test, " + WORDS + b"\r\n\r\nshort\r\n",
        {},
    ),  # what is long does not leave
    (b"X-Track-Metadata: " + b"x" * 1500 + b"\r\n" + PLAIN_TOP + b"\r\n" + WORDS + b"\r\n", {}),
    (PLAIN_TOP + b"\r\n" + b"x" * 998 + b"\r\n", {}),
]


@pytest.mark.parametrize("given", [ON, OFF], ids=["tracked", "untracked"])
@pytest.mark.parametrize("content", [row[0] for row in LONG_LINES])
async def test_no_long_line_leaves_under_a_signature(content: bytes, given: config.Settings) -> None:
    kept = memory.Memory()
    done = await tracker(given, kept, SIGNERS).track(submission(content))
    (copy,) = done.copies
    after = copy.render()
    assert good(after)
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert "unsigned" not in sent.explanation
    (bare,) = (await sent_copies(tracker(OFF), submission(content))).values()
    assert sent.explanation.get("lines_shortened", False) is recoding.long_line(bare)
    (copy,) = (await tracker(given, None, SIGNERS).track(submission(content), one_group=True)).copies
    for forgets in (True, False):  # as a milter tells it
        assert good(rewriting.applied(content, copy.edits(), forgets=forgets))


@pytest.mark.parametrize("content", [row[0] for row in LONG_LINES])
async def test_without_a_signature_long_lines_stay(content: bytes) -> None:
    """Of mail that nobody signs here, untracked, every octet that is not a control header's is as it came."""
    for signers in ((), (dkim.load(PEM, "other.test", "s1"),)):
        (after,) = (await sent_copies(tracker(OFF, None, signers), submission(content))).values()
        assert after == re.sub(rb"(?m)^(X-Track|Bcc)[^\n]*\n", b"", content)


UNSIGNED = [
    (b"X-Note: " + b"x" * 1500 + b"\r\n" + PLAIN_TOP + b"\r\nshort\r\n", "a header field has no white space"),
    (PLAIN_TOP.replace(b"text/plain", b"multipart/signed; boundary=b") + b"\r\n--b\r\n\r\n" + WORDS + b"\r\n--b--\r\n", "a signed or encrypted part"),
    (STRANGERS + PLAIN_TOP + b"\r\n" + WORDS + b"\r\n", "the message has the signature of another program"),
    (b"ARC-Message-Signature: i=1; bh=a\r\n" + PLAIN_TOP + b"\r\n" + WORDS + b"\r\n", "the message has the signature of another program"),
]  # fmt: skip


@pytest.mark.parametrize("given", [ON, OFF], ids=["tracked", "untracked"])
@pytest.mark.parametrize(("content", "why"), UNSIGNED)
async def test_what_can_not_be_had_without_a_long_line_goes_unsigned(
    content: bytes, why: str, given: config.Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """As it came, and the record, the log and the dry run say why."""
    kept = memory.Memory()
    room = tracker(given, kept, SIGNERS)
    done = await room.track(submission(content))
    (copy,) = done.copies
    assert copy.render() == content
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.explanation["unsigned"].startswith(f"a line has over 998 octets, and {why}")
    (record,) = caplog.records
    assert (record.message, vars(record)["fields"]["reason"]) == ("unsigned", sent.explanation["unsigned"])
    _, report = room.explain(submission(content), "bob@example.test")
    assert report["dkim"] == f"unsigned: {sent.explanation['unsigned']}"
    (copy,) = (await room.track(submission(content), one_group=True)).copies
    assert copy.edits() == rewrite.Edits((), None)


async def test_the_signature_of_another_program_breaks_with_tracking_and_ours_takes_its_place() -> None:
    """Of one message: the tracked copy is changed anyway, and signed; the untracked one keeps what it came with."""
    content = HTML % (STRANGERS + b"X-Track: all\r\nX-Track-Exclude: b@x.test\r\n") + b"<p>" + WORDS + b"</p>\r\n"
    copies = await sent_copies(tracker(OFF, None, SIGNERS), submission(content, "a@x.test", "b@x.test"))
    assert good(copies["a@x.test"])
    assert b"d=other.test" not in copies["a@x.test"]
    assert copies["b@x.test"] == re.sub(rb"(?m)^X-Track[^\n]*\n", b"", content)


SES = "smtps://u:p@email-smtp.eu-west-1.amazonaws.com:465"
PLAIN = "smtp://mail.example.test:25"
SPARE = config.NamedUpstream(url=SES, id="spare")


@pytest.mark.parametrize(
    ("upstream", "others", "unsigned", "left_out"),
    [
        (config.Upstream(url=PLAIN), (), (), set()),
        (config.Upstream(url=SES), (), (), {"message-id", "date"}),
        (config.Upstream(url=PLAIN, fallback=("spare",)), (SPARE,), (), {"message-id", "date"}),
        (config.Upstream(url=PLAIN), (SPARE,), (), set()),  # nothing of this sender's goes there
        (config.Upstream(url=PLAIN), (replace(SPARE, senders=("*@example.test",)),), (), {"message-id", "date"}),
        (
            config.Upstream(url=SES),
            (config.NamedUpstream(url=PLAIN, id="a", senders=("ann@*",), fallback=("default",)),),
            (),
            {"message-id", "date"},
        ),
        (config.Upstream(url=PLAIN), (), ("Subject", "DATE"), {"subject", "date"}),
        (config.Upstream(url="smtp://smtp.office365.com:587"), (), ("Subject",), {"subject", "message-id"}),
    ],
)
async def test_what_an_upstream_replaces_is_not_signed(
    upstream: config.Upstream, others: Any, unsigned: Any, left_out: set[str]
) -> None:
    given = replace(settings(opens=True), upstream=upstream, upstreams=others)
    signers = (dkim.load(PEM, "example.test", "s1", unsigned),)
    (content,) = (await sent_copies(tracker(given, None, signers), submission(HTML % b""))).values()
    signed = dkim.signed_fields(headers.read(content), 0)
    assert {"from", "to", "subject", "date", "message-id", "content-type"} - signed == left_out


@pytest.mark.parametrize(
    ("upstream", "others", "why"),
    [
        (config.Upstream(url=PLAIN), (), ""),
        (config.Upstream(url=SES), (), "and Amazon SES refuses a second one"),
        (config.Upstream(url=PLAIN, fallback=("spare",)), (SPARE,), "and Amazon SES refuses a second one"),
    ],
)
async def test_no_second_signature_where_it_is_refused(upstream: config.Upstream, others: Any, why: str) -> None:
    given = replace(settings(), upstream=upstream, upstreams=others)
    kept = memory.Memory()
    room = tracker(given, kept, SIGNERS)
    content = HTML % (STRANGERS + b"X-Track: all\r\nX-Track-Exclude: b@x.test\r\n")
    done = await room.track(submission(content, "a@x.test", "b@x.test"))
    tracked, plain = (copy.render() for copy in done.copies)
    assert tracked.count(b"DKIM-Signature:") == 1  # the tracked one breaks theirs
    assert plain.count(b"DKIM-Signature:") == (1 if why else 2)
    assert b"d=other.test" in plain
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert sent.explanation.get("unsigned", "").endswith(why)
    assert ("unsigned" in sent.explanation) is bool(why)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (PLAIN_TOP + b"no field\r\n\r\nx\r\n", "is no header field"),
        (PLAIN_TOP + b"Cc: a@b\r\n" * 200 + b"\r\nx\r\n", "at most 200 are"),
    ],
)
async def test_what_can_not_be_signed_at_all_says_why_too(content: bytes, why: str) -> None:
    kept = memory.Memory()
    done = await tracker(OFF, kept, SIGNERS).track(submission(content))
    assert done.copies[0].render() == content
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert why in sent.explanation["unsigned"]


TWO = (dkim.load(PEM, "mine.test", "s1"), dkim.load(PEM, "other.test", "s2"), dkim.load(PEM, "fa\u00df.test", "s3"))
# What a name, a comment or quotes say is nobody's address (RFC 2047 6.2, RFC 5322 3.4).
AUTHORS = [
    ("Ada <ada@mine.test>", "mine.test"),
    ("=?utf-8?q?info=40other.test=2C?= <ada@mine.test>", "mine.test"),
    ("=?utf-8?b?PGluZm9Ab3RoZXIudGVzdD4=?= <ada@mine.test>", "mine.test"),
    ("=?utf-8?Q?Z=C3=BCrich_=28Team?= <ada@mine.test>", "mine.test"),
    ('"info@other.test, x" <ada@mine.test>', "mine.test"),
    ("(info@other.test) ada@mine.test (and (others) info@other.test)", "mine.test"),
    ("=?utf-8?q?ada=40mine.test=2C?= <info@other.test>", "other.test"),
    ("Ada <ada@Fa\u00df.test>", "xn--fa-hia.test"),
    ("Ada <ada@FA\u1e9e.Test.>", "xn--fa-hia.test"),
    ("Ada <ada@XN--fa-hia.test>", "xn--fa-hia.test"),
    ("Ada <ada@fass.test>", None),
]


@pytest.mark.parametrize(("written", "domain"), AUTHORS)
async def test_grant_upstream_rule_and_key_are_the_authors(written: str, domain: str | None) -> None:
    globs = {"mine.test": "*@MINE.test", "other.test": "*@other.test", "xn--fa-hia.test": "*@fa\u00df.test"}
    given = replace(
        settings(),
        grants=(*(config.Grant(d, addresses=(glob,)) for d, glob in globs.items()), config.Grant("default")),
        rules=tuple(Rule(glob, "*", Tracking(url=BASE, label=d), frozenset({"label"})) for d, glob in globs.items()),
        upstream=config.Upstream("smtp://default.test"),
        upstreams=tuple(config.NamedUpstream(f"smtp://{d}", id=d, senders=(glob,)) for d, glob in globs.items()),
    )
    kept = memory.Memory()
    content = (HTML % b"").replace(b"Ann <ann@example.test>", written.encode())
    done = await tracker(given, kept, TWO).track(submission(content))
    (copy,) = done.copies
    sent = await kept.sent(done.message_id)
    assert sent is not None
    signed = re.search(rb"DKIM-Signature:[^:]*? d=([^;]+);", copy.render())
    assert (signed and signed[1].decode()) == domain
    assert (sent.grant_id, sent.label, done.upstream) == (
        (domain, domain, domain) if domain else ("default", "", "default")
    )


SECRET = "canary5secret"
LINKS = [
    f"https://app.example/reset?token={SECRET}", f"https://user:{SECRET}@app.example/x",
    f"https://app.example/cb#access_token={SECRET}", f"mailto:a@b.example?body={SECRET}", f"/reset/{SECRET}",
    f"https://app.example/{SECRET}/{{{{name}}}}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("links", "left"),
    [
        (True, [["1", "", "credentials", 3], ["1", "mailto:", "scheme", 1], ["1", "", "relative", 1],
                ["1", "https://app.example", "placeholder", 1]]),
        (False, [["1", "", "not_requested", 8]]),
    ],
)  # fmt: skip
async def test_of_links_that_were_left_no_secret_is_remembered(links: bool, left: list[Any]) -> None:
    kept = memory.Memory()
    body = "".join(f'<a href="{link}">x</a>' for link in LINKS).encode()
    content = HTML.replace(b"<p>", b"<p>" + body) % b""
    room = tracker(settings(opens=True, links=links), kept)
    done = await room.track(submission(content))
    sent = await kept.sent(done.message_id)
    assert sent is not None
    assert SECRET not in repr(sent)
    assert sent.explanation["left"] == left
    _, report = room.explain(submission(content), "bob@example.test")
    assert SECRET in str(report["links"])  # the dry run tells its caller all


# -- the trace field ---------------------------------------------------------------------------------------------------

SPOKEN = {"helo": "client.example.test", "protocol": "ESMTPS"}


def by_smtp(content: bytes, *recipients: str, **how: Any) -> Submission:
    return submission(content, *recipients).with_(**{**SPOKEN, **how})


def top(content: bytes) -> str:
    """The first field, unfolded."""
    head = email.message_from_bytes(content)
    return re.sub(r"\r?\n\t", " ", f"{head.keys()[0]}: {head.values()[0]}")


@pytest.mark.parametrize(
    ("received", "how", "expected"),
    [
        ("full", {}, "from client.example.test ([192.0.2.1]) by relay.test with ESMTPS id ID for <bob@example.test>; DATE"),
        ("full", {"login": "ann", "protocol": "ESMTPSA"}, "by relay.test with ESMTPSA id ID; DATE"),
        ("private", {}, "by relay.test with ESMTPS id ID; DATE"),
        ("private", {"login": "ann", "protocol": "ESMTPSA"}, "by relay.test with ESMTPSA id ID; DATE"),
        ("none", {}, ""),
        ("full", {"protocol": ""}, ""),
    ],
)  # fmt: skip
async def test_what_the_trace_field_tells(received: str, how: dict[str, Any], expected: str) -> None:
    given = replace(settings(opens=True), smtp=config.Smtp(received=received))  # type: ignore[arg-type]
    room = outbound.Tracker(given, lambda: KEYS, memory.Memory(), hostname="relay.test", clock=lambda: 1_770_000_000.0)
    done = await room.track(by_smtp(HTML % b"", **how))
    content = done.copies[0].render()
    if not expected:
        assert content.startswith(b"From: ")
        return
    told = expected.replace("ID", done.message_id).replace("DATE", "Mon, 02 Feb 2026 02:40:00 +0000")
    assert top(content) == f"Received: {told}"


@pytest.mark.parametrize("recipients", [["bob@example.test", "c@x.test"], ["hidden@x.test"]])
async def test_no_recipient_is_told_that_the_message_does_not_show(recipients: list[str]) -> None:
    done = await tracker(settings(opens=True)).track(by_smtp(HTML % b"Bcc: hidden@x.test\r\n", *recipients))
    for copy in done.copies:
        assert " for " not in top(copy.render())


async def test_it_stands_on_top_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    async def sent(room: outbound.Tracker, content: bytes) -> list[bytes]:
        done = await room.track(by_smtp(content, "a@x.test", "b@x.test"))
        made = [copy.render() for copy in done.copies]
        assert all(top(content).startswith("Received: from client.example.test ") for content in made)
        assert all(content.count(b"Received:") == 1 for content in made)
        return made

    tracked, untracked = HTML % b"X-Track: all\r\n", HTML % b""
    signed = await sent(tracker(settings(), None, SIGNERS), tracked)
    assert [email.message_from_bytes(content).keys()[1] for content in signed] == ["DKIM-Signature"] * 2
    (shared,) = await sent(tracker(settings()), untracked)
    assert shared.endswith(b"\r\n" + untracked)
    (open_,) = await sent(tracker(settings(), Broken()), tracked)
    assert open_.endswith(b"\r\n" + untracked)
    with monkeypatch.context() as patch:
        patch.setattr(rewrite, "render", fails)
        assert all(content.endswith(b"\r\n" + untracked) for content in await sent(tracker(settings()), tracked))
    with monkeypatch.context() as patch:
        patch.setattr(instructions, "read", fails)
        (unplanned,) = await sent(tracker(settings()), tracked)
        assert unplanned.endswith(b"\r\n" + untracked)


@pytest.mark.parametrize("before", [b"From ann@example.test Mon Jan  5 10:00:00 2026\r\n", b">From x\r\nFrom y\r\n"])
async def test_what_a_file_has_before_a_message_is_in_no_copy(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    async def agree(room: outbound.Tracker, content: bytes, on_top: list[str]) -> None:
        made, usual = [(await room.track(by_smtp(each))).copies[0].render() for each in (before + content, content)]
        assert email.message_from_bytes(made).keys() == email.message_from_bytes(usual).keys()
        assert email.message_from_bytes(made).keys()[:2] == on_top
        assert b"From ann" not in made
        assert b"From y" not in made

    tracked, untracked = HTML % b"X-Track: all\r\n", HTML % b""
    await agree(tracker(settings(), None, SIGNERS), tracked, ["Received", "DKIM-Signature"])
    await agree(tracker(settings(), None, SIGNERS), untracked, ["Received", "DKIM-Signature"])
    await agree(tracker(settings()), untracked, ["Received", "From"])
    await agree(tracker(settings(), Broken()), tracked, ["Received", "From"])
    with monkeypatch.context() as patch:
        patch.setattr(rewrite, "render", fails)
        await agree(tracker(settings()), tracked, ["Received", "From"])
    with monkeypatch.context() as patch:
        patch.setattr(instructions, "read", fails)
        await agree(tracker(settings()), tracked, ["Received", "From"])


async def test_what_comes_back_is_refused_by_its_trace_fields_too() -> None:
    """Where no server on the way hands the envelope identifier on. The sixth time is a loop; a relay before two servers
    has the same message twice."""
    room = outbound.Tracker(settings(opens=True), lambda: KEYS, memory.Memory(), hostname="relay.test")
    other = outbound.Tracker(settings(), lambda: KEYS, memory.Memory(), hostname="other.test")
    content = HTML % b""
    for _ in range(5):
        for each in (room, other):
            done = await each.track(by_smtp(content))
            assert done.refusal is None
            content = done.copies[0].render()
    assert content.count(b"Received:") == 10
    for each in (room, other):
        done = await each.track(by_smtp(content))
        assert (str(done.refusal)[:10], done.copies) == ("554 5.4.6 ", ())


def test_random_octets_are_given_once() -> None:
    """However they are fetched: whole, in order, none twice."""
    numbers = itertools.count()
    supply = outbound.Supply(lambda count: b"".join(next(numbers).to_bytes(4) for _ in range(count // 4)))
    given = b"".join(supply.take(8) for _ in range(1000))
    taken = [int.from_bytes(given[at : at + 4]) for at in range(0, len(given), 4)]
    assert taken == sorted(set(taken))
    assert len(supply.take(100_000)) == 100_000
