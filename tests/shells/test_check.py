"""`trackrelay check`: each thing that it looks at against something real, or a named fake, on loopback."""

import asyncio
import contextlib
import errno
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from relay import causes, config, files, keys, mailbox
from relay import check as checks
from relay import store as stores
from relay.check import dkim_records, listeners, mailboxes, state_dir, tracking_host, upstreams
from relay.check import nodes as check_nodes
from relay.core import nodes
from relay.core.model import Tracking
from relay.core.nodes import Node
from relay.mailbox import source
from relay.store import memory
from tests import peers
from tests.fakes import certificates, imap, names
from tests.fakes.upstream import USUAL, Upstream
from tests.peers import dovecot
from tests.until import until
from tracking_http.public import PIXEL


def settings(tmp_path, **parts):
    http = config.Http(listen=(f"127.0.0.1:{peers.free_port()}",))
    here = {
        "state_dir": tmp_path / "var",
        "smtp": config.Smtp(listen=(f"127.0.0.1:{peers.free_port()}",), hostname="relay.example.com"),
        "http": http,
        "admin": config.Admin(listen=f"127.0.0.1:{peers.free_port()}"),
        "tracking": Tracking(url=f"http://{http.listen[0]}"),
        **parts,
    }
    return config.Settings(**here)


def told(findings):
    return [str(finding) for finding in findings]


def only(findings):
    (finding,) = findings
    return finding


# -- the command -------------------------------------------------------------------------------------------------------


def check(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "relay", "check", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**os.environ, **environ},
    )  # fmt: skip


def file(tmp_path, text):
    http = peers.free_port()
    (tmp_path / "relay.toml").write_text(f"""
[smtp]
listen = ["127.0.0.1:{peers.free_port()}"]
hostname = "relay.example.com"
[http]
listen = "127.0.0.1:{http}"
[admin]
listen = "127.0.0.1:{peers.free_port()}"
[tracking]
url = "http://127.0.0.1:{http}"
{text}
""")
    return tmp_path / "relay.toml"


async def test_all_is_well(tmp_path):
    async with Upstream() as upstream:
        path = file(tmp_path, f'[upstream]\nurl = "{upstream.url}"\n')
        done = await asyncio.to_thread(check, "--config", path)
    assert done.stderr == ""
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == f"ok       file: {path} has no mistakes"
    assert [line.split(":")[0].split()[1] for line in lines] == [
        "file", "state_dir", "keys", "store", "nodes", "smtp.listen", "http.listen", "admin.listen", "files",
        "upstream", "tracking.url",
    ]  # fmt: skip
    assert "losing it kills every link" in done.stdout
    assert not (tmp_path / "var").exists(), "a check changes nothing"
    assert not upstream.kept


def test_failures_are_sentences_and_exit_1(tmp_path):
    path = file(tmp_path, f'thread_replies = true\n[upstream]\nurl = "smtp://127.0.0.1:{peers.free_port()}"\n')
    done = check("--config", path)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert "does not answer" in only(failed)
    assert "warning  tracking.thread_replies: is on, but no grant has a mailbox" in done.stdout


def test_without_an_upstream_it_says_what_to_write(tmp_path):
    done = check("--config", file(tmp_path, ""))
    assert done.returncode == 1
    assert "FAILED   upstream: upstream.url is missing: name the server that delivers the mail" in done.stdout


def test_mistakes_of_the_file_exit_2(tmp_path):
    path = file(tmp_path, 'opens = "often"\nspeed = 3\n')
    done = check("--config", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"{path}:11", "tracking.opens"],
        [f"{path}:12", "tracking.speed"],
    ]


async def test_a_check_that_breaks_is_a_finding(tmp_path):
    async def breaks(_):
        raise RuntimeError("no")

    found = await checks.findings("x", breaks, settings(tmp_path))
    assert told(found) == ["FAILED   x: could not be tried: RuntimeError: no"]


# -- this machine ------------------------------------------------------------------------------------------------------


