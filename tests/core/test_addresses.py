"""Address fields: who is named in them, and whose message it is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import addresses, headers

# RFC 5322 (A.1.2, A.1.3, A.5, A.6.1), RFC 2047 (5, 6.2), RFC 6532, and what programs really write.
LISTS = [
    ("Bob Smith <b@x>", [("Bob Smith", "b@x")]),
    ("b@x", [("", "b@x")]),
    ('"Doe, J" <j@x.org>, a@b (hi), g: c@d, e@f;', [("Doe, J", "j@x.org"), ("", "a@b"), ("", "c@d"), ("", "e@f")]),
    ('"Joe Q. Public" <john.q.public@example.com>', [("Joe Q. Public", "john.q.public@example.com")]),
    ('Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>',
     [("Mary Smith", "mary@x.test"), ("", "jdoe@example.org"), ("Who?", "one@y.test")]),
    ('<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
     [("", "boss@nil.test"), ('Giant; "Big" Box', "sysservices@example.net")]),
    ("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
     [("Ed Jones", "c@a.test"), ("", "joe@where.test"), ("John", "jdoe@one.test")]),
    ("Undisclosed recipients:;", []),
    ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", []),
    ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", [("Pete", "pete@silly.test")]),
    ("A Group(Some people)\t:Chris Jones <c@(Chris's host.)public.example>, joe@example.org;",
     [("Chris Jones", "c@public.example"), ("", "joe@example.org")]),
    ("Joe Q. Public <john.q.public@example.com>", [("Joe Q. Public", "john.q.public@example.com")]),
    ("Mary Smith <@node.test:mary@example.net>, , jdoe@test   . example",
     [("Mary Smith", "mary@example.net"), ("", "jdoe@test.example")]),
    ("<@a.test,@b.test:q@z>", [("", "q@z")]),
    # local parts and domains
    ('"a b"@x', [("", '"a b"@x')]),
    ('"a>b"@x, <"a,b"@x>', [("", '"a>b"@x'), ("", '"a,b"@x')]),
    ('"a" . b @ x', [("", '"a".b@x')]),
    ("a@[192.0.2.1], <a@[IPv6:2001:db8::1]>", [("", "a@[192.0.2.1]"), ("", "a@[IPv6:2001:db8::1]")]),
    ("Jos\u00e9 <jos\u00e9@b\u00fccher.example>", [("Jos\u00e9", "jos\u00e9@b\u00fccher.example")]),
    (".a..b.@docomo.example, x=y?z@a", [("", ".a..b.@docomo.example"), ("", "x=y?z@a")]),
    ("< ada@mine.test >", [("", "ada@mine.test")]),
    ("<mailto:ada@mine.test>", [("", "ada@mine.test")]),
    # what stands in a name, a comment or quotes is no address
    ("=?utf-8?q?info=40other.test=2C?= <ada@mine.test>", [("info@other.test,", "ada@mine.test")]),
    ("=?utf-8?B?aW5mb0BvdGhlci50ZXN0LA==?= <ada@mine.test>", [("info@other.test,", "ada@mine.test")]),
    ("=?utf-8?q?=3Cinfo=40other.test=3E?= <ada@mine.test>", [("<info@other.test>", "ada@mine.test")]),
    ("=?utf-8?q?info=40other.test=3B?= =?utf-8?q?_x=3A?= <ada@mine.test>", [("info@other.test; x:", "ada@mine.test")]),
    ("=?utf-8?Q?Z=C3=BCrich_=28Team?= <ada@mine.test>", [("Z\u00fcrich (Team", "ada@mine.test")]),
    ("=?utf-8?Q?Z=C3=BCrich_=22Team?= <ada@mine.test>", [('Z\u00fcrich "Team', "ada@mine.test")]),
    ("=?utf-8?Q?info@other.test,?= <ada@mine.test>", [("info@other.test,", "ada@mine.test")]),
    ("=?utf-8?Q?Doe, J (\"x\"?= <ada@mine.test>", [('Doe, J ("x"', "ada@mine.test")]),
    ('"info@other.test" <ada@mine.test>', [("info@other.test", "ada@mine.test")]),
    ('"info@other.test, x" <ada@mine.test>', [("info@other.test, x", "ada@mine.test")]),
    ('"a\\" <b@c>, " <d@e>', [('a" <b@c>,', "d@e")]),
    ("info@other.test <ada@mine.test>", [("info@other.test", "ada@mine.test")]),
    ("(info@other.test) ada@mine.test", [("", "ada@mine.test")]),
    ("ada@mine.test (x (y) info@other.test)", [("", "ada@mine.test")]),
    ("[Team: x, info@other.test] <ada@mine.test>", [("[Team: x, info@other.test]", "ada@mine.test")]),
    ('"info@other.test"', []),
    ("=?utf-8?q?info=40other.test?=", []),
    ("=?utf-8?q?info@other.test?=", []),
    ("<=?utf-8?q?info=40other.test?=>", []),
    # what opens and never closes is a character of a name
    ("Ada (Team <ada@mine.test>", [("Ada (Team", "ada@mine.test")]),
    ('Ada "Team <ada@mine.test>', [('Ada "Team', "ada@mine.test")]),
    ('"Ada" Team" <ada@mine.test>', [('Ada Team"', "ada@mine.test")]),
    ("Ada [Team <ada@mine.test>", [("Ada [Team", "ada@mine.test")]),
    ("Ada <ada@mine.test", [("Ada", "ada@mine.test")]),
    ("Ada <ada@mine.test, bob@x", [("Ada", "ada@mine.test"), ("", "bob@x")]),
    # several things in angle brackets, and other dividers
    ("Ada <CEO> <ada@mine.test>", [("Ada", "ada@mine.test")]),
    ("<<ada@mine.test>>", [("", "ada@mine.test")]),
    ("Ada <ada@mine.test> <info@other.test>", [("Ada", "ada@mine.test")]),
    ("a@x; b@y", [("", "a@x"), ("", "b@y")]),
    # no addresses
    ("", []),
    ("<>", []),
    ("MAILER-DAEMON", []),
    ("ada@mine.test@other.test", []),
    ("two words@mine.test", []),
    ("ada@", []),
    ("@mine.test", []),
    ("ada@mine.test\x00", []),
    ('"\\', []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LISTS)
def test_mailboxes(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(addresses.mailboxes(text)) == expected
    specs = tuple(spec for _, spec in expected)
    assert addresses.specs(text) == specs
    for glue in (" ", "", "\r\n ", "\r\n\t"):
        head = headers.read(f"To:{glue}{text}\r\n\r\n".encode())
        assert addresses.listed(head, "to") == specs
    folded = headers.read(f"To: {text}\r\n\r\n".encode().replace(b" ", b"\r\n "))
    assert addresses.listed(folded, "to") == specs


AUTHORS = [
    (b"From: Ada <ada@mine.test>\r\n", "ada@mine.test", ""),
    (b"From: a@x, b@y\r\nSender: b@y\r\n", "a@x", ""),
    (b"From: Jos\xe9 <a@x>\r\n", "a@x", ""),
    (b"From: jos\xc3\xa9@x\r\n", "jos\u00e9@x", ""),
    (b"From: Team: a@x;\r\n", "a@x", ""),
    (b"From:\r\n Ada\r\n <a@x>\r\n", "a@x", ""),
    (b"FROM : a@x\r\n", "a@x", ""),
    (b"From: a@x\r\nTo: c@z\r\nFrom: b@y\r\n", "a@x", "several_fields"),
    (b"From: a@x\r\nFrom: a@x\r\n", "a@x", "several_fields"),
    (b"From: <>\r\nFrom: b@y\r\n", "b@y", "several_fields"),
    (b"From: Ada\r\n", "", "no_address"),
    (b"From:\r\n", "", "no_address"),
    (b"From: =?utf-8?q?ada=40mine.test?=\r\n", "", "no_address"),
    (b"From: Ada\r\nFrom: <>\r\n", "", "several_fields"),
    (b"To: a@x\r\n", "", "missing"),
    (b"", "", "missing"),
]


@pytest.mark.parametrize(("fields", "address", "doubt"), AUTHORS)
def test_author(fields: bytes, address: str, doubt: str) -> None:
    assert addresses.author(headers.read(fields + b"Subject: x\r\nReceived: y\r\nReceived: z\r\n\r\n")) == (
        address,
        doubt,
    )


def test_all_fields_of_a_name_are_listed() -> None:
    head = headers.read(b"To: a@x\r\nCc: z@z\r\nTo: B <b@y>, C <c@z>\r\n\r\n")
    assert addresses.listed(head, "to") == ("a@x", "b@y", "c@z")
    assert addresses.listed(head, "bcc") == ()


PIECES = st.sampled_from(
    ["a", "ada@mine.test", "<ada@mine.test>", "<", ">", ",", ";", ":", "(", ")", '"', '\\', "[", "]", "@", ".", " ", "\t",
     "=?utf-8?q?x=40y=2C?=", "=?utf-8?q?x@y,?=", "=?", "?=", "=", "?", "\u00e9", "\x00", "\x85", "\xa0", "b@[192.0.2.1]", '"q, @"'],
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=60))
def test_the_short_way_reads_what_the_long_way_reads(text: str) -> None:
    """For any text: the same addresses from a field as from its text, one author, and nothing that could not stand in an
    envelope."""
    text = text.replace("\n", " ").replace("\r", " ")
    head = headers.read(f"From: {text}\r\n\r\n".encode("utf-8", "replace"))
    found = addresses.listed(head, "from")
    assert found == addresses.specs(head.undecoded(head.fields[0]))
    assert addresses.author(head).address == (found[0] if found else "")
    for address in found:
        assert addresses.specs(f"<{address}>") == (address,)
        assert not any(c in "\0\r\n" for c in address)


NAMES = st.text(st.characters(min_codepoint=32, exclude_categories=["C", "Z"]), min_size=1, max_size=30)


@given(NAMES, st.booleans())
def test_no_name_makes_another_author(name: str, encode: bool) -> None:
    """Whatever a name says, encoded or in quotes, the author is who stands in angle brackets."""
    if encode:
        shown = "=?utf-8?q?" + "".join(f"={octet:02X}" for octet in name.encode()) + "?="
    else:
        shown = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    text = f"{shown} <ada@mine.test>"
    head = headers.read(f"From: {text}\r\n\r\n".encode())
    assert addresses.author(head) == ("ada@mine.test", "")
    assert addresses.mailboxes(text)[0].name == name or "=?" in name


SAME = [
    ("ada@mine.test", "ADA@Mine.Test."),
    ("ada@fa\u00df.test", "ada@xn--fa-hia.test"),
    ("ada@B\u00dcCHER.example", "ada@xn--bcher-kva.example"),
    ("jos\u00e9@x", "JOSE\u0301@x"),
    ("ada@\uff4dine.test", "ada@mine.test"),
    ("postmaster", "Postmaster"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_address(one: str, other: str) -> None:
    assert addresses.comparable(one) == addresses.comparable(other)
    assert addresses.comparable(addresses.comparable(one)) == addresses.comparable(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@fa\u00df.test", "ada@fass.test"),
        ("a@x", "a@y"),
        ("a.b@x", "ab@x"),
        ("a@x.test", "a@mine.test\uff20x.test"),
    ],
)
def test_not_the_same(one: str, other: str) -> None:
    assert addresses.comparable(one) != addresses.comparable(other)


PATTERNS = [
    ("*", "a@x", True),
    ("*@Mine.test", "ADA@mine.TEST", True),
    ("*@mine.test", "ada@other.test", False),
    ("*@mine.test", "ada@sub.mine.test", False),
    ("*@*.mine.test", "ada@sub.mine.test", True),
    ("ad?@mine.test", "ada@mine.test", True),
    ("ad?@mine.test", "ad@mine.test", False),
    ("*@fa\u00df.test", "ada@fa\u00df.test", True),
    ("*@fa\u00df.test", "ada@xn--fa-hia.test", True),
    ("*@XN--FA-HIA.test", "ada@FA\u1e9e.test", True),
    ("*@fa\u00df.test", "ada@fass.test", False),
    ("*@*.b\u00fccher.example.", "a@x.B\u00dcCHER.example", True),
    ("jos\u00e9*@x", "JOSE\u0301.B@x", True),
    ("a[bc]@x", "ab@x", False),  # brackets mean themselves
    ("a[bc]@x", "a[bc]@x", True),
    ("*@[192.0.2.1]", "a@[192.0.2.1]", True),
    ("*@other.test", "x@mine.test\uff20other.test", False),
]


@pytest.mark.parametrize(("glob", "address", "expected"), PATTERNS)
def test_patterns(glob: str, address: str, expected: bool) -> None:
    assert addresses.matches(address, [addresses.pattern(glob)]) is expected
    assert addresses.matches(address, [glob]) is expected
    assert addresses.pattern(addresses.pattern(glob)) == addresses.pattern(glob)


@pytest.mark.parametrize("glob", ["*@b\u00fc*.example", "*\u00fc.example", "a@?\u00fc.test"])
def test_a_pattern_that_could_never_match(glob: str) -> None:
    with pytest.raises(ValueError, match="beyond ASCII"):
        addresses.pattern(glob)
    assert not addresses.matches("a@b\u00fc.example", [glob])


@pytest.mark.parametrize("glob", ["a@b.test", "*@b.test", "*@*.b.test", "*.b.test", "sales-?@b.test", "*@localhost"])
def test_a_pattern_that_says_where(glob: str) -> None:
    assert addresses.places([glob, "*"]) == [glob]


@pytest.mark.parametrize("glob", ["*", "*@*", "?*@?*", "*@*.test", "*@*.*", "*@b.*", "sales@*"])
def test_a_pattern_that_is_anybodys(glob: str) -> None:
    assert addresses.places([glob]) == []


def test_the_first_pattern_that_matches_will_do() -> None:
    assert addresses.matches("a@x", ["b@x", "a@*"])
    assert not addresses.matches("a@x", [])


def test_a_pattern_of_many_stars_ends() -> None:
    assert not addresses.matches("a" * 100_000 + "@x", ["*a*a*a*a*a*b@x"])


# -- by the grammar ----------------------------------------------------------------------------------------------------


class Grammar:
    """Address lists as RFC 5322 3.4 and 4.4 let them be written, each with what they name."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, *pieces: str, most: int = 5) -> str:
        return "".join(self.random.choices(pieces, k=self.random.randint(0, most)))

    def comment(self, depth: int = 0) -> str:
        inner = self.comment(depth + 1) if depth < 3 else "x"
        return "(" + self.some("x", " ", "@", "<a@other.test>", ",", ";", ":", '"', "\\)", "\\(", inner) + ")"

    def space(self) -> str:
        return self.some(" ", "\r\n ", "\t", self.comment() + " ", " " + self.comment(), most=2)

    def atom(self) -> str:
        return "".join(self.random.choices("abXY09!#$%&'*+-/=?^_`{|}~", k=self.random.randint(1, 5)))

    def quoted(self) -> str:
        return '"' + self.some("a", " ", "@", "<", ">", ",", ";", ":", "(", ")", "[", '\\"', "\\\\", ".", most=8) + '"'

    def encoded(self) -> str:
        return f"=?utf-8?q?a{self.some('_', '=40', '=2C', '=3C', '=22', '=28', most=8)}?="

    def mailbox(self) -> tuple[str, str]:
        words = (
            [self.quoted()] if self.random.random() < 0.3 else [self.atom() for _ in range(self.random.randint(1, 3))]
        )
        domain = self.random.choice(["mine.test", "x", "a-b.c.test", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
        dotted = (self.space() + "." + self.space()).join(words)
        written = dotted + self.space() + "@" + self.space() + domain
        if self.random.random() < 0.5:
            name = " ".join(self.random.choice([self.atom, self.quoted, self.encoded])() for _ in range(3))
            route = self.random.choice(["", "", "@a.test:", "@a.test,@b.test:"])
            written = f"{name}{self.space()}<{self.space()}{route}{written}{self.space()}>"
        return self.space() + written + self.space(), ".".join(words) + "@" + domain

    def listing(self) -> tuple[str, list[str]]:
        entries = [self.mailbox() for _ in range(self.random.randint(1, 4))]
        text, named = ",".join(entry[0] for entry in entries), [entry[1] for entry in entries]
        if self.random.random() < 0.3:
            text = f"{self.atom()}{self.space()}:{text};{self.space()}"
        return text, named


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_grammar_allows(seed: int) -> None:
    grammar = Grammar(seed)
    for _ in range(100):
        text, named = grammar.listing()
        head = headers.read(f"To: {text}\r\n\r\n".encode())
        assert list(addresses.listed(head, "to")) == named, text
