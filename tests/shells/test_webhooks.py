"""Notifications from the outbox to real HTTP receivers on loopback."""

import asyncio
import contextlib
import gzip
import hmac
import json
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook as Verifier
from yarl import URL

from relay import metrics, webhooks
from relay import store as stores
from relay.config import Settings, Webhook, WebhookDelivery
from relay.core import domains, payload
from relay.core.model import Endpoint, Event, Settlement
from relay.store import Notification
from relay.store.contract import Store
from relay.store.sqlite import Sqlite
from relay.webhooks.guard import AddressRefused, Guard
from relay.webhooks.post import Poster, retry_after
from tests import contract
from tests.fakes import hooks
from tests.fakes.hooks import Answer
from tests.store.contract import click, event, sent
from tests.until import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_" + "A" * 32
LOOPBACK = ("127.0.0.0/8",)
CLICKS = ("message.link_clicked",)


class Clock:
    """Real time, and as much more as a test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def settings(*urls: str, allow: Sequence[str] = LOOPBACK, **more: Any) -> Settings:
    asked = {"triggers": CLICKS, "secret": SECRET} | more
    return Settings(
        application_id="app",
        webhooks=tuple(Webhook(url, **asked) for url in urls),
        webhook_delivery=WebhookDelivery(tuple(allow)),
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = stores.open("sqlite:t.db", tmp_path)
    await opened.start()
    await opened.record_sent(sent())
    yield opened
    await opened.stop()


@asynccontextmanager
async def running(config: Settings, store: Store, **how: Any) -> AsyncIterator[webhooks.Webhooks]:
    await store.sync_endpoints(webhooks.configured(config))
    room = webhooks.Webhooks(config, store, **how)
    task = asyncio.create_task(room.run())
    try:
        yield room
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def settled(store: Store, state: str, number: int = 1) -> None:
    async def there() -> bool:
        return sum(x.state == state for x in await store.notifications(limit=10_000)) >= number

    await until(there)


async def failed(store: Store) -> Notification:
    """The first notification of which an attempt has failed."""

    async def there() -> list[Notification]:
        return [x for x in await store.notifications() if x.error]

    return (await until(there))[0]


async def append(store: Store, given: Event) -> Event:
    done = await store.append(given)
    assert isinstance(done, Event)
    return done


async def test_a_notification_arrives_at_once_and_verifies(store: Store) -> None:
    async with hooks.receiver() as hook, running(settings(hook.url), store) as room:
        done = await append(store, click(2))
        room.wake()
        await hook.until(lambda h: len(h.received) == 1)
        await settled(store, "delivered")
    got = hook.received[0]
    assert contract.errors(got.json) == []
    assert got.json["id"] == got.headers["webhook-id"] == done.event_id
    assert got.json["data"]["object"]["link_data"][2] == {"count": 1, "url": "https://a.example/"}
    assert got.headers["content-type"] == "application/json"
    assert len(got.headers["x-nylas-signature"]) == 64
    assert Verifier(SECRET).verify(got.body, dict(got.headers)) == got.json


async def test_what_another_process_appends_goes_out_too(store: Store) -> None:
    async with hooks.receiver() as hook, running(settings(hook.url), store):
        await append(store, click())
        await hook.until(lambda h: len(h.received) == 1)


async def test_the_formats_side_by_side(store: Store) -> None:
    async with hooks.receiver() as v3, hooks.receiver() as v2, hooks.receiver() as unosend:
        config = Settings(
            webhooks=(
                Webhook(v3.url, ("message.opened", "message.opened.legacy"), SECRET),
                Webhook(v2.url, ("message.opened",), SECRET, format="nylas-v2"),
                Webhook(unosend.url, ("email.opened",), SECRET, format="unosend"),
            ),
            webhook_delivery=WebhookDelivery(LOOPBACK),
        )
        async with running(config, store) as room:
            await append(store, event())
            room.wake()
            await settled(store, "delivered", 4)
    assert Counter(r.json["type"] for r in v3.received) == {"message.opened": 1, "message.opened.legacy": 1}
    assert list(v2.received[0].json) == ["deltas"]
    got = unosend.received[0]
    assert contract.errors(got.json) == []
    assert got.headers["x-unosend-retry-attempt"] == "0"
    assert "x-unosend-signature" in got.headers


async def test_a_retry_repeats_the_body_but_for_its_number(store: Store) -> None:
    clock = Clock()
    async with (
        hooks.receiver(lambda n, _: Answer(500 if n < 2 else 204)) as hook,
        running(settings(hook.url), store, clock=clock) as room,
    ):
        await append(store, click())
        for n in range(3):
            room.wake()
            await hook.until(lambda h: len(h.received) == n + 1)  # noqa: B023
            await append(store, event())  # whatever comes in between
            clock.ahead += 400
        await settled(store, "delivered")
    bodies = [r.json for r in hook.received]
    assert [b.pop("webhook_delivery_attempt") for b in bodies] == [1, 2, 3]
    assert bodies[0] == bodies[1] == bodies[2]
    assert len({r.headers["webhook-id"] for r in hook.received}) == 1
    assert len({r.headers["webhook-timestamp"] for r in hook.received}) == 3
    for r in hook.received:
        expected = payload.signatures(
            r.body,
            SECRET,
            event_id=r.headers["webhook-id"],
            timestamp=int(r.headers["webhook-timestamp"]),
            format="nylas",
        )
        assert expected.items() <= r.headers.items()


@pytest.mark.parametrize(
    "answer",
    [Answer(500), Answer(404), Answer(301, {"Location": "/elsewhere"}), Answer(304), Answer(cut=True), Answer(pause=9)],
    ids=["500", "404", "301", "304", "cut", "silent"],
)
async def test_what_is_tried_again(store: Store, answer: Answer) -> None:
    async with hooks.receiver(lambda n, _: answer) as hook:
        poster = Poster(Guard(LOOPBACK), timeout=2 if answer.pause else 30)
        async with running(settings(hook.url), store, poster=poster) as room:
            await append(store, click())
            room.wake()
            notification = await failed(store)
    assert (notification.state, notification.attempt, notification.status) == (
        "pending",
        1,
        answer.status if not (answer.cut or answer.pause) else 0,
    )
    assert 4 < notification.next_at - notification.settled_at < 6
    assert [r.path for r in hook.received] == ["/hook"]


async def test_after_the_last_attempt_it_is_a_dead_letter_that_can_be_replayed(store: Store) -> None:
    clock = Clock()
    good = False
    async with (
        hooks.receiver(lambda n, _: Answer(200 if good else 500)) as hook,
        running(settings(hook.url), store, clock=clock) as room,
    ):
        await append(store, click())
        settled_at = 0.0
        for n in range(10):
            room.wake()
            await hook.until(lambda h: len(h.received) == n + 1)  # noqa: B023

            async def one_more(before: float = settled_at) -> Notification | None:
                (found,) = await store.notifications()
                return found if found.settled_at != before else None

            notification = await until(one_more)
            assert notification
            settled_at = notification.settled_at
            clock.ahead += 100_000
        assert notification.state == "dead"
        assert await store.next_due() is None
        good = True
        assert await store.replay(clock(), dead=True) == 1
        room.wake()
        await settled(store, "delivered")
    assert [r.json["webhook_delivery_attempt"] for r in hook.received] == [*range(1, 11), 1]


async def test_410_shuts_the_endpoint(store: Store) -> None:
    async with hooks.receiver(lambda n, _: Answer(410)) as hook, running(settings(hook.url), store) as room:
        await append(store, click())
        room.wake()
        await settled(store, "dead")
        await append(store, click())
        room.wake()
        assert [e.status for e in await store.endpoints()] == ["failed"]
        assert len(await store.notifications()) == 1
    assert len(hook.received) == 1


async def test_who_wants_to_hear_of_a_410_hears_it_once(store: Store) -> None:
    async with hooks.receiver(lambda n, _: Answer(410)) as hook, running(settings(), store) as room:
        await store.add_endpoint(
            Endpoint("mine", hook.url, CLICKS, SECRET, registry="nylas", notify=("ops@example.com",))
        )
        for _ in range(5):
            await append(store, click())
        room.wake()

        async def all_tried() -> bool:
            return not await store.notifications(state="pending") or await store.next_due() is None

        await until(lambda: hook.received)
        await until(all_tried)
        (notice,) = await store.notices()
        assert (notice.status, notice.error, notice.endpoint_id) == ("failed", "HTTP 410", "mine")


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_for_the_whole_endpoint(store: Store, status: int) -> None:
    clock = Clock()
    async with (
        hooks.receiver(lambda n, _: Answer(status, {"Retry-After": "100"}) if n == 0 else Answer()) as hook,
        hooks.receiver() as other,
        running(settings(hook.url, other.url), store, clock=clock) as room,
    ):
        await append(store, click())
        room.wake()
        notification = await failed(store)
        assert 99 < notification.next_at - notification.settled_at < 101
        clock.ahead += 50
        for n in range(2, 4):  # two rounds, by what the other endpoint hears: nothing may come meanwhile
            await append(store, click())
            room.wake()
            await other.until(lambda h: len(h.accepted) == n)  # noqa: B023
        assert len(hook.received) == 1
        clock.ahead += 60
        room.wake()
        await settled(store, "delivered", 6)


async def test_a_silent_endpoint_delays_no_other_and_keeps_one_place(store: Store) -> None:
    async with hooks.receiver(lambda n, _: Answer(pause=30)) as silent, hooks.receiver() as good:
        poster = Poster(Guard(LOOPBACK), timeout=2)
        async with running(settings(silent.url, good.url), store, poster=poster) as room:
            for n in range(100):
                await append(store, click(n % 3))
            room.wake()
            await good.until(lambda h: len(h.received) == 100)
            assert len(silent.received) <= 2 * webhooks.LANE  # the good one was not paced by it
            before = len(silent.received)
            await silent.until(lambda h: len(h.received) >= before + 2)
    assert silent.most_under_way <= webhooks.LANE


async def test_every_event_arrives_though_a_third_of_the_answers_fail(store: Store) -> None:
    dice = random.Random(7)
    clock = Clock()
    number = 300

    def script(n: int, headers: object) -> Answer:
        return dice.choice([Answer(), Answer(), Answer(), Answer(), Answer(500), Answer(cut=True)])

    async with hooks.receiver(script) as hook:
        ids = set()
        for start in range(3):  # the service stops and starts in the middle of it
            async with running(settings(hook.url), store, clock=clock) as room:
                for done in await asyncio.gather(*(append(store, click(n % 3)) for n in range(number // 3))):
                    ids.add(done.event_id)
                room.wake()
                await hook.until(lambda h: len(h.received) > 80 * (start + 1))  # noqa: B023
        async with running(settings(hook.url), store, clock=clock) as room:

            async def over() -> bool:
                clock.ahead += 1000  # past leases and pauses, never past an attempt's own timeout
                room.wake()
                return all(x.state != "pending" for x in await store.notifications(limit=1000))

            await until(over, 60)
    assert {x.state for x in await store.notifications(limit=1000)} == {"delivered"}
    assert {r.json["id"] for r in hook.accepted} == ids
    assert len(ids) == number


async def test_a_process_that_stood_still_until_its_lease_was_over_posts_nothing(store: Store) -> None:
    """Somebody else has the notification by then."""
    clock, passed = Clock(), iter((0.0, 121.0))
    async with hooks.receiver() as hook:
        still = {"passed": lambda: next(passed, 1e9), "times": webhooks.Times(end=60)}
        async with running(settings(hook.url), store, clock=clock, **still) as room:
            await append(store, click())
            room.wake()
            await until(lambda: claimed(store))
        assert hook.received == []
        assert [n.attempts for n in await store.notifications()] == [()]
        clock.ahead = 121.0
        async with running(settings(hook.url), store, clock=clock) as room:
            room.wake()
            await settled(store, "delivered")
    assert len(hook.received) == 1


async def claimed(store: Store) -> bool:
    return bool([n for n in await store.notifications() if n.attempt])


async def test_a_poisoned_event_is_given_up_and_the_others_go_on(store: Store) -> None:
    clock = Clock()
    async with hooks.receiver() as hook, running(settings(hook.url), store, clock=clock) as room:
        await append(store, click(message_id="other"))
        assert isinstance(store, Sqlite)
        await store.writer.submit(lambda db: db.execute("UPDATE events SET data = '{broken'").rowcount)
        await append(store, click())
        room.wake()
        await settled(store, "delivered")

        async def over() -> bool:
            clock.ahead += 20_000
            room.wake()
            return Counter(x.state for x in await store.notifications()) == {"dead": 1, "delivered": 1}

        await until(over)
    assert len(hook.received) == 1


async def test_a_stop_gives_back_what_is_under_way(store: Store) -> None:
    async with hooks.receiver(lambda n, _: Answer(pause=30)) as hook:
        async with running(settings(hook.url), store, times=webhooks.Times(end=0.05)) as room:
            await append(store, click())
            room.wake()
            await hook.until(lambda h: len(h.received) == 1)
        due = await store.next_due()
        assert due is not None
        assert due <= time.time()


async def test_an_endpoint_without_a_known_secret_gets_nothing(store: Store) -> None:
    async with hooks.receiver() as hook, running(settings(hook.url, secret=""), store) as room:
        await append(store, click())
        room.wake()
        await failed(store)
        assert hook.received == []


# -- where it may go ---------------------------------------------------------------------------------------------------

SPELLINGS = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "127.0.0.1.",
    "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "0.0.0.0", "0",
    "[::]", "localhost", "LOCALHOST", "localhost.", "user:password@127.0.0.1", "user@localhost", "127.0.0.1%2f",
    "[fe80::1%25lo]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "10.0.0.1", "192.168.0.1", "172.16.0.1",
    "169.254.169.254", "100.64.0.1", "[fd00::1]", "\u2460\u2461\u2466.0.0.1", "127\u30020.0.1",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_spelling_of_a_private_address_is_dialled(scheme: str) -> None:
    async with hooks.receiver() as hook:
        port = URL(hook.url).port
        poster = Poster(Guard(), timeout=30)
        for spelling in SPELLINGS:
            answer = await poster.post(f"{scheme}://{spelling}:{port}/", b"{}", {}, 0)
            assert answer.status == 0, spelling
        for url in [
            "ftp://127.0.0.1/",
            "unix:///tmp/x",
            "file:///etc/passwd",
            "//127.0.0.1/",
            "",
            "http://",
            "nonsense",
        ]:
            assert (await poster.post(url, b"{}", {}, 0)).status == 0
        await poster.close()
        assert hook.received == []


class Scripted(AbstractResolver):
    """Answers with one list of addresses after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
            for a in found
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["10.0.0.7"], ["169.254.169.254"]])
async def test_a_name_that_leads_inside_is_refused(answers: list[str]) -> None:
    async with hooks.receiver() as hook:
        poster = Poster(Guard(), timeout=30, resolver=Scripted(answers))
        for scheme in ("http", "https"):
            answer = await poster.post(f"{scheme}://hooks.example:{URL(hook.url).port}/", b"{}", {}, 0)
            assert answer.error.startswith("refused:")
        await poster.close()
    assert hook.received == []