async def test_the_state_folder(tmp_path):
    (tmp_path / "var").mkdir(mode=0o755)
    found = await state_dir.folder(settings(tmp_path))
    assert found[-1].kind == "warning"
    assert "chmod 700" in found[-1].sentence
    (tmp_path / "var").chmod(0o700)
    assert only(await state_dir.folder(settings(tmp_path))).kind in ("ok", "warning")  # warning: a full disk
    (tmp_path / "file").touch()
    found = await state_dir.folder(settings(tmp_path, state_dir=tmp_path / "file"))
    assert only(found).kind == "failure"


async def test_the_token_keys(tmp_path):
    path = tmp_path / "var" / "keys" / "tokens.json"
    keys.TokenKeys(path)
    keys.rotate(path)
    found = only(await state_dir.keys(settings(tmp_path)))
    assert found.kind == "warning"
    assert "2 token keys. Losing it kills every link" in found.sentence
    path.write_text("{}")
    assert only(await state_dir.keys(settings(tmp_path))).kind == "failure"


async def test_a_state_dir_that_others_can_use(tmp_path):
    here = settings(tmp_path)
    here.state_dir.mkdir(mode=0o700)
    assert only(await state_dir.folder(here)).kind == "ok"
    here.state_dir.chmod(0o755)
    assert [f.kind for f in await state_dir.folder(here)] == ["ok", "warning"]
    here.state_dir.chmod(0o777)
    found = only(await state_dir.folder(here))
    assert (found.kind, found.sentence) == ("failure", files.exposed(here.state_dir))


async def test_the_store(tmp_path):
    from relay import store

    here = settings(tmp_path)
    here.state_dir.mkdir()
    opened = store.open(here.store.url, here.state_dir)
    await opened.start()
    try:
        assert only(await state_dir.store(here)).kind == "ok"
    finally:
        await opened.stop()
    (here.state_dir / "trackrelay.db").write_text("this is no database" * 99)
    assert "can't be read" in only(await state_dir.store(here)).sentence


@pytest.mark.parametrize(
    ("smtp", "http", "url", "kinds", "words"),
    [
        (1, 1, "sqlite:trackrelay.db", [], ""),
        (
            2,
            1,
            "sqlite:trackrelay.db",
            ["warning"],
            "2 of smtp bring little with SQLite, where one of them writes at a time",
        ),
        (2, 3, "sqlite:trackrelay.db", ["warning"], "2 of smtp and 3 of http bring little"),
        (1, 4, "postgresql://db/x", ["ok"], "4 of http, under a supervisor"),
    ],
)
async def test_several_processes(tmp_path, smtp, http, url, kinds, words):
    here = settings(tmp_path, store=config.StoreSettings(url))
    here = replace(here, smtp=replace(here.smtp, workers=smtp), http=replace(here.http, workers=http))
    found = await state_dir.processes(here)
    assert [f.kind for f in found] == kinds
    assert all(f.sentence.startswith(words) for f in found)
    assert [("PostgreSQL" in f.sentence) for f in found] == [kind == "warning" for kind in kinds]


async def test_ports(tmp_path):
    here = settings(tmp_path)
    assert [f.kind for f in await listeners.addresses(here)] == ["ok", "ok", "ok"]
    host, port = here.smtp.listen[0].split(":")
    with socket.create_server((host, int(port))):
        found = (await listeners.addresses(here))[0].sentence
        assert f"(process {os.getpid()}) listens there; stop it, or choose another port" in found
    there = replace(here, smtp=config.Smtp(listen=("192.0.2.1:2525",)))
    assert "this machine has no such address" in (await listeners.addresses(there))[0].sentence


