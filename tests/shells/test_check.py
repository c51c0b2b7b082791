"""`trackrelay check`: each trial against something real, or a named fake, on loopback."""

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from relay import check as checks
from relay import config, files, keys
from relay.check import local, mail, world
from relay.core.model import Tracking
from tests import peers
from tests.fakes import certificates, names
from tests.fakes.upstream import USUAL, Upstream
from tests.peers import dovecot
from tracking_http.public import PIXEL


def settings(tmp_path, **parts):
    http = config.Http(listen=f"127.0.0.1:{peers.free_port()}")
    here = {
        "state_dir": tmp_path / "var",
        "smtp": config.Smtp(listen=(f"127.0.0.1:{peers.free_port()}",), hostname="relay.example.com"),
        "http": http,
        "admin": config.Admin(listen=f"127.0.0.1:{peers.free_port()}"),
        "tracking": Tracking(url=f"http://{http.listen}"),
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
        "file", "state_dir", "keys", "store", "smtp.listen", "http.listen", "admin.listen", "upstream", "tracking.url",
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
    assert "FAILED   upstream: upstream.url is missing: say where the mail goes on to" in done.stdout


def test_mistakes_of_the_file_exit_2(tmp_path):
    path = file(tmp_path, 'opens = "often"\nspeed = 3\n')
    done = check("--config", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"{path}:10", "tracking.opens"],
        [f"{path}:11", "tracking.speed"],
    ]


async def test_a_trial_that_breaks_is_a_finding(tmp_path):
    async def breaks(_):
        raise RuntimeError("no")

    found = await checks.tried("x", breaks, settings(tmp_path))
    assert told(found) == ["FAILED   x: could not be tried: RuntimeError: no"]


# -- this machine ------------------------------------------------------------------------------------------------------


async def test_the_state_folder(tmp_path):
    (tmp_path / "var").mkdir(mode=0o755)
    found = await local.state(settings(tmp_path))
    assert found[-1].kind == "warning"
    assert "chmod 700" in found[-1].sentence
    (tmp_path / "var").chmod(0o700)
    assert only(await local.state(settings(tmp_path))).kind in ("ok", "warning")  # warning: a full disk
    (tmp_path / "file").touch()
    found = await local.state(settings(tmp_path, state_dir=tmp_path / "file"))
    assert only(found).kind == "failure"


async def test_the_token_keys(tmp_path):
    path = tmp_path / "var" / "keys" / "tokens.json"
    keys.TokenKeys(path)
    keys.rotate(path)
    found = only(await local.keys(settings(tmp_path)))
    assert found.kind == "warning"
    assert "2 token keys. Losing it kills every link" in found.sentence
    path.write_text("{}")
    assert only(await local.keys(settings(tmp_path))).kind == "failure"


async def test_a_state_dir_that_others_can_use(tmp_path):
    here = settings(tmp_path)
    here.state_dir.mkdir(mode=0o700)
    assert only(await local.state(here)).kind == "ok"
    here.state_dir.chmod(0o755)
    assert [f.kind for f in await local.state(here)] == ["ok", "warning"]
    here.state_dir.chmod(0o777)
    found = only(await local.state(here))
    assert (found.kind, found.sentence) == ("failure", files.exposed(here.state_dir))


async def test_the_store(tmp_path):
    from relay import store

    here = settings(tmp_path)
    here.state_dir.mkdir()
    opened = store.open(here.store.url, here.state_dir)
    await opened.start()
    try:
        assert only(await local.store(here)).kind == "ok"
    finally:
        await opened.stop()
    (here.state_dir / "trackrelay.db").write_text("this is no database" * 99)
    assert "can't be read" in only(await local.store(here)).sentence


