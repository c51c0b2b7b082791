"""Real Postfix behind the relay, which takes the line of an mbox for a mark where it is the very first one, and the header
section for text where it stands below a field."""

import email
import re

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.core import dkim
from tests.fakes import certificates
from tests.peers import perl_dkim, postfix
from tests.scenarios import hostile, service
from tests.until import eventually

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
ZONE = {
    f"{name}._domainkey.example.test": dkim.record(dkim.load(PEM, "example.test", name)) for name in ("ours", "theirs")
}


def in_zone(name: bytes, timeout: int = 5) -> bytes | None:
    return ZONE.get(name.decode().rstrip("."), "").encode() or None


MBOX = b"From a@example.test Thu Jan  1 10:00:00 2026\r\n"
QUOTED = b">From a@example.test Thu Jan  1 10:00:00 2026\r\n"
BEFORE = {
    "nothing": b"", "mbox": MBOX, "quoted": QUOTED, "several": MBOX + QUOTED + MBOX, "mark": b"\xef\xbb\xbf",
    "mark and mbox": b"\xef\xbb\xbf" + MBOX,
}  # fmt: skip


CRLF, LF = b"\r\n", b"\n"
# Without a header section: as with Postfix alone all is text. It goes on no field of ours, and none of it is lost.
TEXT = {
    "empty line": b"\r\nSubject: x\r\n\r\nyes\r\n",
    "space": b" \r\nSubject: x\r\n\r\nyes\r\n",
    "tab": b"\t\r\nSubject: x\r\n\r\nyes\r\n",
    "indented": b"  From: a@example.test\r\n  Subject: x\r\n\r\nyes\r\n",
    "no field": b"no field\r\nSubject: x\r\n\r\nyes\r\n",
    "sentence": b"From here on there is none.\r\nNone.\r\n",
}
SIGNED = hostile.letter("<p>one\r\n.two\r\n.\r\n..\r\n  three \t\r\n\r\n</p>\r\n\r\n").replace(CRLF, LF)
FORMS = ((b"relaxed", b"relaxed"), (b"simple", b"simple"))


def signed_before(form: tuple[bytes, bytes]) -> bytes:
    """By a program that signs what it will send with CRLF (RFC 6376 5.3), and then sends LF."""
    names = [b"from", b"subject", b"date"]
    made = dkimpy.sign(SIGNED, b"theirs", b"example.test", PEM, canonicalize=form, include_headers=names)
    return made.replace(CRLF, LF) + SIGNED + CRLF


def messages() -> dict[str, bytes]:
    found = {f"{name}, {asks}, {ends!r}": (before + hostile.letter("", f"X-Track: {asks}")).replace(CRLF, ends) + CRLF
             for name, before in BEFORE.items() for asks in ("all", "none") for ends in (CRLF, LF)}  # fmt: skip
    found |= TEXT
    for form in FORMS:
        found |= {
            f"{form} signed": signed_before(form),
            f"{form} signed, mbox": MBOX.replace(CRLF, LF) + signed_before(form),
        }
    return found


MESSAGES = messages()


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the last server gets of each, through the relay and Postfix."""
    folder = tmp_path_factory.mktemp("before")
    certificates.written(folder / "dkim.pem", KEY)
    key = f'[[dkim]]\ndomain = "example.test"\nselector = "ours"\nkey = "{folder}/dkim.pem"\n'
    with hostile.sink() as last, postfix.running(transport=f"smtp:[127.0.0.1]:{last.port}") as server:
        ports = service.settings(folder, upstream=server.port, more=key)
        with service.running(folder, ports, only="smtp,queue") as relay, hostile.Smtp(relay.smtp) as client:
            for number, content in enumerate(MESSAGES.values()):
                assert client.mail(content, f"{number}@example.test").startswith("250")
            eventually(lambda: len(last.taken) == len(MESSAGES))
    by_number = {kept.recipients[0].partition("@")[0]: kept.content for kept in last.taken}
    return {name: by_number[str(number)] for number, name in enumerate(MESSAGES)}


@pytest.mark.parametrize("ends", [CRLF, LF])
@pytest.mark.parametrize("asks", ["all", "none"])
@pytest.mark.parametrize("before", BEFORE)
def test_the_header_section_stays_one(arrived: dict[str, bytes], before: str, asks: str, ends: bytes) -> None:
    content = arrived[f"{before}, {asks}, {ends!r}"]
    assert email.message_from_bytes(content).keys() == [
        "Received", "Received", "DKIM-Signature", "From", "To", "Subject", "Message-ID", "Date", "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert dkimpy.DKIM(content).verify(dnsfunc=in_zone)
    body = content.partition(b"\r\n\r\n")[2].rstrip()
    assert (b"/c/" in body) == (asks == "all")
    if asks == "none":
        assert body == hostile.letter().partition(b"\r\n\r\n")[2].rstrip()


@pytest.mark.parametrize("name", TEXT)
def test_what_has_no_header_section_is_text_and_nothing_else(arrived: dict[str, bytes], name: str) -> None:
    found = email.message_from_bytes(arrived[name])
    assert set(found.keys()) <= {"Received", "Message-ID", "Message-Id", "Date", "From"}
    traces = found.get_all("Received", [])
    assert len(traces) == 2
    assert all(re.search(r";\s+[^;]{26,40}$", trace) for trace in traces)  # they end in a date
    assert arrived[name].endswith(b"\r\n\r\n" + TEXT[name].removeprefix(CRLF))


@pytest.mark.parametrize("name", [f"{form} {name}" for form in FORMS for name in ("signed", "signed, mbox")])
def test_what_its_program_has_signed_holds(arrived: dict[str, bytes], name: str) -> None:
    content = arrived[name]
    assert content.count(b"DKIM-Signature:") == 2
    ours, theirs = (part.start() for part in re.finditer(b"DKIM-Signature:", content))
    alone = content[:ours] + content[theirs:]
    assert b"s=ours" not in alone
    assert dkimpy.DKIM(content).verify(dnsfunc=in_zone)  # the first, which is ours
    assert perl_dkim.verify(alone, ZONE) == "pass"