async def test_the_milters_listener(tmp_path):
    port = peers.free_port()

    async def found(listen: str, group: str = "") -> checks.Finding:
        milter = config.Milter(listen, group=group)
        return (await listeners.addresses(replace(settings(tmp_path), milter=milter)))[3]

    assert (await found(f"inet:127.0.0.1:{port}")).kind == "ok"
    with socket.create_server(("127.0.0.1", port)):
        assert f"(process {os.getpid()}) listens there" in (await found(f"inet:127.0.0.1:{port}")).sentence
    path = tmp_path / "milter.sock"
    assert (await found(f"unix:{path}")).kind == "ok"
    assert "there is no group" in (await found(f"unix:{path}", group="no such group")).sentence
    assert "is no folder that can be written to" in (await found(f"unix:{tmp_path}/none/x")).sentence
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        assert (await found(f"unix:{path}")).kind == "ok"  # left by a process that was killed
        other.listen()
        assert "another process listens at" in (await found(f"unix:{path}")).sentence
    assert path.is_socket()


async def test_ports_of_the_running_service_are_no_failure(tmp_path):
    here = settings(tmp_path)

    async def healthy(_):
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/healthz", healthy)
    runner = web.AppRunner(application)
    await runner.setup()
    host, port = here.admin.listen.split(":")
    await web.TCPSite(runner, host, int(port)).start()
    try:
        assert "is in use while the service runs" in (await listeners.addresses(here))[2].sentence
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("name", "days", "kinds", "words"),
    [
        ("relay.example.com", 60, ["ok"], "is good until"),
        ("relay.example.com", 3, ["warning"], "expires in 2 days"),
        ("relay.example.com", -1, ["failure"], "expired on"),
        ("other.example.com", 60, ["ok", "warning"], "is for other.example.com, not for smtp.hostname"),
        ("*.example.com", 60, ["ok"], "is good until"),
    ],
)
async def test_certificates(tmp_path, name, days, kinds, words):
    certificate, key = certificates.make(tmp_path, name, days=days)
    smtp = config.Smtp(hostname="relay.example.com", certificate=certificate, key=key)
    *found, own = await listeners.certificates(settings(tmp_path, smtp=smtp))
    if own.kind == "failure":  # one that has expired is not looked at any further
        found.append(own)
    else:
        assert "is self-signed: clients refuse it" in own.sentence
    assert [f.kind for f in found] == kinds
    assert words in found[-1].sentence


async def test_a_key_of_another_certificate(tmp_path):
    certificate, _ = certificates.make(tmp_path / "a")
    _, key = certificates.make(tmp_path / "b")
    found = await listeners.certificates(settings(tmp_path, smtp=config.Smtp(certificate=certificate, key=key)))
    assert "can't be used: the key does not belong to the certificate; " in only(found).sentence


# -- upstream ----------------------------------------------------------------------------------------------------------


def up(upstream, **values):
    return config.Upstream(**{"url": upstream.url, "tls": "never", **values})


async def test_the_login_at_the_upstream(tmp_path, monkeypatch):
    pair = certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
    server = certificates.serving(pair)
    async with Upstream(starttls=server, users={"u": "right"}) as upstream:
        url = f"smtp://u@127.0.0.1:{upstream.port}"
        there = config.Upstream(url=url, password="right", tls="required")
        found = await upstreams.look(settings(tmp_path, upstream=there))
        assert found[0].kind == "ok", told(found)
        assert f"127.0.0.1:{upstream.port} took the login u over TLSv1.3, certificate verified" in found[0].sentence
        there = replace(there, password="wrong")
        found = only(await upstreams.look(settings(tmp_path, upstream=there)))
        assert found.kind == "failure"
        assert "refused the login" in found.sentence
        monkeypatch.delenv("SSL_CERT_FILE")
        found = only(await upstreams.look(settings(tmp_path, upstream=there)))
        assert "The certificate of the upstream" in found.sentence
    assert not upstream.kept


async def test_an_upstream_without_starttls_where_tls_is_required(tmp_path):
    async with Upstream() as upstream:
        found = only(await upstreams.look(settings(tmp_path, upstream=up(upstream, tls="required"))))
    assert (found.kind, "does not offer STARTTLS" in found.sentence) == ("failure", True)


