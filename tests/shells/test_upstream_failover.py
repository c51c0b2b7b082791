"""Several upstreams: whose mail goes where, and what happens where one can't be reached."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from relay import config, delivery, outcomes, spool
from relay.core import queue
from relay.core.model import Done, Envelope, Later, Never, Recipient, Submission
from relay.spool.disk import Disk
from relay.store import memory
from relay.upstream import choice, failover, transaction
from tests.fakes import copies
from tests.fakes import upstream as fake
from tests.samples import sample
from tests.until import until

MESSAGE = b"From: <Ann@Sales.example>\r\nTo: b@x.example\r\nSubject: x\r\n\r\nHello\r\n"
TIMES = transaction.Times(connect=2, mail=0.5, data=2, block=2, dot=2)
LATER = "450 4.2.1 greylisted"


def settings(folder, servers, *, fallback=(), **senders) -> config.Settings:
    """`servers` by name; `senders` are the patterns of those that are not the default."""

    def made(name, **how):
        return config.NamedUpstream(url=servers[name].url, tls="never", id=name, **how)

    return config.Settings(
        state_dir=folder,
        smtp=config.Smtp(hostname="relay.test"),
        upstream=config.Upstream(url=servers["default"].url, tls="never", fallback=tuple(fallback)),
        upstreams=tuple(made(name, senders=tuple(senders.get(name, ()))) for name in servers if name != "default"),
    )


@asynccontextmanager
async def several(folder, scripts, *, processes=1, times=TIMES, **how):
    """The upstreams room over that many scripted upstreams, each by its name."""
    async with AsyncExitStack() as stack:
        offers = how.pop("offers", {})
        made = {name: fake.Upstream(script, offers=offers.get(name, fake.USUAL)) for name, script in scripts.items()}
        servers = {name: await stack.enter_async_context(server) for name, server in made.items()}
        found = settings(folder, servers, **how)
        now = [1000.0]
        out = failover.Upstreams(found, hostname="relay.test", times=times, clock=lambda: now[0], processes=processes)
        try:
            yield out, servers, found, now
        finally:
            await out.close()


@pytest.mark.parametrize(("processes", "connections"), [(1, 20), (3, 7), (64, 2)])
async def test_the_processes_of_a_service_share_the_connections(tmp_path, processes, connections):
    patient = transaction.Times()
    async with several(tmp_path, {"default": None}, processes=processes, times=patient) as (out, servers, _, _):
        await asyncio.gather(*(out.send(envelope(), MESSAGE) for _ in range(40)))
        assert servers["default"].sessions == connections
        assert len(servers["default"].taken) == 40


def envelope(*to, upstream="default", **how):
    return Envelope("a@x.example", tuple(Recipient(r) for r in to or ("b@x.example",)), upstream=upstream, **how)


def sizes(servers):
    return {name: len(server.taken) for name, server in servers.items()}


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("Ann@Sales.example", "sales"),  # in any case
        ("a@other.example", "default"),
        ("", "default"),
        ("root@both.sales.example", "sales"),  # the first match
    ],
)
def test_the_sender_chooses(sender, name):
    found = config.Settings(
        upstreams=(
            config.NamedUpstream(id="sales", senders=("*@sales.example", "*@*.sales.example")),
            config.NamedUpstream(id="both", senders=("*@both.sales.example",)),
            config.NamedUpstream(id="spare"),
        )
    )
    assert choice.name_of(choice.of_sender(found, sender)) == name
    assert choice.name_of(choice.named(found, name)) == name
    assert choice.name_of(choice.named(found, "gone")) == "default"


def test_whose_mail_an_upstream_carries():
    found = config.Settings(
        upstreams=(config.NamedUpstream(id="sales", senders=("*@sales.example",)), config.NamedUpstream(id="spare")),
        grants=(
            config.Grant("a", addresses=("*@sales.example", "x@other.example")),  # of both
            config.Grant("b", email="boss@sales.example", addresses=("*",)),
            config.Grant("default"),
        ),
    )
    assert choice.grants(found, "sales") == ("a", "b")
    assert choice.grants(found, "default") == ("a", "default")
    assert choice.grants(found, "spare") == ()


async def test_an_envelope_goes_to_the_upstream_that_it_names(tmp_path):
    async with several(tmp_path, {"default": {}, "sales": {}}) as (out, servers, _, _):
        await out.send(envelope(upstream="sales"), MESSAGE)
        await out.send(envelope(), MESSAGE)
        await out.send(envelope(upstream="gone"), MESSAGE)
        assert sizes(servers) == {"default": 2, "sales": 1}


UNREACHED = [
    {"connect": "drop"}, {"banner": "421 4.3.2 closing"}, {"ehlo": "drop"}, {"banner": "554 no"},
    {"mail": "drop"}, {"mail": "close:421 4.3.2 closing"}, {"mail": "hang"}, {"data": "drop"}, {"mail": "garbage"},
]  # fmt: skip


@pytest.mark.parametrize("script", UNREACHED, ids=str)
async def test_where_one_cannot_be_reached_the_next_one_has_it(tmp_path, script):
    before = sample("upstream_failovers_total", upstream="spare")
    async with several(tmp_path, {"default": script, "spare": {}}, fallback=["spare"]) as (out, servers, _, _):
        hosts = []
        (outcome,) = await out.send(envelope(), MESSAGE, started=hosts.append)
        assert isinstance(outcome, Done)
        assert sizes(servers) == {"default": 0, "spare": 1}
        assert hosts == ["127.0.0.1"] * 2
    assert sample("upstream_failovers_total", upstream="spare") == before + 1


REACHED = [
    ({"mail": "451 4.3.0 busy"}, Later), ({"rcpt": LATER}, Later), ({"rcpt": "550 5.1.1 nobody"}, Never),
    ({"data": "451 4.3.0 no"}, Later), ({"dot": "451 4.3.0 no"}, Later), ({"dot": "drop"}, Later), ({"dot": "hang"}, Later),
]  # fmt: skip


@pytest.mark.parametrize(("script", "kind"), REACHED, ids=str)
async def test_a_word_on_the_message_or_none_after_it_ends_the_search(tmp_path, script, kind):
    async with several(tmp_path, {"default": script, "spare": {}}, fallback=["spare"]) as (out, servers, _, _):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, kind)
        assert servers["spare"].sessions == 0


LARGE = MESSAGE + b"x" * 500 + b"\r\n"
EIGHT = "From: a@x.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()
SEALED = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nGrüße\r\n--b--\r\n".encode()
UTF8 = "From: a@x.example\r\nSubject: Grüße\r\n\r\nx\r\n".encode()
FEW = ("PIPELINING",)

# what one server lacks, or says that it lacks, and the other one has
LACKING = [
    (LARGE, {}, (*FEW, "SIZE 300"), (), ("b@x.example",)),
    (LARGE, {"mail": "552 5.3.4 Message size exceeds fixed limit"}, fake.USUAL, (), ("b@x.example",)),
    (LARGE, {"dot": "552 message size exceeds the maximum size"}, FEW, (), ("b@x.example",)),
    (SEALED, {}, FEW, ("BODY=8BITMIME",), ("b@x.example",)),
    (SEALED, {"dot": "554 5.6.3 no 8bit"}, fake.USUAL, (), ("b@x.example",)),
    (EIGHT, {"dot": "554 5.6.3 not even so"}, fake.USUAL, (), ("b@x.example",)),
    (UTF8, {}, FEW, ("SMTPUTF8", "BODY=8BITMIME"), ("b@x.example",)),
    (UTF8, {"mail": "550 5.6.7 no"}, fake.USUAL, ("SMTPUTF8",), ("b@x.example",)),
    (MESSAGE, {}, FEW, (), ("ü@x.example",)),
    (MESSAGE, {"rcpt": "553 5.6.7 no"}, fake.USUAL, (), ("ü@x.example",)),
]


@pytest.mark.parametrize(("content", "script", "offers", "options", "to"), LACKING)
async def test_what_one_lacks_the_means_for_goes_to_the_fallback(tmp_path, content, script, offers, options, to):
    before = sample("upstream_failovers_total", upstream="spare")
    async with several(tmp_path, {"default": script, "spare": {}}, fallback=["spare"], offers={"default": offers}) as (
        out,
        servers,
        _,
        _,
    ):
        asked = envelope(*to, options=options)
        (outcome,) = await out.send(asked, content)
        assert isinstance(outcome, Done), outcome
        (kept,) = servers["spare"].kept
        assert kept.content == content  # there it is as it came
        assert sizes(servers) == {"default": 0, "spare": 1}
        assert sample("upstream_failovers_total", upstream="spare") == before + 1
        # what it does have the means for still goes there first
        servers["default"].script.clear()
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert sizes(servers) == {"default": 1, "spare": 1}


@pytest.mark.parametrize(("content", "script", "offers", "options", "to"), LACKING)
async def test_what_nobody_has_the_means_for_is_refused_in_the_first_ones_words(
    tmp_path, content, script, offers, options, to
):
    async with several(
        tmp_path,
        {"default": script, "spare": {}},
        fallback=["spare"],
        offers={"default": offers, "spare": (*FEW, "SIZE 1")},
    ) as (out, servers, _, _):
        (outcome,) = await out.send(envelope(*to, options=options), content)
        assert isinstance(outcome, Never)
        assert "SIZE 1" not in str(outcome.reply)
        assert "up to 1 octets" not in str(outcome.reply)
        assert sizes(servers) == {"default": 0, "spare": 0}


@pytest.mark.parametrize("first", ["away", "lacking"])
async def test_where_the_other_one_cannot_be_reached_it_waits_and_both_are_told(tmp_path, first):
    scripts = [{"connect": "drop"}, {}] if first == "away" else [{}, {"connect": "drop"}]
    offers = {("spare" if first == "away" else "default"): (*FEW, "SIZE 300")}
    async with several(
        tmp_path, dict(zip(["default", "spare"], scripts, strict=True)), fallback=["spare"], offers=offers
    ) as (out, *_):
        for _ in range(2):  # the second time the one that was away comes last
            (outcome,) = await out.send(envelope(), LARGE)
            assert isinstance(outcome, Later)
            assert "does not answer" in outcome.reply.text
            assert "another upstream refused it: 552 5.3.4 The upstream takes messages up to 300" in outcome.reply.text


async def test_only_the_recipients_that_were_refused_so_go_there(tmp_path):
    words = {"<late@x.example>": LATER, "<no@x.example>": "550 5.1.1 nobody"}
    script = {"rcpt": lambda c: words.get(c.removeprefix("RCPT TO:"))}
    script["rcpt2"] = script["rcpt"]
    async with several(tmp_path, {"default": script, "spare": {}}, fallback=["spare"], offers={"default": FEW}) as (
        out,
        servers,
        _,
        _,
    ):
        outcomes = await out.send(
            envelope("a@x.example", "ü@x.example", "late@x.example", "no@x.example", "ö@x.example"), MESSAGE
        )
        assert [type(o) for o in outcomes] == [Done, Done, Later, Never, Done]
        assert servers["default"].taken[0].recipients == ["a@x.example"]
        assert servers["spare"].taken[0].recipients == ["ü@x.example", "ö@x.example"]


@pytest.mark.parametrize(
    "refusal", ["550 5.7.1 not you", "552 5.2.2 mailbox full", "554 5.6.0 malformed", "452 4.3.4 too large for now"]
)
async def test_any_other_refusal_stands(tmp_path, refusal):
    async with several(tmp_path, {"default": {"mail": refusal}, "spare": {}}, fallback=["spare"]) as (out, servers, *_):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert str(outcome.reply) == refusal
        assert servers["spare"].sessions == 0


async def test_what_says_nothing_of_the_message_is_a_reason_for_the_fallback_and_told(tmp_path):
    """A login that is missing, a name that is refused: of each upstream, with the words that check has for it."""
    script = {"mail": "530 5.7.0 Authentication required"}
    async with several(tmp_path, {"default": script, "spare": {}, "other": {"connect": "drop"}}, fallback=["spare"]) as (
        out, servers, _, now,
    ):  # fmt: skip
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Done)
        assert sizes(servers) == {"default": 0, "spare": 1, "other": 0}
        assert isinstance((await out.send(envelope(upstream="other"), MESSAGE))[0], Later)
        found = await out.troubles()
        assert {name: words.partition(" (")[0].split(" 127.")[0] for name, words in found.items()} == dict.fromkeys(
            ["default", "other"], "The upstream"
        )
        assert "wants a login" in found["default"]
        assert "does not answer" in found["other"]
        assert not out.stopped
        servers["spare"].script.update(script)
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Later)
        assert len(await out.troubles()) == 3
        assert not out.stopped  # they speak with us
        servers["other"].script.clear()
        assert "other" in await out.troubles()  # it was looked at a moment ago
        now[0] += failover.PROBE_SECONDS + 1
        assert list(await out.troubles()) == ["default", "spare"]
        assert not servers["other"].taken


async def test_a_refused_login_is_looked_at_again_less_often(tmp_path):
    async with fake.Upstream(users={"me": "other"}) as server:
        found = config.Settings(
            state_dir=tmp_path,
            upstream=config.Upstream(url=server.url.replace("://", "://me@"), tls="never", password="secret"),
        )
        now = [1000.0]
        out = failover.Upstreams(found, hostname="relay.test", times=TIMES, clock=lambda: now[0])
        await out.send(envelope(), MESSAGE)
        for seconds, sessions in ((0, 2), (failover.PROBE_SECONDS + 1, 2), (failover.LOGIN_SECONDS, 3)):
            now[0] += seconds
            assert "refused the login" in (await out.troubles())["default"]
            assert server.sessions == sessions
        assert out.stopped
        await out.close()


@pytest.mark.parametrize("lacks", ["default", "spare"])
async def test_each_gets_the_form_that_it_can_have(tmp_path, lacks):
    """The first ends the session before it has the message, whether or not it offers 8BITMIME."""
    content = b"From: ann@x.example\r\nMIME-Version: 1.0\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    offers = {lacks: ("PIPELINING",)}
    async with several(tmp_path, {"default": {"data": "drop"}, "spare": {}}, fallback=["spare"], offers=offers) as (
        out,
        servers,
        *_,
    ):
        (outcome,) = await out.send(envelope(), content)
        assert isinstance(outcome, Done)
        (kept,) = servers["spare"].kept
        assert kept.content.isascii() is (lacks == "spare")
        assert (kept.content == content) is (lacks == "default")


async def test_who_was_away_comes_last_for_a_while(tmp_path):
    away = {"connect": ["drop", "ok"]}
    async with several(tmp_path, {"default": away, "spare": {}}, fallback=["spare"]) as (out, servers, _, now):
        for _ in range(3):
            await out.send(envelope(), MESSAGE)
        assert servers["default"].sessions == 1
        now[0] += failover.AGAIN_SECONDS + 1
        await out.send(envelope(), MESSAGE)
        assert sizes(servers) == {"default": 1, "spare": 3}


async def test_all_away_is_later(tmp_path):
    gone = {"connect": "drop"}
    async with several(tmp_path, {"default": gone, "spare": gone}, fallback=["spare"]) as (out, servers, _, _):
        for _ in range(2):
            (outcome,) = await out.send(envelope(), MESSAGE)
            assert isinstance(outcome, Later)
        assert [s.sessions for s in servers.values()] == [2, 2]


async def test_a_clients_password_goes_to_one_server_only(tmp_path):
    async with several(tmp_path, {"default": {"connect": "drop"}, "spare": {}}, fallback=["spare"]) as (
        out,
        servers,
        *_,
    ):
        (outcome,) = await out.send(envelope(credentials=("ann", "hush")), MESSAGE)
        assert isinstance(outcome, Later)
        assert servers["spare"].sessions == 0


# -- with delivery and spool - -----------------------------------------------------------------------------------------------


async def test_what_waits_goes_to_the_upstream_it_was_meant_for(tmp_path):
    scripts = {"default": {}, "sales": {"rcpt": [LATER, "ok"]}}
    async with several(tmp_path, scripts, sales=["*@sales.example"]) as (out, servers, found, _):
        store = memory.Memory()
        await store.start()
        heard = outcomes.Outcomes(store)
        kept = spool.Spool(tmp_path / "spool", found, out, heard, schedule=(0.0, 0.05))
        delivering = delivery.Delivery(found, copies.FixedTracker(upstream="sales"), out, kept, heard)
        reply = await (await delivering.take(Submission("a@x.example", (Recipient("b@x.example"),), MESSAGE))).reply
        assert reply.code == 250
        disk = Disk(tmp_path / "spool")
        (name,) = disk.scan()
        assert disk.read(name).upstream == "sales"
        await drained(kept, Disk(tmp_path / "spool"))
        assert sizes(servers) == {"default": 0, "sales": 1}
        await delivering.close()


async def test_what_waits_for_an_upstream_that_is_gone_goes_to_the_default(tmp_path):
    async with several(tmp_path, {"default": {}}) as (out, servers, found, _):
        store = memory.Memory()
        await store.start()
        kept = spool.Spool(tmp_path / "spool", found, out, outcomes.Outcomes(store), schedule=(0.0, 0.05))
        entry = kept.entry("m1", "a@x.example", [queue.Waiting("b@x.example")], upstream="sales")
        await kept.put(entry, MESSAGE)
        await drained(kept, Disk(tmp_path / "spool"))
        assert sizes(servers) == {"default": 1}


async def drained(kept, disk):
    running = asyncio.create_task(kept.run())
    await until(lambda: not list(disk.scan()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# -- the file ----------------------------------------------------------------------------------------------------------

FILE = """
[upstream]
url = "smtp://127.0.0.1:2601"
patience = "2s"
bounce_from = "bounces@example.com"
{default}
[[upstreams]]
id = "sales"
from = ["*@sales.example"]
url = "smtp://127.0.0.1:2602"
on_defer = "pass"
{sales}
[[upstreams]]
id = "spare"
url = "smtps://relay@smtp.example.net"
password = "hush"
[tracking]
url = "https://t.example.com"
"""


def load(folder, default='fallback = ["spare"]', sales='fallback = ["default", "spare"]', more=""):
    (folder / "relay.toml").write_text(FILE.format(default=default, sales=sales) + more)
    (folder / "relay.toml").chmod(0o600)
    return config.load(folder / "relay.toml", {})


def test_what_one_leaves_out_is_as_in_upstream(tmp_path):
    found = load(tmp_path)
    sales, spare = found.upstreams
    assert (sales.patience, sales.on_defer, sales.bounce_from, sales.tls) == (
        2.0,
        "pass",
        "bounces@example.com",
        "never",
    )
    assert (spare.patience, spare.on_defer, spare.tls, spare.password) == (2.0, "spool", "required", "hush")
    assert (found.upstream.fallback, sales.fallback) == (("spare",), ("default", "spare"))
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"sales": 'fallback = ["spar"]'}, 'upstreams[0].fallback[0]: there is no "spar" among [[upstreams]]'),
        ({"sales": 'fallback = ["sales"]'}, "upstreams[0].fallback[0]: is this upstream itself"),
        ({"sales": 'password = "x"'}, "upstreams[0].url: names no login for the password"),
        (
            {"more": '[[upstreams]]\nid = "sales"\nurl = "smtp://h"\n'},
            'upstreams[2].id: "sales" is the name of another',
        ),
        (
            {"more": '[[upstreams]]\nid = "default"\nurl = "smtp://h"\n'},
            'upstreams[2].id: "default" is the name of [up',
        ),
        ({"more": '[smtp]\nauth = "upstream"\n'}, "upstreams: can't be had with smtp.auth"),
    ],
)
def test_mistakes(tmp_path, how, line):
    with pytest.raises(config.InvalidSettings) as found:
        load(tmp_path, **how)
    assert line in str(found.value)


def test_one_without_senders_that_is_no_fallback_is_doubtful(tmp_path):
    found = load(tmp_path, default="", sales="")
    assert [w for w in found.warnings if "nobody's fallback" in w]


async def test_how_each_login_of_ours_ended_is_told(tmp_path):
    words = ["535 5.7.8 no", "454 4.7.0 later", "535 5.7.8 too many attempts, try again later"]
    told = []
    script = {"auth": lambda command: words.pop(0) if words else None}
    async with fake.Upstream(script, offers=(*fake.USUAL, "AUTH PLAIN"), users={"me": "secret"}) as server:
        url = server.url.replace("://", "://me@")
        found = config.Settings(
            state_dir=tmp_path,
            upstream=config.Upstream(url=url, tls="never", password="secret"),
        )
        out = failover.Upstreams(found, hostname="relay.test", times=TIMES, told=lambda *ended: told.append(ended))
        for _ in range(4):
            await out.send(envelope(), MESSAGE)
        await out.close()
    refused = f"451 4.7.8 The upstream {server.url.partition('//')[2]} refused the login: 535 5.7.8 no"
    assert told == [("default", refused), ("default", "")]
