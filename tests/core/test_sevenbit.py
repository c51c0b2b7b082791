"""A message in 7bit means what it meant in 8bit, by the standard library's reading; or there is a reason."""

from __future__ import annotations

import base64
import email
from collections import Counter
from email.message import Message

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import dkim, headers, lines, parts, recoding, sevenbit
from relay.core.model import Edit
from relay.core.parts import transfer
from tests import corpus, fuzz
from tests.core.rewriting import leaf, multipart, payload
from tests.fuzz import targets

MIME = "MIME-Version: 1.0\r\n"
EIGHT = "Content-Transfer-Encoding: 8bit"
GREETING = "Grüße\r\n".encode()


def converted(raw: bytes, *signers: dkim.Signer) -> bytes:
    made = sevenbit.convert(raw, signers)
    assert isinstance(made, sevenbit.Converted), made
    return made.content


def leaves(raw: bytes) -> list[Message]:
    """As the standard library has them, those of messages in the message too."""
    found, pending = [], [email.message_from_bytes(raw)]
    while pending:
        part = pending.pop()
        inner = part.get_payload()
        if isinstance(inner, list):
            pending += reversed(inner)  # type: ignore[arg-type]
        else:
            found.append(part)
    return found


def same(raw: bytes, out: bytes) -> int:
    """Holds that the standard library decodes every part to the same octets; how many are encoded anew."""
    before, after = leaves(raw), leaves(out)
    assert [part.get_content_type() for part in after] == [part.get_content_type() for part in before]
    assert [payload(part) for part in after] == [payload(part) for part in before]
    name = "Content-Transfer-Encoding"
    encoded = [b for a, b in zip(before, after, strict=True) if str(a[name]).lower() != str(b[name]).lower()]
    return sum(str(part[name]).lower() in ("base64", "quoted-printable") for part in encoded)


# -- what is written ---------------------------------------------------------------------------------------------------

