"""What is signed verifies elsewhere, and no longer once any signed thing is changed or a second From is added."""

import contextlib
import re
import time

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from dkim import canonicalization
from hypothesis import given
from hypothesis import strategies as st

from relay.core import dkim, headers, parts
from relay.core.dkim import signature
from relay.core.model import Edit
from tests import corpus
from tests.peers import perl_dkim

NOW = int(time.time())  # verifiers compare it with theirs
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def pem(key, form=PKCS8):
    return key.private_bytes(PEM, form, serialization.NoEncryption())


SIGNER = dkim.load(pem(RSA), "example.com", "t1")
SMALL = dkim.load(pem(ED25519), "example.com", "t2")
ZONE = {f"{s.selector}._domainkey.{s.domain}": dkim.record(s) for s in (SIGNER, SMALL)}

HEAD = (
    b"From: Ann <ann@example.com>\r\nTo: ben@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\nReferences: <a@b>\r\n  <c@d>\r\n"
    b"List-Unsubscribe: <https://example.com/u>\r\nX-Other: not signed\r\n"
)
MESSAGE = HEAD + b"\r\nHello  Ben,\t \r\n\r\n  two  spaces \r\n\r\n\r\n"
WITHOUT = b"From: ann@example.com\r\n\r\nno more than that\r\n"


def lookup(name, timeout=5):
    return ZONE.get(name.decode().rstrip("."), "").encode() or None


def verified(content):
    return dkimpy.DKIM(content).verify(dnsfunc=lookup)


def signed(content, signer=SIGNER):
    return dkim.sign(content, signer, NOW) + content


def refused(content):
    try:
        return not verified(content)
    except dkimpy.ValidationError:
        return True


@pytest.fixture(params=["rsa", "ed25519"])
def signer(request):
    if request.param == "ed25519":
        pytest.importorskip("nacl", reason="PyNaCl is not here: dkimpy verifies no Ed25519 without it")
        return SMALL
    return SIGNER


# -- signing -----------------------------------------------------------------------------------------------------------


BODIES = [
    b"",
    b"\r\n",
    b"x",
    b"x\r\n",
    b" \t\r\n\r\n",
    b"a\r\n\r\n\r\n",
    b"..\r\n.\r\n",
    b"\xff\xfe\0\r\n",
    b"x" * 5000,
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "head", [HEAD, b"From: ann@example.com\r\n", HEAD + b"To: twice@example.net\r\nSubject: twice\r\n"]
)
def test_dkimpy_verifies(head, body, signer):
    content = head + b"\r\n" + body
    assert verified(signed(content if not body or content.endswith(b"\r\n") else content + b"\r\n", signer))


@pytest.mark.parametrize(
    "content",
    [
        MESSAGE,
        WITHOUT,
        HEAD + b"\r\n",
        HEAD + "Subject-Id: grüße\r\n\r\nüß \r\n".encode(),
        HEAD + b"\r\n" + b"a  b\t\r\n" * 9999,
    ],
)
def test_perl_verifies(content):
    assert perl_dkim.verify(signed(content), ZONE) == "pass"


def test_perl_refuses_what_was_changed():
    assert "altered" in perl_dkim.verify(signed(MESSAGE).replace(b"Ben,", b"Eve,"), ZONE)
    assert "altered" in perl_dkim.verify(b"From: eve@example.org\r\n" + signed(MESSAGE), ZONE)


@pytest.mark.parametrize("name", ["From", "Subject", "To", "Date"])
@pytest.mark.parametrize("content", [MESSAGE, WITHOUT])
def test_another_field_of_the_frozen_breaks_it(name, content, signer):
    extra = f"{name}: eve@example.org\r\n".encode()
    made = signed(content, signer)
    end = headers.read(made).end
    assert refused(extra + made)
    assert refused(made[:end] + extra + made[end:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Ann", b"Eve"),
        (b"ben@", b"eve@"),
        (b"<1@", b"<2@"),
        (b"<a@b>", b"<x@b>"),
        (b"/u>", b"/x>"),
        (b"utf-8\r\nR", b"utf-7\r\nR"),
        (b"Hello", b"Hallo"),
        (b"\r\n\r\n\r\n", b"\r\n\r\nMore\r\n"),
    ],
)
def test_a_change_of_what_is_signed_breaks_it(old, new, signer):
    made = signed(MESSAGE, signer)
    assert made.count(old) == 1
    assert refused(made.replace(old, new))