async def test_an_upstream_that_takes_less_than_we_do(tmp_path):
    async with Upstream(offers=(*USUAL, "SIZE 1000000")) as upstream:
        found = await upstreams.look(settings(tmp_path, upstream=up(upstream)))
    assert "takes messages up to 1,000,000 octets only" in found[1].sentence


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("530 5.7.0 Authentication required", "wants a login; name its user in the URL of the upstream: 530 5.7.0"),
        ("530 5.7.0 Must issue a STARTTLS command first", 'wants TLS; set its tls = "required": 530 5.7.0'),
        (
            "504 5.5.2 <relay.example.com>: Helo command rejected",
            "refuses our name relay.example.com; set smtp.hostname",
        ),
        ("drop", "does not answer"),
        ("501 5.1.7 Invalid MAIL FROM address provided", ""),  # another matter
        ("450 4.7.1 try later", ""),
        (None, ""),
    ],
)
async def test_what_an_upstream_says_of_us_at_mail_only(tmp_path, reply, words):
    async with Upstream({"mail": reply}) as upstream:
        found = await upstreams.look(settings(tmp_path, upstream=up(upstream, bounce_from="bounces@x.example")))
        assert (found[0].kind == "failure") is bool(words)
        assert words in found[0].sentence
        assert "MAIL FROM:<bounces@x.example>" in upstream.lines
        assert not any(line.startswith(("RCPT", "DATA")) for line in upstream.lines)


@pytest.mark.parametrize("machine", ["srv1", "my_host.example.com", "relay.example.com"])
async def test_the_name_that_an_upstream_hears(tmp_path, monkeypatch, machine):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", machine, "6", "1", "x86_64")))
    async with Upstream() as upstream:
        here = settings(tmp_path, upstream=up(upstream), smtp=config.Smtp())
        found = await upstreams.look(here)
        assert len(found) == (1 if machine == "relay.example.com" else 2)
        assert upstream.lines[0] == f"EHLO {machine if len(found) == 1 else '[127.0.0.1]'}"
        for each in found[1:]:
            assert each.kind == "warning"
            assert (
                f"""hears [127.0.0.1] as our name, since the machine's name, "{machine}", is no full one"""
                in each.sentence
            )
        assert len(await upstreams.look(settings(tmp_path, upstream=up(upstream)))) == 1


async def test_an_upstream_where_the_clients_log_in(tmp_path):
    script = {"mail": "530 5.7.0 Authentication required"}
    async with Upstream(script, users={"c": "word"}) as upstream:
        here = settings(tmp_path, upstream=up(upstream))
        found = await upstreams.look(replace(here, smtp=replace(here.smtp, auth="upstream")))
    assert [each.kind for each in found] == ["ok"]


async def test_an_upstream_that_has_no_logins_for_the_clients(tmp_path):
    async with Upstream() as upstream:
        here = settings(tmp_path, upstream=up(upstream))
        found = await upstreams.look(replace(here, smtp=replace(here.smtp, auth="upstream")))
    assert found[-1].kind == "failure"
    assert "offers no AUTH" in found[-1].sentence


@pytest.mark.parametrize(
    ("host", "per_recipient", "bounce_from", "words"),
    [
        ("smtp.gmail.com", True, "", ["Gmail counts", "Gmail may refuse"]),
        ("smtp.office365.com", True, "b@example.com", ["Microsoft 365 counts"]),
        ("smtp.gmail.com", False, "b@example.com", []),
        ("email-smtp.eu-west-1.amazonaws.com", True, "", ["Amazon SES may refuse"]),
        ("mail.example.com", True, "", []),
    ],
)
def test_advice_about_known_providers(tmp_path, host, per_recipient, bounce_from, words):
    here = settings(tmp_path, upstream=config.Upstream(url=f"smtp://{host}", bounce_from=bounce_from))
    here = replace(here, tracking=replace(here.tracking, per_recipient=per_recipient))
    found = upstreams.advice(here, "upstream", here.upstream)
    assert [f.kind for f in found] == ["warning"] * len(words)
    assert all(w in f.sentence for w, f in zip(words, found, strict=True))


# -- mailboxes ---------------------------------------------------------------------------------------------------------


