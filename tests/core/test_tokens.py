"""For any bytes: a token is read only by the keys that signed it, for its kind, from its one text; else None."""

import random
from base64 import b32hexdecode, urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import tokens
from relay.core.model import Keys, Token, TokenKind

KEYS = Keys(3, {n: bytes((n,)) * 32 for n in (0, 3, 31)})
KEY = bytes.fromhex("0192b3c4d5e6a1b2c3d4e5f6")
KINDS: tuple[TokenKind, ...] = ("open", "click", "reference")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

indexes = st.integers(0, tokens.LARGEST_INDEX)
urls = st.text(st.characters(codec="utf-8"), max_size=300) | st.sampled_from(
    ["https://example.com/", "https://example.com/?a=1&b=%20", "//evil", "javascript:alert(1)", "https://a\r\nb", ""]
)
message_keys = st.binary(min_size=12, max_size=12)


@st.composite
def any_token(draw):
    kind = draw(st.sampled_from(KINDS))
    if kind == "click":
        return Token(kind, draw(message_keys), draw(indexes), draw(indexes), draw(urls))
    return Token(kind, draw(message_keys), draw(indexes))


@given(any_token())
def test_what_is_written_is_read(token):
    text = tokens.write(token, KEYS)
    assert tokens.read(text, token.kind, KEYS) == token
    assert set(text) <= set(ALPHABET)
    assert all(tokens.read(text, kind, KEYS) is None for kind in KINDS if kind != token.kind)


@given(any_token())
def test_size_is_an_upper_bound_and_near(token):
    if token.kind == "click":
        text = tokens.write(token, KEYS)
        assert len(text) <= tokens.size(token.url) <= len(text) + 8


def samples(count, seed):
    dice = random.Random(seed)
    for n in range(count):
        kind = KINDS[n % 3]
        url = f"https://example.com/{dice.randbytes(dice.randrange(60)).hex()}?n={n}" if kind == "click" else ""
        yield Token(kind, dice.randbytes(12), dice.randrange(300), dice.randrange(300) if url else 0, url)


