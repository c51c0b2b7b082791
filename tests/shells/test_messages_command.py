"""`trackrelay messages` and `trackrelay events`: mail that was sent, whether anything happened to it or not, and why."""

import argparse
import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from relay import config, store
from relay.__main__ import main
from relay.commands import messages
from relay.core.model import Event, Sent, SentCopy
from relay.store.contract import Store

INVALID = "X-Track-Opens: 'perhaps' is neither yes nor no; write yes, no, true, false, on, off, 1 or 0"
NOW = time.time()


def sent(number: int, *copies: SentCopy, **more: object) -> Sent:
    made = Sent(f"{number:020d}", "default", f"{number}@mail.test", NOW - 3600 * (10 - number), "ann@mail.test", "ann@mail.test",
                ("bob@mail.test",), subject=f"Number {number}", size=512, copies=copies)  # fmt: skip
    return made.with_(**more)


def copy(address: str = "bob@mail.test", **more: object) -> SentCopy:
    return SentCopy(address, 0, True).with_(**more)


MAIL = (
    sent(1, copy(state="done", reply="250 2.0.0 Ok: queued as A1", upstream_id="up1@host.test"), opens=True, links_tracked=True,
         label="spring sale", links=("https://shop.test/a",), login="ann", submitter_ip="192.0.2.1", metadata={"key1": "x"},
         explanation={"parts": [["1.1", "text/plain", None], ["1.2", "text/html", "edited"], ["2", "text/html", "attachment"]],
                      "left": [["1.2", "https://shop.test", "unsubscribe", 2], ["1.2", "", "credentials", 1]],
                      "pixel": ["1.2", "bottom", None], "signatures_removed": 1}),
    sent(2, copy(state="later", reply="451 4.7.1 Greylisted", tracked=False, reason="invalid_instruction"),
         reason="invalid_instruction", explanation={"reason": "invalid_instruction", "invalid": INVALID,
                                                    "invalid_header": "X-Track-Opens"}),
    sent(3, copy(state="never", reply="given up: dropped from the queue; the last reply was 451 4.7.1 Greylisted"),
         copy("eve@mail.test", index=1, tracked=False, reason="excluded_recipient", state="done", reply="250 2.0.0 Ok"), opens=True),
    sent(4, copy(tracked=False, reason="no_html"), reason="no_html", queue_id="4XYZ", daemon="smtpd", label="spring sale",
         explanation={"reason": "no_html"}, subject="\x1b[31mred"),
)  # fmt: skip
OPENED = Event(
    "0f0e6f1c-8a1b-4b0e-9d55-3f6a0c1d2e3f", "message.opened", MAIL[0].message_id, NOW - 60, recipient="bob@mail.test"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relay.toml").write_text('[upstream]\nurl = "smtp://127.0.0.1:25"\n')
    (tmp_path / "var").mkdir(mode=0o700)
    return tmp_path


async def keep(folder: Path, *mail: Sent, events: tuple[Event, ...] = ()) -> None:
    opened: Store = store.open(config.Settings().store.url, folder / "var")
    await opened.start()
    for one in mail:
        await opened.record_sent(one)
    for event in events:
        await opened.append(event)
    await opened.stop()


@pytest.fixture
def kept(folder: Path) -> Path:
    asyncio.run(keep(folder, *MAIL, events=(OPENED,)))
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[str]:
    assert main(list(words)) == code
    shown = capsys.readouterr()
    assert bool(shown.err) == bool(code)
    return (shown.err if code else shown.out).splitlines()


# -- list --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ((), [4, 3, 2, 1]),
        (("--limit", "2"), [4, 3]),
        (("--state", "later"), [2]),
        (("--state", "never"), [3]),
        (("--state", "done"), [3, 1]),
        (("--state", "pending"), [4]),
        (("--state", "handed"), []),
        (("--label", "spring sale"), [4, 1]),
        (("--label", "spring sale", "--state", "done"), [1]),
        (("--recipient", "EVE@mail.test"), [3]),
        (("--recipient", "nobody@mail.test"), []),
        (("--since", "450m"), [4, 3]),
        (("--before", "450m"), [2, 1]),
        (("--before", "3@mail.test"), [2, 1]),
        (("--before", f"{3:020d}", "--state", "done"), [1]),
        (("--before", f"{1:020d}"), []),
        (("--since", f"{NOW - 27_000:.0f}"), [4, 3]),
        (("--since", time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(NOW - 27_000)), "--limit", "1"), [4]),
    ],
)
def test_the_list_has_those_that_were_asked_for(kept: Path, capsys: pytest.CaptureFixture[str], words, numbers) -> None:
    found = [json.loads(row)["message_id"] for row in said(capsys, "messages", "list", "--json", *words)]
    assert found == [f"{number:020d}" for number in numbers]
    lines = said(capsys, "messages", "list", *words)
    assert [line.split()[2] for line in lines if numbers] == found
    assert numbers or lines == ["no such message"]