async def both(tmp_path, url, *, password="secret", oauth2=None, times=None):
    """The finding, and the state of the watcher that the service has for the same mailbox."""
    grant = config.Grant("a", mailbox=(url,), mailbox_password=password, mailbox_oauth2=oauth2)
    here = settings(tmp_path, grants=(grant,))
    store = memory.Memory()
    await store.start()
    watcher = mailbox.Watcher(here, store, keys.dry_run, times=times)
    running = asyncio.create_task(watcher.run())
    try:
        await until(lambda: running.done() or (watcher.states and watcher.states[0].state != "starting"), 20)
        finding = only(await mailboxes.look(here, times))
        return finding, watcher.states[0]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def same(finding, state):
    """Check and service say the same thing: what, and in which words."""
    assert (finding.kind == "ok") == (state.state == "watching"), (finding, state)
    assert finding.kind == "ok" or untimed(finding.sentence) == untimed(state.reason)
    return finding.sentence


def untimed(sentence):
    """Dovecot ends its answers with how long it took, and says so only where it took any time."""
    return re.sub(r" \([0-9.]+( \+ [0-9.]+)* secs\)", "", sentence)


async def test_a_maildir(tmp_path):
    url = f"maildir:{tmp_path / 'mail'}"
    assert f"{tmp_path / 'mail'} is no Maildir: " in same(*await both(tmp_path, url))
    for part in ("cur", "new", "tmp"):
        (tmp_path / "mail" / part).mkdir(parents=True)
    (tmp_path / "mail" / "new" / "1.a.b").write_text("Subject: x\n\n")
    finding, state = await both(tmp_path, url)
    assert same(finding, state) == f"{tmp_path / 'mail'} is a Maildir of 1 messages"
    assert finding.kind == "ok"
    (tmp_path / "mail" / "new" / "1.a.b").unlink()
    (tmp_path / "mail" / "new").rmdir()
    (tmp_path / "mail" / "new").touch()
    assert f"{tmp_path / 'mail' / 'new'} can't be read: a part of the path is a file" in same(
        *await both(tmp_path, url)
    )


async def test_a_grant_is_one_line_however_many_folders_it_has(tmp_path):
    for part in ("cur", "new", "tmp"):
        (tmp_path / "mail" / part).mkdir(parents=True)
    urls = (f"maildir:{tmp_path / 'mail'}", f"maildir:{tmp_path / 'junk'}")
    here = settings(tmp_path, grants=(config.Grant("a", mailbox=urls), config.Grant("b", mailbox=urls[:1])))
    good = f"{tmp_path / 'mail'} is a Maildir of 0 messages"
    bad = f"{tmp_path / 'junk'} is no Maildir: {tmp_path / 'junk' / 'new'}: there is no such file or folder; check the path"
    assert told(await mailboxes.look(here)) == [
        f"FAILED   grants.a: {good}; {bad}",
        f"ok       grants.b: {good}",
    ]


async def test_messages_that_were_passed_over_are_listed(tmp_path):
    async with imap.Server() as server:
        url = f"imap://u@127.0.0.1:{server.port}/INBOX"
        here = settings(tmp_path, grants=(config.Grant("a", mailbox=(url,), mailbox_password="x"),))
        sentence = f"127.0.0.1:{server.port} took the login u; INBOX has 0 messages (no IDLE: a look every 60 s)"
        assert told(await mailboxes.look(here)) == [f"ok       grants.a: {sentence}"]
        files.make_folder(here.state_dir)
        store = stores.open(here.store.url, here.state_dir)
        await store.start()
        name = f"a imap://127.0.0.1:{server.port}/INBOX u"
        await store.save_cursor(stores.Cursor(name, 1, 9, passed=("INBOX UID 7: no", "INBOX UID 9: nor this")))
        found = told(await mailboxes.look(here))  # beside the service
        await store.stop()
    passed = "2 messages could not be read and were passed over, the last: INBOX UID 7: no, INBOX UID 9: nor this"
    assert found == [f"warning  grants.a: {sentence}; {passed}"]


async def test_a_mailbox_that_does_not_answer(tmp_path):
    port = peers.free_port()
    sentence = same(*await both(tmp_path, f"imap://u@127.0.0.1:{port}/INBOX"))
    assert sentence == f"127.0.0.1:{port}: {causes.SYSTEM[errno.ECONNREFUSED]}"


