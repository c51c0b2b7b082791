"""One person's address wherever it stands, in any spelling that programs give it: found, and taken out.

Owns: the spellings; what is left where it is taken out. Leaves to others: where to look (`relay.recipients`), which addresses
are one mailbox (`suppressions`).

An address is found in any case; with its domain as U-labels or A-labels; with a quoted local part; with any of its characters
percent-encoded (once or twice), as a character reference of HTML, as an escape of JSON, or as quoted-printable writes it, lines broken by
"=" included; with "=" for its "@", as return paths have it (VERP); and within base64, of whatever alignment and alphabet. It is found
only whole: what stands before or behind it ends it. What is compressed or encrypted is not read.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from relay.core import domains, suppressions

ERASED = "erased"
TRACE = 3  # characters of the domain by which what is left of an address is known
SOFT = r"(?:=\r?\n)?"  # of quoted-printable
BEFORE = r"(?:(?<![\w.+-])|(?<=%[0-9A-Fa-f]{2})|(?<==[0-9A-F]{2})|(?<=\\[nrt]))"
BEHIND = r"(?![\w-]|\.\w)"
RUN = r"[A-Za-z0-9+/_-]{{{least},}}(?:(?:\\r\\n|\r?\n[ \t]?)[A-Za-z0-9+/_-]{{4,}})*"  # base64, of so many characters in its first line
BREAKS = re.compile(r"\\r\\n|[\r\n \t]+")
TO_BASE64 = str.maketrans("-_", "+/")


class Person:
    """Of one address. Raises ValueError for what is none."""

    def __init__(self, address: str) -> None:
        self.mailbox = suppressions.mailbox(address)
        local, at, domain = self.mailbox.rpartition("@")
        quoted = len(local) > 2 and local[0] == local[-1] == '"'
        if not at or not local or len(self.mailbox) > 320 or not hint(domain):
            raise ValueError(f"{address[:100]!r} is no address")
        if re.search(r"[\s<>]", domain if quoted else self.mailbox) or re.search(r"[\r\n]", local):
            raise ValueError(f"{address[:100]!r} is no address")
        local = local[1:-1] if quoted else local
        self.forms = tuple(dict.fromkeys(form for form in (domain, unicode_of(domain))))
        spelt = "|".join(spelling(form) for form in self.forms)
        quote = r'(?:"|\\"|%22|=22)?'
        at_sign = rf"(?:{any_of('@')}|&commat;)"
        body = rf"{quote}{spelling(local)}{quote}{SOFT}{at_sign}{SOFT}(?:{spelt})"
        verp = rf"(?<!\w){spelling(local)}(?:=3D|%3D|=)(?:{spelt})"
        self._pattern = re.compile(f"(?:{BEFORE}{body}|{verp}){BEHIND}", re.IGNORECASE)
        parts = "|".join(dict.fromkeys(spelling(form[:TRACE]) for form in self.forms))
        self._trace = re.compile(f"{spelling(local)}{quote}{SOFT}{at_sign}{SOFT}(?:{parts})", re.IGNORECASE)
        self._entry = re.compile(rf"\s*(?:[^<>]*<)?\s*{body}\s*>?\s*", re.IGNORECASE)
        self._run = re.compile(RUN.format(least=max(8, min(20, len(self.mailbox)))))
        # Whatever names it has these in it, unless some of their characters are encoded: so most text is told cheaply.
        self._local, self._domains = hint(local), tuple(dict.fromkeys(map(hint, self.forms)))
        letters = set("".join((self._local, *self._domains)))
        codes = "|".join(f"{octet:02x}" for octet in sorted("".join(letters | set(map(str.upper, letters))).encode()))
        self._encoded = re.compile(rf"[%=](?:25)?(?:{codes})|=\r?\n|&#|\\u", re.IGNORECASE)

    def same(self, address: str) -> bool:
        """Is it this person's mailbox?"""
        return "@" in address and suppressions.mailbox(address) == self.mailbox

    def entry(self, text: str) -> bool:
        """Is it this person in a list of people: the address, with a name or without?"""
        return self._entry.fullmatch(text) is not None

    def named(self, text: str) -> bool:
        return self._plain(text) or any(
            self._plain(inner) for run in self._run.finditer(text) for inner in decoded(run[0])
        )

    def named_in(self, octets: bytes) -> bool:
        """The same in octets, of whatever kind."""
        return self.named(octets.decode("utf-8", "replace"))

    def traced_in(self, octets: bytes) -> bool:
        """Is there anything in a file of a database that may be left of them: also where nothing divides it from what stands
        before and behind it, and where its end is overwritten?"""
        text = octets.decode("utf-8", "replace")
        return self._trace.search(text) is not None or self.named(text)

    def _plain(self, text: str) -> bool:
        lower = text.lower()
        plain = self._local in lower and any(form in lower for form in self._domains)
        if not plain and not self._encoded.search(text):
            return False
        return self._pattern.search(text) is not None

    def without(self, text: str) -> str:
        """The text with "erased" in place of the address."""
        found = self._pattern.sub(ERASED, text) if self._plain(text) else text
        for run in self._run.finditer(found):
            if any(map(self._plain, decoded(run[0]))):
                found = found.replace(run[0], ERASED)
        return found

    def cleaned(self, value: Any) -> Any:
        """A value of JSON without the person: of a list of people the entry goes, elsewhere the address."""
        match value:
            case str():
                return self.without(value)
            case list() | tuple():
                return type(value)(self.cleaned(one) for one in value if not self.listed(one))
            case Mapping():
                own = self.listed(value)
                return {
                    self.without(key): "" if own and key == "name" else self.cleaned(one) for key, one in value.items()
                }
        return value

    def listed(self, value: Any) -> bool:
        """Is it this person's entry in a list?"""
        if isinstance(value, Mapping):
            return any(isinstance(value.get(key), str) and self.entry(value[key]) for key in ("email", "address"))
        return isinstance(value, str) and self.entry(value)

    def about(self, value: Any) -> bool:
        """Does a value say something of this person: is a field of it, outside of any list, this person's address?"""
        if isinstance(value, Mapping):
            return any(self.about(one) or self.listed(one) for one in value.values())
        return False