def test_a_line_has_who_what_became_of_it_and_why_it_is_not_tracked(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    four, three, two, one = (line.split(" ", 3)[3] for line in said(capsys, "messages", "list"))
    assert one == "ann@mail.test bob@mail.test=done tracked label=spring sale Number 1"
    assert two == "ann@mail.test bob@mail.test=later untracked:invalid_instruction Number 2"
    assert three == "ann@mail.test bob@mail.test=never,eve@mail.test=done tracked,partly:excluded_recipient Number 3"
    assert four == "ann@mail.test bob@mail.test=pending queue_id=4XYZ untracked:no_html label=spring sale \\x1b[31mred"


async def test_a_list_that_looks_at_very_much_says_how_to_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: Any = store.open(config.Settings().store.url, folder / "var")
    await opened.start()
    opened.walk = 2
    done = copy(state="done")
    await asyncio.gather(*(opened.record_sent(sent(n, done if 7 < n < 220 else copy())) for n in range(230)))

    async def listing(*words: str) -> tuple[list[str], str]:
        parser = argparse.ArgumentParser()
        messages.arguments(parser)
        args = parser.parse_args(["list", "--json", "--state", "pending", *words])
        args.after, args.until = 0.0, None
        assert await messages.listing(opened, args) == 0
        out, err = capsys.readouterr()
        return [json.loads(line)["message_id"] for line in out.splitlines()], err

    first, said = await listing("--limit", "20")
    assert first == [f"{n:020d}" for n in range(229, 219, -1)]
    assert said.startswith("trackrelay messages: looked back to ")
    *_, option, last = said.split()
    assert option == "--before"
    assert await listing("--limit", "20", option, last) == ([f"{n:020d}" for n in range(7, -1, -1)], "")
    await opened.stop()


def test_an_empty_list_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "messages", "list") == ["no message yet"]
    assert said(capsys, "messages", "list", "--json") == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--since", "yesterday"),
            "trackrelay messages: 'yesterday' is no time; write 2026-01-31T12:00, 90s, 15m, 2h or 3d",
        ),
        (("--limit", "0"), "trackrelay messages: --limit must be at least 1"),
    ],
)
def test_what_cannot_be_asked(folder: Path, capsys: pytest.CaptureFixture[str], words, sentence) -> None:
    assert said(capsys, "messages", "list", *words, code=2) == [sentence]