async def test_a_mailbox_of_a_real_server(tmp_path):
    with dovecot.running(tmp_path / "dovecot", users={"sales@example.test": "secret"}) as server:
        where = f"127.0.0.1:{server.imap_port}"
        url = f"imap://sales%40example.test@{where}/INBOX"
        finding, state = await both(tmp_path, url)
        assert same(finding, state) == f"{where} took the login sales@example.test; INBOX has 0 messages (IDLE)"
        assert finding.kind == "ok"
        sentence = same(*await both(tmp_path, url, password="guess"))
        assert sentence.startswith(f"{where}: login sales@example.test refused: [AUTHENTICATIONFAILED]")
        sentence = same(*await both(tmp_path, url.replace("INBOX", "Elsewhere")))
        assert sentence.startswith(f"{where}: folder Elsewhere: ")
        assert "doesn't exist" in sentence


@pytest.mark.parametrize(
    ("answers", "greeting", "state", "words"),
    [
        ({"LOGIN": "{tag} NO [UNAVAILABLE] Try again."}, "* OK ready", "unreachable", "no login now: [UNAVAILABLE]"),
        ({"LOGIN": "{tag} NO [AUTHENTICATIONFAILED] No."}, "* OK ready", "refused", "login u refused: [AUTHENTIC"),
        ({"LOGIN": "drop"}, "* OK ready", "unreachable", "no login now: "),
        ({"EXAMINE": "{tag} NO [NONEXISTENT] No such folder"}, "* OK ready", "refused", "folder INBOX: "),
        ({"EXAMINE": "drop"}, "* OK ready", "unreachable", ""),
        ({"EXAMINE": "* 0 EXISTS\r\n{tag} OK done"}, "* OK ready", "unreachable", "gives no UIDVALIDITY"),
        ({}, "* BYE too busy", "unreachable", "too busy"),
        ({}, "220 smtp.example.com ESMTP", "unreachable", ""),
        ({}, "", "unreachable", "no answer in time"),
    ],
)
async def test_a_mailbox_server_that_says_no_and_what_kind_of_no(tmp_path, answers, greeting, state, words):
    async with imap.Server(answers, greeting=greeting) as server:
        times = None if greeting else source.Times(connect=0.5, answer=0.5)
        finding, found = await both(tmp_path, f"imap://u@127.0.0.1:{server.port}/INBOX", times=times)
        assert found.state == state
        assert same(finding, found).startswith(f"127.0.0.1:{server.port}: ")
        assert words in finding.sentence


async def test_a_mailbox_whose_certificate_nobody_trusts(tmp_path, monkeypatch):
    pair = certificates.make(tmp_path)
    async with imap.Server(tls=certificates.serving(pair)) as server:
        url = f"imaps://u@localhost:{server.port}/INBOX"
        assert "certificate is refused: it is self-signed; " in same(*await both(tmp_path, url))
        assert not server.heard
        monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
        sentence = same(*await both(tmp_path, url))
        assert (
            sentence == f"localhost:{server.port} took the login u; INBOX has 0 messages (no IDLE: a look every 60 s)"
        )


async def test_a_mailbox_without_an_access_token(tmp_path):
    nowhere = config.OAuth2(f"http://127.0.0.1:{peers.free_port()}/token", "client", refresh_token="r")
    async with imap.Server() as server:
        finding, state = await both(tmp_path, f"imap://u@127.0.0.1:{server.port}/INBOX", password="", oauth2=nowhere)
        assert "no access token: the token endpoint does not answer" in same(finding, state)
        assert not server.heard


# -- tracking host -----------------------------------------------------------------------------------------------------


async def test_the_way_to_the_tracking_server_is_tried_also_before_the_first_start(tmp_path):
    here = settings(tmp_path)
    assert told(await tracking_host.look(here)) == [
        f"ok       tracking.url: {here.tracking.url} answers with our pixel"
    ]


