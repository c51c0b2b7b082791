"""A click leads only where this installation wrote that it should: no token that was changed, made up or pointed
elsewhere gets a Location. Over real HTTP, on one connection."""

import base64
import random
from collections.abc import Iterator

import pytest

from tests.scenarios import hostile, service

TARGETS = ["https://example.com/page?a=1&b=2#top", "https://bank.example/login", "http://example.com/ü?q=ö"]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# What redirectors fell for: open redirects of trackers, CWE-601 lists.
TRICKS = [
    "https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "https:evil.test", "javascript:alert(1)",
    "data:text/html,x", "%2f%2fevil.test", "https://example.com@evil.test/", "https://example.com%2eevil.test/",
    "%0d%0aLocation:%20https://evil.test/", "%09//evil.test", "https://xn--80ak6aa92e.com/", "..%2f..%2f", ".", "..",
    "https%3A%2F%2Fevil.test", "%252f%252fevil.test", "\x00", "%00", ";https://evil.test", "null", "0", "-1",
]  # fmt: skip
Sent = tuple[service.Service, list[str], list[str]]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("redirects")
    links = "".join(f'<a href="{url.replace("&", "&amp;")}">go</a> ' for url in TARGETS)
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports, only="smtp,queue,http,admin") as relay:
            with hostile.Smtp(relay.smtp) as client:
                for _ in range(2):
                    body = f"<html><body>{links}</body></html>"
                    assert client.mail(hostile.letter(body, "X-Track: all")).startswith("250")
            found = [hostile.tokens(kept.content) for kept in upstream.taken]
            yield relay, [pixel for pixels, _ in found for pixel in pixels], [c for _, clicks in found for c in clicks]


def raw(path: str) -> bytearray:
    text = path.rpartition("/")[2]
    return bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def path(octets: bytes | bytearray) -> str:
    return "/c/" + base64.urlsafe_b64encode(octets).decode().rstrip("=")


def mutants(clicks: list[str], pixels: list[str], dice: random.Random) -> Iterator[str]:
    """10,000 tokens that are not ours, though most of their bits are."""
    for click in clicks:  # each bit turned
        for bit in range(len(raw(click)) * 8):
            octets = raw(click)
            octets[bit // 8] ^= 1 << bit % 8
            yield path(octets)
    for first in clicks:  # the target, or the head, of another token
        for second in clicks:
            if first != second:
                a, b = raw(first), raw(second)
                yield path(a[:15] + b[15:])
                yield path(a[:-12] + b[-12:])
                yield path(a[:15] + b[15:-12] + a[-12:])
    for url in ("https://evil.test/", "https://example.com.evil.test/", "//evil.test", "javascript:alert(1)", ""):
        for click in clicks:
            octets = raw(click)
            yield path(octets[:15] + url.encode() + octets[-12:])
    for pixel in pixels:  # a pixel's signature is none for a link
        yield pixel.replace("/o/", "/c/")
    for click in clicks:  # the same octets, written otherwise
        text = click.rpartition("/")[2]
        last = ALPHABET.index(text[-1])
        free = {2: 15, 3: 3}.get(len(text) % 4, 0)
        yield from (f"/c/{text[:-1]}{ALPHABET[last ^ x]}" for x in range(1, free + 1))
        yield from (f"/c/{text}{more}" for more in ("A", "%41", "-", "_.", "%5f", "%2D/"))
        yield from (f"/c/{text[:-1]}{more}" for more in ("=", "%3D", "/", ".", "+", "%20", "%0d%0a"))
        yield f"/c/{text.replace('-', '+').replace('_', '/')}x"
        yield f"/c/{text.swapcase()}"
        yield f"/c/{text[1:]}"
        yield f"/C/{text}"
        yield f"/o/../x/{text}"
    while True:
        octets = raw(dice.choice(clicks))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(octets))
            octets[at] = (octets[at] + dice.randint(1, 255)) % 256
        yield path(octets) if dice.random() < 0.8 else "/c/" + "".join(dice.choices(ALPHABET, k=dice.randint(1, 90)))


def test_no_mutant_leads_anywhere(sent: Sent) -> None:
    relay, pixels, clicks = sent
    genuine = set(clicks)
    asked = [m for m, _ in zip(mutants(clicks, pixels, random.Random(1)), range(10_000), strict=False)]
    asked = [m for m in asked if m not in genuine]
    assert len(asked) > 9_900
    wrong = []
    with hostile.Http(relay.http) as client:
        for start in range(0, len(asked), 50):  # pipelined
            some = asked[start : start + 50]
            client.send(b"".join(f"GET {m} HTTP/1.1\r\nHost: t.example.test\r\n\r\n".encode() for m in some))
            for mutant in some:
                status, fields, body = client.answer()
                if "location" in fields or (status != 404 and not (status == 200 and mutant.startswith("/o/"))):
                    wrong.append((mutant, status, fields))
                assert b"evil" not in body
    assert wrong == []
    counted = hostile.metrics(relay.admin)
    assert counted.get('trackrelay_hits_total{type="click"}', 0) == 0


def test_tricks_lead_nowhere(sent: Sent) -> None:
    relay, _, clicks = sent
    with hostile.Http(relay.http) as client:
        for trick in TRICKS:
            for form in (f"/c/{trick}", f"/c/{clicks[0][3:]}/{trick}", f"/{trick}", f"/c/?url={trick}", f"/?u={trick}"):
                target = form.encode()
                client.send(b"GET " + target + b" HTTP/1.1\r\nHost: t.example.test\r\n\r\n")
                status, fields, _ = client.answer()
                own = form.startswith(clicks[0])  # what stands behind a link changes nothing
                assert fields.get("location") in ((None, TARGETS[0]) if own else (None,)), form
                if not status or fields.get("connection") == "close":  # no HTTP any more: refused, and closed
                    client = hostile.Http(relay.http)
                else:
                    assert status in ((302, 400) if own else (200, 400, 404)), form


def test_what_a_query_or_a_header_says_changes_no_target(sent: Sent) -> None:
    relay, _, clicks = sent
    with hostile.Http(relay.http) as client:
        for query in ("?url=https://evil.test/", "?tid=https://evil.test/", "?u=//evil.test", "?%0d%0aLocation:evil"):
            status, fields, _ = client.get(clicks[0] + query)
            assert (status, fields["location"]) == (302, TARGETS[0])
        for header in ("X-Forwarded-Host: evil.test", "X-Original-URL: /c/evil", "Forwarded: host=evil.test"):
            status, fields, _ = client.get(clicks[0], header)
            assert (status, fields["location"]) == (302, TARGETS[0])
        assert client.get(clicks[2])[1]["location"] == "http://example.com/%C3%BC?q=%C3%B6"


def test_guesses_and_pixels_look_alike(sent: Sent) -> None:
    """Whether a token is one of ours is told to nobody: a pixel is a picture either way."""
    relay, pixels, _ = sent
    with hostile.Http(relay.http) as client:
        known = client.get(pixels[0])
        for guess in (pixels[0][:-1] + "!", "/o/" + "A" * 34, "/o/x", pixels[0] + "A"):
            status, fields, body = client.get(guess)
            assert (status, body) == (200, known[2])
            assert {k: v for k, v in fields.items() if k != "date"} == {
                k: v for k, v in known[1].items() if k != "date"
            }