def hint(text: str) -> str:
    """The longest piece of ASCII letters and digits, which no normal form and no case changes."""
    return max(re.findall(r"[a-z0-9]+", text.lower()), key=len, default="")


def spelling(text: str) -> str:
    return SOFT.join(any_of(character) for character in text)


def any_of(character: str) -> str:
    octets = character.encode()
    forms = [
        re.escape(character),
        "".join(f"%{octet:02x}" for octet in octets),
        "".join(f"%25{octet:02x}" for octet in octets),
        "".join(f"={octet:02x}" for octet in octets),
        f"&#0*{ord(character)};?",
        f"&#x0*{ord(character):x};?",
    ]
    if ord(character) < 0x10000:
        forms.append(rf"\\u{ord(character):04x}")
    if (apart := unicodedata.normalize("NFD", character)) != character:
        forms.append(re.escape(apart))
    if character == ".":
        forms.append("\u3002")
    return f"(?:{'|'.join(forms)})"


@lru_cache(maxsize=64)
def unicode_of(domain: str) -> str:
    """The domain as people read it."""
    if "xn--" not in domain:
        return domain
    import idna  # here: few names need it

    labels = []
    for label in domain.split("."):
        try:
            labels.append(idna.ulabel(label))
        except idna.IDNAError:
            labels.append(label)
    found = ".".join(labels)
    return found if domains.spelt(found) == domain else domain


def decoded(run: str) -> Iterator[str]:
    """What such characters say if they are base64, from wherever in them that begins. Words and identifiers of one case
    are none."""
    octets = BREAKS.sub("", run)
    if octets.islower() or octets.isupper() or octets.isdigit():
        return
    octets = octets.translate(TO_BASE64)
    for start in range(4):
        whole = octets[start:]
        whole = whole[: len(whole) // 4 * 4] if len(whole) % 4 == 1 else whole + "=" * (-len(whole) % 4)
        try:
            yield binascii.a2b_base64(whole).decode("utf-8", "replace")
        except binascii.Error:
            continue
