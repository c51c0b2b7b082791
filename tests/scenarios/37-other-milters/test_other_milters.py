"""OpenDKIM and rspamd beside the milter in one Postfix, in both orders, as docs/postfix.md has them: what arrives is tracked
once, and has one good signature or none."""

from __future__ import annotations

import itertools
import re
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dkim as dkimpy
import pytest

from relay.commands import dkim as keys
from relay.core import dkim
from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import opendkim, postfix, rspamd
from tests.scenarios import blocks, hostile, milters, service
from tests.until import eventually

SECTION = "Beside OpenDKIM and rspamd"
SIGNERS = ("OpenDKIM", "rspamd")
OURS = '[[dkim]]\ndomain = "example.test"\nselector = "ours"\nkey = "dkim.pem"\n'


TRACKED = [1, 1]
ORDERS = pytest.mark.parametrize("ours_first", [True, False], ids=["trackrelay first", "the signer first"])
EACH = pytest.mark.parametrize("signer", SIGNERS)
AWAY = "nobody"


@dataclass
class House:
    """One Postfix with a service, a port, for each order of the milters: (who signs, trackrelay first?, does it sign?)."""

    last: Upstream
    services: dict[tuple[str, bool, bool], int]
    zone: dict[bytes, bytes]

    def sent(self, content: bytes, signer: str, ours_first: bool, ours_signs: bool = False) -> bytes:
        count = len(self.last.taken)
        milters.send(self.services[signer, ours_first, ours_signs], content)
        return eventually(lambda: self.last.taken[count:])[0].content

    def good(self, content: bytes) -> list[str]:
        """The selectors of the signatures, every one of which must be good."""
        found = re.findall(rb"(?im)^DKIM-Signature:", content)
        verifier = dkimpy.DKIM(content)
        for n in range(len(found)):
            assert verifier.verify(idx=n, dnsfunc=lambda name, timeout=5: self.zone[name]), content.decode()
        return re.findall(r"[;\s]s=(\w+);", content.decode().partition("\r\n\r\n")[0])


@contextmanager
def signing(folder: Path) -> Iterator[dict[str, int]]:
    """Both signers as the document configures them; the port of each."""

    def here(name: str) -> str:
        text = blocks.read("postfix", SECTION, name)
        assert text
        text = re.sub(r"/etc/dkimkeys/mail.private|/var/lib/rspamd/dkim/[\w.]+", f"{folder}/dkim.pem", text)
        return text.replace("example.com", "example.test")

    with (
        opendkim.running(folder / "opendkim", here("/etc/opendkim.conf")) as first,
        rspamd.running(folder / "rspamd", here("/etc/rspamd/local.d/dkim_signing.conf")) as second,
    ):
        yield {"OpenDKIM": first.port, "rspamd": second.port, AWAY: peers.free_port()}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("signers")
    pem = keys.generated(False)
    record = dkim.record(dkim.load(pem, "example.test", "mail")).encode()
    main = blocks.main_cf(blocks.read("postfix", SECTION, "main.cf"))
    asked = main.pop("smtpd_milters")
    with ExitStack() as stack:
        relays = {}
        for ours_signs in (False, True):
            home = folder / str(ours_signs)
            home.mkdir()
            (home / "dkim.pem").write_bytes(pem)
            (home / "dkim.pem").chmod(0o600)
            ports, relays[ours_signs] = milters.settings(home, OURS if ours_signs else "")
            stack.enter_context(service.running(home, ports, only="milter,admin"))
        signers = stack.enter_context(signing(folder / "False"))
        last = stack.enter_context(hostile.sink())
        services, lines = {}, ""
        for which in itertools.product(signers, (True, False), relays):
            signer, ours_first, ours_signs = which
            ours, theirs = asked.split(", ", 1)
            order = f"{ours}, {theirs}" if ours_first else f"{theirs}, {ours}"
            order = order.replace(":8891", f":{relays[ours_signs]}").replace(":8892", f":{signers[signer]}")
            port = services[which] = peers.free_port()
            lines += f"127.0.0.1:{port} inet n - n - - smtpd\n  -o {{ smtpd_milters = {order} }}\n"
        settings = {**main, "non_smtpd_milters": ""}
        stack.enter_context(
            postfix.running(transport=f"smtp:[127.0.0.1]:{last.port}", settings=settings, services=lines)
        )
        zone = {f"{selector}._domainkey.example.test.".encode(): record for selector in ("mail", "ours")}
        yield House(last, services, zone)


def tokens(content: bytes) -> list[int]:
    return [len(each) for each in hostile.tokens(content)]


@EACH
def test_trackrelay_first_as_documented(house: House, signer: str) -> None:
    content = house.sent(hostile.letter("", "X-Track-Label: spring"), signer, True)
    assert tokens(content) == TRACKED
    assert house.good(content) == ["mail"]
    assert b"x-track" not in content.lower()
    assert (b"X-Spamd-Bar" in content) == (signer == "rspamd")
    assert house.good(house.sent(hostile.letter("", "X-Track: none"), signer, True)) == ["mail"]


@EACH
def test_the_signer_first(house: House, signer: str) -> None:
    """Its signature goes where tracking breaks it, and stays where nothing is changed."""
    content = house.sent(hostile.letter(), signer, False)
    assert tokens(content) == TRACKED
    assert house.good(content) == []
    assert (b"X-Spamd-Bar" in content) == (signer == "rspamd")
    untracked = house.sent(hostile.letter("", "X-Track: none"), signer, False)
    assert tokens(untracked) == [0, 0]
    assert house.good(untracked) == ["mail"]


@EACH
@ORDERS
def test_trackrelay_signs_as_well(house: House, signer: str, ours_first: bool) -> None:
    """No bad signature leaves, whoever else signs."""
    content = house.sent(hostile.letter(), signer, ours_first, True)
    assert tokens(content) == TRACKED
    assert house.good(content) == (["mail", "ours"] if ours_first else ["ours"])


@EACH
@ORDERS
def test_mail_that_passes_twice_is_tracked_once(house: House, signer: str, ours_first: bool) -> None:
    once = house.sent(hostile.letter(), signer, ours_first)
    twice = house.sent(once, signer, ours_first)
    assert hostile.tokens(twice) == hostile.tokens(once)
    assert set(house.good(twice)) <= {"mail"}


@ORDERS
def test_mail_waits_for_the_signer_alone(house: House, ours_first: bool) -> None:
    """As the document has it: the signer has a default_action of its own."""
    with pytest.raises(smtplib.SMTPResponseException) as put_off:
        house.sent(hostile.letter(), AWAY, ours_first)
    assert put_off.value.smtp_code // 100 == 4
