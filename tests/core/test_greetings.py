"""What servers say of themselves: our name, and what the other one offers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import greetings


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("relay.example.com", True), ("a.b", True), ("RELAY.Example.COM", True), ("3com.example", True), ("x-1.y-2.example", True),
        ("xn--bcher-kva.example", True), ("relay.localhost", True), ("a" * 63 + ".example", True),
        ("relay", False), ("localhost", False), ("", False), (".", False), ("relay.", False), (".relay.example", False), ("a..b", False),
        ("my_relay.example.com", False), ("relay.my_net", False), ("-a.example", False), ("a-.example", False), ("a b.example", False),
        ("bücher.example", False), ("relay.example.com\n", False), ("relay.example.com\r\nMAIL", False), ("192.0.2.1", False),
        ("[192.0.2.1]", False), ("2001:db8::1", False), ("a" * 64 + ".example", False), ("a." * 127 + "example", False), ("a.b/c", False),
        ("relay.example.com:25", False), ("relay.1", False),
    ],
)  # fmt: skip
def test_a_full_name(name: str, full: bool) -> None:
    assert greetings.is_full(name) is full


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("[192.0.2.1]", "[192.0.2.1]"), ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"), ("[ipv6:2001:DB8:0:0::1]", "[IPv6:2001:db8::1]"),
        ("[IPv6:::1]", "[IPv6:::1]"), ("[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]"),
        ("[192.0.2]", ""), ("[192.0.2.256]", ""), ("[192.0.2.01]", ""), ("[2001:db8::1]", ""), ("[IPv6:fe80::1%eth0]", ""), ("[]", ""),
        ("192.0.2.1", ""), ("[192.0.2.1", ""), ("[IPv6:192.0.2.1]", ""), ("[x:1]", ""), ("[192.0.2.1] ", ""), ("[192.0.2.1]\n", ""),
    ],
)  # fmt: skip
def test_an_address_literal(text: str, spelt: str) -> None:
    assert greetings.read_literal(text) == spelt


@pytest.mark.parametrize(
    ("wanted", "ours", "name"),
    [
        ("relay.example.com", "192.0.2.7", "relay.example.com"),
        ("srv1", "192.0.2.7", "[192.0.2.7]"),
        ("3f2b9c1d7e4a", "172.17.0.2", "[172.17.0.2]"),  # a container's
        ("localhost", "127.0.0.1", "[127.0.0.1]"),
        ("my_host.example.com", "192.0.2.7", "[192.0.2.7]"),
        ("my host", "2001:db8::7", "[IPv6:2001:db8::7]"),
        ("host", "::1", "[IPv6:::1]"),
        ("host", "::ffff:192.0.2.7", "[192.0.2.7]"),
        ("host", "fe80::1%eth0", "[IPv6:fe80::1]"),
        ("rêlais.example", "192.0.2.7", "[192.0.2.7]"),
        ("", "192.0.2.7", "[192.0.2.7]"),
        ("[198.51.100.1]", "192.0.2.7", "[198.51.100.1]"),
        ("[IPv6:2001:db8::1]", "192.0.2.7", "[IPv6:2001:db8::1]"),
        ("a\r\nMAIL", "192.0.2.7", "[192.0.2.7]"),
    ],
)
def test_the_name_that_we_go_by(wanted: str, ours: str, name: str) -> None:
    assert greetings.name(wanted, ours) == name


@given(st.text(), st.ip_addresses().map(str))
def test_a_name_is_one_word_that_servers_take(wanted: str, ours: str) -> None:
    name = greetings.name(wanted, ours)
    assert greetings.is_full(name) or greetings.read_literal(name) == name


@pytest.mark.parametrize(
    ("lines", "methods"),
    [
        (["AUTH PLAIN LOGIN"], ("plain", "login")),
        (["AUTH=PLAIN LOGIN"], ("plain", "login")),  # before RFC 2554, and still beside the other
        (["AUTH=LOGIN"], ("login",)),
        (["auth=login"], ("login",)),
        (["AUTH LOGIN", "AUTH=LOGIN"], ("login",)),
        (["AUTH CRAM-MD5", "AUTH=LOGIN PLAIN"], ("cram-md5", "login", "plain")),
        (["AUTH LOGIN", "AUTH PLAIN"], ("login", "plain")),
        (["AUTH LOGIN PLAIN", "AUTH"], ("login", "plain")),
        (["Auth  Plain   Login "], ("plain", "login")),
        (["AUTH\tPLAIN\tLOGIN"], ("plain", "login")),
        ([" AUTH PLAIN"], ("plain",)),
        (["AUTH =LOGIN"], ("login",)),
        (["AUTH= LOGIN PLAIN"], ("login", "plain")),
        (["AUTH = LOGIN"], ("login",)),
        (["AUTH LOGIN,PLAIN"], ("login", "plain")),
        (["AUTH LOGIN, PLAIN, CRAM-MD5"], ("login", "plain", "cram-md5")),
        (["AUTH=LOGIN AUTH=PLAIN"], ("login", "plain")),
        (["AUTH PLAIN PLAIN LOGIN"], ("plain", "login")),
        (["AUTH"], ()),
        (["AUTH="], ()),
        (["AUTHLOGIN"], ()),
        (["AUTHORIZE LOGIN"], ()),
        (["X-AUTH LOGIN"], ()),
        (["NTLM AUTH"], ()),
        (["STARTTLS"], ()),
    ],
)
def test_the_methods_of_auth(lines: list[str], methods: tuple[str, ...]) -> None:
    assert greetings.offers("\n".join(["mail.example AUTH GSSAPI", *lines])).methods == methods


@pytest.mark.parametrize(
    ("lines", "keywords"),
    [
        (["8BITMIME", "Size 1000"], {"8bitmime": "", "size": "1000"}),
        (["SIZE=1000"], {"size": "1000"}),
        (["SIZE\t1000"], {"size": "1000"}),
        (["SIZE 1000", "SIZE 10"], {"size": "10"}),
        (["", "  ", "DSN "], {"dsn": ""}),
        (["-", "!", "250 what"], {"250": "what"}),
        ([], {}),
    ],
)
def test_what_is_offered(lines: list[str], keywords: dict[str, str]) -> None:
    assert greetings.offers("\n".join(["mail.example PIPELINING", *lines])).keywords == keywords


@given(st.text())
def test_any_reply_is_read(text: str) -> None:
    found = greetings.offers(text)
    assert all(k == k.lower() and " " not in k for k in found.keywords)
    assert all(m == m.lower() and m.split() == [m] for m in found.methods)
