"""For any headers: every control field is named in `strip`, reading never raises, and precedence holds per switch."""

import json
from email.header import Header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, instructions
from relay.core.model import Rule, Tracking

HOSTS = ("t.example.com", "https://news.example.org")
URL = "https://t.example.com"
BASE = Tracking(url=URL, domains=("news.example.org",))


def head(*lines, newline="\r\n"):
    return headers.read(newline.join([*lines, "From: a@example.com", "", "body"]).encode())


def read(*lines, dialects=()):
    return instructions.read(head(*lines), dialects=dialects, hosts=HOSTS)


def decide(told, tracking=BASE, rules=(), sender="a@example.com", recipient="r@example.net"):
    return instructions.decide(told, tracking=tracking, rules=rules, sender=sender, recipient=recipient)


def on(*lines, tracking=BASE, rules=(), dialects=()):
    """The switches that are on, as letters; or the reason why none is."""
    told = read(*lines, dialects=dialects)
    decision = decide(told, tracking, rules)
    letters = "".join(
        letter
        for letter, value in zip("olr", (decision.opens, decision.links, decision.thread_replies), strict=True)
        if value
    )
    return letters or decision.reason


ALL_ON = Tracking(url=URL, opens=True, links=True, thread_replies=True)


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("all", "olr"),
        ("ALL", "olr"),
        ("none", "not_requested"),
        ("opens", "o"),
        ("links", "l"),
        ("clicks", "l"),
        ("replies", "r"),
        ("thread_replies", "r"),
        ("thread-replies", "r"),
        ("opens, links", "ol"),
        ("opens,clicks,replies", "olr"),
        ("Opens  Links", "ol"),
        ("opens; links,", "ol"),
        ("opens, opens", "o"),
        ("=?utf-8?q?opens=2C_links?=", "ol"),
        ("opens,\r\n links", "ol"),
        ("opens,\r\n\tlinks", "ol"),
        ("", "invalid_instruction"),
        ("yes", "invalid_instruction"),
        ("all, opens", "invalid_instruction"),
        ("opens, klicks", "invalid_instruction"),
        ("none, opens", "invalid_instruction"),
    ],
)
def test_x_track(value, expected):
    assert on(f"X-Track: {value}") == expected


@pytest.mark.parametrize("word", ["yes", "true", "on", "1", "YES", "True", " on "])
@pytest.mark.parametrize(("name", "letter"), [("Opens", "o"), ("Links", "l"), ("Thread-Replies", "r")])
def test_a_specific_header_sets_one(name, letter, word):
    assert on(f"X-Track-{name}: {word}") == letter
    assert on(f"x-track-{name.upper()}: {word}") == letter


@pytest.mark.parametrize("word", ["no", "false", "off", "0", "OFF"])
def test_a_specific_header_takes_one_away(word):
    assert on(f"X-Track-Links: {word}", tracking=ALL_ON) == "or"
    assert on(f"X-Track-Links: {word}", "X-Track: all") == "or"


@pytest.mark.parametrize("word", ["", "maybe", "2", "ja", "yes no", "y", "truefalse"])
def test_neither_yes_nor_no(word):
    told = read(f"X-Track-Opens: {word}")
    assert told.invalid.startswith("X-Track-Opens: ")
    assert "yes, no, true, false" in told.invalid


@pytest.mark.parametrize(
    ("lines", "invalid"),
    [
        (["X-Track-Opens: yes", "X-Track-Opens: true"], False),
        (["X-Track-Opens: yes", "x-track-opens: no"], True),
        (["X-Track: opens, links", "X-Track: links opens"], False),
        (["X-Track: opens", "X-Track: links"], True),
        (["X-Track-Label: a", "X-Track-Label: a"], False),
        (["X-Track-Label: a", "X-Track-Label: b"], True),
        (['X-Track-Options: {"opens":true}', 'X-Track-Options: {"opens": 1, "links": false}'], False),
        (['X-Track-Options: {"opens":true}', 'X-Track-Options: {"links":true}'], True),
        (["X-Track-Exclude: a@x", "X-Track-Exclude: b@x"], False),
        (["X-Track: all", "X-Track-Opens: no"], False),  # precedence, no contradiction
    ],
)
def test_duplicates(lines, invalid):
    told = read(*lines)
    assert bool(told.invalid) is invalid
    assert len(told.strip) == len(lines)


