"""An intruder in one role's process finds there the secrets of that role, and no others: each process opens the files that
its roles need, and runs with what its unit leaves it of the state folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from relay import roles
from tests import peers
from tests.fakes import certificates
from tests.scenarios import hostile, service
from tests.test_systemd import FOLDER, settings
from tests.until import eventually

OPENED = """
import os, sys
seen = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, given):
    if event == "open":
        os.write(seen, f"{given[0]}\\n".encode())
sys.addaudithook(note)
"""
NEEDED = {
    "smtp": {"upstream", "sales", "client", "refresh", "dkim.pem"},
    "queue": {"upstream", "sales", "client", "refresh", "dkim.pem"},
    "http": set(),
    "admin": {"dkim.pem"},
    "mailbox": {"mailbox", "own-client", "own-refresh"},
    "webhooks": {"webhook"},
    "milter": {"dkim.pem"},
}
STATE = "/var/lib/trackrelay/"


def milter() -> str:
    return f'[milter]\nlisten = "inet:127.0.0.1:{peers.free_port()}"\n'


def prepare(folder: Path) -> tuple[int, int, int]:
    """A relay.toml with every kind of secret, each in a file of its own."""
    secrets = folder / "secrets"
    secrets.mkdir()
    for name in sorted(set().union(*NEEDED.values())):
        (secrets / name).write_text(f"canary-{name}\n")
        (secrets / name).chmod(0o600)
    pair = certificates.make(folder / "made")
    for name, source in (("cert.pem", pair.certificate), ("key.pem", pair.key)):
        shutil.copy(source, secrets / name)
    ports = service.settings(
        folder,
        upstream="smtps://user@localhost:9",
        smtp='certificate = "secrets/cert.pem"\nkey = "secrets/key.pem"',
        out='password_file = "secrets/upstream"',
        more="""
[[upstreams]]
id = "sales"
from = ["*@sales.example.test"]
url = "smtps://sales@localhost:9"
password_file = "secrets/sales"
[[upstreams]]
id = "mail"
from = ["*@mail.example.test"]
url = "smtps://mail@localhost:9"
oauth2 = { token_url = "https://login.example.test/", client_id = "1", client_secret_file = "secrets/client", \
refresh_token_file = "secrets/refresh" }
[[dkim]]
domain = "example.test"
selector = "t1"
key = "secrets/dkim.pem"
[[grants]]
id = "one"
addresses = ["*@one.example.test"]
mailbox = "imaps://one@localhost:9/INBOX"
mailbox_password_file = "secrets/mailbox"
[[grants]]
id = "two"
addresses = ["*@two.example.test"]
mailbox = "imaps://two@localhost:9/INBOX"
mailbox_oauth2 = { token_url = "https://login.example.test/", client_id = "1", client_secret_file = "secrets/own-client", \
refresh_token_file = "secrets/own-refresh" }
[[webhooks]]
url = "https://app.example.test/"
triggers = ["message.opened"]
secret_file = "secrets/webhook"
"""
        + milter(),
    )
    (secrets / "dkim.pem").write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return ports


def opened(log: Path, secrets: Path) -> set[str]:
    paths = {Path(line) for line in log.read_text(errors="replace").splitlines()}
    return {
        path.name for path in paths if (path.parent == secrets and path.suffix != ".pem") or path.name == "dkim.pem"
    }


@pytest.mark.parametrize("role", roles.ALL)
def test_a_role_opens_its_own_secrets_and_does_without_the_others(tmp_path: Path, role: str) -> None:
    ports = prepare(tmp_path)
    secrets, log = tmp_path / "secrets", tmp_path / "opened"
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(OPENED)
    env = {"PYTHONPATH": f"{hook}:{service.ROOT}", "OPENED": str(log)}
    with service.running(tmp_path, ports, only=role, env=env) as relay:
        assert relay.stop() == 0
    assert opened(log, secrets) == NEEDED[role]
    for path in secrets.iterdir():  # not even there
        if path.name not in NEEDED[role] and not (role == "smtp" and path.suffix == ".pem"):
            path.unlink()
    with service.running(tmp_path, ports, only=role) as relay:
        assert relay.stop() == 0


def test_a_role_says_which_of_its_own_is_missing(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "secrets" / "webhook").unlink()
    done = service.command("run", "--only", "http,webhooks", "--config", str(tmp_path / "relay.toml"))
    assert done.returncode == 2
    assert "secret_file: there is no file" in done.stderr


def test_a_role_asks_the_environment_for_its_own_secrets_only(tmp_path: Path) -> None:
    ports = prepare(tmp_path)
    text = (tmp_path / "relay.toml").read_text().replace('secret_file = "secrets/webhook"', 'secret = "env:HOOK"')
    (tmp_path / "relay.toml").write_text(text)
    with service.running(tmp_path, ports, only="http") as relay:  # and $HOOK is not set
        assert relay.stop() == 0
    done = service.command("run", "--only", "webhooks", "--config", str(tmp_path / "relay.toml"))
    assert done.returncode == 2
    assert "the environment variable HOOK is not set" in done.stderr


@contextmanager
def as_the_unit_has_it(state: Path, role: str) -> Iterator[None]:
    """What the unit hides can't be entered, and what is only to read can't be written to."""
    found = settings(FOLDER / f"trackrelay-{role}.service")
    modes = {
        state / path.removeprefix(STATE): mode
        for key, mode in (("ReadOnlyPaths", 0o500), ("InaccessiblePaths", 0o000))
        for path in found.get(key, ())
        if path.startswith(STATE)
    }
    deepest = sorted(modes, key=lambda path: -len(path.parts))
    try:
        for folder in deepest:
            folder.chmod(modes[folder])
        yield
    finally:
        for folder in reversed(deepest):
            folder.chmod(0o700)


@pytest.mark.parametrize("role", roles.ALL)
def test_a_role_runs_with_what_its_unit_leaves_it(tmp_path: Path, role: str) -> None:
    """Root's right to read everything is taken from the process, as a unit takes it."""
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, more=milter())
        with service.running(tmp_path, ports, only="smtp") as relay, hostile.Smtp(relay.smtp) as client:
            assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
        eventually(lambda: upstream.taken)
        pixel = hostile.tokens(upstream.taken[0].content)[0][0]
        for name in ("keys/dkim", "keys/logins", "keys/oauth2", "spool", "journal", "links"):
            (tmp_path / "var" / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        prefix = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if os.geteuid() == 0 else ()
        with (
            as_the_unit_has_it(tmp_path / "var", role),
            service.running(tmp_path, ports, only=role, prefix=prefix) as relay,
        ):
            if role == "smtp":
                with hostile.Smtp(relay.smtp) as client:
                    assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            if role == "http":
                with hostile.Http(relay.http) as web:
                    assert web.get(pixel)[0] == 200
            if role == "admin":
                with hostile.Http(relay.admin) as web:
                    assert web.get("/readyz")[0] == 200
            assert relay.stop() == 0
        assert "ERROR" not in relay.log
        assert "Permission" not in relay.log