def test_every_flipped_bit_is_refused():
    tried = 0
    for token in samples(60, seed=1):
        text = tokens.write(token, KEYS)
        raw = bytearray(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        for bit in range(len(raw) * 8):
            raw[bit // 8] ^= 1 << bit % 8
            changed = urlsafe_b64encode(raw).rstrip(b"=").decode()
            assert tokens.read(changed, token.kind, KEYS) is None
            raw[bit // 8] ^= 1 << bit % 8
            tried += 1
    assert tried >= 10_000


def test_ten_thousand_mutated_texts_are_refused():
    dice = random.Random(2)
    texts = [(tokens.write(t, KEYS), t.kind) for t in samples(100, seed=3)]
    for _ in range(10_000):
        text, kind = dice.choice(texts)
        at = dice.randrange(len(text))
        changed = dice.choice(
            [
                text[:at] + dice.choice(ALPHABET) + text[at + 1 :],
                text[:at] + text[at + 1 :],
                text[:at] + dice.choice(ALPHABET + "=+/ %\n") + text[at:],
                text[:at] + dice.choice(texts)[0][at:],  # the head of one and the tail of another
                text + dice.choice(ALPHABET + "=+/.\n "),
            ]
        )
        if all(changed != t for t, _ in texts):
            assert tokens.read(changed, kind, KEYS) is None


def test_ten_thousand_guesses_with_the_right_form():
    dice = random.Random(4)
    for _ in range(10_000):
        head = bytes((3,)) + KEY + b"\0" + b"\0https://evil.example/"
        text = urlsafe_b64encode(head + dice.randbytes(12)).rstrip(b"=").decode()
        assert tokens.read(text, "click", KEYS) is None


def test_the_target_of_one_link_can_not_stand_in_another():
    one = tokens.write(Token("click", KEY, 0, 0, "https://example.com/a"), KEYS)
    other = tokens.write(Token("click", KEY, 0, 0, "https://example.com/b"), KEYS)
    first, second = (urlsafe_b64decode(t + "=" * (-len(t) % 4)) for t in (one, other))
    assert tokens.read(urlsafe_b64encode(first[:-12] + second[-12:]).rstrip(b"=").decode(), "click", KEYS) is None


@given(st.text(st.sampled_from(ALPHABET + "=+/ é\n"), max_size=70))
def test_only_the_canonical_text_is_decoded(text):
    raw = tokens.decode(text)
    padded = text.isascii() and not set(text) & set("=+/ \n") and len(text) % 4 != 1
    if not padded:
        assert raw is None
        return
    plain = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    canonical = urlsafe_b64encode(plain).rstrip(b"=").decode() == text
    assert raw == (plain if canonical else None)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: urlsafe_b64encode(b).rstrip(b"=").decode()))
def test_any_text_is_refused_without_an_error(text):
    assert all(tokens.read(text, kind, KEYS) is None for kind in KINDS)


@pytest.mark.parametrize(
    "text", ["", "A", "A" * 10_000_000, "=" * 1000, "\0", "\ud800", "é" * 50, "%2e%2e", "../../etc"]
)
def test_strange_and_huge_texts(text):
    assert all(tokens.read(text, kind, KEYS) is None for kind in KINDS)


@pytest.mark.parametrize("tail", [b"", b"\x80", b"\x80\x80\x80\x80\x00", b"\x00\x00"])
def test_a_signed_body_that_write_never_packs(tail):
    """Only someone with our key can make these; they are refused all the same, and without an error."""
    body = bytes((3,)) + KEY + tail
    text = tokens.encode(body + tokens.mac(KEYS.secrets[3], "open", body))
    assert tokens.read(text, "open", KEYS) is None
    body += b"\xff\xfe"
    text = tokens.encode(body + tokens.mac(KEYS.secrets[3], "click", body))
    assert tokens.read(text, "click", KEYS) is None


def test_the_reserved_version_is_refused_although_signed():
    token = Token("open", KEY, 0)
    raw = urlsafe_b64decode(tokens.write(token, KEYS) + "=")
    body = bytes((raw[0] | 1 << 5,)) + raw[1:-12]
    assert tokens.read(tokens.encode(body + tokens.mac(KEYS.secrets[3], "open", body)), "open", KEYS) is None


def test_a_retired_key_verifies_and_a_lost_one_does_not():
    text = tokens.write(Token("click", KEY, 1, 2, "https://example.com/"), KEYS)
    rotated = Keys(0, KEYS.secrets)
    assert tokens.read(text, "click", rotated) == Token("click", KEY, 1, 2, "https://example.com/")
    assert tokens.write(Token("open", KEY, 0), rotated) != tokens.write(Token("open", KEY, 0), KEYS)
    assert tokens.read(text, "click", Keys(0, {0: KEYS.secrets[0]})) is None
    assert tokens.read(text, "click", Keys(3, {3: bytes(32)})) is None


FROZEN: list[tuple[TokenKind, str, Token]] = [
    ("open", "AwGSs8TV5qGyw9Tl9gBrcjwbi85WfccQN5E", Token("open", KEY, 0)),
    ("reference", "AwGSs8TV5qGyw9Tl9qwChH2f1b-j6APpvkTY", Token("reference", KEY, 300)),
    (
        "click",
        "AwGSs8TV5qGyw9Tl9gECaHR0cHM6Ly9leGFtcGxlLmNvbS8_YT0xJmI9w7xQxExEQzJ18kJHnzA",
        Token("click", KEY, 1, 2, "https://example.com/?a=1&b=ü"),
    ),
    (
        "click",
        "AwGSs8TV5qGyw9Tl9gCAAGh0dHBzOi8vZXhhbXBsZS5jb20vYQc-UNoIUKR-hZ1eLA",
        Token("click", KEY, 0, 0, "https://example.com/a"),
    ),
]


def test_the_layout_is_frozen():
    """Links live as long as the mail that they are in: these texts must be read by every later version."""
    for kind, text, token in FROZEN:
        assert tokens.read(text, kind, KEYS) == token
        assert tokens.write(token, KEYS) == text


def test_nothing_in_a_token_tells_the_recipient():
    text = tokens.write(Token("click", KEY, 1, 0, "https://example.com/"), KEYS)
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert raw[1:13] == KEY
    assert raw[13:15] == b"\x01\x00"
    assert raw[15:-12].lstrip(b"\0") == b"https://example.com/"


@given(urls, st.integers(0, 200), st.integers(0, 200))
def test_a_link_ends_with_a_letter_or_digit(url, recipient, link):
    assert tokens.write(Token("click", KEY, recipient, link, url), KEYS)[-1].isalnum()


@pytest.mark.parametrize(
    "token",
    [
        Token("open", b"short", 0),
        Token("open", KEY, -1),
        Token("open", KEY, 1 << 21),
        Token("click", KEY, 0, 1 << 21, "https://example.com/"),
        Token("click", KEY, 0, 0, "https://example.com/\ud800"),
        Token("click", KEY, 0, 0, "https://example.com/" + "a" * 20_000),
    ],
)
def test_what_no_token_can_hold_is_a_value_error(token):
    with pytest.raises(ValueError):
        tokens.write(token, KEYS)


def test_size_of_what_no_token_can_hold():
    assert tokens.size("https://example.com/\ud800") > tokens.LONGEST


def test_keys_stay_out_of_a_traceback():
    assert "\\x03" not in repr(KEYS)


# -- messages ----------------------------------------------------------------------------------------------------------


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.binary(min_size=6, max_size=16))
def test_message_keys_and_ids_sort_by_time(one, other, dice):
    first, second = tokens.message_key(one, dice), tokens.message_key(other, dice)
    assert (first < second) == (int(one * 1000) < int(other * 1000))
    assert (first < second) == (tokens.message_id(first) < tokens.message_id(second))
    assert len(first) == 12


@given(message_keys)
def test_a_message_id_is_a_key(key):
    text = tokens.message_id(key)
    assert len(text) == 20
    assert text == text.lower()
    assert text.isalnum()
    assert b32hexdecode(text.upper() + "====") == key


@pytest.mark.parametrize("now", [-5.0, 0.0, 1e15])
def test_a_clock_gone_wild_makes_a_key_all_the_same(now):
    assert len(tokens.message_key(now, bytes(6))) == 12


def test_too_few_dice():
    with pytest.raises(ValueError):
        tokens.message_key(0, b"12345")


@given(st.binary(min_size=12, max_size=12))
def test_the_key_of_a_message_id(key: bytes) -> None:
    assert tokens.key_of(tokens.message_id(key)) == key


@pytest.mark.parametrize("text", ["", "0" * 19, "0" * 21, "w" * 20, "A" * 20, "é" * 20])
def test_what_is_no_message_id_has_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="20 characters"):
        tokens.key_of(text)
