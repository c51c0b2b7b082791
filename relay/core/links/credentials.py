"""Does a URL let in whoever has it?

Owns: the table of names, and the forms that a secret has in a URL: a parameter, a path, a login, a token that says itself
what it is; in the URL itself or in one that it carries along. Leaves to others: what follows from it (`links.judge`).

A name is matched without case by the words that it ends in: `reset_token`, `resetToken` and `user[reset-token][]` end in
"token"; `author` and `compass` end in no word of the table. The longest entry that fits decides, so that `boarding_pass` is
none. docs/credentials.md has the table, and a test compares the two.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Literal
from urllib.parse import unquote

# always: whatever its value. opaque: where a machine made its value, or the path is a door. door: only there. never: it
# looks like a credential and is none.
Rule = Literal["always", "opaque", "door", "never"]

ENDINGS = (
    "token", "password", "passwd", "passcode", "passphrase", "pwd", "secret", "jwt", "otp", "auth", "signature", "hmac", "apikey",
    "passwort", "kennwort", "motdepasse", "wachtwoord", "contrasena", "contraseña", "senha",
)  # fmt: skip
"""What a name ends in even where no mark is between: `accesstoken`, `userpassword`."""
PROVING = (
    "reset", "confirm", "confirmation", "verify", "verification", "validation", "activate", "activation", "auth",
    "authorization", "authentication", "login", "signin", "recovery", "unlock", "magic", "otp", "oob", "mfa", "security",
)  # fmt: skip
PROOFS = ("key", "code", "hash", "ticket")  # reset_key, activation_code, loginHash
KEYS = (
    "access", "secret", "private", "session", "resource", "subscription", "account", "admin", "edit", "participant", "master",
    "signing", "encryption", "shared",
)  # fmt: skip
TABLE: dict[Rule, tuple[str, ...]] = {
    "always": (
        *ENDINGS, "pass", "sig", "credential", "credentials", "authorization", "bearer", "mdp", "passkey", "assertion",
        *[f"{proving}_{proof}" for proving in PROVING for proof in PROOFS], *[f"{kind}_key" for kind in KEYS],
        "device_code", "code_verifier", "oauth_verifier", "token_hash", "password_hash", "id_token_hint", "saml_response",
        "saml_request", "saml_art", "jsessionid", "phpsessid", "cftoken", "rlkey", "zak", "edit2",
    ),
    "opaque": (
        "key", "hash", "ticket", "tok", "tk", "sid", "sess", "session", "session_id", "access_code", "nonce",
    ),
    "door": ("code", "k", "oob", "pin"),
    "never": (
        *[f"{what}_pass" for what in (
            "boarding", "by", "day", "season", "ski", "travel", "bus", "train", "rail", "city", "museum", "park", "parking",
            "battle", "event", "festival", "gold", "press", "month", "week",
        )],
        "mkt_tok", "ml_subscriber_hash", "gclid", "fbclid", "msclkid", "dclid", "gbraid", "wbraid", "yclid", "ttclid", "twclid",
        "mc_cid", "mc_eid", "hsenc", "hsmi", "vero_id", "ck_subscriber_id", "oly_enc_id", "utm_id", "utm_source", "utm_medium",
        "utm_campaign", "utm_term", "utm_content",
    ),
}  # fmt: skip

# A path about getting in: the secret is in a part behind such a word, or in a parameter. Without marks between words.
# The first are about nothing else; of the others a part behind them that is a few words is a title.
DOORS = frozenset({
    "resetpassword", "passwordreset", "passwordresets", "resetpw", "pwreset", "forgotpassword", "lostpassword", "recoverpassword",
    "setpassword", "newpassword", "createpassword", "changepassword", "confirmemail", "emailconfirm", "emailconfirmation",
    "confirmaccount", "accountconfirmation", "verifyemail", "emailverify", "emailverification", "verifyaccount",
    "accountverification", "activateaccount", "accountactivation", "unlockaccount", "confirmregistration", "completeregistration",
    "confirmsignup", "confirmsubscription", "doubleoptin", "magiclink", "magiclinks", "magiclogin", "loginlink", "signinlink",
    "onetimelogin", "passwordless", "autologin", "acceptinvite", "acceptinvitation", "actiontoken", "otp", "wplogin", "wpactivate",
})  # fmt: skip
WIDE_DOORS = frozenset({
    "reset", "confirm", "confirmation", "verify", "verification", "validate", "validation", "activate", "activation", "reactivate",
    "recover", "recovery", "unlock", "magic", "password", "passwords", "invitation", "rp", "resetpass",
})  # fmt: skip
PAGES = ("", ".php", ".html", ".htm", ".aspx", ".asp", ".jsp", ".do", ".cgi")
LEAVING = frozenset(
    {"unsubscribe", "optout", "unsub"}
)  # whose token is worth no more than the recipient's being left alone

PAIR = re.compile(r"[?&;#]([^?&;#=]++)=([^?&;#]*+)")
MEMBER = re.compile(r"\"([^\"]{1,100}+)\"\s*+:\s*+\"([^\"]*+)\"")  # of JSON in a parameter
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+")
LOGIN = re.compile(r"://[^/?#&;@\s\"']*+@")
SELF = re.compile(r"eyJ[\w-]{6,}+\.(?:eyJ)?[\w-]*+\.[\w-]*+")  # a JSON Web Token (RFC 7519), signed or encrypted
CODED = re.compile(r"aHR0c[\w+/-]{8,}+")  # "http" in base64: a URL within
MARKED = re.compile(rb"@|eyJ|aHRc")  # a login; the beginnings of the two, without digits
FLAT = bytes.maketrans(b"?#&;=:", b"//////")
LOWER = bytes(range(256)).lower()
NO_LETTERS = bytes(sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")))
JOINTS = re.compile(r"[-_.~+ ]")
TITLE = re.compile(r"[a-z]+[0-9]{0,2}(?>(?:[-_.+ ](?:[a-z]+[0-9]{0,2}|[0-9]{1,4}))*)")
TURNS = re.compile(r"[a-z0-9][A-Z]")
HOST = re.compile(r"://[^/?#&;]*+")
PART = re.compile(r"([/?#&;=:])([^/?#&;=:]*+)")
# A parameter that says what a page is to do: action=resetpassword
DOING = frozenset({"action", "act", "mode", "view", "type", "do", "task", "op", "flow", "page", "a", "r"})
DEEPEST = 8  # times that a URL is percent-encoded within others
REMEMBERED = 4_000  # parts of URLs


def opaque(value: str, least: int) -> bool:
    """Did a machine make this? Letters and digits mixed, or more of them in a row than a word has."""
    if len(value) < least:
        return False
    for piece in re.split(r"[^A-Za-z0-9]", value):
        if len(piece) >= 8:
            word = piece.rstrip("0123456789")
            mixed = (
                not piece.isalpha() and not piece.isdecimal() and not (word.isalpha() and len(piece) - len(word) < 5)
            )
            if mixed or len(piece) >= 24 or len(TURNS.findall(piece)) > 2:
                return True
    return False


def _opens(part: str, sure: bool) -> bool:
    """Is this part of a path, behind a door, what opens it?"""
    if len(part) < 6:
        return False
    if any(map(str.isdecimal, part)):
        return sure or TITLE.fullmatch(part) is None
    return any(len(piece) >= 16 or len(TURNS.findall(piece)) > 2 for piece in JOINTS.split(part))


class Credentials:
    """The table with what the operator added and took away: `name`, `-name`, `/door`, `-/door`, and `-*` for all."""

    def __init__(self, changes: Iterable[str]) -> None:
        self.rules: dict[str, Rule] = {name.replace("_", ""): rule for rule, names in TABLE.items() for name in names}
        endings, doors, wide = set(ENDINGS), set(DOORS), set(WIDE_DOORS)
        for change in changes:
            away = change.startswith("-") and len(change) > 1
            name = change[away:]
            if away and name == "*":
                for known in (self.rules, endings, doors, wide):
                    known.clear()
            elif name.startswith("/"):
                door = "".join(_words(name))
                wide.discard(door)
                (doors.discard if away else doors.add)(door)
            else:
                joined = "".join(_words(name))
                self.rules[joined] = "never" if away else "always"
                endings.discard(joined)
        self.endings, self.doors, self.wide = tuple(endings), frozenset(doors), frozenset(wide)
        named = {_letters(name.encode()) for name, rule in self.rules.items() if rule != "never"}
        self.suffixes = tuple(name for name in named if len(name) != 1)
        self.whole = frozenset(
            [_letters(f"{door}{page}".encode()) for door in doors | wide for page in PAGES] + [*named]
        )
        self.harmless: set[bytes] = set()

    def within(self, url: str, at: int) -> bool:
        """In the URL, from `at` on, where its host ends, or in one that it carries, however often percent-encoded. For any
        text; never raises."""
        text = url[at:]
        for _ in range(DEEPEST):
            # What nearly all URLs of nearly all messages have in common: their parts without digits are known.
            parts = text.encode("utf-8", "replace").translate(FLAT, b"0123456789").split(b"/")
            if not self.harmless.issuperset(parts) and self.suspicious(parts) and self.here(text):
                return True
            if "%" not in text or (decoded := unquote(text)) == text:
                return False
            text = decoded
        return False

    def suspicious(self, parts: Iterable[bytes]) -> bool:
        """May one of these be a name or a door? Sooner yes than no."""
        found = False
        for part in parts:
            if part not in self.harmless:
                letters = _letters(part)
                if letters in self.whole or letters.endswith(self.suffixes) or MARKED.search(part):
                    found = True
                elif len(part) < 100:
                    if len(self.harmless) >= REMEMBERED:
                        self.harmless.clear()
                    self.harmless.add(part)
        return found

    def rule(self, name: str) -> Rule | None:
        words = _words(name[-200:])
        if not words:
            return self.rules.get(name)
        while words:
            for first in range(max(0, len(words) - 8), len(words)):
                if found := self.rules.get("".join(words[first:])):
                    return found
            if words[-1].endswith(self.endings):
                return "always"
            if not words[-1].isdecimal():
                return None
            del words[-1]  # token[0], password2
        return None

    def here(self, text: str, depth: int = 0) -> bool:
        if LOGIN.search(text):
            return True
        door, opened, leaving = self.door(text)
        if opened or (not leaving and SELF.search(text)):
            return True
        names = set()
        for name, value in PAIR.findall(text) + (MEMBER.findall(text) if '"' in text else []):
            match self.rule(name):
                case "always":
                    return True
                case "opaque" if (door and value) or (opaque(value, 8) and (name == "key" or not leaving)):
                    return True
                case "door" if door and value:
                    return True
                case None if door and opaque(value, 16):
                    return True
            names.add(name.lower())
        if "code" in names and not names.isdisjoint(("state", "session_state")) and self.rule("code") == "door":
            return True
        return depth < 2 and any(self.here(unquote(_read(found)), depth + 1) for found in CODED.findall(text))

    def door(self, text: str) -> tuple[bool, bool, bool]:
        """Is this about getting in; is what opens it in the path; is it about no longer getting mail?"""
        door = sure = False
        before = ""
        for mark, part in PART.findall(HOST.sub("", text)):
            if door and mark == "/" and _opens(part, sure):
                return True, True, False
            bare = part.partition(".")[0].replace("-", "").replace("_", "").lower()
            if mark in "/#" or (mark == "=" and before in DOING):
                if bare in LEAVING:
                    return False, False, True
                sure = sure or bare in self.doors
                door = door or sure or bare in self.wide
            before = bare
        return door, False, False


def _letters(name: bytes) -> bytes:
    return name.translate(LOWER, NO_LETTERS)


def _words(name: str) -> list[str]:
    return [word.lower() for word in WORD.findall(name)]


def _read(coded: str) -> str:
    if len(coded) % 4 == 1:  # no base64 has such a length
        coded = coded[:-1]
    return base64.urlsafe_b64decode(coded.replace("+", "-").replace("/", "_") + "=" * (-len(coded) % 4)).decode(
        "utf-8", "replace"
    )