TOP = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\n%s\r\n"
CASES = [
    ("a label is replaced", TOP % (b"text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit\r\n") + GREETING,
     TOP % (b"text/plain; charset=utf-8", b"Content-Transfer-Encoding: quoted-printable\r\n") + b"Gr=C3=BC=C3=9Fe\r\n"),
    ("or comes", TOP % (b"text/plain", b"") + GREETING,
     TOP % (b"text/plain", b"Content-Transfer-Encoding: quoted-printable\r\n") + b"Gr=C3=BC=C3=9Fe\r\n"),
    ("each of two that say the same", TOP % (b"text/plain", b"Content-Transfer-Encoding: 8bit\r\n" * 2) + GREETING,
     TOP % (b"text/plain", b"Content-Transfer-Encoding: quoted-printable\r\n" * 2) + b"Gr=C3=BC=C3=9Fe\r\n"),
    ("however it was written", TOP % (b"text/plain", b"content-TRANSFER-encoding:\r\n\t8bit\r\n") + GREETING,
     TOP % (b"text/plain", b"Content-Transfer-Encoding: quoted-printable\r\n") + b"Gr=C3=BC=C3=9Fe\r\n"),
    ("before MIME", b"Subject: x\r\n\r\n" + GREETING,
     b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"),
    ("no fields at all", b"\r\n" + GREETING,
     b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"),
    ("spaces at the ends of lines, and what looks like an escape", TOP % (b"text/plain", b"") + "ü=3D \r\n\t\r\n.\r\n".encode(),
     TOP % (b"text/plain", b"Content-Transfer-Encoding: quoted-printable\r\n") + b"=C3=BC=3D3D=20\r\n=09\r\n=2E\r\n"),
    ("mostly beyond ASCII", TOP % (b"text/plain; charset=utf-8", b"") + "Привет\r\n".encode(),
     TOP % (b"text/plain; charset=utf-8", b"Content-Transfer-Encoding: base64\r\n") + base64.b64encode("Привет\r\n".encode()) + b"\r\n"),
    ("no text", TOP % (b"image/x", b"Content-Transfer-Encoding: binary\r\n") + b"x\x00\xff",
     TOP % (b"image/x", b"Content-Transfer-Encoding: base64\r\n") + b"eAD/"),
    ("ASCII is what it was, whatever it says", TOP % (b"text/plain", b"Content-Transfer-Encoding: 8bit\r\n") + b"x" * 2000,
     TOP % (b"text/plain", b"Content-Transfer-Encoding: 8bit\r\n") + b"x" * 2000),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "out"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_part(raw: bytes, out: bytes) -> None:
    assert converted(raw) == out
    same(raw, out)


def test_a_soft_line_break_makes_no_delimiter() -> None:
    """In quoted-printable one of these would have a line "--b"."""
    for columns in range(60, 80):
        body = b"\xfc" + b"x" * columns + b"--b\r\nand more"
        raw = multipart("mixed", leaf(body), leaf(GREETING), boundary="b", extra=MIME)
        assert same(raw, converted(raw)) == 2
        targets.seven(raw)


def test_only_what_must_change_does() -> None:
    """Labels of what holds others follow; parts that are 7bit or encoded are not touched."""
    raw = multipart(
        "mixed",
        multipart("alternative", leaf(b"plain\r\n", "text/plain", EIGHT), leaf(GREETING, "text/html", EIGHT), boundary="a"),
        b"\r\n" + GREETING,
        leaf(b"aGVsbG8=", "image/png", "Content-Transfer-Encoding: base64"),
        leaf(b"Subject: y\r\n\r\nplain", "message/rfc822", EIGHT),
        leaf(b"Subject: y\r\nMIME-Version: 1.0\r\n\r\n" + GREETING, "message/rfc822", EIGHT),
        leaf(b"long " * 300, "text/plain"),
        extra=f"Subject: x\r\n{MIME}{EIGHT}\r\n",
    )  # fmt: skip
    quoted, seven = (b"Content-Transfer-Encoding: %s\r\n" % name for name in (b"quoted-printable", b"7bit"))
    eight = EIGHT.encode() + b"\r\n"
    greeting = b"Gr=C3=BC=C3=9Fe\r\n"
    long = (b"long " * 15 + b"=\r\n") * 19 + b"long " * 14 + b"long=20"
    out = raw
    for old, new in [
        (b"text/html\r\n" + eight + b"\r\n" + GREETING, b"text/html\r\n" + quoted + b"\r\n" + greeting),
        (b"--=_b=\r\n\r\n" + GREETING, b"--=_b=\r\n" + quoted + b"\r\n" + greeting),
        (b"1.0\r\n\r\n" + GREETING, b"1.0\r\n" + quoted + b"\r\n" + greeting),
        (
            b"Content-Type: text/plain\r\n\r\n" + b"long " * 300,
            b"Content-Type: text/plain\r\n" + quoted + b"\r\n" + long,
        ),
    ]:
        assert out.count(old) == 1
        out = out.replace(old, new)
    assert converted(raw) == out.replace(eight, seven)
    assert same(raw, out) == 4


# -- reasons -----------------------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    raw = b"Subject: x\r\n\r\n" + GREETING
    for _ in range(levels):
        raw = b"Subject: x\r\nContent-Type: message/rfc822\r\n\r\n" + raw
    return raw


REASONS = [
    (recoding.SEAL, multipart("signed", leaf(GREETING), leaf(b"x", "application/pgp-signature"))),
    (recoding.SEAL, multipart("mixed", multipart("signed", leaf(GREETING), leaf(b"x", "application/pkcs7-signature"), boundary="s"))),
    (recoding.SEAL, multipart("mixed", leaf(multipart("signed", leaf(GREETING)), "message/rfc822"), boundary="s")),
    (recoding.SEAL, multipart("encrypted", leaf(GREETING, "application/pgp-encrypted"))),
    (recoding.SEAL, leaf(b"\xff", "application/pkcs7-mime; smime-type=signed-data")),
    (recoding.SEAL, leaf(b"-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n" + GREETING, "text/plain")),
    (sevenbit.FIELDS, "Subject: Grüße\r\n\r\nx".encode()),
    (sevenbit.FIELDS, multipart("mixed", leaf(b"x", "text/plain; name=ü"))),
    (sevenbit.FIELDS, leaf("Subject: ü\r\n\r\nx".encode(), "message/rfc822")),
    (sevenbit.BETWEEN, multipart("mixed", leaf(b"x")).replace(b"\r\n\r\n--", "\r\n\r\nPräambel\r\n--".encode(), 1)),
    (sevenbit.BETWEEN, multipart("mixed", leaf(GREETING)) + "Epilög\r\n".encode()),
    (recoding.DOUBT, b"Subject: x\r\nno field\r\n" + GREETING),
    (recoding.DOUBT, f"{EIGHT}\r\nContent-Transfer-Encoding: binary\r\n\r\n".encode() + GREETING),
    (recoding.DOUBT, leaf(b"x: y\r\n\r\n\xff", "message/rfc822", "Content-Transfer-Encoding: quoted-printable")),
    (recoding.LABEL, leaf(GREETING, "text/plain", "Content-Transfer-Encoding: quoted-printable")),
    (recoding.LABEL, leaf(GREETING, "text/plain", "Content-Transfer-Encoding: base64")),
    (recoding.LABEL, leaf(GREETING, "text/plain", "Content-Transfer-Encoding: x-8bit")),
    (recoding.WHOLE, leaf(GREETING, "message/partial; id=x; number=1; total=2")),
    (recoding.WHOLE, leaf(GREETING, "message/delivery-status")),
    (recoding.WHOLE, leaf(GREETING, "multipart/mixed")),
    (recoding.LIMITS, nested(recoding.LEVELS)),
    (recoding.LIMITS, multipart("mixed", *[b"\r\n" + GREETING] * (parts.PARTS + 1))),
    (sevenbit.LINES, b"Subject: x\r\n\r\n\xfc\n"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "raw"), REASONS)
def test_what_can_not_be_had(reason: recoding.Unfit, raw: bytes) -> None:
    assert sevenbit.convert(raw) == reason


def test_an_encoding_of_a_multipart_is_none() -> None:
    """Programs say one, against RFC 2045 (6.4); readers heed that of the parts."""
    raw = multipart("mixed", leaf(GREETING), extra="Content-Transfer-Encoding: base64\r\n")
    assert same(raw, converted(raw)) == 1


def test_a_seal_on_7bit_stays_whole_beside_what_is_converted() -> None:
    sealed = multipart(
        "signed",
        leaf(b"x" * 1200 + b"\r\n", "text/plain", EIGHT),
        leaf(b"x", "application/pgp-signature"),
        boundary="s",
    )
    raw = multipart("mixed", sealed, leaf(GREETING), extra=MIME)
    out = converted(raw)
    assert sealed in out
    assert same(raw, out) == 1
    assert len(leaves(converted(nested(recoding.LEVELS - 1)))) == 1


# -- properties --------------------------------------------------------------------------------------------------------

BODIES = st.lists(
    st.sampled_from(
        ["ü", "Grüße", "日本語", "x", " ", "\t", "=", "=C3", ".", "\r\n", "\r\n\r\n", "--", "--b", "--=_c=", "From ", "x" * 75, "ä" * 90, "y" * 1_200, "\0", "\x1b", "\x7f"]
    ),
    max_size=12,
).map("".join)  # fmt: skip
TYPES = ["text/plain", "text/html; charset=utf-8", "TEXT/csv", "image/png", "application/octet-stream", "text/calendar"]
LABELS = ["", EIGHT, "Content-Transfer-Encoding: 7bit", "Content-Transfer-Encoding: Binary"]


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    body = draw(BODIES).encode(draw(st.sampled_from(["utf-8", "utf-8", "koi8-r"])), "xmlcharrefreplace")
    fields = [line for line in (draw(st.sampled_from(LABELS)),) if line]
    if draw(st.booleans()):
        fields.append("Content-Disposition: attachment; filename=x")
    return leaf(body.replace(b"\r\n--b", b"\r\n").removeprefix(b"--b"), draw(st.sampled_from(TYPES)), *fields)


def within(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    several = st.tuples(
        st.sampled_from(["mixed", "alternative", "related"]),
        st.lists(children, min_size=1, max_size=3),
        st.sampled_from(["=_c=", "d e", "e" * 70]),
    ).map(lambda node: multipart(node[0], *node[1], boundary=f"{node[2]}{len(b''.join(node[1]))}"))
    forwarded = children.map(lambda raw: leaf(b"Subject: y\r\n" + raw, "message/rfc822"))
    return several | forwarded


TREES = st.recursive(pieces(), within, max_leaves=5).map(lambda tree: b"From: a@example.com\r\n" + tree)


@settings(max_examples=2 * fuzz.EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(TREES)
def test_every_part_means_what_it_meant(raw: bytes) -> None:
    """For any message of plain parts and messages: the standard library decodes all parts to the same octets; the bytes
    outside the encoded bodies and the fields that say so are equal."""
    same(raw, converted(raw))
    targets.seven(raw)


@given(st.binary(max_size=300), st.sampled_from(["text/plain", "image/png"]))
def test_any_body(body: bytes, kind: str) -> None:
    body = b"\r\n".join(body.replace(b"\r", b"").split(b"\n"))
    raw = leaf(body, kind, EIGHT)
    out = converted(raw)
    assert payload(email.message_from_bytes(out)) == body
    assert max(map(len, out.split(b"\r\n"))) <= (transfer.QP_LINE if out != raw else 300)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 5, 500, 997, 998, 999, 1_100]), st.sampled_from(["\r\n", "", "\r\n", "\0", "ü"])),
        max_size=4,
    )
)
def test_seven_bit_data(lines: list[tuple[int, str]]) -> None:
    """RFC 2045 2.7, in other words."""
    body = "".join("x" * count + end for count, end in lines).encode()
    plain = all(0 < octet < 128 for octet in body)
    assert sevenbit.is_seven(body) is (plain and all(len(line) <= 998 for line in body.split(b"\r\n")))


