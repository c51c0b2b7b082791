"""XCLIENT and XFORWARD: what a proxy may say, and how it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import proxies
from relay.core.model import Reply


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("ADDR=192.0.2.1", {"ADDR": "192.0.2.1"}),
        ("addr=192.0.2.1 Name=spike.example", {"ADDR": "192.0.2.1", "NAME": "spike.example"}),
        ("ADDR=IPV6:2001:db8::1", {"ADDR": "2001:db8::1"}),
        ("ADDR=ipv6:2001:DB8:0::1", {"ADDR": "2001:db8::1"}),
        ("ADDR=IPV6:::ffff:192.0.2.1", {"ADDR": "192.0.2.1"}),
        ("ADDR=[UNAVAILABLE] NAME=[tempunavail]", {"ADDR": None, "NAME": None}),
        ("PORT=25 DESTPORT=0 DESTADDR=10.0.0.1", {"PORT": "25", "DESTPORT": "0", "DESTADDR": "10.0.0.1"}),
        ("PROTO=esmtp HELO=a+20b+2Bc+3Dd", {"PROTO": "ESMTP", "HELO": "a b+c=d"}),
        ("LOGIN=jane+40example.com", {"LOGIN": "jane@example.com"}),
        ("LOGIN=j+C3+B6rg LOGIN=jane", {"LOGIN": "jane"}),
        ("LOGIN=j+c3+b6rg", {"LOGIN": "jörg"}),
        ("NAME=a=b", {"NAME": "a=b"}),
        ("  ADDR=192.0.2.1   PORT=1 ", {"ADDR": "192.0.2.1", "PORT": "1"}),
    ],
)
def test_xclient(argument: str, said: dict[str, str | None]) -> None:
    assert proxies.read(argument, proxies.XCLIENT) == said


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("NAME=spike.example ADDR=168.100.189.2 PROTO=ESMTP",
         {"NAME": "spike.example", "ADDR": "168.100.189.2", "PROTO": "ESMTP"}),
        ("IDENT=4Zx1Yz3Kq8z9 SOURCE=remote", {"IDENT": "4Zx1Yz3Kq8z9", "SOURCE": "REMOTE"}),
        ("IDENT=[UNAVAILABLE] SOURCE=LOCAL HELO=x", {"IDENT": None, "SOURCE": "LOCAL", "HELO": "x"}),
    ],
)  # fmt: skip
def test_xforward(argument: str, said: dict[str, str | None]) -> None:
    assert proxies.read(argument, proxies.XFORWARD) == said


@pytest.mark.parametrize(
    "argument",
    [
        None, "", "  ", "ADDR", "=1", "ADDR=", "ADDR=x", "ADDR=192.0.2", "ADDR=192.0.2.1:25", "ADDR=[192.0.2.1]",
        "ADDR=192.0.2.256", "ADDR=IPV6:fe80::1%eth0", "ADDR=IPV6:x", "PORT=x", "PORT=65536", "PORT=-1", "PORT=+2D1",
        "PROTO=HTTP", "HELO=a+0D+0Ab", "HELO=a+", "HELO=a+4", "HELO=a+zz", "HELO=\u00e4", "HELO=" + "x" * 256,
        "LOGIN=+FF", "LOGIN=+00", "LOGIN=+E2+80+A8", "WHAT=x", "IDENT=1", "SOURCE=LOCAL", "ADDR=192.0.2.1 PORT",
        "ADDR=192.0.2.1,PORT=1",
    ],
)  # fmt: skip
def test_what_is_refused(argument: str | None) -> None:
    refused = proxies.read(argument, proxies.XCLIENT)
    assert isinstance(refused, Reply)
    assert (refused.code, refused.text[:6]) == (501, "5.5.4 ")


@pytest.mark.parametrize(
    "argument", ["LOGIN=jane", "DESTADDR=10.0.0.1", "SOURCE=ELSEWHERE", "IDENT=a+20b", "PROTO=a+20b"]
)
def test_what_xforward_refuses(argument: str) -> None:
    assert isinstance(proxies.read(argument, proxies.XFORWARD), Reply)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(argument: str) -> None:
    for known in (proxies.XCLIENT, proxies.XFORWARD):
        said = proxies.read(argument, known)
        if not isinstance(said, Reply):
            assert not any(proxies.CONTROLS.search(value) for value in said.values() if value)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=60))
def test_what_is_written_as_xtext_comes_back(text: str) -> None:
    written = "".join(f"+{octet:02X}" for octet in text.encode())
    assert proxies.read(f"HELO={written}", proxies.XFORWARD) == {"HELO": text}
