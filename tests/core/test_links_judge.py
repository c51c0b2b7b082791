"""Which URLs are tracked, and why the others are not. For any text a verdict comes, and nothing is encoded again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.links import judge, plain
from relay.core.model import Reason
from tests.core.rewriting import BASE, length, plan


def verdict(url: str, base: str = "", listed: tuple[str, ...] = (), **options: Any) -> tuple[str, Reason | None]:
    tracking = plan(**options).tracking
    rules = judge.criteria(tracking, (BASE, "https://www.a.example/track/"), listed, length)
    first = judge.judge(url, base, rules)[:2]
    assert judge.judge(url, base, rules)[:2] == first  # also when the host is known
    return first


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example", "http://a.example/", "HTTPS://A.EXAMPLE/x", "https://a.example?x", "https://a.example/?a=1&b=2#c",
        "https://a.example/o'brien", "https://a.example/(x)/y!z", "https://a.example/@name", "https://a.example/?q=a@b.example",
        "https://a.example/#/route", "https://a.example/%20x%E4%BD%A0", "https://bücher.example/ä?ö#ü", "https://a.example:8443/x",
        "https://[2001:db8::1]/x", "https://127.0.0.1/", "https://a_b.example/", "https://a.example./x", "https://a.example/a b",
        "https://a.example/?u=https://b.example/?href=https://c.example", "https://a.example/?100%", "https://a.example/caf%C3%A9t%C3%A9",
        "https://a.example/%fa%zz", "https://a.example/?monkey=1&tokens=2", "https://a.example/token=1", "https://a.example//x", "https://a.example/*|",
    ],
)  # fmt: skip
def test_tracked_as_written(url: str) -> None:
    assert verdict(url) == (url, None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mailto:a@b.example", "scheme"), ("tel:+49", "scheme"), ("javascript:alert(1)", "scheme"), ("data:text/html,x", "scheme"),
        ("cid:x", "scheme"), ("ftp://a.example/", "scheme"), ("https:a.example", "scheme"), ("https:/a.example", "scheme"),
        ("https://", "scheme"), ("https:///x", "scheme"), (r"https:\\a.example", "scheme"), ("https://a b/", "scheme"),
        ("https://a<b/", "scheme"), ("https://?x", "scheme"), ("https://a.example:x/", "scheme"),
        ("", "relative"), ("#", "relative"), ("#top", "relative"), ("/x", "relative"), ("x.html", "relative"), ("?x", "relative"),
        ("www.a.example", "relative"),
        ("https://u:p@a.example/", "credentials"), ("https://u@a.example/", "credentials"), ("https://a.example/?token=1", "credentials"),
        ("https://a.example/?a=1&ACCESS_TOKEN=1", "credentials"), ("https://a.example/#access_token=1", "credentials"),
        ("https://a.example/#/reset?key=1", "credentials"), ("https://a.example/?a;sig=1", "credentials"),
        ("https://a.example/?%74oken=1", "credentials"),
        ("{{url}}", "placeholder"), ("https://a.example/?u={{id}}", "placeholder"), ("%unsubscribe_url%", "placeholder"),
        ("https://a.example/?id=%recipient.id%", "placeholder"), ("https://a.example/%date%", "placeholder"), ("*|UNSUB|*", "placeholder"),
        ("[[unsubscribe]]", "placeholder"), ("https://a.example/[[id]]", "placeholder"), ("${url}", "placeholder"),
        ("<%asm_group_unsubscribe_raw_url%>", "placeholder"), ("{% url %}", "placeholder"), ("[unsubscribe]", "placeholder"),
        ("https://a.example/%%id%%", "placeholder"), ("##unsub##", "placeholder"), ("{unsubscribe}", "placeholder"),
        (f"{BASE}/c/abc", "own_link"), (BASE, "own_link"), ("HTTPS://T.EXAMPLE.NET/x", "own_link"), (f"{BASE}:443/x", "own_link"),
        ("https://www.a.example/track/c/x", "own_link"), ("https://www.a.example/track", "own_link"),
        ("https://a.example/" + "x" * 2_000, "limit_url"), ("https://a.example/" + "x" * 1_450, "limit_url"),
    ],
)  # fmt: skip
def test_left(url: str, reason: Reason) -> None:
    assert verdict(url)[1] == reason


@pytest.mark.parametrize(
    "url",
    [
        "https://www.a.example/tracking",
        "https://www.a.example/",
        "https://t.example.net.evil.example/",
        "https://t.example.net:8443/",
    ],
)
def test_not_ours(url: str) -> None:
    assert verdict(url)[1] is None


def test_shape_before_tracking() -> None:
    assert verdict(" \r\n https://a.exa\nmple/x\ty \n") == ("https://a.example/xy", None)


@pytest.mark.parametrize(
    ("url", "base", "whole"),
    [
        ("//a.example/x", "", "https://a.example/x"), ("//a.example/x", "http://b.example/", "http://a.example/x"),
        ("x.html", "https://b.example/d/e", "https://b.example/d/x.html"), ("/x", "https://b.example/d/e", "https://b.example/x"),
        ("?a=1&b", "https://b.example/d/e", "https://b.example/d/e?a=1&b"), ("https://a.example/", "https://b.example/", "https://a.example/"),
    ],
)  # fmt: skip
def test_base(url: str, base: str, whole: str) -> None:
    assert verdict(url, base) == (whole, None)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("#x", "https://b.example/"),
        ("x", "{{base}}"),
        ("x", "ftp://b.example/"),
        ("x", "/y"),
        ("//[", "https://b.example/"),
        ("x", "https://b.example/" + "y" * 2_000),
    ],
)
def test_base_of_no_use(url: str, base: str) -> None:
    assert verdict(url, base)[1] in ("relative", "scheme")


def test_unsubscribe() -> None:
    listed = ("https://a.example/u?x=1&y=%20", "mailto:u@a.example")
    for url in ("https://a.example/u?x=1&y=%20", "HTTPS://A.example/u?x=1&y= ", "https://a.example/u?x=1&y=%20#f"):
        assert verdict(url, listed=listed)[1] == "unsubscribe"
    assert verdict("mailto:u@a.example", listed=listed, schemes=("https", "mailto"))[1] == "unsubscribe"
    assert verdict("https://a.example/u?x=2", listed=listed)[1] is None


# The same host, however it is written (RFC 3986 3.2.2, UTS 46).
HOSTS = [
    "fa\u00df.example", "FA\u1e9e.example", "xn--fa-hia.example", "XN--FA-HIA.Example.", "fa%C3%9F.example", "%66a\u00df.example",
    "fa\u00df\u3002example",
]  # fmt: skip


@pytest.mark.parametrize("written", HOSTS)
@pytest.mark.parametrize("meant", ["fa\u00df.example", "xn--fa-hia.example"])
def test_a_host_in_any_spelling(written: str, meant: str) -> None:
    url = f"https://{written}/u?x=1"
    assert verdict(url, skip_hosts=(meant,))[1] == "host_excluded"
    assert verdict(url, listed=(f"https://{meant}/u?x=1",))[1] == "unsubscribe"
    assert verdict(f"https://{meant}/u?x=1", listed=(url,))[1] == "unsubscribe"
    for port in ("", ":443"):
        ours = judge.criteria(plan().tracking, (f"https://{meant}/t",), (), length)
        assert judge.judge(f"https://{written}{port}/t/c/x", "", ours)[1] == "own_link"
        assert judge.judge(f"https://{written}:8443/t/c/x", "", ours)[1] is None


@pytest.mark.parametrize("other", ["fass.example", "xn--fa-hia.example.org", "a.xn--fa-hia.example"])
def test_another_host(other: str) -> None:
    assert (
        verdict(f"https://{other}/u", skip_hosts=("fa\u00df.example",), listed=("https://fa\u00df.example/u",))[1]
        is None
    )


def test_an_escape_that_hides_a_delimiter_is_no_host() -> None:
    assert verdict("https://a.example%2F@b.example/")[1] == "credentials"
    assert verdict("https://a.example%2Fb.example/")[1] == "scheme"


def test_options() -> None:
    assert verdict("https://App.example/x", skip_hosts=("app.example",))[1] == "host_excluded"
    assert verdict("https://www.app.example/x", skip_hosts=("app.example",))[1] is None
    assert verdict("mailto:a@b.example", schemes=("mailto",)) == ("mailto:a@b.example", None)
    assert verdict("https://a.example/", schemes=("http",))[1] == "scheme"
    assert verdict("https://a.example/?token=1", credential_params=("-token",))[1] is None
    assert verdict("https://a.example/?voucher=1", credential_params=("voucher",))[1] == "credentials"
    assert verdict("mailto:a@b.example?body=https://a.example/%3Ftoken=1", schemes=("mailto",))[1] == "credentials"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example?s=m&n=a+b"), ("https://a.example/#f?x", "https://a.example/?s=m&n=a+b#f?x"),
        ("https://a.example/?x", "https://a.example/?x&s=m&n=a+b"), ("https://a.example/?x=%2B%zz&", "https://a.example/?x=%2B%zz&s=m&n=a+b"),
        ("https://a.example/?", "https://a.example/?s=m&n=a+b"), ("https://a.example/?s=mine", "https://a.example/?s=mine&n=a+b"),
        ("https://a.example/?s=1&n", "https://a.example/?s=1&n"), ("mailto:a@b.example", "mailto:a@b.example"),
    ],
)  # fmt: skip
def test_append(url: str, expected: str) -> None:
    assert verdict(url, schemes=("http", "https", "mailto"), append={"s": "m", "n": "a b"})[0] == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [("https://a.example/x", True), (" www.a.example\n", True), ("a.example", True), ("a.example/x?y", True), ("Click here", False),
     ("a.example is nice", False), ("", False), ("Node.js", True), ("e.g.", False)],
)  # fmt: skip
def test_visible(shown: str, expected: bool) -> None:
    assert judge.looks_like_url(shown) is expected


@given(
    st.one_of(
        st.text(max_size=60),
        st.text("htps:/\\?#@[]%&=;{}*|<> a.1\n\t", max_size=40).map(lambda rest: "https://" + rest),
    ),
    st.text(max_size=10),
)
def test_any_text(url: str, base: str) -> None:
    """For any text: a verdict; a tracked URL is the text without white space around and line breaks in it, and made
    whole where it was relative."""
    meant, reason = verdict(url, base)
    if reason is None:
        assert meant.lower().startswith(("http://", "https://"))
        assert "\n" not in meant
        cleaned = url.strip(judge.CONTROLS).translate(judge.NEWLINES)
        if not cleaned.startswith("//"):
            assert meant == cleaned


# -- plain text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://a.example/x.", ["https://a.example/x"]), ("(https://a.example/x)", ["https://a.example/x"]),
        ("https://a.example/x_(y)", ["https://a.example/x_(y)"]), ("(https://a.example/x_(y))", ["https://a.example/x_(y)"]),
        ("<https://a.example/>", ["https://a.example/"]), ("https://a.example/, https://b.example?", ["https://a.example/", "https://b.example"]),
        ('"https://a.example/?a=1&b=2"!', ["https://a.example/?a=1&b=2"]), ("https://a.example/)]}>", ["https://a.example/"]),
        ("[https://a.example/](x)", ["https://a.example/](x"]), ("xhttps://a.example/", []), ("https://", []), ("https://.", []),
        ("HTTP://A.example/X\r\nhttps://b.example", ["HTTP://A.example/X", "https://b.example"]),
        ("看https://a.example/x，再见", ["https://a.example/x"]), ("> https://a.example/q", ["https://a.example/q"]),
        ("*https://a.example/*", ["https://a.example/"]), ("https://a.example/;x", ["https://a.example/;x"]),
    ],
)  # fmt: skip
def test_plain(text: str, urls: list[str]) -> None:
    found = [text[start:end] for start, end, reason in plain.scan(text) if reason is None]
    assert found == urls or text.startswith("[")


def test_plain_that_may_go_on() -> None:
    def reasons(text: str, **how: Any) -> list[Reason | None]:
        return [reason for _, _, reason in plain.scan(text, **how)]

    assert reasons("https://a.example/café") == ["unsafe_place"]
    view = "https://a.example/café https://b.example/x，".encode().decode("latin-1")
    assert reasons(view, following=lambda at: view[at:].encode("latin-1").decode()[0]) == ["unsafe_place", None]
    assert reasons("https://a.example/aaa \r\nbbb", delsp=True) == ["unsafe_place"]
    assert reasons("https://a.example/aaa \r\nbbb") == [None]
    assert reasons("<https://a.example/aaa\r\nbbb>") == ["unsafe_place"]
    assert reasons("<https://a.example/aaa \nbbb> <https://b.example/>\r\nx>") == ["unsafe_place", None]
    assert reasons("<https://a.example/ \r\nb c>") == [None]
    assert reasons('https://a.example/aaa[[data-msys-clicktrack="0"]]') == ["refused"]


@given(st.text("htps:/ a.()[]{}<>.,;é\n", max_size=80))
def test_any_plain_text(text: str) -> None:
    """For any text: spans are in order and apart, begin with a scheme, and have their brackets in balance."""
    at = 0
    for start, end, _ in plain.scan(text):
        assert at <= start < end <= len(text)
        url = text[start:end]
        assert url.lower().startswith("http")
        assert not url.endswith((".", ",", ";"))
        assert not url.endswith(")") or url.count(")") <= url.count("(")
        at = end