# -- signatures --------------------------------------------------------------------------------------------------------

NOW = 1_790_000_000


def signer(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, domain: str, selector: str) -> dkim.Signer:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return dkim.load(key.private_bytes(*form), domain, selector)


OURS = signer(ed25519.Ed25519PrivateKey.generate(), "example.com", "t1")
RSA = signer(rsa.generate_private_key(65537, 2048), "example.com", "t1")
THEIRS = signer(ed25519.Ed25519PrivateKey.generate(), "list.example", "x")
LETTER = (
    b"From: Ann <ann@mail.example.com>\r\n" + TOP % (b"text/plain; charset=utf-8", EIGHT.encode() + b"\r\n") + GREETING
)


def signatures(raw: bytes) -> list[str]:
    return [f"{part}" for part in email.message_from_bytes(raw).get_all("DKIM-Signature") or []]


@pytest.mark.parametrize("key", [OURS, RSA], ids=["ed25519", "rsa"])
def test_our_signature_is_made_again_and_that_of_others_goes(key: dkim.Signer) -> None:
    raw = dkim.sign(LETTER, THEIRS, NOW) + LETTER
    raw = dkim.sign(raw, key, NOW) + raw
    made = sevenbit.convert(raw, (THEIRS, key))
    assert isinstance(made, sevenbit.Converted)
    out, removed = made
    assert removed == 1
    assert f"t={NOW}" in "".join(signatures(out))
    assert len(signatures(out)) == 1
    zone = {f"{s.selector}._domainkey.{s.domain}.": dkim.record(s).encode() for s in (key, THEIRS)}
    found = dkimpy.DKIM(raw)
    assert found.verify(dnsfunc=lambda name, timeout=5: zone[name.decode()])
    assert dkimpy.DKIM(out).verify(dnsfunc=lambda name, timeout=5: zone[name.decode()])
    assert same(raw, out) == 1
    assert sevenbit.convert(raw, (THEIRS, key)) == made  # another try sends the same bytes


