"""What `trackrelay check` says of webhooks, the clock, room on the disk, open files, and of DNS: against a name server of ours, and real
endpoints on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from relay import check as checks
from relay import config
from relay.check import clock, dkim_records, limits, standing, state_dir, tracking_names, upstreams, webhooks
from relay.core.model import Rule, Tracking
from tests import peers
from tests.fakes import certificates, names
from tests.fakes.upstream import Upstream

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def kinds(found: Sequence[checks.Finding]) -> list[str]:
    return [finding.kind for finding in found]


def only(found: Sequence[checks.Finding]) -> checks.Finding:
    (finding,) = found
    return finding


# -- webhooks ----------------------------------------------------------------------------------------------------------


class Receiver:
    """An endpoint on loopback: what was posted, and what it answers."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.posted: list[tuple[dict[str, str], bytes]] = []

    async def start(self, pair: certificates.Pair | None = None) -> str:
        async def take(request: web.Request) -> web.Response:
            self.posted.append((dict(request.headers), await request.read()))
            return web.Response(status=self.status)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", take)
        self.runner = web.AppRunner(application, shutdown_timeout=1)
        await self.runner.setup()
        port = peers.free_port()
        await web.TCPSite(
            self.runner, "127.0.0.1", port, ssl_context=certificates.serving(pair) if pair else None
        ).start()
        return f"{'https' if pair else 'http'}://localhost:{port}/hooks"


def hooked(*urls: str, allow: tuple[str, ...] = ("127.0.0.1", "::1", "localhost")) -> config.Settings:
    hooks = tuple(config.Webhook(url, ("message.opened",), "whsec_c2VjcmV0") for url in urls)
    return config.Settings(webhooks=hooks, webhook_delivery=config.WebhookDelivery(allow))


async def test_a_webhook_is_connected_to_and_nothing_is_sent(tmp_path: Path) -> None:
    receiver, pair = Receiver(), certificates.make(tmp_path)
    url = await receiver.start(pair)
    trust = certificates.trusting(pair.certificate)
    try:
        found = only(await webhooks.look(hooked(url), trust=trust))
        assert str(found) == f"ok       webhooks[0]: {url} answers over TLSv1.3, certificate verified"
        unknown = only(await webhooks.look(hooked(url)))
        assert (
            unknown.kind,
            "the certificate of" in unknown.sentence,
            "update-ca-certificates" in unknown.sentence,
        ) == ("failure", True, True)
    finally:
        await receiver.runner.cleanup()
    assert receiver.posted == []
    gone = only(await webhooks.look(hooked(url), trust=trust))
    assert (gone.kind, "nothing listens there" in gone.sentence) == ("failure", True)


async def test_webhooks_that_may_not_be_called() -> None:
    found = only(await webhooks.look(hooked("https://127.0.0.1:1/x?token=abc", allow=())))
    assert found.kind == "failure"
    assert (
        "may not be called: 127.0.0.1 is not a public address; name it in [webhook_delivery] allow_private"
        in found.sentence
    )
    assert "abc" not in found.sentence
    named = only(await webhooks.look(hooked("https://localhost:1/x", allow=())))
    assert (named.kind, "is not a public address" in named.sentence) == ("failure", True)