def test_what_relaxed_allows_and_what_is_not_signed_does_not_break_it(signer):
    made = signed(MESSAGE, signer)
    assert verified(made.replace(b"X-Other: not signed\r\n", b""))
    assert verified(b"Received: by a host\r\nX-New: 1\r\n" + made)
    assert verified(made.replace(b"Hello  Ben,\t \r\n", b"Hello Ben,\r\n"))
    assert verified(made + b"\r\n\r\n")
    assert verified(made.replace(b"<a@b>\r\n  <c@d>", b"<a@b> <c@d>"))


def test_the_form_of_the_field(signer):
    field = dkim.sign(MESSAGE, signer, 1_700_000_000)
    assert field.startswith(b"DKIM-Signature: v=1; a=")
    assert field.endswith(b"\r\n")
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
    assert len(headers.read(field).fields) == 1
    tags = dict(re.findall(r"(\w+)=([^;]*)", headers.read(field).get("dkim-signature")))
    assert (tags["v"], tags["c"], tags["d"], tags["t"]) == ("1", "relaxed/relaxed", "example.com", "1700000000")
    assert "l" not in tags
    names = re.sub(r"\s", "", tags["h"]).split(":")
    assert {n: names.count(n) for n in names} == {
        "from": 2, "to": 2, "subject": 2, "date": 2, "message-id": 1, "mime-version": 1, "content-type": 1,
        "references": 1, "list-unsubscribe": 1,
    }  # fmt: skip


def replaced(content):
    """As Amazon SES does it: other fields in place of these two, and more on top."""
    for name in (b"Message-ID", b"Date"):
        content = re.sub(rb"(?mi)^" + name + rb":[^\n]*\n", b"", content)
    return (
        b"Message-ID: <0102@eu-west-1.amazonses.com>\r\nDate: Fri, 2 Jan 2026 00:00:00 +0000\r\n"
        b"Feedback-ID: 1.eu-west-1.x:AmazonSES\r\n"
    ) + content


@pytest.mark.parametrize("content", [MESSAGE, WITHOUT], ids=["there", "absent"])
@pytest.mark.parametrize("how", ["argument", "setting"])
def test_what_is_left_out_may_be_replaced(content, how, signer):
    names = ["message-id", "date", "Feedback-ID"]
    if how == "argument":
        made = dkim.sign(content, signer, NOW, frozenset(name.lower() for name in names)) + content
    else:
        made = signed(content, dkim.load(pem(signer.key), signer.domain, signer.selector, names))
    assert verified(made)
    assert verified(replaced(made))
    if signer is SIGNER:
        assert perl_dkim.verify(replaced(made), ZONE) == "pass"
    assert refused(replaced(signed(content, signer)))
    assert refused(b"Subject: more\r\n" + made)


def test_names_of_the_greatest_length():
    name = ".".join(["a" * 60] * 4)
    signer = dkim.load(pem(RSA), name, "s" * 60)
    content = MESSAGE.replace(b"ann@example.com", b"ann@" + name.encode())
    made = signed(content, signer)
    zone = {f"{'s' * 60}._domainkey.{name}": dkim.record(signer)}
    assert dkimpy.DKIM(made).verify(dnsfunc=lambda n, timeout=5: zone[n.decode().rstrip(".")].encode())
    assert perl_dkim.verify(made, zone) == "pass"


def test_a_file_with_bare_newlines_is_signed_as_it_will_travel():
    unix = MESSAGE.replace(b"\r\n", b"\n")
    made = signed(unix)
    assert b"\r" not in made
    assert verified(made.replace(b"\n", b"\r\n"))


def test_a_body_without_a_last_line_ending_is_signed_as_it_will_travel():
    assert verified(signed(HEAD + b"\r\nx ") + b"\r\n")


def test_a_mailbox_line_before_the_header_is_stepped_over():
    made = dkim.sign(b"From ann@example.com Thu Jan  1 00:00:00 2026\r\n" + MESSAGE, SIGNER, NOW)
    assert verified(made + MESSAGE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no From"),
        (b"Subject: x\r\n\r\n", "no From"),
        (b"From: a@b\r\nFrom: c@d\r\n\r\n", "2 From"),
        (b"From: a@b\r\nthis is no field\r\nTo: x\r\n\r\n", "no header field"),
        (b"From: a@b\r\n" + b"To: a@b\r\n" * 300 + b"\r\n", "at most 200"),
    ],
)
def test_unsignable(content, why):
    with pytest.raises(dkim.Unsignable, match=why):
        dkim.sign(content, SIGNER, NOW)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40)
