"""Tokens: the signed text in the URL of a pixel or link. And the identifiers of messages.

Owns: the bytes of a token, its signature, the format of message keys and message ids.
Leaves to others: where keys come from and how they are kept (`relay.keys`), what a hit means (`classify`).

A token is unpadded base64url (RFC 4648 5) of

    1 octet    version (upper 3 bits) and key id (lower 5 bits)
    12 octets  message key: 48 bits of milliseconds since 1970, big-endian, then 48 random bits; the last 24 of them
               are a signature of the message's identifier where it had one when it came (`bound`)
    varint     recipient: the index of the envelope recipient in the submission
    varint     link: the index of the link               (click only)
    n octets   the URL, UTF-8, unchanged                 (click only)
    12 octets  HMAC-SHA256 over the kind and everything before, truncated to 96 bits

Varints are LEB128, least significant group first. A click's link index may have one redundant octet, so that the
length is never a multiple of three and the text never ends in `-` or `_`: programs that look for URLs in plain text
would cut such an ending off. This is version 0. Version 1 is reserved for the same under AES-SIV (RFC 5297), 2 to 7
are free, but never for a cipher that a repeated nonce breaks. The kind is signed but not written, so a pixel's token
can't be used as a link's. By the bound octets a message that comes again is told from one that only quotes it, without
looking anything up. Nothing in a token names an address, an account or a Message-ID.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Literal

from relay.core.model import Keys, Token, TokenKind

VERSION = 0
KEY_IDS = 32
KEY_SIZE = 12
BOUND = 3  # octets of a message key that are bound to the message
MAC_SIZE = 12
LONGEST = 16_384  # characters of a token; more than any URL that is tracked
LARGEST_INDEX = (1 << 21) - 1  # three octets of varint

# What the signature covers first. It must never change, nor must the layout: links live as long as their mail.
KINDS: dict[TokenKind | Literal["message"], bytes] = {
    "message": b"trackrelay/0/message\0",
    "open": b"trackrelay/0/open\0",
    "click": b"trackrelay/0/click\0",
    "canary": b"trackrelay/0/canary\0",
    "reference": b"trackrelay/0/reference\0",
    "about": b"trackrelay/0/about\0",
}
TO_URL = bytes.maketrans(b"+/", b"-_")
FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}  # possible last characters with 4 or 2 spare bits
PADDING = {0: b"", 2: b"==", 3: b"="}
ABSENT = bytes(32)  # used in place of a key that we do not have, so that such a token takes as long as any other
DIGITS = "0123456789abcdefghijklmnopqrstuv"
PAIRS = [a + b for a in DIGITS for b in DIGITS]  # the library's encoder takes ten times as long, on every hit


def write(token: Token, keys: Keys) -> str:
    """The token's text, signed with the current key. Raises ValueError for what no token can hold: a message key that
    does not have 12 octets, an index below 0 or above 2,097,151, a URL with lone surrogates or of over some 12,000
    octets."""
    if token.kind == "click":
        return clicks(token.message_key, token.recipient, keys)(token.link, token.url)
    head = beginning(token.message_key, token.recipient, keys)
    return encode(head + mac(keys.secrets[keys.current], token.kind, head))


def clicks(message_key: bytes, recipient: int, keys: Keys) -> Callable[[int, str], str]:
    """What `write` does, for all links of one copy: call the result with link index and URL. What the links have in
    common is done once."""
    head = beginning(message_key, recipient, keys)
    first, outer = halves(keys.secrets[keys.current], "click")
    inner = first.copy()
    inner.update(head)
    begin, finish, size = inner.copy, outer.copy, len(head) + MAC_SIZE

    def click(link: int, url: str) -> str:
        number, octets = varint(link), url.encode()
        if (size + len(number) + len(octets)) % 3 == 0:
            number = number[:-1] + bytes((number[-1] | 0x80, 0))
        body = number + octets
        signing, signed = begin(), finish()
        signing.update(body)
        signed.update(signing.digest())
        text = encode(head + body + signed.digest()[:MAC_SIZE])
        if len(text) > LONGEST:
            raise ValueError("this URL is too long for a token")
        return text

    return click


def beginning(message_key: bytes, recipient: int, keys: Keys) -> bytes:
    if len(message_key) != KEY_SIZE:
        raise ValueError(f"a message key has {KEY_SIZE} octets, not {len(message_key)}")
    return bytes((VERSION << 5 | keys.current,)) + message_key + varint(recipient)


def read(text: str, kind: TokenKind, keys: Keys) -> Token | None:
    """The token, or None for any text that `write` did not make with one of these keys and for this kind. Never raises.
    Only the canonical text is accepted, and every refusal takes the same time."""
    raw = decode(text)
    if raw is None or len(raw) < 1 + KEY_SIZE + 1 + MAC_SIZE:
        return None
    body, given = raw[:-MAC_SIZE], raw[-MAC_SIZE:]
    secret = keys.secrets.get(raw[0] & 31)
    genuine = hmac.compare_digest(mac(ABSENT if secret is None else secret, kind, body), given)
    if not genuine or secret is None or raw[0] >> 5 != VERSION:
        return None
    return unpacked(body, kind)


def unpacked(body: bytes, kind: TokenKind) -> Token | None:
    """The token of a signed body. None if `write` would not have packed it, which takes a key of ours used
    elsewhere."""
    try:
        recipient, at = integer(body, 1 + KEY_SIZE)
        if kind != "click":
            return Token(kind, body[1 : 1 + KEY_SIZE], recipient) if at == len(body) else None
        link, at = integer(body, at)
        return Token(kind, body[1 : 1 + KEY_SIZE], recipient, link, body[at:].decode())
    except (IndexError, ValueError):
        return None


def size(url: str) -> int:
    """The largest number of characters that a click token for this URL can have, whatever its recipient and link. If no
    token can hold the URL, a number beyond any limit."""
    try:
        octets = len(url.encode())
    except UnicodeEncodeError:
        return LONGEST + 1
    return -(-(1 + KEY_SIZE + 3 + 3 + 1 + octets + MAC_SIZE) * 4 // 3)


# -- the signature and the text ----------------------------------------------------------------------------------------


def mac(secret: bytes, kind: TokenKind | Literal["message"], body: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) from copies of its two prepared halves. It takes a third of the time of `hmac.digest`,
    which also releases the interpreter's lock to whoever waits for it."""
    first, second = halves(secret, kind)
    inner, outer = first.copy(), second.copy()
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()[:MAC_SIZE]