async def test_ports(tmp_path):
    here = settings(tmp_path)
    assert [f.kind for f in await local.listeners(here)] == ["ok", "ok", "ok"]
    host, port = here.smtp.listen[0].split(":")
    with socket.create_server((host, int(port))):
        assert "another program listens there" in (await local.listeners(here))[0].sentence
    there = replace(here, smtp=config.Smtp(listen=("192.0.2.1:2525",)))
    assert "this machine has no such address" in (await local.listeners(there))[0].sentence


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
        assert "is in use while the service runs" in (await local.listeners(here))[2].sentence
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
    found = await local.certificates(settings(tmp_path, smtp=smtp))
    assert [f.kind for f in found] == kinds
    assert words in found[-1].sentence


async def test_a_key_of_another_certificate(tmp_path):
    certificate, _ = certificates.make(tmp_path / "a")
    _, key = certificates.make(tmp_path / "b")
    found = await local.certificates(settings(tmp_path, smtp=config.Smtp(certificate=certificate, key=key)))
    assert "can't be used: KEY_VALUES_MISMATCH" in only(found).sentence


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
        found = await mail.upstreams(settings(tmp_path, upstream=there))
        assert found[0].kind == "ok", told(found)
        assert f"127.0.0.1:{upstream.port} took the login u over TLSv1.3, certificate verified" in found[0].sentence
        there = replace(there, password="wrong")
        found = only(await mail.upstreams(settings(tmp_path, upstream=there)))
        assert found.kind == "failure"
        assert "refused the login" in found.sentence
        monkeypatch.delenv("SSL_CERT_FILE")
        found = only(await mail.upstreams(settings(tmp_path, upstream=there)))
        assert "The certificate of the upstream" in found.sentence
    assert not upstream.kept


async def test_an_upstream_without_starttls_where_tls_is_required(tmp_path):
    async with Upstream() as upstream:
        found = only(await mail.upstreams(settings(tmp_path, upstream=up(upstream, tls="required"))))
    assert (found.kind, "does not offer STARTTLS" in found.sentence) == ("failure", True)


async def test_an_upstream_that_takes_less_than_we_do(tmp_path):
    async with Upstream(offers=(*USUAL, "SIZE 1000000")) as upstream:
        found = await mail.upstreams(settings(tmp_path, upstream=up(upstream)))
    assert "takes messages up to 1,000,000 octets only" in found[1].sentence


async def test_an_upstream_that_has_no_logins_for_the_clients(tmp_path):
    async with Upstream() as upstream:
        here = settings(tmp_path, upstream=up(upstream))
        found = await mail.upstreams(replace(here, smtp=replace(here.smtp, auth="upstream")))
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
    here = settings(tmp_path, upstream=config.Upstream(bounce_from=bounce_from))
    here = replace(here, tracking=replace(here.tracking, per_recipient=per_recipient))
    found = mail._advice(here, "upstream", here.upstream, host)
    assert [f.kind for f in found] == ["warning"] * len(words)
    assert all(w in f.sentence for w, f in zip(words, found, strict=True))


# -- mailboxes ---------------------------------------------------------------------------------------------------------


async def test_a_maildir(tmp_path):
    here = settings(
        tmp_path, grants=(config.Grant("a", mailbox=f"maildir:{tmp_path / 'mail'}"), config.Grant("default"))
    )
    assert "is no Maildir: it has no folder cur" in only(await mail.mailboxes(here)).sentence
    for part in ("cur", "new", "tmp"):
        (tmp_path / "mail" / part).mkdir(parents=True)
    assert only(await mail.mailboxes(here)).kind == "ok"


async def test_a_mailbox_that_does_not_answer(tmp_path):
    grant = config.Grant("a", mailbox=f"imap://u@127.0.0.1:{peers.free_port()}/INBOX", mailbox_password="x")
    found = only(await mail.mailboxes(settings(tmp_path, grants=(grant,))))
    assert str(found) == "FAILED   grants.a: 127.0.0.1: Connection refused"


