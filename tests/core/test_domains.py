"""Two names of one domain have one spelling, and two domains have two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import domains

# UTS 46 (non-transitional), RFC 5891; the A-labels are those of IANA's and registries' examples.
SPELLINGS = [
    ("example.com", "example.com"),
    ("EXAMPLE.Com.", "example.com"),
    (" example.com ", "example.com"),
    ("fa\u00df.test", "xn--fa-hia.test"),
    ("FA\u1e9e.test", "xn--fa-hia.test"),
    ("XN--FA-HIA.TEST", "xn--fa-hia.test"),
    ("fass.test", "fass.test"),
    ("b\u00fccher.example", "xn--bcher-kva.example"),
    ("B\u00dcCHER.example.", "xn--bcher-kva.example"),
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ("b\u00fccher\u3002example", "xn--bcher-kva.example"),
    ("\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com", "example.com"),
    ("\u65e5\u672c\u8a9e.jp", "xn--wgv71a119e.jp"),
    ("\u03b2\u03cc\u03bb\u03bf\u03c2.com", "xn--nxasmm1c.com"),  # final sigma stays
    ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "xn--mgba3gch31f060k.com"),  # as does the joiner
    ("_dmarc.b\u00fccher.example", "_dmarc.xn--bcher-kva.example"),
    ("t1._domainkey.fa\u00df.test", "t1._domainkey.xn--fa-hia.test"),
    ("a_b.test", "a_b.test"),
    # what IDNA refuses
    ("i\u2764.ws", "xn--i-7iq.ws"),
    ("\u2603.net", "xn--n3h.net"),
    ("-\u00fc-.test", "xn-----xka.test"),
    ("[192.0.2.1]", "[192.0.2.1]"),
    ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
    ("localhost.", "localhost"),
    ("", ""),
    (".", ""),
]


@pytest.mark.parametrize(("domain", "spelling"), SPELLINGS)
def test_spelt(domain: str, spelling: str) -> None:
    assert domains.spelt(domain) == spelling
    assert domains.spelt(spelling) == spelling
    assert domains.of_address(f"a@{domain}") == spelling


@pytest.mark.parametrize(
    ("one", "other"),
    [("fa\u00df.test", "fass.test"), ("b\u00fccher.test", "bucher.test"), ("mine.test\uff20other.test", "other.test"),
     ("a\uff0fb.test", "a/b.test"), ("a.test", "a.test.test")],
)  # fmt: skip
def test_two_domains(one: str, other: str) -> None:
    assert domains.spelt(one) != domains.spelt(other)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    """In ASCII, lower case, without a last dot; and the same again."""
    found = domains.spelt(text)
    assert found.isascii()
    assert found == found.lower()
    assert not found.endswith(".")
    assert domains.spelt(found) == found


def test_what_is_too_long_for_a_domain_ends() -> None:
    assert domains.spelt("\u00dc" * 1_000_000 + ".") == "\u00fc" * 1_000_000


URLS = [
    ("https://T.Example.com./x?y#z", "t.example.com", "https://t.example.com/x?y#z"),
    ("https://t.example.com:8443/X", "t.example.com", "https://t.example.com:8443/X"),
    ("https://b\u00fccher.example/B\u00fc", "xn--bcher-kva.example", "https://xn--bcher-kva.example/B\u00fc"),
    ("https://b%C3%BCcher.example/%C3", "xn--bcher-kva.example", "https://xn--bcher-kva.example/%C3"),
    ("https://%74.example.com", "t.example.com", "https://t.example.com"),
    ("https://FA\u1e9e.test?a=B", "xn--fa-hia.test", "https://xn--fa-hia.test?a=B"),
    ("smtp://Ada%40x:Pa55@Mail.example:587", "mail.example", "smtp://Ada%40x:Pa55@mail.example:587"),
    ("imaps://ada@IMAP.example/INBOX", "imap.example", "imaps://ada@imap.example/INBOX"),
    ("https://[2001:DB8::1]:8443/", "2001:db8::1", "https://[2001:DB8::1]:8443/"),
    ("T.Example.com.", "t.example.com", "T.Example.com."),
    ("t.example.com:8080", "t.example.com", "t.example.com:8080"),
    ("https://[broken", "", "https://[broken"),
    ("maildir:/Home", "", "maildir:/Home"),
    ("", "", ""),
]


@pytest.mark.parametrize(("url", "host", "respelt"), URLS)
def test_urls(url: str, host: str, respelt: str) -> None:
    assert domains.respelt(url) == respelt
    if ":/" not in url or "//" in url:
        assert domains.of_url(url) == host


@given(st.text("aZ\u00fc.:/@%[]?#\\4C ", max_size=40))
def test_any_url(text: str) -> None:
    domains.of_url(text)
    assert domains.respelt(domains.respelt(f"https://{text}")) == domains.respelt(f"https://{text}")