async def test_each_address_of_the_tracking_server_is_tried(tmp_path):
    here = settings(tmp_path)
    first = here.http.listen[0]
    second = f"[::1]:{peers.free_port()}"
    here = replace(here, http=replace(here.http, listen=(first, second)))
    found = await listeners.addresses(here)
    assert [f.sentence for f in found if f.what == "http.listen"] == [f"{first} is free", f"{second} is free"]
    here = replace(here, tracking=Tracking(url=f"http://{second}"))
    assert [f.kind for f in await tracking_host.look(here)] == ["ok"]


async def test_a_tracking_host_that_is_something_else(tmp_path):
    async with serving({"/": "hello"}) as url:
        here = settings(tmp_path, tracking=Tracking(url=url))
        assert "answers 404, and not with our pixel" in only(await tracking_host.look(here)).sentence
    here = settings(tmp_path, tracking=Tracking(url=f"http://127.0.0.1:{peers.free_port()}"))
    assert "does not answer" in only(await tracking_host.look(here)).sentence
    here = settings(tmp_path, tracking=Tracking(url="https://t.invalid"))
    assert "t.invalid: the name " in only(await tracking_host.look(here)).sentence


async def test_a_tracking_host_whose_certificate_nobody_trusts(tmp_path, monkeypatch):
    certificate, key = certificates.make(tmp_path)
    here = settings(tmp_path)
    here = replace(here, http=replace(here.http, certificate=certificate, key=key))
    here = replace(here, tracking=Tracking(url=f"https://{here.http.listen[0]}"))
    assert "refuse the certificate of 127.0.0.1: it is self-signed; " in only(await tracking_host.look(here)).sentence
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert only(await tracking_host.look(here)).kind == "ok"