# -- the label ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("spring sale", "spring sale"),
        ("=?utf-8?q?Fr=C3=BChling?=", "Frühling"),
        ("=?utf-8?b?RnLDvGhsaW5n?= =?utf-8?q?_2026?=", "Frühling 2026"),
        ("Frühling", "Frühling"),
        ("one\r\n two", "one two"),
        ("one\r\n\ttwo", "one two"),
        ("=?nonsense?q?x?=", "=?nonsense?q?x?="),
        ("a%0d%0aBcc:x", "a%0d%0aBcc:x"),
        ("", ""),
        ("x" * 2048, "x" * 2048),
        ("🎉" * 2048, "🎉" * 2048),
    ],
)
def test_label(value, label):
    told = read(f"X-Track-Label: {value}")
    assert (told.label, told.invalid) == (label, None)


@pytest.mark.parametrize(
    "value",
    [
        "=?utf-8?q?a=0D=0ABcc:_x=40y?=",
        "=?utf-8?b?YQ0KQmNjOiB4QHk=?=",
        "a\0b",
        "a\x1b[31mb",
        "a\x7f",
        "a\u2028b",
        "a\u0085b",
        "=?utf-8?q?a=00b?=",
        "=?utf-8?q?a=09b?=",
        "x" * 2049,
    ],
)
def test_a_label_that_is_no_line_of_text(value):
    told = read(f"X-Track-Label: {value}", "X-Track: all")
    assert told.label is None
    assert told.invalid.isascii()
    assert told.invalid.isprintable()
    assert decide(told).reason == "invalid_instruction"


def test_the_label_falls_through():
    defaults = Tracking(url=URL, label="default")
    rule = Rule("*", "*", Tracking(url=URL, label="rule"), frozenset({"label"}))
    vendor = "X-PM-Tag: vendor"
    options = 'X-Track-Options: {"label": "options"}'
    own = "X-Track-Label: own"
    for lines, rules, label in [
        ([], (), "default"),
        ([], (rule,), "rule"),
        ([vendor], (rule,), "vendor"),
        ([vendor, options], (rule,), "options"),
        ([vendor, options, own], (rule,), "own"),
        (["X-Track-Label:"], (rule,), ""),
        (["X-Track: all"], (rule,), "rule"),
    ]:
        assert decide(read(*lines, dialects=["postmark"]), defaults, rules).label == label


# -- tracking_options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{"opens": true}', "o"),
        ('{"opens": true, "links": true, "thread_replies": true, "label": "x"}', "olr"),
        ('{"opens": "true", "links": 1, "thread_replies": null}', "ol"),
        ('{"opens": false}', "not_requested"),
        ("{}", "not_requested"),
        ('{"opens": true, "payload": "v2"}', "o"),
        ('{"opens":\r\n true,\r\n "links": true}', "ol"),
        ('{"opens":\r\n\ttrue}', "o"),
        ('{"opens": tr\r\n ue, "li\r\n nks": true}', "ol"),
        ('{"ope\r\n ns": true}', "o"),
        ("=?utf-8?q?=7B=22opens=22=3A_true=7D?=", "o"),
        ("=?utf-8?b?eyJvcGVucyI6IHRydWUsICJsaW5rcyI6IHRydWV9?=", "ol"),
        ("", "invalid_instruction"),
        ("true", "invalid_instruction"),
        ("[]", "invalid_instruction"),
        ("{opens: true}", "invalid_instruction"),
        ('{"opens": "maybe"}', "invalid_instruction"),
        ('{"opens": 2}', "invalid_instruction"),
        ('{"opens": [true]}', "invalid_instruction"),
        ('{"clicks": true}', "invalid_instruction"),
        ('{"opens": true, "opens": false}', "invalid_instruction"),
        ('{"opens": NaN}', "invalid_instruction"),
        ('{"label": 5}', "invalid_instruction"),
        ('{"label": "a\\nb"}', "invalid_instruction"),
        ('{"label": "a\\ud800"}', "invalid_instruction"),
        ('{"label": "a", "payload": "b"}', "invalid_instruction"),
        ('{"label": "' + "x" * 2049 + '"}', "invalid_instruction"),
        ('{"domain_name": "evil.example"}', "invalid_instruction"),
        ('{"domain_name": 1}', "invalid_instruction"),
        ("[" * 100_000, "invalid_instruction"),
        ('{"opens":' * 100_000, "invalid_instruction"),
        ("1" * 10_000, "invalid_instruction"),
    ],
)
def test_options(value, expected):
    assert on(f"X-Track-Options: {value}") == expected