async def test_without_dns_a_webhook_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    found = only(await webhooks.look(hooked("https://app.example.com/hooks")))
    assert (found.kind, "can't be known here: the name can't be looked up now" in found.sentence) == ("unknown", True)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_test_notification_to_each(tmp_path: Path, status: int) -> None:
    one, other = Receiver(status), Receiver(status)
    urls = await one.start(), await other.start()
    try:
        found = await webhooks.send_test(hooked(*urls))
    finally:
        await asyncio.gather(one.runner.cleanup(), other.runner.cleanup())
    assert kinds(found) == ["ok" if status == 200 else "failure"] * 2
    assert "message.opened" in found[0].sentence
    for receiver in (one, other):
        ((headers, body),) = receiver.posted
        assert json.loads(body)["type"] == "message.opened"
        assert headers["webhook-signature"].startswith("v1,")
        assert headers["x-nylas-signature"]


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("Fri, 15 Jan 2027 08:00:10 GMT", "ok", "agrees with that of it"),
        ("mx.example.com ESMTP Exim 4.96 Fri, 15 Jan 2027 09:00:00 +0100", "ok", "agrees"),
        (
            "Microsoft ESMTP MAIL Service ready at Fri, 15 Jan 2027 07:58:50 +0000",
            "warning",
            "is 1 minute ahead of that of it; let",
        ),
        ("Fri, 15 Jan 2027 10:00:00 GMT", "failure", "is 2 hours behind that of it: receivers refuse"),
        ("Sat, 01 Jan 2000 00:00:00 GMT", "failure", "is 9876 days ahead"),
        ("mx.example.com ESMTP Postfix", "", ""),
        ("Fri, 45 Xan 2027 09:00:00 +0100", "", ""),
        ("", "", ""),
    ],
)
def test_the_clock(text: str, kind: str, words: str) -> None:
    found = clock.compared("it", text, NOW)
    assert kinds(found) == ([kind] if kind else [])
    assert all(finding.sentence.startswith(words) for finding in found)


async def test_the_clock_of_an_upstream(tmp_path: Path) -> None:
    async with Upstream({"banner": "220 mx.example.com ESMTP Sendmail; Sat, 1 Jan 2000 00:00:00 GMT"}) as upstream:
        here = config.Settings(
            state_dir=tmp_path,
            upstream=config.Upstream(upstream.url, tls="never"),
            smtp=config.Smtp(hostname="r.example"),
        )
        found = await upstreams.look(here)
    assert kinds(found) == ["ok", "failure"]
    assert found[1].what == "clock"


# -- this machine ------------------------------------------------------------------------------------------------------


def disk(octets: int, files: int, of: int = 1_000_000) -> os.statvfs_result:
    return os.statvfs_result((4096, 1, 10**9, octets, octets, of, files, files, 0, 255))


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (disk(2 * 10**9, 500_000), []),
        (disk(500 * 10**6, 500_000), ["warning"]),
        (disk(10**6, 500_000), ["failure"]),
        (disk(2 * 10**9, 9_000), ["warning"]),
        (disk(2 * 10**9, 3), ["failure"]),
        (disk(2 * 10**9, 0, of=0), []),  # as btrfs has it
        (disk(10**6, 3), ["failure", "failure"]),
    ],
)
def test_room_in_the_state_folder(tmp_path: Path, there: os.statvfs_result, expected: list[str]) -> None:
    assert kinds(state_dir.room(tmp_path, there)) == expected


@pytest.mark.parametrize(("most", "kind"), [(None, "ok"), (65_536, "ok"), (1_024, "warning"), (64, "warning")])
def test_open_files(most: int | None, kind: str) -> None:
    found = limits.of(config.Settings(), most)
    assert found.kind == kind
    assert ("LimitNOFILE" in found.sentence) == (kind == "warning")


def test_open_files_of_the_process(tmp_path: Path) -> None:
    """The command itself, under a limit."""
    http = peers.free_port()
    (tmp_path / "relay.toml").write_text(
        f'[smtp]\nlisten = ["127.0.0.1:{peers.free_port()}"]\n[http]\nlisten = "127.0.0.1:{http}"\n[admin]\nlisten = '
        f'"127.0.0.1:{peers.free_port()}"\n[upstream]\nurl = "smtp://127.0.0.1:{peers.free_port()}"\n[tracking]\nurl = "http://127.0.0.1:{http}"\n'
    )
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)); from relay.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--json", "--config", str(tmp_path / "relay.toml")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(row.keys() == {"kind", "what", "sentence"} for row in rows)
    (found,) = [row for row in rows if row["what"] == "files"]
    assert found["kind"] == "warning"
    assert found["sentence"].startswith("only 400 files may be open here")
    assert done.returncode == 1, "of the upstream"


# -- the tracking host in DNS ------------------------------------------------------------------------------------------