async def test_a_name_is_looked_up_once_for_a_connection_and_pinned() -> None:
    async with hooks.receiver() as hook:
        resolver = Scripted(["127.0.0.1"], ["10.9.9.9"])
        poster = Poster(Guard(["127.0.0.1"]), timeout=30, resolver=resolver)
        port = URL(hook.url).port
        assert (await poster.post(f"http://hooks.example:{port}/", b"{}", {}, 0)).good
        assert resolver.asked == 1
        assert (await poster.post(f"http://hooks.example:{port}/", b"{}", {}, 0)).good  # the same connection
        other = await poster.post(f"http://HOOKS.example.:{port}/", b"{}", {}, 0)
        assert other.good or other.error.startswith("refused:")
        await poster.close()


async def test_what_is_allowed(store: Store) -> None:
    async with hooks.receiver() as hook:
        port = URL(hook.url).port
        for allow, url, good in [
            (["127.0.0.1"], hook.url, True),
            (["127.0.0.0/8"], hook.url, True),
            (["10.0.0.0/8"], hook.url, False),
            (["localhost"], f"http://localhost:{port}/", True),
            (["localhost"], hook.url, False),
        ]:
            poster = Poster(Guard(allow), timeout=30)
            assert (await poster.post(url, b"{}", {}, 0)).good is good, (allow, url)
            await poster.close()