def test_options_set_label_and_domain():
    told = read('X-Track-Options: {"links": true, "payload": "old name", "domain_name": "News.Example.ORG."}')
    assert (told.label, told.domain) == ("old name", "news.example.org")
    assert decide(told).tracking.url == "https://news.example.org"


def test_a_label_keeps_the_space_at_which_it_was_folded():
    assert read('X-Track-Options: {"opens": true, "label": "spring\r\n sale"}').label == "spring sale"


@given(
    st.dictionaries(st.sampled_from(["opens", "links", "thread_replies"]), st.booleans()),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=80),
)
def test_options_survive_the_encoding_of_a_mail_library(switches, label):
    given_ = {**switches, "label": label}
    value = Header(json.dumps(given_, ensure_ascii=False), "utf-8", header_name="X-Track-Options").encode(
        linesep="\r\n"
    )
    told = read(f"X-Track-Options: {value}")
    assert told.invalid is None
    assert told.label == label
    assert {k: v for k, (v, _) in told.switches.items()} == {
        "opens": False,
        "links": False,
        "thread_replies": False,
    } | switches


# -- domain and exclusion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("t.example.com", URL),
        ("T.Example.COM.", URL),
        ("https://t.example.com", URL),
        ("https://t.example.com/", URL),
        ("\uff54.example\u3002com", URL),
        ("=?utf-8?q?=EF=BD=94=2Eexample=2Ecom?=", URL),
        ("https://%74.example.com", URL),
        ("news.example.org", "https://news.example.org"),
        ("news.example.org:443", "https://news.example.org"),
    ],
)
def test_domain(value, url):
    assert decide(read("X-Track: all", f"X-Track-Domain: {value}")).tracking.url == url


@pytest.mark.parametrize(
    "value",
    [
        "",
        "evil.example",
        "t.example.com.evil.example",
        "//",
        "https://[::",
        "t.example.com@evil.example",
        "=?utf-8?q?t.example.com=0D=0AX:_y?=",
        "=?utf-8?q?t.exam=0D=0Aple.com?=",
        "t.example.com evil.example",
    ],
)
def test_no_domain_of_ours(value):
    told = read("X-Track: all", f"X-Track-Domain: {value}")
    assert told.domain is None
    assert "t.example.com" in told.invalid
    assert told.invalid.isprintable()


def test_without_a_domain_the_rule_chooses():
    rule = Rule("*", "*", Tracking(url="https://rule.example", links=True), frozenset({"url", "links"}))
    assert decide(read(), rules=[rule]).tracking.url == "https://rule.example"
    assert decide(read("X-Track-Domain: t.example.com"), rules=[rule]).tracking.url == URL


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@x", ("a@x",)),
        ("A@X.org, b@x", ("a@x.org", "b@x")),
        ("a@x b@x;c@x", ("a@x", "b@x", "c@x")),
        ('"Last, First" <a@x>, Team: b@x, c@x;', ("a@x", "b@x", "c@x")),
        ("=?utf-8?q?a=40x?=", ("a@x",)),
        ("a@x,\r\n b@x", ("a@x", "b@x")),
    ],
)
def test_exclude(value, expected):
    told = read("X-Track: all", f"X-Track-Exclude: {value}")
    assert (told.exclude, told.invalid) == (expected, None)
    assert decide(told, recipient=expected[0].upper()).reason == "excluded_recipient"
    assert decide(told, recipient="other@x").opens


@pytest.mark.parametrize("value", ["", "everybody", "a@x, b", "a@x, @y", "<>", "a@b@c"])
def test_an_exclusion_that_can_not_be_read_excludes_all(value):
    assert on("X-Track: all", f"X-Track-Exclude: {value}") == "invalid_instruction"


# -- stripping ---------------------------------------------------------------------------------------------------------


def test_every_control_field_is_stripped_and_no_other():
    lines = [
        "Subject: x",
        "X-TRACK: all",
        "x-track-opens : yes",
        "X-Track-Label: =?utf-8?q?a?=\r\n =?utf-8?q?b?=",
        "X-Track-Nonsense: 1",
        "X-Track-: 1",
        "X-Track: all",
        "X-Tracking-ID: keep",
        "X-Trackable: keep",
        "X-PM-Tag: keep",
    ]
    section = head(*lines)
    told = instructions.read(section, dialects=(), hosts=HOSTS)
    assert [section.fields[i].name for i in told.strip] == [
        "x-track",
        "x-track-opens",
        "x-track-label",
        "x-track-nonsense",
        "x-track-",
        "x-track",
    ]