def tracked(*urls: str) -> config.Settings:
    return config.Settings(tracking=Tracking(url=urls[0], domains=urls[1:]))


async def in_dns(records: dict[tuple[str, str], str], *urls: str, here: Sequence[str] = ()) -> list[checks.Finding]:
    async with names.resolver({}, records) as resolver:
        return await tracking_names.look(tracked(*urls), resolver, lambda address: address in here)


T = "https://t.invalid"


@pytest.mark.parametrize(
    ("records", "kind", "words"),
    [
        ({("t.invalid", "A"): "9.9.9.9"}, "ok", "t.invalid is 9.9.9.9, this machine"),
        ({("t.invalid", "A"): "8.8.8.8"}, "ok", "t.invalid is 8.8.8.8, another machine's or a router's"),
        (
            {("t.invalid", "CNAME"): "lb.invalid", ("lb.invalid", "A"): "9.9.9.9"},
            "ok",
            "t.invalid (by a CNAME to lb.invalid) is 9.9.9.9",
        ),
        (
            {("t.invalid", "CNAME"): "gone.invalid"},
            "failure",
            "t.invalid is a CNAME to gone.invalid, which has no address",
        ),
        (
            {("t.invalid", "A"): "10.0.0.7"},
            "warning",
            "t.invalid is 10.0.0.7 in DNS, which only your own network reaches",
        ),
        ({("t.invalid", "A"): "SERVFAIL"}, "unknown", "what t.invalid is in DNS can't be known here: the DNS servers"),
        ({}, "", ""),  # tracking.url says that
    ],
)
async def test_the_tracking_host(records: dict[tuple[str, str], str], kind: str, words: str) -> None:
    found = await in_dns(records, T, here=["9.9.9.9"])
    assert kinds(found) == ([kind] if kind else [])
    assert all(finding.sentence.startswith(words) for finding in found)