async def test_no_redirect_no_proxy_no_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hooks.receiver() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        away = Answer(302, {"Location": "/elsewhere", "Set-Cookie": "a=b"})
        async with hooks.receiver(lambda n, _: away) as hook:
            poster = Poster(Guard(LOOPBACK), timeout=30)
            for _ in range(2):
                assert (await poster.post(hook.url, b"{}", {}, 0)).status == 302
            await poster.close()
        assert [r.path for r in hook.received] == ["/hook", "/hook"]
        assert all("cookie" not in r.headers for r in hook.received)
        assert proxy.received == []


async def test_a_huge_answer_is_not_read() -> None:
    async with hooks.receiver(lambda n, _: Answer(200, body=b"x" * 50_000_000)) as hook:
        poster = Poster(Guard(LOOPBACK), timeout=30)
        assert (await poster.post(hook.url, b"{}", {}, 0)).good
        await poster.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5.0), ("0", 0.0), ("", 0.0), ("soon", 0.0), ("-5", 0.0), ("9" * 30, 86_400.0),
     ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0), ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after(text: str, expected: float) -> None:
    assert retry_after(text, 1_700_000_000) == expected


def test_http_is_for_allowed_hosts_only() -> None:
    with pytest.raises(AddressRefused, match="http"):
        Guard().check(URL("http://8.8.8.8/"))
    Guard().check(URL("https://8.8.8.8/"))
    Guard(["8.8.8.8"]).check(URL("http://8.8.8.8/"))


