"""Recipients who are on the list: what leaves for them, what their sender hears, and the command that keeps the list."""

import asyncio
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay import config, keys, outbound, store, suppressions
from relay.__main__ import main
from relay.core.model import Recipient, Rule, Sent, Submission, Tracking
from relay.core.suppressions import Erasure, Ground, Suppression, digest
from relay.store import memory
from tests import samples

KEYS = keys.dry_run()
HTML = b"From: ann@example.test\r\nContent-Type: text/html\r\n%s\r\n<a href='https://example.test/'>x</a>\r\n"
PEOPLE = ("one@x.test", "two@x.test", "three@x.test")


def entry(address: str, reason: Ground = "refusal", grant: str = "") -> Suppression:
    return Suppression(digest(address, KEYS), grant, reason, address, 1.0)


def settings(*rules: Rule, **tracking: Any) -> config.Settings:
    grants = (config.Grant("sales", addresses=("*@sales.test",)), config.Grant("default"))
    return config.Settings(
        tracking=Tracking(url="http://t.test", **({"opens": True} | tracking)), rules=rules, grants=grants
    )


async def tracked(
    kept: memory.Memory,
    given: config.Settings,
    *people: str,
    one_group: bool = False,
    head: bytes = b"",
    sender: str = "a@b.test",
) -> outbound.Tracked:
    room = outbound.Tracker(given, lambda: KEYS, kept)
    asked = Submission(sender, tuple(map(Recipient, people or PEOPLE)), HTML % head)
    return await room.track(asked, one_group=one_group)


def pixels(done: outbound.Tracked) -> dict[str, bool]:
    return {r.address: b"/o/" in copy.render() for copy in done.copies for r in copy.recipients}


@pytest.mark.parametrize("setting", ["off", "untrack", "reject"])
async def test_who_refused_is_not_tracked_whatever_is_set_and_others_go_on(setting: str) -> None:
    kept = memory.Memory()
    await kept.suppress([entry("TWO@X.test")])
    done = await tracked(kept, settings(suppress=setting))
    assert pixels(done) == {"one@x.test": True, "two@x.test": False, "three@x.test": True}
    assert not done.refused
    sent = await kept.sent(done.message_id)
    assert sent
    assert [(c.recipient, c.tracked, c.reason) for c in sent.copies if not c.tracked] == [
        ("two@x.test", False, "suppressed")
    ]
    assert sent.explanation["suppressed"] == ["refusal"]
    assert sent.reason is None


@pytest.mark.parametrize(
    ("setting", "reason", "leaves", "pixel"),
    [("off", "bounce", True, True), ("untrack", "complaint", True, False), ("reject", "manual", False, False)],
)
async def test_what_is_set_holds_for_all_other_reasons(setting: str, reason: Ground, leaves: bool, pixel: bool) -> None:
    kept = memory.Memory()
    await kept.suppress([entry("two@x.test", reason)])
    done = await tracked(kept, settings(suppress=setting))
    assert pixels(done).get("two@x.test", False) == pixel
    assert ("two@x.test" in pixels(done)) == leaves
    assert [(r.address, reply.code, reply.text[:5]) for r, reply in done.refused] == (
        [] if leaves else [("two@x.test", 550, "5.7.1")]
    )
    assert pixels(done)["one@x.test"]
    assert pixels(done)["three@x.test"]


async def test_a_rule_sets_it_and_an_entry_of_a_grant_is_for_its_mail() -> None:
    kept = memory.Memory()
    await kept.suppress(
        [
            entry("one@x.test", "manual"),
            entry("two@x.test", "bounce", "sales"),
            entry("three@x.test", "refusal", "sales"),
        ]
    )
    rule = Rule("*", "one@*", settings(suppress="reject").tracking, frozenset({"suppress"}))
    done = await tracked(kept, settings(rule, suppress="untrack"))
    assert [r.address for r, _ in done.refused] == ["one@x.test"]
    assert pixels(done) == {"two@x.test": True, "three@x.test": True}


async def test_what_was_not_to_be_tracked_is_as_before_and_a_bounce_is_never_refused() -> None:
    kept = memory.Memory()
    await kept.suppress([entry(address, "manual") for address in PEOPLE])
    done = await tracked(kept, settings(suppress="untrack"), head=b"X-Track: none\r\n")
    sent = await kept.sent(done.message_id)
    assert sent
    assert {copy.reason for copy in sent.copies} == {"not_requested"}
    done = await tracked(kept, settings(suppress="reject"), sender="")
    assert not done.refused
    assert set(pixels(done)) == set(PEOPLE)
    assert not any(pixels(done).values())


async def test_with_one_body_for_all_nobody_is_tracked() -> None:
    kept = memory.Memory()
    await kept.suppress([entry("two@x.test")])
    done = await tracked(kept, settings(), one_group=True)
    assert not any(pixels(done).values())
    sent = await kept.sent(done.message_id)
    assert sent
    assert sent.reason == "suppressed"


