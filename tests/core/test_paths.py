"""Invariant: for any argument, an address exactly as written and safe to send on, or a refusal; never an exception."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.core import paths
from relay.core.model import Recipient, Reply

GOOD = [
    "a@b", "a.b@example.com", "A.B@Example.COM", "user+tag@sub.example.com", '"a b"@example.com', '"a\\"b@c"@example.com',
    '"<x>"@example.com', "user%other.example@example.com", "other.example!user@example.com", "a@[127.0.0.1]",
    "a@[IPv6:2001:db8::1]", "postmaster", "root", "a..b@docomo.example", "a.@docomo.example", "o'brien@example.com",
    "a/b=c@example.com", "a@under_score.example.com", "x" * 64 + "@example.com", "bounce-" + "v" * 150 + "@example.com",
    "a@" + ".".join(["d" * 60] * 4) + ".example", '""@example.com', "a@xn--bcher-kva.example",
]  # fmt: skip
BAD = [
    "a b@example.com", "a@b c", "a@@b", "a@b@c", "@b", "a@", "a@-b.example", "a@b-.example", "a@b..c", "a@.b", "a@b.",
    "a<b@c", "a>b@c", 'a"b@c', '"a@b', 'a"@b', "a\tb@c", "a\x00b@c", "a\rb@c", "a\nb@c", "a\x7fb@c", "a,b@c", "a;b@c",
    "a(b)@c", "a\\b@c", "a@[", "a@[]", "a@]", "a@[1.2.3.4", "a@b>", "<a@b", "a:b@c", '"a\x01b"@c',
]  # fmt: skip


@pytest.mark.parametrize("address", GOOD)
def test_an_address_is_kept_as_it_was_written(address):
    assert paths.rcpt(f"TO:<{address}>", extended=True, utf8=False) == Recipient(address)
    assert paths.mail(f"FROM:<{address}>", extended=True) == paths.Mail(address)


@pytest.mark.parametrize("address", BAD)
def test_what_is_no_address_is_refused(address):
    for answer in (
        paths.rcpt(f"TO:<{address}>", extended=True, utf8=True),
        paths.mail(f"FROM:<{address}>", extended=True),
    ):
        assert isinstance(answer, Reply)
        assert answer.code in (501, 553)


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("TO:<@hop.example:a@b.example>", "a@b.example"),
        ("TO:<@hop.example,@[10.0.0.1]:a@b.example>", "a@b.example"),
        ("to:<a@b>", "a@b"),
        ("To: <a@b>", "a@b"),
        ("TO:a@b", "a@b"),
        ("TO:<a@b> ", "a@b"),
    ],
)
def test_ways_to_write_a_recipient(argument, address):
    assert paths.rcpt(argument, extended=True, utf8=False) == Recipient(address)


@pytest.mark.parametrize(
    "argument",
    [None, "", "TO", "TO:", "TO: ", "<a@b>", "FROM:<a@b>", "TO:<>", "TO:<a@b", "TO:a@b>", "TO:<a@b>x", "TO:<a@b><c@d>",
     "TO:<@hop.example a@b>", "TO:<a@b> NOTIFY", "TO:<a@b> =x", "TO:<a@b> X=\x01"],
)  # fmt: skip
def test_ways_not_to_write_one(argument):
    answer = paths.rcpt(argument, extended=True, utf8=False)
    assert isinstance(answer, Reply)
    assert answer.code // 100 == 5


def test_addresses_beyond_ascii_need_smtputf8():
    wide = "jürgen@bücher.example"
    assert paths.mail(f"FROM:<{wide}>", extended=True) == paths.NOT_ASCII
    assert paths.mail(f"FROM:<{wide}> SMTPUTF8", extended=True) == paths.Mail(wide, options=("SMTPUTF8",))
    assert paths.rcpt(f"TO:<{wide}>", extended=True, utf8=False) == paths.NOT_ASCII
    assert paths.rcpt(f"TO:<{wide}>", extended=True, utf8=True) == Recipient(wide)
    for sly in ("a\u2028b@c", "a\u202eb@c", "a\u00a0b@c", "a\udc80b@c", "a\x85b@c", "a@b\u3000c"):
        assert isinstance(paths.rcpt(f"TO:<{sly}>", extended=True, utf8=True), Reply)


def test_the_length_of_a_path_is_counted_in_octets():
    assert isinstance(paths.rcpt(f"TO:<{'é' * 260}@b>", extended=True, utf8=True), Reply)
    assert isinstance(paths.mail(f"FROM:<{'x' * 511}@b>", extended=True), Reply)


@pytest.mark.parametrize(
    ("parameters", "size", "options"),
    [
        ("SIZE=100", 100, ()),
        ("size=0 BODY=8BITMIME", 0, ("BODY=8BITMIME",)),
        ("BODY=7BIT", 0, ()),
        ("body=8bitmime smtputf8", 0, ("BODY=8BITMIME", "SMTPUTF8")),
        ("RET=hdrs ENVID=QQ+2B1", 0, ("RET=HDRS", "ENVID=QQ+2B1")),
        ("AUTH=<>", 0, ()),
    ],
)
def test_parameters_of_mail(parameters, size, options):
    assert paths.mail(f"FROM:<> {parameters}", extended=True) == paths.Mail("", size, options)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("SIZE", 501), ("SIZE=x", 501), ("SIZE=-1", 501), ("SIZE=1 SIZE=1", 501), ("BODY=BINARYMIME", 501),
        ("SMTPUTF8=1", 501), ("RET=SOME", 501), ("ENVID=a=b", 501), ("ENVID=", 501), ("ENVID=" + "x" * 101, 501),
        ("ENVID=a+2b", 501), ("HOLDFOR=5", 555), ("NOTIFY=NEVER", 555), ("=", 501),
    ],
)  # fmt: skip
def test_parameters_of_mail_that_do_not_stand(parameters, code):
    answer = paths.mail(f"FROM:<a@b> {parameters}", extended=True)
    assert isinstance(answer, Reply)
    assert answer.code in (code, 555)


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ("NOTIFY=NEVER", ("NOTIFY=NEVER",)),
        ("notify=success,failure ORCPT=rfc822;a+2Bb@c", ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;a+2Bb@c")),
        ("ORCPT=rfc822;Bob@Example.COM", ("ORCPT=rfc822;Bob@Example.COM",)),
    ],
)
def test_parameters_of_rcpt(parameters, options):
    assert paths.rcpt(f"TO:<a@b> {parameters}", extended=True, utf8=False) == Recipient("a@b", options)


@pytest.mark.parametrize(
    "parameters",
    ["NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=SOMETIMES", "ORCPT=a@b", "ORCPT=rfc822;", "ORCPT=rfc822;a b", "RET=FULL",
     "ORCPT=utf-8;jürgen@c", "NOTIFY=DELAY NOTIFY=DELAY"],
)  # fmt: skip
def test_parameters_of_rcpt_that_do_not_stand(parameters):
    assert isinstance(paths.rcpt(f"TO:<a@b> {parameters}", extended=True, utf8=False), Reply)


def test_parameters_need_ehlo():
    assert isinstance(paths.mail("FROM:<a@b> SIZE=1", extended=False), Reply)
    assert paths.mail("FROM:<a@b>", extended=False) == paths.Mail("a@b")


@given(st.text(st.characters(codec=None), max_size=60), st.booleans())
@example("a@b> SIZE=1", True)
@example("a@b> X\x00=1", True)
def test_any_text_is_an_address_that_is_safe_to_send_on_or_a_refusal(text, utf8):
    answer = paths.rcpt(f"TO:<{text}>", extended=True, utf8=utf8)
    if isinstance(answer, Recipient):
        assert not set(answer.address) & set("\r\n\0")
        assert answer.address in text
        assert utf8 or answer.address.isascii()
        bare = answer.address if '"' not in answer.address else ""
        assert not set(bare) & set("<> \t")
        answer.address.encode("utf-8")
    else:
        assert str(answer).isprintable()


@pytest.mark.parametrize("length", [1_000, 12_000])
def test_hostile_arguments_take_no_time(length):
    for text in (
        '"' * length,
        "a." * length,
        "\\" * length,
        "@a," * length,
        "a-" * length,
        "[" * length,
        "-a." * length,
    ):
        assert isinstance(paths.rcpt(f"TO:<{text}", extended=True, utf8=False), Reply)
        assert isinstance(paths.rcpt(f"TO:<a@{text}", extended=True, utf8=False), Reply)