async def test_a_mailbox_of_a_real_server(tmp_path):
    with dovecot.running(tmp_path / "dovecot", users={"sales@example.test": "secret"}) as server:
        url = f"imap://sales%40example.test@127.0.0.1:{server.imap_port}/INBOX"
        grant = config.Grant("a", mailbox=url, mailbox_password="secret")
        found = only(await mail.mailboxes(settings(tmp_path, grants=(grant,))))
        assert str(found) == (
            "ok       grants.a: 127.0.0.1 took the login sales@example.test; INBOX holds 0 messages (IDLE)"
        )
        wrong = replace(grant, mailbox_password="guess")
        assert (
            "refused the login sales@example.test"
            in only(await mail.mailboxes(settings(tmp_path, grants=(wrong,)))).sentence
        )
        elsewhere = replace(grant, mailbox=url.replace("INBOX", "Elsewhere"))
        found = only(await mail.mailboxes(settings(tmp_path, grants=(elsewhere,))))
        assert found.kind == "failure"
        assert "Elsewhere" in found.sentence


# -- tracking host -----------------------------------------------------------------------------------------------------


async def test_the_way_to_the_tracking_server_is_tried_also_before_the_first_start(tmp_path):
    here = settings(tmp_path)
    assert told(await world.tracking_host(here)) == [
        f"ok       tracking.url: {here.tracking.url} answers with our pixel"
    ]


async def test_a_tracking_host_that_is_something_else(tmp_path):
    async with serving({"/": "hello"}) as url:
        here = settings(tmp_path, tracking=Tracking(url=url))
        assert "answers 404, and not with our pixel" in only(await world.tracking_host(here)).sentence
    here = settings(tmp_path, tracking=Tracking(url=f"http://127.0.0.1:{peers.free_port()}"))
    assert "does not answer" in only(await world.tracking_host(here)).sentence
    here = settings(tmp_path, tracking=Tracking(url="https://t.invalid"))
    assert "t.invalid has no address in DNS" in only(await world.tracking_host(here)).sentence


async def test_a_tracking_host_whose_certificate_nobody_trusts(tmp_path, monkeypatch):
    certificate, key = certificates.make(tmp_path)
    here = settings(tmp_path)
    here = replace(here, http=replace(here.http, certificate=certificate, key=key))
    here = replace(here, tracking=Tracking(url=f"https://{here.http.listen}"))
    assert "refuse the certificate of 127.0.0.1: self-signed" in only(await world.tracking_host(here)).sentence
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert only(await world.tracking_host(here)).kind == "ok"


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
    assert world.is_pixel(PIXEL)
    assert world.is_pixel(world.PIXEL)
    assert not world.is_pixel(b"<!doctype html>")
    assert not world.is_pixel(b"GIF89a" + bytes(40))


# -- DKIM --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_dkim_records(tmp_path, kind):
    make = {"rsa": lambda: rsa.generate_private_key(65537, 2048), "ed25519": ed25519.Ed25519PrivateKey.generate}[kind]
    entry = config.Dkim("example.com", "t1", certificates.written(tmp_path / "dkim.pem", make()))
    other = config.Dkim("example.net", "t1", entry.key)
    here = settings(tmp_path, dkim=(entry, other))
    records: dict[str, str] = {}
    async with names.resolver(records) as resolver:
        missing, _ = await world.dkim(here, resolver)
        assert missing.sentence.startswith("there is no record; publish a TXT record at t1._domainkey.example.com: ")
        record = missing.sentence.split('"')[1]
        assert record.startswith(f"v=DKIM1; k={kind}; p=")
        records["t1._domainkey.example.com"] = record.replace("; ", " ;\t")
        records["t1._domainkey.example.net"] = f"v=DKIM1; p={record[-40:]}"
        good, wrong = await world.dkim(here, resolver)
    assert str(good) == f"ok       dkim.example.com: t1._domainkey.example.com has our {kind} key"
    assert wrong.kind == "failure"
    assert "has another key" in wrong.sentence


async def test_a_dkim_key_that_is_none(tmp_path):
    (tmp_path / "dkim.pem").write_text("nonsense")
    here = settings(tmp_path, dkim=(config.Dkim("example.com", "t1", tmp_path / "dkim.pem"),))
    assert "is no private key that DKIM can use" in only(await world.dkim(here)).sentence