fields = st.tuples(
    st.sampled_from(["To", "Subject", "subject", "Cc", "X-A", "Content-Type", "DKIM-Signature", "Received"]),
    st.lists(texts, min_size=1, max_size=3).map("\r\n\t".join),
)


@given(st.lists(fields, max_size=8), st.binary(max_size=200))
def test_what_can_be_signed_verifies(pairs, body):
    body = body.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    pairs = [pair for pair in pairs if pair[0] != "DKIM-Signature"]
    head = "".join(f"{name}: {value}\r\n" for name, value in pairs).encode() + b"From: a@example.com\r\n"
    assert verified(signed(head + b"\r\n" + body))


@given(st.binary(max_size=300))
def test_any_bytes_are_signed_or_refused_with_a_reason(content):
    for raw in (content, b"From: a@example.com\r\n" + content):
        with contextlib.suppress(dkim.Unsignable):
            assert len(headers.read(dkim.sign(raw, SMALL, NOW)).fields) == 1


pieces = st.sampled_from(
    [b" ", b"\t", b"\r\n", b"\r", b"\n", b"a", b".", b"\0", b"\x0b", b"\xa0", b" " * 33, b"\r\n" * 5]
)


@given(st.lists(pieces, max_size=30).map(b"".join))
def test_the_canonical_body_is_dkimpys(body):
    body += b"\r\n"
    assert signature.relaxed_body(body) == canonicalization.Relaxed.canonicalize_body(body)


@given(st.lists(pieces, max_size=12).map(b"".join))
def test_the_canonical_field_is_dkimpys(value):
    [(name, made)] = canonicalization.Relaxed.canonicalize_headers([(b"Subject", value)])
    assert signature.canonical("subject", value) == name + b":" + made


def test_of_equal_names_the_lowest_comes_first():
    fields = [("from", b"1"), ("received", b"2"), ("from", b"3"), ("to", b"4")]
    names = ["from", "to", "from", "from", "cc"]
    theirs = dkimpy.select_headers([(name.encode(), value) for name, value in fields], [n.encode() for n in names])
    assert signature.selected(fields, names) == [value for _, value in theirs] == [b"3", b"4", b"1"]


def test_the_canonical_empty_body():
    assert signature.relaxed_body(b"") == b""


@pytest.mark.parametrize("unit", [b" ", b"\t", b"\r\n", b"\r\r\n", b" \r\n", b"a \t"])
def test_hostile_bodies_end(unit):
    signature.relaxed_body(unit * 500_000 + b"\r\n")


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_forms_of_a_key(form, ending):
    loaded = dkim.load(pem(RSA, form).replace(b"\n", ending), "Example.COM.", "T1")
    assert (loaded.domain, loaded.selector, loaded.algorithm) == ("example.com", "t1", "rsa-sha256")
    assert verified(signed(MESSAGE, loaded))


def test_bad_keys():
    curve = pem(ec.generate_private_key(ec.SECP256R1()))
    locked = RSA.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret"))
    public = RSA.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for content, why in [(b"", "PEM"), (b"junk", "PEM"), (public, "PEM"), (locked, "encrypted"), (curve, "neither")]:
        with pytest.raises(dkim.BadKey, match=why):
            dkim.load(content, "example.com", "t1")
    for domain, selector in [("", "t1"), ("example.com", ""), ("a b", "t1"), ("example.com", "t;1"), ("x" * 300, "t")]:
        with pytest.raises(dkim.BadKey, match="is no"):
            dkim.load(pem(RSA), domain, selector)


def test_a_private_key_is_not_shown():
    shown = "Signer(domain='example.com', selector='t1', algorithm='rsa-sha256', unsigned=frozenset())"
    assert repr(SIGNER) == shown


