"""One answer for each spelling of a place."""

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import networks

LOOPBACK = [
    "localhost", "LOCALHOST", "localhost.", "LocalHost.", "127.0.0.1", "127.1.2.3", "127.1", "127.0.1", "2130706433",
    "0x7f000001", "0x7f.0.0.1", "0X7F.1", "017700000001", "0177.0.0.1", "::1", "[::1]", "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::1%lo",
]  # fmt: skip
BEYOND = [
    "", "0.0.0.0", "::", "0", "localhost.localdomain", "localhost..", "a.localhost", "localhost.example.com", "127.0.0.1.example.com",
    "mail", "10.0.0.1", "192.168.0.1", "128.0.0.1", "fe80::1", "::2", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "127.0.0.1:25", "127.0.0.256", "127.0.0.1 ", "0x", "127..1", "08.0.0.1", "\u0661\u0662\u0667.0.0.1", "127.0.0.1\n",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK + BEYOND)
def test_loopback(host: str) -> None:
    assert networks.loopback(host) is (host in LOOPBACK)


@pytest.mark.parametrize(
    ("host", "all_"),
    [("", True), ("0.0.0.0", True), ("::", True), ("0", True), ("0x0", True), ("::ffff:0.0.0.0", True), ("0::0", True),
     ("127.0.0.1", False), ("::1", False), ("localhost", False), ("mail.example", False)],
)  # fmt: skip
def test_everywhere(host: str, all_: bool) -> None:
    assert networks.everywhere(host) is all_


@given(st.text("0123456789.xXafA8", max_size=16))
def test_numbers_are_read_as_the_system_reads_them(text: str) -> None:
    try:
        theirs = socket.inet_ntoa(socket.inet_aton(text)) if text[:1].isdigit() else None
    except OSError:
        theirs = None
    ours = networks.numeric(text)
    assert theirs == (None if ours is None else str(ours))


PUBLIC = [
    "8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.0.1.1", "223.255.255.255",
    "2001:4860:4860::8888", "2606:4700::1111", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip
PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "127.1", "2130706433",
    "::", "::1", "::7f00:1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:0.0.0.0", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::808:808",
    "2002:a00:1::1", "2002:7f00:1::", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "3fff::1", "5f00::1",
    "fc00::1", "fd00::1", "fe80::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "fe80::1%lo", "2606:4700::1111%1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC + PRIVATE)
def test_public(text: str) -> None:
    address = networks.numeric(text)
    assert address is not None
    assert networks.public(address) is (text in PUBLIC)


@given(st.ip_addresses())
def test_nothing_is_public_that_the_library_knows_to_be_private(address: networks.Address) -> None:
    address = networks.plain(address)
    if networks.public(address) and not any(
        address in network for network, _ in networks.EMBEDDED if address.version == 6
    ):
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_loopback, address.is_link_local))


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1", "192.0.2.1"), ("192.0.2.1:1234", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1"),
     ("[2001:db8::1]:443", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"), ("::ffff:192.0.2.1", "192.0.2.1"),
     ("unknown", None), ("", None), ("127.1", None), ("[", None), ("_hidden:80", None),
     ("0.0.0.0", "0.0.0.0"), ("255.249.199.99", "255.249.199.99"), ("256.0.0.1", None), ("192.0.2.01", None), ("192.0.2.\u0661", None),
     ("192.0.2.1\n", None), ("192.0.2", None), ("192.0.2.1.1", None)],
)  # fmt: skip
def test_peers(text: str, address: str | None) -> None:
    assert networks.peer(text) == (None if address is None else ip_address(address))