async def test_a_host_that_only_this_machine_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def by_hosts(*_: object, **__: object) -> list[object]:
        return [("127.0.1.1", 443)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", by_hosts)
    found = only(await in_dns({}, T))
    assert (found.kind, "only this machine knows one (/etc/hosts)" in found.sentence) == ("failure", True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:8080", "https://[2001:db8::1]", "http://t.localhost"]
)
async def test_what_is_no_name_in_dns(url: str) -> None:
    assert await in_dns({}, url) == []


async def test_an_address_at_which_nobody_answers() -> None:
    """Of several, that one is named; this goes by addresses of this machine."""
    port = peers.free_port()
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    async with server:
        found = await tracking_names._silent("t.invalid", port, ["127.0.0.1", "127.0.0.2"])
    assert only(found).kind == "warning"
    assert f"nobody answers at 127.0.0.2:{port}, an address of t.invalid" in only(found).sentence


async def test_no_dns_server_at_all() -> None:
    """One that never answers: bounded, and unknown."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with names.resolver({}) as resolver:
            resolver.port = silent.getsockname()[1]
            resolver.lifetime = 0.5
            async with asyncio.timeout(60):
                found = await asyncio.gather(
                    tracking_names.look(tracked(T), resolver), standing.look(sending("*@example.com"), resolver),
                    dkim_records.look(config.Settings(), resolver),
                )  # fmt: skip
    assert "no DNS server answers this machine" in only(found[0]).sentence
    assert {finding.kind for findings in found for finding in findings if finding.what != "bulk"} == {"unknown"}


# -- how the mail stands with receivers --------------------------------------------------------------------------------


def sending(
    *globs: str, url: str = "https://t.example.com", upstream: str = "", dkim: Sequence[config.Dkim] = ()
) -> config.Settings:
    tracking = Tracking(url=url)
    rules = tuple(Rule(glob, "*", tracking, frozenset()) for glob in globs)
    return config.Settings(tracking=tracking, rules=rules, dkim=tuple(dkim), upstream=config.Upstream(upstream))


GOOD = {"example.com": "v=spf1 include:_spf.example.net ~all", "_dmarc.example.com": "v=DMARC1; p=quarantine"}


@pytest.mark.parametrize(
    ("records", "settings", "kind", "words"),
    [
        (GOOD, sending("*@example.com"), "ok", "has SPF and DMARC (p=quarantine); its signature is the upstream's to make; links stay"),
        (GOOD, sending("*@example.com", dkim=[config.Dkim("example.com", "t1", Path("x"))]), "ok", "has SPF and DMARC (p=quarantine); our signature"),
        ({"sub.example.com": "v=spf1 -all", **GOOD}, sending("*@sub.example.com"), "ok", "has SPF and DMARC"),  # the organisation's
        ({**GOOD, "example.com": "something else"}, sending("*@example.com"), "warning", "has no SPF record: publish a TXT record at example.com"),
        ({**GOOD, "example.com": "v=spf1 +all"}, sending("*@example.com"), "warning", "has an SPF record that lets the whole world send"),
        ({"example.com": "v=spf1 -all"}, sending("*@example.com"), "warning", "has no DMARC record, which Gmail and Yahoo want"),
        ({**GOOD, "_dmarc.example.com": "v=DMARC1; p=maybe"}, sending("*@example.com"), "warning", "has a DMARC record without a policy"),
        (GOOD, sending("*@example.com", url="https://t.other.net"), "warning", "links lead to t.other.net while mail is From example.com"),
        ({**GOOD, "example.com": "v=spf1 ip4:192.0.2.0/24 -all"}, sending("*@example.com", upstream="smtp://a@smtp.gmail.com:587"), "warning",
         "has an SPF record without Gmail, the upstream: add include:_spf.google.com"),
        (GOOD, sending("*@example.com", upstream="smtp://a@smtp.gmail.com:587"), "ok", "has SPF and DMARC"),  # an include of an include
    ],
)  # fmt: skip
async def test_a_sending_domain(records: dict[str, str], settings: config.Settings, kind: str, words: str) -> None:
    async with names.resolver(records) as resolver:
        found = [each for each in await standing.look(settings, resolver) if each.what != "bulk"]
    assert only(found).kind == kind
    assert only(found).sentence.startswith(words)


async def test_two_spf_records_are_none() -> None:
    others = {("example.com", "TXT"): '"v=spf1 -all" | "v=spf1 ~all"'}
    async with names.resolver({"_dmarc.example.com": "v=DMARC1; p=none"}, others) as resolver:
        found = (await standing.look(sending("*@example.com"), resolver))[0]
    assert (found.kind, found.sentence[:22]) == ("warning", "has 2 SPF records, whi")


async def test_a_domain_that_nobody_can_say_anything_of() -> None:
    async with names.resolver({}, {("example.com", "TXT"): "SERVFAIL"}) as resolver:
        found = await standing.look(sending("*@example.com"), resolver)
    assert kinds(found) == ["unknown", "ok"]
    assert "can't be known here" in found[0].sentence


def test_which_domains_send() -> None:
    here = sending(
        "*@rule.example",
        "*",
        "*@*.wild.example",
        "boss@rule.example",
        upstream="smtp://me%40login.example@smtp.example.com",
    )
    here = replace(
        here,
        grants=(config.Grant("g", addresses=("*@grant.example",)),),
        users=(config.User("u", ("*@user.example", "*")),),
    )
    assert standing.senders(here) == ["grant.example", "rule.example", "user.example", "login.example"]
    assert standing.senders(sending(upstream="smtp://me%40gmail.com@smtp.gmail.com")) == [], (
        "whose records are not one's own"
    )


@pytest.mark.parametrize(("unsigned", "kind"), [((), "ok"), (("Date",), "ok"), (("List-Unsubscribe-Post",), "warning")])
def test_one_click(unsigned: tuple[str, ...], kind: str) -> None:
    found = only(standing.bulk(sending(dkim=[config.Dkim("example.com", "t1", Path("x"), unsigned)])))
    assert (found.what, found.kind) == ("bulk", kind)
    assert standing.bulk(config.Settings()) == []