def test_what_our_signature_leaves_out_the_new_one_leaves_out_too() -> None:
    """What was not there when it was made is covered all the same."""
    dated = b"Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n" + LETTER
    without = frozenset({"date", "message-id"})
    raw = dkim.sign(dated, OURS, NOW, without) + dated
    out = converted(raw, OURS)
    head = headers.read(out)
    assert not without & dkim.signed_fields(head, 0)
    assert {"from", "to", "subject", "mime-version", "content-transfer-encoding"} <= dkim.signed_fields(head, 0)
    record = dkim.record(OURS).encode()
    replaced = out.replace(b"10:00:00", b"10:00:01").replace(b"<1@", b"<2@")
    assert replaced != out
    assert dkimpy.DKIM(replaced).verify(dnsfunc=lambda name, timeout=5: record)


def test_a_signature_that_covers_less_than_ours_do_is_no_model() -> None:
    """Anybody may write such a field."""
    raw = b"DKIM-Signature: v=1; d=example.com; s=t1; t=1; h=From\r\n" + LETTER
    out = converted(raw, OURS)
    assert {"from", "to", "mime-version", "content-type"} <= dkim.signed_fields(headers.read(out), 0)


def test_what_was_signed_without_long_lines_has_none_in_7bit() -> None:
    """Two steps: lines are made shorter before the signature, and another part is converted for the server at hand."""
    parts_ = leaf(b"word " * 300, "text/plain"), leaf(GREETING, "text/plain; charset=utf-8", EIGHT)
    raw = lines.shortened(b"From: ann@example.com\r\nX-Note: " + b"word " * 300 + b"\r\n" + multipart("mixed", *parts_))
    assert isinstance(raw, bytes)
    out = converted(dkim.sign(raw, OURS, NOW) + raw, OURS)
    assert not recoding.long_line(out)
    record = dkim.record(OURS).encode()
    assert dkimpy.DKIM(out).verify(dnsfunc=lambda name, timeout=5: record)