@pytest.mark.parametrize(
    ("text", "network"),
    [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3/8", "10.0.0.0/8"), ("192.0.2.1", "192.0.2.1/32"), ("::1/128", "::1/128"),
     ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:0:0/96", "0.0.0.0/0"), ("::ffff:192.0.2.1", "192.0.2.1/32"), ("::/0", "::/0")],
)  # fmt: skip
def test_networks(text: str, network: str) -> None:
    assert str(networks.network(text)) == network


def test_within() -> None:
    own = [networks.network("10.0.0.0/8"), networks.network("fe80::/10")]
    assert networks.within(ip_address("10.1.2.3"), own)
    assert networks.within(ip_address("::ffff:10.1.2.3"), own)
    assert networks.within(ip_address("fe80::1%eth0"), own)
    assert not networks.within(ip_address("192.0.2.1"), own)
    assert not networks.within(None, own)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [("127.0.0.1:2525", ("127.0.0.1", 2525)), ("[::1]:25", ("::1", 25)), ("[0:0::1]:25", ("::1", 25)), (":25", ("", 25)),
     ("LocalHost.:25", ("localhost", 25)), ("b\u00fccher.example:25", ("xn--bcher-kva.example", 25)), ("0.0.0.0:0", ("0.0.0.0", 0)),
     ("a_b.example:65535", ("a_b.example", 65_535))],
)  # fmt: skip
def test_endpoints(text: str, endpoint: tuple[str, int]) -> None:
    assert networks.endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "25", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "::1:25", "[::1]", "[127.0.0.1]:25", "[x]:25", "a b:25",
     "a/b:25", "a@b:25", "*:25", "-x:25", "x-:25", "a..b:25", "127.0.0.1:25\n", "x" * 64 + ":25", "\u0661:\u0661"],
)  # fmt: skip
def test_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError):
        networks.endpoint(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("localhost:8081", ("localhost", 8081)), ("LOCALHOST", ("localhost", None)), ("[::1]:8081", ("::1", 8081)),
     ("[::1]", ("::1", None)), ("127.0.0.1", ("127.0.0.1", None)), ("", ("", None))],
)  # fmt: skip
def test_hosts_with_and_without_a_port(text: str, found: tuple[str, int | None]) -> None:
    assert networks.split(text) == found


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", ("smtp", "", "mail.example", 25)),
        ("smtp://me@mail.example", ("smtp", "me", "mail.example", 587)),
        ("smtp://me@mail.example:25", ("smtp", "me", "mail.example", 25)),
        ("SMTP://me%40x@Mail.Example.", ("smtp", "me@x", "mail.example", 587)),
        ("smtps://mail.example", ("smtps", "", "mail.example", 465)),
        ("smtps://me@mail.example", ("smtps", "me", "mail.example", 465)),
        ("lmtp://[::1]", ("lmtp", "", "::1", 24)),
        ("imaps://me@imap.example/INBOX", ("imaps", "me", "imap.example", 993)),
        ("imap://me@imap.example", ("imap", "me", "imap.example", 143)),
        ("https://b%C3%BCcher.example/x", ("https", "", "xn--bcher-kva.example", 443)),
        ("http://localhost.:8080", ("http", "", "localhost", 8080)),
    ],
)
def test_servers(url: str, server: tuple[str, str, str, int]) -> None:
    assert networks.server(url) == server


@pytest.mark.parametrize(
    "url", ["", "mail.example", "smtp://", "smtp://:25", "ftp://x", "smtp://x:99999", "smtp://[broken", "maildir:/x"]
)
def test_no_server(url: str) -> None:
    with pytest.raises(ValueError):
        networks.server(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://login.example/token", True), ("http://localhost:8080/token", True), ("http://LOCALHOST.:8080/token", True),
     ("http://127.0.0.1/token", True), ("http://[::1]/token", True), ("http://login.example/token", False),
     ("http://localhost.example/token", False), ("ftp://localhost/", False), ("", False), ("https://", False)],
)  # fmt: skip
def test_confidential(url: str, expected: bool) -> None:
    assert networks.confidential(url) is expected


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whom_an_address_is_counted_as(address: str, key: str) -> None:
    assert networks.client(ip_address(address)) == key