# -- show --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f"{1:020d}", "1@mail.test", "<1@mail.test>", "up1@host.test"])
def test_all_of_a_message(kept: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    text = said(capsys, "messages", "show", name)
    shown = [(line[:13].strip(), line[14:]) for line in text]
    told = dict(shown)
    assert told["message"] == f"{1:020d}"
    assert told["Message-ID"] == "<1@mail.test>"
    assert told["submitted"].endswith(" by the login ann from 192.0.2.1")
    assert (told["label"], told["metadata"], told["size"]) == ("spring sale", "key1 = x", "512 octets")
    assert told["tracked"] == "opens, links"
    assert told["recipient"] == (
        "bob@mail.test: done; tracked; upstream: 250 2.0.0 Ok: queued as A1; it calls the message up1@host.test"
    )
    assert told["link"] == "0: https://shop.test/a"
    assert [value for name, value in shown if name == "left"] == [
        "2 links to https://shop.test in part 1.2: unsubscribe, unsubscribe links are left alone",
        "a link in part 1.2: credentials, the link contains a password or a key",
    ]
    assert [value for name, value in shown if name == "part"] == [
        "1.2 text/html: edited", "2 text/html: as it was: attachment, attachments are never changed",
    ]  # fmt: skip
    assert told["pixel"] == "in part 1.2, bottom"
    assert told["signatures"].startswith("1 DKIM-Signature of others")
    assert re.fullmatch(r"[\d-]+ [\d:]+ message.opened +bob@mail.test unknown", told["event"])


def test_why_nothing_was_tracked(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(said(capsys, "messages", "show", f"{2:020d}"))
    assert (
        "tracked       nothing: invalid_instruction, its X-Track headers or its From field could not be understood\n"
        in text
    )
    assert f"invalid       {INVALID}\n" in text
    assert "recipient     bob@mail.test: later; not tracked (invalid_instruction, its X-Track headers" in text
    assert "; upstream: 451 4.7.1 Greylisted" in text
    assert text.endswith("events        none yet")
    text = "\n".join(said(capsys, "messages", "show", f"{3:020d}"))
    assert (
        "bob@mail.test: never; tracked; given up: dropped from the queue; the last reply was 451 4.7.1 Greylisted"
        in text
    )
    assert (
        "eve@mail.test: done; not tracked (excluded_recipient, this recipient was excluded by X-Track-Exclude)" in text
    )
    text = "\n".join(said(capsys, "messages", "show", "4XYZ"))
    assert "tracked       nothing: no_html, it has no HTML part" in text
    assert "queue ID      4XYZ of smtpd" in text
    assert "\x1b" not in text


def test_all_of_a_message_for_programs(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads("\n".join(said(capsys, "messages", "show", "--json", f"{1:020d}")))
    assert told["copies"][0]["reply"] == "250 2.0.0 Ok: queued as A1"
    assert told["explanation"]["left"][0][2] == "unsubscribe"
    assert [event["type"] for event in told["events"]] == ["message.opened"]


def test_no_such_message(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("messages", "show", "no\x1bbody"), ("events", "--message", "no\x1bbody")):
        assert said(capsys, *words, code=1) == [
            f"trackrelay {words[0]}: there is no message no\\x1bbody; see: trackrelay messages list"
        ]


@pytest.mark.parametrize(
    "older", [{}, {"left": "x", "parts": [[1]], "pixel": 3}, {"reason": "no_html"}, {"invalid": None}]
)
def test_an_older_record(folder: Path, capsys: pytest.CaptureFixture[str], older) -> None:
    asyncio.run(keep(folder, sent(1, copy(), explanation=older, internet_message_id="", sender="", to=())))
    assert said(capsys, "messages", "show", f"{1:020d}")[1] == "Message-ID    none"


def test_one_of_whom_nothing_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(keep(folder, sent(5, copy("", state="done"), copy("eve@mail.test", index=1, state="later"))))
    (line,) = said(capsys, "messages", "list")
    assert "(erased)=done,eve@mail.test=later" in line
    assert any(
        line.strip().endswith("(erased): done; tracked") for line in said(capsys, "messages", "show", f"{5:020d}")
    )


def test_what_became_of_the_signature_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    why = "a line has over 998 octets, and a header field has no white space where it could be folded"
    shown = []
    for number, explanation in ((7, {"unsigned": why}), (8, {"lines_shortened": True})):
        asyncio.run(keep(folder, sent(number, copy(), explanation=explanation)))
        lines = said(capsys, "messages", "show", f"{number:020d}")
        shown += [line.partition(" ")[2].strip() for line in lines if line.startswith("signature ")]
    assert shown == [
        f"none of ours: {why}",
        "over lines of at most 998 octets; longer ones were encoded or folded before",
    ]


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_show_mail_to_which_nothing_happened(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "events")
    assert [line.split()[2:4] for line in lines] == [
        *(["submitted", f"{number:020d}"] for number in (1, 2, 3, 4)), ["message.opened", f"{1:020d}"],
    ]  # fmt: skip
    assert "untracked:invalid_instruction" in lines[1]
    assert said(capsys, "events", "--limit", "1") == lines[-1:]
    assert said(capsys, "events", "--message", "4XYZ") == lines[3:4]
    assert said(capsys, "events", "--message", "<1@mail.test>") == [lines[0], lines[4]]


def test_events_for_programs(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages among them only where they are asked for."""
    assert [json.loads(line)["type"] for line in said(capsys, "events", "--json")] == ["message.opened"]
    assert said(capsys, "events", "--json", "--message", "4XYZ") == []
    both = [json.loads(line) for line in said(capsys, "events", "--json", "--messages")]
    assert [row.get("subject", row.get("type")) for row in both][1:] == [
        "Number 2",
        "Number 3",
        "\x1b[31mred",
        "message.opened",
    ]


def test_events_of_a_message_that_is_not_on_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(keep(folder, events=(OPENED,)))
    assert len(said(capsys, "events", "--message", OPENED.message_id)) == 1