def test_our_signature_stays_below_the_trace_field() -> None:
    trace = b"Received: by relay.example with ESMTP id x;\r\n\tnow\r\n"
    raw = trace + dkim.sign(LETTER, OURS, NOW) + LETTER
    out = converted(raw, OURS)
    assert out.startswith(trace + b"DKIM-Signature: ")
    assert out.count(b"DKIM-Signature: ") == 1
    record = dkim.record(OURS).encode()
    assert dkimpy.DKIM(out).verify(dnsfunc=lambda name, timeout=5: record)


@pytest.mark.parametrize(
    ("raw", "signers"),
    [
        (dkim.sign(LETTER, OURS, NOW) + LETTER, ()),  # the key is no longer ours
        (dkim.sign(LETTER, OURS, NOW) + LETTER, (signer(OURS.key, "example.com", "t2"),)),
        (dkim.sign(LETTER, THEIRS, NOW) + LETTER, (THEIRS, OURS)),  # not the one for this sender
        (b"DKIM-Signature: v=1; d=example.com; s=t1; t=soon; h=From\r\n" + LETTER, (OURS,)),
        (b"DKIM-Signature: v=1; d=example.com; s=t1; h=From\r\n" + LETTER, (OURS,)),
    ],
)  # fmt: skip
def test_a_signature_that_we_did_not_make_is_not_made(raw: bytes, signers: tuple[dkim.Signer, ...]) -> None:
    made = sevenbit.convert(raw, signers)
    assert isinstance(made, sevenbit.Converted)
    assert (signatures(made.content), made.removed) == ([], 1)


def test_what_was_not_signed_is_not_signed_now() -> None:
    assert signatures(converted(LETTER, OURS)) == []


def test_a_signature_that_could_not_be_made_again_keeps_the_message_as_it_is() -> None:
    raw = b"DKIM-Signature: v=1; d=example.com; s=t1; t=1; h=From\r\nFrom: b@example.com\r\n" + LETTER
    assert sevenbit.convert(raw, (OURS,)) == sevenbit.SIGNATURE


# -- real messages -----------------------------------------------------------------------------------------------------


def eight(raw: bytes) -> bytes:
    """The message with its encoded texts in 8bit, where that makes no line end bare and no delimiter."""
    edits = []
    for part in parts.scan(raw, headers.read(raw)).parts:
        field = part.headers.first("content-transfer-encoding")
        body = raw[part.start : part.end]
        meant = transfer.exact(body, part.encoding)
        if field is None or part.doubtful or meant in (None, body) or not part.content_type.startswith("text/"):
            continue
        meant = b"\r\n".join(meant.replace(b"\r", b"").split(b"\n"))
        if b"\n--" not in meant:
            edits += [Edit(field.value, field.end, b" 8bit\r\n"), Edit(part.start, part.end, meant)]
    return parts.splice(raw, edits)


def test_every_message_of_the_corpus() -> None:
    count: Counter[str] = Counter()
    for path in corpus.messages("messages", "template-messages", "reports"):
        stored = b"\r\n".join(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
        for raw in {stored, eight(stored)}:
            targets.seven(raw)
            made = sevenbit.convert(raw)
            if isinstance(made, recoding.Unfit):
                count[made.reason] += 1
            elif raw.isascii():
                assert made.content == raw
                count["ASCII"] += 1
            else:
                count["parts"] += same(raw, made.content)
                count["converted"] += 1
    print(dict(count))
    assert count["converted"] > 50