@pytest.mark.parametrize("name", ["X-Track-Link", "X-Track-Open", "X-Track-Foo"])
def test_a_misspelt_header_is_said(name):
    told = read(f"{name}: no", "X-Track: all")
    assert name in told.invalid
    assert "X-Track-Links" in told.invalid
    assert len(told.strip) == 2


NAMES = """X-Track X-Track-Opens X-Track-Links X-Track-Label X-Track-Options X-Track-Domain X-Track-Exclude X-Track-Else
X-MC-Track X-MC-Tags X-MC-Metadata X-PM-TrackOpens X-PM-TrackLinks X-PM-Metadata-a X-Mailgun-Track X-Mailgun-Variables
X-SMTPAPI X-MSYS-API X-Mailjet-TrackOpen X-Unosend-Tags Subject"""
names = st.sampled_from(NAMES.split())
VENDORS = ["mandrill", "postmark", "mailgun", "sendgrid", "sparkpost", "mailjet", "unosend"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["filters", "opentrack", "settings", "enable", "options", "category", "unique_args", "tags", "a"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
values = (
    st.binary(max_size=60)
    | st.sampled_from([b"yes", b"no", b"all", b"opens", b"{}", b"a@b", b"t.example.com", b"clicks_all", b"HtmlOnly"])
    | json_values.map(lambda v: json.dumps(v).encode())
)


@given(st.lists(st.tuples(names, values), max_size=8), st.lists(st.sampled_from(VENDORS), max_size=7, unique=True))
def test_any_headers(pairs, dialects):
    raw = b"".join(name.encode() + b": " + value.replace(b"\n", b"\n ") + b"\r\n" for name, value in pairs) + b"\r\n"
    section = headers.read(raw)
    told = instructions.read(section, dialects=dialects, hosts=HOSTS)
    control = {i for i, f in enumerate(section.fields) if f.name.startswith("x-track")}
    assert control <= set(told.strip)
    assert all(section.fields[i].name.startswith("x-") for i in told.strip)
    if not dialects:
        assert control == set(told.strip)
    if told.invalid:
        assert told.invalid.isascii()
        assert told.invalid.isprintable()
        assert not decide(told, ALL_ON).any
    decision = decide(told, ALL_ON)
    assert decision.any is (decision.reason is None)
    assert set(decision.source) == {"opens", "links", "thread_replies"}
    assert "\n" not in decision.label


# -- precedence --------------------------------------------------------------------------------------------------------

bits = st.fixed_dictionaries(dict.fromkeys(("opens", "links", "thread_replies"), st.booleans()))


@given(
    st.dictionaries(st.sampled_from(["opens", "links", "thread_replies"]), st.booleans()),
    st.none() | bits,
    st.none() | bits,
    st.none() | st.fixed_dictionaries({"opens": st.booleans(), "links": st.booleans()}),
    st.none() | st.dictionaries(st.sampled_from(["opens", "links", "thread_replies"]), st.booleans()),
    bits,
)
def test_precedence_holds_for_each_switch(specific, general, options, dialect, rule, defaults):
    lines = [f"X-Track-{k.replace('_', '-')}: {'yes' if v else 'no'}" for k, v in specific.items()]
    if general is not None:
        lines.append("X-Track: " + (", ".join(k for k, v in general.items() if v) or "none"))
    if options is not None:
        lines.append("X-Track-Options: " + json.dumps(options))
    if dialect is not None:
        lines += [
            f"X-Unosend-Track-{n}: {str(dialect[k]).lower()}" for n, k in [("Opens", "opens"), ("Clicks", "links")]
        ]
    base = Tracking(url=URL, **defaults)
    rules = [Rule("*", "*", Tracking(url=URL, **(defaults | rule)), frozenset(rule))] if rule is not None else []
    decision = decide(read(*lines, dialects=["unosend"]), base, rules)
    for switch in ("opens", "links", "thread_replies"):
        expected, source = defaults[switch], "default"
        if rule is not None and switch in rule:
            expected, source = rule[switch], "rule"
        if dialect is not None:
            expected, source = dialect.get(switch, False), "X-Unosend"
        if options is not None:
            expected, source = options[switch], "X-Track-Options"
        if general is not None:
            expected, source = general[switch], "X-Track"
        if switch in specific:
            expected, source = specific[switch], "X-Track-" + switch.replace("_", "-").title()
        assert getattr(decision, switch) is expected
        assert decision.source[switch].startswith(source)


@pytest.mark.parametrize(
    ("sender", "recipient", "expected"),
    [
        ("ann@sales.example.com", "x@y", "first"),
        ("ANN@SALES.EXAMPLE.COM", "x@y", "first"),
        ("ann@example.com", "x@Customers.Example", "second"),
        ("ann@example.com", "x@y", ""),
        ("", "x@y", ""),
    ],
)
def test_the_first_rule_that_matches_wins(sender, recipient, expected):
    rules = [
        Rule("*@Sales.example.com", "*", Tracking(label="first"), frozenset({"label"})),
        Rule("*", "*@customers.example", Tracking(label="second"), frozenset({"label"})),
        Rule("*@sales.example.com", "*", Tracking(label="third"), frozenset({"label"})),
    ]
    assert decide(read(), Tracking(), rules, sender, recipient).label == expected


def test_nothing_is_tracked_unless_asked():
    decision = decide(read())
    assert (decision.any, decision.reason) == (False, "not_requested")
    assert set(decision.source.values()) == {"default"}


# -- one body for all --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["olr", "olr"], "olr"),
        (["olr", "l"], "l"),
        (["ol", "lr", "l"], "l"),
        (["o", "l"], "not_requested"),
        (["ol", "excluded_recipient"], "excluded_recipient"),
        (["invalid_instruction", "invalid_instruction"], "invalid_instruction"),
        (["o"], "o"),
    ],
)
def test_what_all_recipients_have_in_common(given, expected):
    """The switches that are on for every one of them, as letters; or why none is."""
    plain = decide(read())
    decisions = [
        plain.with_(opens="o" in letters, links="l" in letters, thread_replies="r" in letters, reason=None)
        if set(letters) <= set("olr")
        else plain.with_(opens=False, links=False, thread_replies=False, reason=letters)
        for letters in given
    ]
    found = instructions.common(decisions)
    letters = "o" * found.opens + "l" * found.links + "r" * found.thread_replies
    assert (letters or found.reason) == expected
    assert bool(letters) is (found.reason is None)