@pytest.mark.parametrize(
    "host", ["hooks.fa\u00df.test", "HOOKS.FA\u1e9e.test", "hooks.xn--fa-hia.test", "hooks.xn--fa-hia.test."]
)
def test_a_host_is_allowed_in_any_spelling(host: str) -> None:
    guard = Guard(["Hooks.fa\u00df.test."])
    guard.dial(domains.spelt(host), ip_address("10.0.0.1"), plain=True)
    with pytest.raises(AddressRefused, match="not a public address"):
        guard.dial("hooks.fass.test", ip_address("10.0.0.1"), plain=True)


def test_the_example_of_the_documentation_of_standard_webhooks() -> None:
    body = json.dumps({"test": 2432232314}).encode()
    made = payload.signatures(
        body, SECRET, event_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, format="nylas"
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_clock_set_back_makes_no_retry_wait_for_longer(store: Store) -> None:
    clock = Clock()
    clock.ahead = 86_400.0
    async with (
        hooks.receiver(lambda n, _: Answer(503, {"Retry-After": "1"}) if n < 1 else Answer(204)) as hook,
        running(settings(hook.url), store, clock=clock) as room,
    ):
        await append(store, click())
        room.wake()
        await settled(store, "pending")
        await hook.until(lambda h: len(h.received) == 1)
        assert (await failed(store)).status == 503
        clock.ahead = 0.0
        await settled(store, "delivered")


async def test_what_a_clock_that_was_ahead_has_left_behind_is_sent_within_a_day(store: Store) -> None:
    config = settings("http://127.0.0.1:1/")
    await store.sync_endpoints(webhooks.configured(config))
    await append(store, click())
    year = time.time() + 365 * 86_400
    (due,) = await store.claim_due(year)
    await store.settle(due.delivery_id, Settlement("retry", year, next_at=year + 5))

    async def soon() -> bool:
        return (await store.notifications())[0].next_at <= time.time() + webhooks.LONGEST

    async with running(config, store):
        await until(soon)


def counted(status: str) -> float:
    return metrics.value("trackrelay_webhook_endpoints", status=status)


async def test_how_endpoints_do_is_counted_whoever_says_it(store: Store) -> None:
    clock = Clock()
    await store.add_endpoint(Endpoint("mine", "https://e.example/", CLICKS, SECRET))
    await store.add_endpoint(Endpoint("another", "https://e.example/", CLICKS, SECRET, status="failed"))
    async with running(settings(), store, clock=clock) as room:
        await until(lambda: [counted(status) for status in webhooks.STATUSES] == [1, 0, 1, 0])
        await store.set_endpoint_status("mine", "pause", clock())  # as another process does
        clock.ahead = 11
        room.wake()
        await until(lambda: [counted(status) for status in webhooks.STATUSES] == [0, 0, 1, 1])


async def test_what_fails_for_long_is_failing_then_failed_and_gets_no_more(store: Store) -> None:
    clock = Clock()
    async with hooks.receiver(lambda n, h: Answer(500)) as hook:
        endpoint = Endpoint("mine", hook.url, CLICKS, SECRET, registry="nylas", notify=("ops@example.com",))
        await store.add_endpoint(endpoint)
        async with running(settings(), store, clock=clock) as room:

            async def attempt(ahead: float, status: str) -> None:
                clock.ahead = ahead
                count = len(hook.received)
                await append(store, click(2))
                room.wake()
                await hook.until(lambda h: len(h.received) > count)

                async def there() -> bool:
                    return (await store.endpoints())[0].status == status

                await until(there)
                await until(lambda: all(counted(one) == (one == status) for one in webhooks.STATUSES))

            await attempt(0, "active")
            await attempt(901, "failing")
            since = (await store.endpoints())[0].status_updated_at
            assert since >= time.time() + 890
            await attempt(901 + 73 * 3600, "failed")
        failing, failed = await store.notices()
        assert [(n.status, n.error, n.to) for n in (failing, failed)] == [
            ("failing", "HTTP 500", ("ops@example.com",)),
            ("failed", "HTTP 500", ("ops@example.com",)),
        ]
        assert failing.at - failing.since >= 890
        assert failed.since == failing.since  # the same spell
        await append(store, click(2))
        assert await store.next_due() is None
        waiting = len(await store.notifications(state="pending"))
        await store.set_endpoint_status("mine", "active", clock())
        assert len(await store.notifications(state="pending")) == waiting  # what came while it was failed is not owed


async def test_what_is_owed_to_a_paused_endpoint_waits_and_what_comes_is_not_owed(store: Store) -> None:
    async with hooks.receiver() as hook:
        await store.add_endpoint(Endpoint("mine", hook.url, CLICKS, SECRET, registry="nylas"))
        before = await append(store, click(2))
        await store.set_endpoint_status("mine", "pause", time.time())
        async with running(settings(), store) as room:
            await append(store, click(2))
            assert await store.next_due() is None
            await store.set_endpoint_status("mine", "active", time.time())
            room.wake()
            await settled(store, "delivered")
            assert [r.json["id"] for r in hook.received] == [before.event_id]
            assert await store.replay(time.time(), since=0.0) == 2
            room.wake()
            await hook.until(lambda h: len(h.received) == 3)


async def test_during_a_rotation_both_secrets_sign(store: Store) -> None:
    clock = Clock()
    async with hooks.receiver() as hook:
        await store.add_endpoint(
            Endpoint("mine", hook.url, CLICKS, SECRET, registry="nylas", previous_secret=OLD, rotated_at=time.time())
        )
        async with running(settings(), store, clock=clock) as room:
            for number, ahead in enumerate((0.0, webhooks.ROTATION + 1)):
                clock.ahead = ahead
                await append(store, click(2))
                room.wake()
                await hook.until(lambda h, number=number: len(h.received) > number)  # type: ignore[misc]
    during, later = hook.received
    assert len(during.headers["webhook-signature"].split()) == 2
    assert Verifier(OLD).verify(during.body, dict(during.headers))
    assert Verifier(SECRET).verify(during.body, dict(during.headers))
    assert len(later.headers["webhook-signature"].split()) == 1
    for got in hook.received:
        assert got.headers["x-nylas-signature"] == hmac.digest(SECRET.encode(), got.body, "sha256").hex()


async def test_a_compressed_delivery_is_signed_as_it_is_sent(store: Store) -> None:
    async with hooks.receiver() as hook:
        await store.add_endpoint(Endpoint("mine", hook.url, CLICKS, SECRET, registry="nylas", compressed=True))
        async with running(settings(), store) as room:
            await append(store, click(2))
            room.wake()
            await settled(store, "delivered")
            (sent_once,) = await store.notifications()
            assert [a.status for a in sent_once.attempts] == [200]
    (got,) = hook.received
    assert got.headers["content-encoding"] == "gzip"
    assert contract.errors(got.json) == []


def test_what_is_compressed_again_is_the_same() -> None:
    assert webhooks.compressed(b"x" * 1000) == webhooks.compressed(b"x" * 1000)
    assert gzip.decompress(webhooks.compressed(b"x" * 1000)) == b"x" * 1000