def serving(pages):
    """A web server that is not ours, in front of nothing."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def run():
        application = web.Application()

        async def page(request):
            return web.Response(text=pages[request.path])

        for path in pages:
            application.router.add_get(path, page)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    return run()


def test_the_picture_of_our_server_is_known():
    assert tracking_host.is_pixel(PIXEL)
    assert tracking_host.is_pixel(tracking_host.PIXEL)
    assert not tracking_host.is_pixel(b"<!doctype html>")
    assert not tracking_host.is_pixel(b"GIF89a" + bytes(40))


# -- DKIM --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_dkim_records(tmp_path, kind):
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    entry = config.Dkim("example.com", "t1", certificates.written(tmp_path / "dkim.pem", key))
    other = config.Dkim("example.net", "t1", entry.key)
    here = settings(tmp_path, dkim=(entry, other))
    records: dict[str, str] = {}
    async with names.resolver(records) as resolver:
        missing, _ = await dkim_records.look(here, resolver)
        assert missing.sentence.startswith("there is no record; publish a TXT record at t1._domainkey.example.com: ")
        record = missing.sentence.split('"')[1]
        assert record.startswith(f"v=DKIM1; k={kind}; p=")
        records["t1._domainkey.example.com"] = record.replace("; ", " ;\t")
        records["t1._domainkey.example.net"] = f"v=DKIM1; p={record[-40:]}"
        good, wrong = await dkim_records.look(here, resolver)
    assert str(good) == f"ok       dkim.example.com: t1._domainkey.example.com has our {kind} key"
    assert wrong.kind == "failure"
    assert "has another key" in wrong.sentence


async def test_what_signatures_leave_out_is_said(tmp_path):
    key = certificates.written(tmp_path / "dkim.pem", ed25519.Ed25519PrivateKey.generate())
    here = settings(
        tmp_path,
        dkim=(config.Dkim("example.com", "t1", key),),
        upstream=config.Upstream(url="smtps://u@email-smtp.eu-west-1.amazonaws.com", fallback=("spare",)),
        upstreams=(
            config.NamedUpstream(url="smtp://smtp.office365.com", id="spare"),
            config.NamedUpstream(url="smtp://mail.example.com", id="own"),
        ),
    )
    assert [str(finding) for finding in dkim_records.left_out(here)] == [
        "ok       dkim: Amazon SES (upstream) replaces date and message-id: for mail that may go there no signature covers them",
        "ok       dkim: Microsoft 365 (upstreams.spare) replaces message-id: for mail that may go there no signature covers them",
    ]
    assert dkim_records.left_out(replace(here, dkim=())) == []


async def test_a_dkim_key_that_is_none(tmp_path):
    (tmp_path / "dkim.pem").write_text("nonsense")
    here = settings(tmp_path, dkim=(config.Dkim("example.com", "t1", tmp_path / "dkim.pem"),))
    assert "this is no private key in PEM form" in only(await dkim_records.look(here)).sentence


# -- the other nodes ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def others(tmp_path, *others):
    """What they said a moment ago."""
    (tmp_path / "var").mkdir(exist_ok=True)
    known = stores.open("sqlite:trackrelay.db", tmp_path / "var")
    await known.start()
    for other in others:
        await known.beat(other)
    yield
    await known.stop()


def ring(tmp_path):
    return nodes.ring(keys.TokenKeys(tmp_path / "var" / "keys" / "tokens.json").now())


async def test_alone(tmp_path):
    assert told(await check_nodes.look(settings(tmp_path))) == [
        f"ok       nodes: no other than {os.uname().nodename} runs with this store"
    ]
    async with others(tmp_path, Node(os.uname().nodename, ("http",), "p", keys={"0": "another"})):
        assert only(await check_nodes.look(settings(tmp_path))).kind == "ok"  # it is this one


async def test_others_that_have_the_same(tmp_path):
    own = ring(tmp_path)
    two = Node("two", ("smtp", "queue"), "p", keys=own, signs=0)
    async with others(tmp_path, two, two.with_(roles=("http",)), Node("three", ("webhooks",), "q")):
        found = only(await check_nodes.look(settings(tmp_path, node="one")))
    assert str(found) == "ok       nodes: one has the same token keys and [[webhooks]] as three, two"


@pytest.mark.parametrize(
    ("theirs", "signs", "kind", "words"),
    [
        ({"0": "another"}, 0, "failure", "key 0 of one and two are not the same"),
        ({"0": ..., "1": "x", "2": "y"}, 0, "warning", "one lacks keys 1, 2, which two has"),
        ({"0": ..., "1": "x"}, 1, "failure", "one lacks key 1, which two has"),
        ({"1": "x"}, -1, "failure", "two lacks key 0, which one has"),
    ],
)
async def test_each_key_that_differs_is_said(tmp_path, theirs, signs, kind, words):
    own = ring(tmp_path)
    theirs = {key: own[key] if is_ is ... else is_ for key, is_ in theirs.items()}
    async with others(tmp_path, Node("two", ("smtp",), "p", keys=theirs, signs=signs)):
        found = await check_nodes.look(settings(tmp_path, node="one"))
    assert (found[0].kind, words in found[0].sentence) == (kind, True)
    assert "token-key add --from" in found[0].sentence or "put it in place" in found[0].sentence


async def test_a_machine_that_would_make_keys_of_its_own(tmp_path):
    async with others(tmp_path, Node("two", ("smtp",), "p", keys={"0": "x"}, signs=0)):
        found = only(await check_nodes.look(settings(tmp_path, node="one")))
    assert (found.kind, "would make others than those of two" in found.sentence) == ("failure", True)


async def test_webhooks_that_differ_and_one_that_is_gone(tmp_path):
    hook = config.Webhook("https://e.test/", ("message.opened",), secret="a-secret-of-sixteen-or-more")
    async with others(tmp_path, Node("two", ("webhooks",), "p")):
        found = only(await check_nodes.look(settings(tmp_path, node="one", webhooks=(hook,))))
    assert (found.kind, found.sentence.startswith("the [[webhooks]] of one and two (webhooks) differ (only one has wh_")) == (
        "failure", True,
    )  # fmt: skip


async def test_a_store_that_is_away_is_said_by_its_own_line(tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "trackrelay.db").write_bytes(b"no database" * 100)
    assert await check_nodes.look(settings(tmp_path)) == []