# -- who is never tracked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reverse_path", "lines", "reason"),
    [
        ("a@b", [], None),
        ("", [], "null_sender"),
        ("<>", [], "null_sender"),
        ("a@b", ["Auto-Submitted: auto-replied"], "auto_reply"),
        ("a@b", ["Auto-Submitted: Auto-Replied (vacation)"], "auto_reply"),
        ("a@b", ["auto-submitted:\r\n auto-replied; owner-email=x@y"], "auto_reply"),
        ("a@b", ["Auto-Submitted: auto-generated"], None),
        ("a@b", ["Auto-Submitted: no"], None),
        ("a@b", ["Content-Type: multipart/report; report-type=delivery-status; boundary=x"], "auto_reply"),
        ("a@b", ["Content-Type: Multipart/Report; boundary=x"], "auto_reply"),
        ("a@b", ["Content-Type: message/delivery-status"], "auto_reply"),
        ("a@b", ["Content-Type: message/disposition-notification"], "auto_reply"),
        ("a@b", ["Content-Type: multipart/mixed; boundary=report"], None),
    ],
)
def test_never(reverse_path, lines, reason):
    assert instructions.never(head(*lines), reverse_path) == reason


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "opens, " * 30_000,
        "a@x, " * 40_000,
        '"' * 200_000,
        "<" * 200_000,
        "(" * 200_000,
        "{" * 200_000,
        ",;" * 100_000,
        '{"a":' * 40_000,
        '{"opens":\r\n ' * 15_000,
        "=?" * 100_000,
        "=?utf-8?q?a?= " * 14_000,
        "\r\n " * 60_000 + "x",
    ],
    ids=range(12),
)
@pytest.mark.parametrize(
    "name", ["X-Track", "X-Track-Options", "X-Track-Exclude", "X-Track-Label", "X-SMTPAPI", "X-MC-Tags"]
)
def test_hostile_values_end(name, value):
    """200 kB each: what takes more than linear time here runs into the limit of the test."""
    told = instructions.read(head(f"{name}: {value}"), dialects=VENDORS, hosts=HOSTS)
    assert told.strip


def test_thousands_of_fields_end():
    told = instructions.read(head(*["X-Track: all"] * 20_000), dialects=VENDORS, hosts=HOSTS)
    assert len(told.strip) == 20_000