class Away(memory.Memory):
    async def suppressed(self, digests: Collection[str]) -> list[Suppression]:
        raise store.Unavailable("the disk is full")

    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        raise store.Unavailable("the disk is full")


async def test_without_the_list_mail_goes_first_and_untracked() -> None:
    kept = Away()
    done = await tracked(kept, settings(suppress="reject"))
    assert set(pixels(done)) == set(PEOPLE)
    assert not any(pixels(done).values())
    assert done.failed
    before = samples.sample("failed_open_total", stage="suppress")
    done = await tracked(kept, settings(suppress="reject", opens=False))
    assert (set(pixels(done)), done.failed, done.refused) == (set(PEOPLE), False, ())
    assert samples.sample("failed_open_total", stage="suppress") == before + 1
    assert await at_once(settings(suppress="reject"), kept).refusal("a@b.test", PEOPLE[0]) is None


class Slow(memory.Memory):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[set[str]] = []
        self.go = asyncio.Event()

    async def suppressed(self, digests: Collection[str]) -> list[Suppression]:
        self.asked.append(set(digests))
        await self.go.wait()
        return await super().suppressed(digests)


async def test_those_who_ask_at_once_ask_once_and_each_gets_its_own() -> None:
    kept = Slow()
    await kept.suppress([entry("two@x.test"), entry("three@x.test")])
    lookup = suppressions.Lookup(kept, lambda: KEYS)
    first = asyncio.create_task(lookup.of(["one@x.test"]))
    while not kept.asked:
        await asyncio.sleep(0)
    others = [asyncio.create_task(lookup.of([address, "one@x.test"])) for address in PEOPLE]
    given_up = asyncio.create_task(lookup.of(["four@x.test"]))
    await asyncio.sleep(0)
    given_up.cancel()
    kept.go.set()
    assert await first == {}
    assert [set(await other) for other in others] == [set(), {"two@x.test"}, {"three@x.test"}]
    assert len(kept.asked) == 2  # what began before an entry was written does not stand for who asks after it
    assert set(await lookup.of(["two@x.test"])) == {"two@x.test"}


# -- before the message is there -----------------------------------------------------------------------------------------


def at_once(given: config.Settings, kept: memory.Memory) -> suppressions.AtOnce:
    return suppressions.AtOnce(given, suppressions.Lookup(kept, lambda: KEYS))


def rule(sender: str, recipient: str, setting: Any) -> Rule:
    return Rule(sender, recipient, Tracking(suppress=setting), frozenset({"suppress"}))


@pytest.mark.parametrize(
    ("default", "rules", "known"),
    [
        ("off", [], False),
        ("untrack", [], False),
        ("reject", [], True),
        ("reject", [rule("*", "two@*", "off")], False),
        ("reject", [rule("a@b.test", "*", "off")], False),
        ("reject", [rule("a@b.test", "*", "reject")], True),
        ("reject", [rule("a@b.test", "other@*", "off")], True),
        ("off", [rule("*", "*", "reject")], True),
        ("off", [rule("a@b.test", "*", "reject")], False),
        ("off", [rule("a@b.test", "*", "reject"), rule("*", "TWO@*", "reject")], True),
        ("off", [rule("*", "*", "untrack"), rule("*", "*", "reject")], False),
    ],
)
async def test_a_recipient_is_refused_at_once_where_that_holds_whoever_writes(
    default: Any, rules: list[Rule], known: bool
) -> None:
    kept = memory.Memory()
    await kept.suppress([entry("two@x.test", "complaint")])
    gate = at_once(settings(*rules, suppress=default), kept)
    reply = await gate.refusal("ann@b.test", "two@x.test")
    assert (reply is not None) == known
    if reply:
        assert str(reply).startswith("550 5.7.1 ")
        assert "complained" in reply.text
    assert await gate.refusal("ann@b.test", "one@x.test") is None
    assert await gate.refusal("", "two@x.test") is None


async def test_what_is_for_one_grant_is_refused_at_once_where_there_is_no_other() -> None:
    kept = memory.Memory()
    await kept.suppress(
        [
            entry("one@x.test", "manual", "default"),
            entry("two@x.test", "refusal"),
            entry("three@x.test", "bounce", "sales"),
        ]
    )
    several = settings(suppress="reject")
    alone = config.Settings(tracking=several.tracking, grants=(config.Grant("default"),))
    for given, refused in ((several, set()), (alone, {"one@x.test"})):
        gate = at_once(given, kept)
        assert {address for address in PEOPLE if await gate.refusal("a@b.test", address)} == refused


