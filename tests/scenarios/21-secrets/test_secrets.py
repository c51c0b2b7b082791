"""A password that a client gives away for its mail stands nowhere afterwards: not in a log, a file, a metric, an answer
or the list of processes."""

import base64
from pathlib import Path

from tests.fakes import certificates
from tests.scenarios import hostile, service

WORD = "canary-Word-4711-"
FORMS = [WORD.encode(), base64.b64encode(WORD.encode()).rstrip(b"="), base64.b64encode(f"\0me\0{WORD}".encode())[:20]]


def nowhere(folder: Path, relay: service.Service) -> None:
    process = Path(f"/proc/{relay.process.pid}")
    try:
        environment = (process / "environ").read_bytes()
    except PermissionError:  # it lets nobody but root look
        environment = b""
    places = {
        "arguments": (process / "cmdline").read_bytes(),
        "environment": environment,
        "log": relay.log.encode(),
        "commands": "".join(
            relay.command(*words).stdout for words in (("events",), ("queue", "list", "--json"), ("user", "list"))
        ).encode(),
    }
    for page in ("/metrics", "/readyz", "/"):
        with hostile.Http(relay.admin) as client:
            places[page] = client.get(page)[2]  # also where it is not ready: it says why
        assert places[page]
    for form in FORMS:
        assert hostile.found_in(folder / "var", form) == []
        assert hostile.found_in(folder, form) == []
        for name, content in places.items():
            assert form not in content, name


def test_a_login_that_goes_on_to_the_upstream(tmp_path: Path) -> None:
    """With auth = "upstream": good and bad logins, mail sent, put off, and a session that dies in the middle."""
    theirs = tmp_path.parent / f"{tmp_path.name}-theirs"
    pair = certificates.make(theirs)
    deferring: list[str] = []
    script = {"dot": lambda command: deferring[0] if deferring else None}
    with hostile.sink(script, starttls=certificates.serving(pair), users={"me": WORD}) as upstream:
        ports = service.settings(
            tmp_path,
            upstream=f"smtp://localhost:{upstream.port}",
            out='tls = "required"',
            smtp='auth = "upstream"',
        )
        env = {"SSL_CERT_FILE": str(pair.certificate)}
        with service.running(tmp_path, ports, env=env, words=("--verbose",)) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.login("me", WORD + "x").startswith("535")
                assert client.ask(WORD).startswith("500")  # a client that is out of step
                assert client.login("me", WORD).startswith("235")
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
                deferring.append(f"451 4.3.0 {WORD}"[:13] + "later")
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("451")
            with hostile.Smtp(relay.smtp) as client:
                client.send(b"AUTH PLAIN " + base64.b64encode(f"\0me\0{WORD}".encode()))  # and hangs up
            with hostile.Smtp(relay.smtp) as client:
                assert client.ask("AUTH LOGIN").startswith("334")
                assert client.ask(base64.b64encode(b"me")).startswith("334")
                assert client.ask(base64.b64encode(WORD.encode())).startswith("235")
                assert client.ask(f"MAIL FROM:<a@example.test> AUTH={WORD}").startswith("250")
            assert upstream.taken[0].login == "me"
            nowhere(tmp_path, relay)


def test_a_login_of_our_own(tmp_path: Path) -> None:
    """With auth = "users": the file of logins holds a hash."""
    ports = service.settings(tmp_path, upstream=9, smtp='auth = "users"')
    given = tmp_path.parent / f"{tmp_path.name}-word"
    given.write_text(WORD)
    service.command("user", "add", "me", "--password-file", str(given), "--config", str(tmp_path / "relay.toml"))
    with service.running(tmp_path, ports, words=("--verbose", "--log-format", "json")) as relay:
        with hostile.Smtp(relay.smtp) as client:
            assert client.login("me", WORD[:-1]).startswith("535")
            assert client.login("me", WORD).startswith("235")
            assert client.mail(hostile.letter()).startswith("250")  # kept: nobody listens up there
        FORMS.append(WORD[:-1].encode())
        try:
            nowhere(tmp_path, relay)
        finally:
            FORMS.pop()


def test_our_own_password_at_the_upstream(tmp_path: Path) -> None:
    """One that the upstream refuses is not told to the client, nor to anybody else."""
    theirs = tmp_path.parent / f"{tmp_path.name}-theirs"
    pair = certificates.make(theirs)
    secret = tmp_path.parent / f"{tmp_path.name}-word"
    secret.write_text(WORD + "\n")
    script = {"auth": lambda command: f"535 5.7.8 wrong: {command}"}  # an upstream that repeats what it was told
    with hostile.sink(script, starttls=certificates.serving(pair), users={"me": "another"}) as upstream:
        ports = service.settings(
            tmp_path,
            upstream=f"smtp://me@localhost:{upstream.port}",
            out=f'tls = "required"\npassword_file = "{secret}"\non_defer = "pass"',
        )
        env = {"SSL_CERT_FILE": str(pair.certificate)}
        with service.running(tmp_path, ports, env=env, words=("--verbose",)) as relay:
            with hostile.Smtp(relay.smtp) as client:
                answer = client.mail(hostile.letter())
            assert answer.startswith("451 4.7.8")
            assert any(line.startswith("AUTH") for line in upstream.lines)
            assert not any(form in answer.encode() for form in FORMS)
            nowhere(tmp_path, relay)
