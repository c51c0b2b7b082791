"""Does a URL let in whoever has it? Such a one is a capability URL (W3C, "Good Practices for Capability URLs").

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
    "authorization", "authentication", "login", "signin", "recovery", "unlock", "magic", "otp", "oob", "mfa", "sms", "security",
    "secret", "one_time",
)  # fmt: skip
PROOFS = ("key", "code", "hash", "ticket")  # reset_key, activation_code, loginHash
KEYS = (
    "access", "private", "session", "resource", "subscription", "account", "admin", "edit", "participant", "master",
    "signing", "encryption", "shared",
)  # fmt: skip
NAMES: dict[Rule, tuple[str, ...]] = {
    "always": (
        *ENDINGS, "pass", "sig", "credential", "credentials", "authorization", "bearer", "mdp", "passkey", "assertion",
        *[f"{proving}_{proof}" for proving in PROVING for proof in PROOFS], *[f"{kind}_key" for kind in KEYS],
        "device_code", "code_verifier", "oauth_verifier", "token_hash", "password_hash", "id_token_hint", "saml_response",
        "saml_request", "saml_art", "jsessionid", "phpsessid", "cftoken", "rlkey", "zak", "hdnts", "hdnea", "hdntl", "edit2",
    ),
    "opaque": (
        "key", "hash", "ticket", "tok", "tk", "sid", "sess", "session", "session_id", "access_code", "nonce", "sign", "reset",
        "confirm", "confirmation", "verify", "verification", "activate", "activation", "unlock", "recovery", "magic",
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

# What opens a door is the part of a path behind such a word, written without marks between its words. any: whatever has a
# digit or looks like no word. no title: that, but for a few words with a number. opaque: only what a machine made.
Behind = Literal["any", "no title", "opaque"]
DOORS: dict[Behind, tuple[str, ...]] = {
    "any": (
        "reset_password", "password_reset", "password_resets", "reset_pw", "pw_reset", "pwd_reset", "reset_pwd", "reset_your_password",
        "forgot_password", "lost_password", "recover_password", "password_recovery", "set_password", "setup_password",
        "new_password", "create_password", "change_password", "password_change", "confirm_email", "email_confirm",
        "email_confirmation", "confirm_account", "account_confirmation", "verify_email", "email_verify", "email_verification",
        "verify_account", "account_verification", "verify_login", "confirm_login", "verify_device", "confirm_device",
        "activate_account", "account_activation", "account_recovery", "recover_account", "unlock_account", "confirm_registration",
        "complete_registration", "confirm_signup", "confirm_subscription", "confirm_optin", "double_optin", "magic_link",
        "magic_links", "magic_login", "magic_signin", "magic_auth", "login_link", "signin_link", "email_login", "email_link",
        "token_login", "one_time_login", "passwordless", "auto_login", "quick_login", "accept_invite", "accept_invitation",
        "action_token", "otp", "wp_login", "wp_activate",
    ),
    "no title": (
        "reset", "confirm", "confirmation", "verify", "verification", "validate", "validation", "activate", "activation",
        "reactivate", "recover", "recovery", "unlock", "rp", "resetpass",
    ),
    "opaque": (
        "magic", "password", "passwords", "forgot", "invitation", "invitations", "token", "access_token", "login", "signin",
        "auth", "sso",
    ),
}  # fmt: skip
PAGES = ("", ".php", ".html", ".htm", ".aspx", ".asp", ".jsp", ".do", ".cgi")
LEAVING = ("unsubscribe", "unsub", "optout")  # what is behind these lets nobody in

PAIR = re.compile(r"[?&;#]([^?&;#=]++)=([^?&;#]*+)")
MEMBER = re.compile(r"\"([^\"]{1,100}+)\"\s*+:\s*+\"([^\"]*+)\"")  # of JSON in a parameter
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+")
LOGIN = re.compile(r"://[^/?#&;@\s\"']*+@")
SELF = re.compile(
    r"(?<![\w-])eyJ[\w-]{6,}+\.(?:eyJ)?[\w-]*+\.[\w-]*+"
)  # a JSON Web Token (RFC 7519), signed or encrypted
CODED = re.compile(r"aHR0c[\w+/-]{8,}+")  # "http" in base64: a URL within
SESSION = re.compile(r"/\([SXF]\([a-z0-9]{20,}+\)")  # ASP.NET's, in the path
MARKED = re.compile(rb"@|eyJ|aHRc|\([SXF]\(")  # a login, and the beginnings of these three, without digits
FLAT = bytes.maketrans(b"?#&;=:", b"//////")
DIGITS = b"0123456789"
LOWER = bytes(range(256)).lower()
NO_LETTERS = bytes(sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")))
JOINTS = re.compile(r"[-_.~+ ]")
TITLE = re.compile(r"(?:[a-z]+[0-9]{0,2}|[0-9]{1,4})(?>(?:[-_.+ ](?:[a-z]+[0-9]{0,2}|[0-9]{1,4}))*)")
UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
CHANGES = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")
TURNS = re.compile(r"[a-z0-9][A-Z]")
HOST = re.compile(r"://[^/?#&;]*+")
PART = re.compile(r"([/?#&;=])([^/?#&;=]*+)")
# A parameter that says what a page is to do: action=resetpassword
DOING = frozenset({"action", "act", "mode", "view", "type", "do", "task", "op", "flow", "page", "a", "r"})
DEEPEST = 8  # times that a URL is percent-encoded within others
REMEMBERED = 4_000  # parts of URLs


def opaque(value: str, least: int) -> bool:
    """Did a machine make this? Letters and digits change places more often than in `oauth2callback`, or more of them stand in
    a row than a word has."""
    if len(value) < least:
        return False
    if UUID.search(value):
        return True
    for piece in re.split(r"[^A-Za-z0-9]", value):
        if len(piece) >= 8:
            changes = len(CHANGES.findall(piece))
            numbered = changes == 1 and piece[-5].isalpha()  # a word with a number of four digits at most
            if changes > 2 or len(piece) >= 24 or (changes and not numbered and len(piece) >= 16):
                return True
            if len(TURNS.findall(piece)) > 2:
                return True
    return False


def _opens(part: str, behind: Behind) -> bool:
    if behind == "opaque":
        return opaque(part, 10)
    if len(part) < 6:
        return False
    if any(map(str.isdecimal, part)):
        return behind == "any" or TITLE.fullmatch(part) is None
    pieces = JOINTS.split(part)
    if any(len(piece) >= 16 or len(TURNS.findall(piece)) > 2 for piece in pieces):
        return True
    return behind == "any" and not all(piece.islower() or piece.istitle() for piece in pieces if piece)


class Table:
    """The table with what the operator added and took away: `name`, `-name`, `/door`, `-/door`, and `-*` for all."""

    def __init__(self, changes: Iterable[str]) -> None:
        self.rules: dict[str, Rule] = {name.replace("_", ""): rule for rule, names in NAMES.items() for name in names}
        self.doors: dict[str, Behind] = {word.replace("_", ""): kind for kind, words in DOORS.items() for word in words}
        endings = set(ENDINGS)
        for change in changes:
            away = change.startswith("-") and len(change) > 1
            name = change[away:]
            if away and name == "*":
                self.rules.clear()
                self.doors.clear()
                endings.clear()
            elif name.startswith("/"):
                door = "".join(_words(name))
                self.doors.pop(door, None)
                if not away:
                    self.doors[door] = "any"
            else:
                joined = "".join(_words(name))
                self.rules[joined] = "never" if away else "always"
                endings.discard(joined)
        self.endings = tuple(endings)
        named = {_letters(name.encode()) for name, rule in self.rules.items() if rule != "never"}
        self.suffixes = tuple(name for name in named if len(name) != 1)
        self.whole = frozenset([_letters(f"{door}{page}".encode()) for door in self.doors for page in PAGES] + [*named])
        self.harmless: set[bytes] = set()

    def within(self, url: str, at: int) -> bool:
        """In the URL, from `at` on, where its host ends, or in one that it carries, however often percent-encoded. For any
        text; never raises."""
        # What nearly all URLs of nearly all messages have in common: their parts without digits are known.
        text = url[at:]
        parts = text.encode("utf-8", "replace").translate(FLAT, DIGITS).split(b"/")
        if self.harmless.issuperset(parts) and "%" not in text:
            return False
        for _ in range(DEEPEST):
            if self.suspicious(parts) and self.here(text):
                return True
            if "%" not in text or (decoded := unquote(text)) == text:
                break
            text = decoded
            parts = text.encode("utf-8", "replace").translate(FLAT, DIGITS).split(b"/")
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
        if LOGIN.search(text) or SESSION.search(text):
            return True
        door, opened, leaving = self.door(text)
        if opened or (not leaving and SELF.search(text)):
            return True
        names: dict[str, str] = {}
        for name, value in PAIR.findall(text) + (MEMBER.findall(text) if '"' in text else []):
            lower = name.lower()
            names[lower] = value
            bare = lower == "key"
            match self.rule(name):
                case "always":
                    return True
                case "opaque" if opaque(value, 8 if bare else 16) and (bare or not leaving):
                    return True
                case "opaque" | "door" if door and value:
                    return True
                case None if door and opaque(value, 16):
                    return True
        # OAuth (RFC 6749 4.1.2); of two letters it is one of fifty
        state = names.get("session_state") or names.get("state", "")
        if len(state) != 2 and names.get("code") and state and self.rule("code") == "door":
            return True
        return depth < 2 and any(self.here(unquote(_read(found)), depth + 1) for found in CODED.findall(text))

    def door(self, text: str) -> tuple[bool, bool, bool]:
        """Is this about getting in; is what opens it in the path; is it about getting no more mail?"""
        seen: set[Behind] = set()
        before = ""
        for mark, part in PART.findall(HOST.sub("", text)):
            if mark == "/" and any(_opens(part, behind) for behind in seen):
                return True, True, False
            bare = part.partition(".")[0].replace("-", "").replace("_", "").lower()
            if mark in "/#" or (mark == "=" and before in DOING):
                if bare in LEAVING:
                    return False, False, True
                if behind := self.doors.get(bare):
                    seen.add(behind)
            before = bare
        return not seen <= {"opaque"}, False, False


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