@functools.lru_cache(maxsize=256)
def halves(secret: bytes, kind: TokenKind | Literal["message"]) -> tuple[hashlib._Hash, hashlib._Hash]:
    block = secret.ljust(64, b"\0")  # a key is 32 bytes, and so never longer than SHA-256's block
    inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in block) + KINDS[kind])
    return inner, hashlib.sha256(bytes(octet ^ 0x5C for octet in block))


def encode(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).translate(TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """The octets of canonical, unpadded base64url. None for everything else: other characters, padding, an impossible
    length, and stray bits in the last character, which the library's strict decoder lets pass."""
    over = len(text) % 4
    if len(text) > LONGEST or (over and (over == 1 or text[-1] not in LAST[over])):
        return None
    try:
        return a2b_base64(text.encode("ascii").translate(FROM_URL) + PADDING[over], strict_mode=True)
    except ValueError:
        return None


def varint(number: int) -> bytes:
    if not 0 <= number <= LARGEST_INDEX:
        raise ValueError(f"an index is between 0 and {LARGEST_INDEX}, not {number}")
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))


def integer(body: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, and where it ends. Raises IndexError if the body ends first, ValueError if it is too long."""
    number = shift = 0
    while True:
        octet = body[at]
        at += 1
        number |= (octet & 0x7F) << shift
        if octet < 0x80:
            return number, at
        shift += 7
        if shift > 21:  # three octets and the redundant one
            raise ValueError("a varint that does not end")


# -- messages ----------------------------------------------------------------------------------------------------------


def message_key(now: float, random_bytes: bytes) -> bytes:
    """A new key for a message sent at `now` (Unix seconds): 12 octets that sort by time. Of `random_bytes`, the first 6
    are used."""
    if len(random_bytes) < 6:
        raise ValueError("6 random octets are needed")
    return max(0, min(int(now * 1000), (1 << 48) - 1)).to_bytes(6, "big") + random_bytes[:6]


def bound(key: bytes, identifier: str, keys: Keys) -> bytes:
    """The message key whose last octets say whose it is: the message's that has this Message-ID. Of messages with different
    identifiers they differ as random ones do. Without an identifier the key stays as it is."""
    return key[:-BOUND] + _bound(keys.secrets[keys.current], key, identifier) if identifier else key


def is_bound(key: bytes, identifier: str, keys: Keys) -> bool:
    """Whether `bound` made this key for the message that has this Message-ID."""
    made = [_bound(secret, key, identifier) for secret in keys.secrets.values()]
    return bool(identifier) and len(key) == KEY_SIZE and key[-BOUND:] in made


def _bound(secret: bytes, key: bytes, identifier: str) -> bytes:
    return mac(secret, "message", key[:-BOUND] + identifier.encode("utf-8", "surrogatepass"))[:BOUND]


def key_of(message_id: str) -> bytes:
    """The key of such a text. ValueError where it is none."""
    if len(message_id) != 20 or set(message_id) - set(DIGITS):
        raise ValueError("a message id has 20 characters of lower-case base32hex")
    bits = 0
    for character in message_id:
        bits = bits << 5 | DIGITS.index(character)
    return (bits >> 4).to_bytes(KEY_SIZE, "big")


def message_id(key: bytes) -> str:
    """The key as text: 20 characters of lower-case base32hex (RFC 4648 7), which sort as the keys do."""
    if len(key) != KEY_SIZE:
        raise ValueError(f"a message key has {KEY_SIZE} octets, not {len(key)}")
    bits, p = int.from_bytes(key, "big") << 4, PAIRS  # 100 bits: ten times two characters
    return (  # each hit has it made: in one text takes half the time of a loop
        f"{p[bits >> 90]}{p[bits >> 80 & 1023]}{p[bits >> 70 & 1023]}{p[bits >> 60 & 1023]}{p[bits >> 50 & 1023]}"
        f"{p[bits >> 40 & 1023]}{p[bits >> 30 & 1023]}{p[bits >> 20 & 1023]}{p[bits >> 10 & 1023]}{p[bits & 1023]}"
    )