# -- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACKRELAY_CONFIG", raising=False)
    (tmp_path / "relay.toml").write_text(
        '[tracking]\nurl = "https://t.test"\nsuppress = "reject"\nopens = true\n[[grants]]\nid = "sales"\naddresses = ["*@sales.test"]\n'
    )
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["suppress", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_list_by_hand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "list")[0] == 1
    assert ran(capsys, "add", "bob@x.test", "Ann@X.test", "--note", "on the phone") == (0, "2 added\n", "")
    assert ran(capsys, "add", "BOB@x.test", "--reason", "refusal", "--grant", "sales") == (0, "1 added\n", "")
    assert ran(capsys, "add", "BOB@x.test") == (0, "0 added, 1 were there already\n", "")
    code, out, _ = ran(capsys, "list", "--json", "--recipient", "bob@X.test")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(r["recipient"], r["grant"], r["reason"], r["source"], r["note"]) for r in rows] == [
        ("BOB@x.test", "sales", "refusal", "command", ""), ("bob@x.test", None, "manual", "command", "on the phone"),
    ]  # fmt: skip
    assert len(ran(capsys, "list")[1].splitlines()) == 3
    assert len(ran(capsys, "list", "--limit", "2")[1].splitlines()) == 2
    assert len(ran(capsys, "list", "--reason", "manual")[1].splitlines()) == 2
    assert len(ran(capsys, "list", "--grant", "sales")[1].splitlines()) == 1
    assert len(ran(capsys, "list", "--grant", "")[1].splitlines()) == 2
    assert ran(capsys, "remove", "bob@x.test", "--reason", "bounce")[0] == 1
    assert ran(capsys, "remove", "bob@x.test", "--grant", "sales") == (0, "1 removed\n", "")
    code, out, err = ran(capsys, "remove", "bob@x.test", "carl@x.test")
    assert (code, out, err) == (1, "1 removed\n", "trackrelay suppress: carl@x.test is not on the list\n")
    assert "ann@x.test" in ran(capsys, "list")[1].lower()


def test_who_asked_to_be_erased(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(capsys, "add", "bob@x.test")  # makes the keys

    async def asked() -> None:
        secrets = keys.TokenKeys(folder / "var" / "keys" / "tokens.json").now()
        opened = store.open("sqlite:trackrelay.db", folder / "var")
        await opened.start()
        for n, address in enumerate(("bob@x.test", "ann@x.test")):
            await opened.ask_erasure(Erasure(digest(address, secrets), address, 1_700_000_000.0 + n, "m1"))
        await opened.stop()

    asyncio.run(asked())
    lines = ran(capsys, "requests")[1].splitlines()
    assert lines == ["2023-11-14T22:13:20Z\tbob@x.test\tm1", "2023-11-14T22:13:21Z\tann@x.test\tm1"]
    assert ran(capsys, "requests", "--done", "BOB@x.test") == (0, "", "")
    assert ran(capsys, "requests", "--done", "bob@x.test")[0] == 1
    assert [json.loads(line)["recipient"] for line in ran(capsys, "requests", "--json")[1].splitlines()] == [
        "ann@x.test"
    ]


def test_nothing_is_half_done(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(capsys, "add", "bob@x.test", "nobody")[0] == 2
    assert ran(capsys, "add", "bob@x.test", "--grant", "nobody")[0] == 2
    assert ran(capsys, "add")[0] == 2
    (folder / "list.csv").write_text("email,reason\nbob@x.test,bounce\nann,bounce\ncarl@x.test,why\n")
    code, out, err = ran(capsys, "add", "--csv", "list.csv")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "trackrelay suppress: line 3: 'ann' is no mail address",
        "trackrelay suppress: line 4: 'why' is no reason; there are refusal, bounce, complaint, manual",
        "trackrelay suppress: nothing was added",
    ]
    assert ran(capsys, "list") == (0, "", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("email;note\nbob@x.test;Zoë\n".encode("cp1252"))))
    assert ran(capsys, "add", "--csv", "-")[:2] == (0, "1 added\n")
    out = ran(capsys, "list", "--csv")[1]
    assert "Zoë" in out
    (folder / "out.csv").write_text(out)
    assert ran(capsys, "remove", "bob@x.test")[0] == 0
    assert ran(capsys, "add", "--csv", "out.csv")[:2] == (0, "1 added\n")
    assert ran(capsys, "list", "--csv")[1] == out


def test_a_dry_run_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mail.eml").write_bytes(HTML % b"")

    def explained(recipient: str) -> dict[str, Any]:
        assert main(["rewrite", "--explain", "--rcpt", recipient, "mail.eml"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    assert explained("bob@x.test")["tracked"]
    assert not (folder / "var").exists()
    ran(capsys, "add", "bob@x.test", "--reason", "refusal")
    ran(capsys, "add", "ann@x.test")
    found = explained("bob@x.test")
    assert (found["tracked"], found["reason"], found["suppressed"]) == (False, "suppressed", {"reason": "refusal"})
    assert explained("ann@x.test")["refused"].startswith("550 5.7.1 ")
    assert explained("carl@x.test")["tracked"]