@pytest.mark.parametrize(
    ("address", "chosen"),
    [
        ("a@example.com", "example.com"),
        ("a@EXAMPLE.COM", "example.com"),
        ("a@example.com.", "example.com"),
        ("a@news.example.com", "news.example.com"),
        ("a@deep.news.example.com", "news.example.com"),
        ("a@other.example.com", "example.com"),
        ("a@badexample.com", None),
        ("a@com", None),
        ("a@bücher.example", "xn--bcher-kva.example"),
        ('"a@example.com"@x.example', None),
        ("", None),
        ("a@", None),
        ("a@\udcff.example.com", "example.com"),
    ],
)
def test_choose(address, chosen):
    signers = [
        dkim.Signer(domain, "s", "ed25519-sha256", ED25519)
        for domain in ("example.com", "news.example.com", "xn--bcher-kva.example")
    ]
    found = dkim.choose(signers, address)
    assert (found and found.domain) == chosen
    assert dkim.choose([], address) is None


def test_records():
    assert re.fullmatch(r"v=DKIM1; k=rsa; p=[A-Za-z0-9+/]{380,}=*", dkim.record(SIGNER))
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", dkim.record(SMALL))
    line = dkim.zone_line(SIGNER)
    assert line.startswith('t1._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=')
    strings = re.findall(r'"([^"]*)"', line)
    assert all(len(s) <= 255 for s in strings)
    assert "".join(strings) == dkim.record(SIGNER)


# -- signatures of others ----------------------------------------------------------------------------------------------


def theirs(names="From:Subject", extra=""):
    return f"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s;{extra}\r\n h={names}; bh=abc=; b=def\r\n".encode()


@pytest.mark.parametrize(
    ("raw", "changed", "body", "expected"),
    [
        (theirs() + MESSAGE, [], False, ()),
        (theirs() + MESSAGE, ["x-track", "references"], False, ()),
        (theirs() + MESSAGE, ["subject"], False, (0,)),
        (theirs() + MESSAGE, ["SUBJECT"], False, (0,)),
        (theirs() + MESSAGE, [], True, (0,)),
        (theirs(extra=" l=0;") + MESSAGE, [], True, (0,)),
        (theirs("From:\r\n  X-Track : Subject") + MESSAGE, ["x-track"], False, (0,)),
        (theirs("From:References") + theirs() + MESSAGE, ["references"], False, (0,)),
        (theirs() + theirs("from:references") + MESSAGE, ["references"], False, (1,)),
        (theirs("From:DKIM-Signature") + theirs("from:references") + MESSAGE, ["references"], False, (0, 1)),
        (theirs("From:DKIM-Signature") + theirs("from:references") + MESSAGE, ["x"], False, ()),
        (b"DKIM-Signature: nonsense\r\n" + MESSAGE, ["subject"], False, ()),
        (b"DKIM-Signature: nonsense\r\n" + MESSAGE, [], True, (0,)),
        (MESSAGE, ["subject"], True, ()),
    ],
)
def test_broken(raw, changed, body, expected):
    assert dkim.broken(headers.read(raw), changed=changed, body=body) == expected


@pytest.mark.parametrize("name", ["Subject", "References", "X-Track", "Cc", "List-Unsubscribe"])
def test_what_stays_still_verifies_and_what_goes_does_not(name):
    """Over our own signature: the verdict of `broken` is the verifier's."""
    content = b"X-Track: all\r\n" + MESSAGE
    made = signed(content)
    head = headers.read(made)
    field = head.first(name.lower())
    edit = Edit(head.end, head.end, name.encode() + b": new@example.net\r\n")
    if field is not None:
        edit = Edit(field.start, field.end, b"")
    after = parts.splice(made, [edit])
    if not dkim.broken(head, changed=[name.lower()], body=False):
        assert verified(after)
    else:
        assert refused(after)


def test_every_message_of_the_corpus_verifies_or_says_why_not():
    reasons = []
    for path in corpus.messages("messages", "template-messages", "reports"):
        content = signature.as_sent(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b""))
        try:
            made = signed(content)
        except dkim.Unsignable as reason:
            reasons.append(str(reason))
            continue
        assert verified(made), path.name
    assert all("From" in reason or "no header field" in reason for reason in reasons)
    assert len(reasons) < 30


def test_perl_verifies_every_tenth_message_of_the_corpus():
    for path in corpus.messages("messages", "template-messages")[::10]:
        content = signature.as_sent(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b""))
        with contextlib.suppress(dkim.Unsignable):
            assert perl_dkim.verify(signed(content), ZONE) == "pass", path.name
