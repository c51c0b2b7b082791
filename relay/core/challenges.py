"""What a server asks for in AUTH LOGIN, which no standard describes (draft-murchison-sasl-login).

Owns: the reading of its prompts, in base64 or not, in the words of any server, and the one answer that may be given.
Leaves to others: saying it (`upstream.logins`).

The password goes nowhere but to a prompt for it, or to a second prompt that says nothing of what it wants.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Asked = Literal["user", "password"]

# Without accents and in lower case (`_words`). What is short stands for itself only: "id" is in many words.
USER = re.compile(
    r"user|log ?[io]n|account|e-?mail|address|\b(?:id|uid|name|nom|nome|naam|namn|navn|imie|imya)\b|ident|kennung|konto"
    r"|benutzer|nutzer|anmelde|teilnehmer|utili[sz]a|usuari|utente|gebruik|anvandar|bruger|bruker|kaytta|uzytkownik|uzivatel"
    r"|pouzivatel|felhasznalo|kullanici|korisni|uporabnik|kasutaja|vartotoj|lietotaj|compte|cuenta|conta\b|пользовател|имя"
    r"|логин|користувач|потребител|χρηστη|用户|用戶|使用者|帐号|账号|帳號|ユーサ|アカウント|사용자|아이디|المستخدم|משתמש"
)
PASSWORD = re.compile(
    r"pass|pwd|\bpw\b|\bpin\b|kennwort|contrasen|\bclave\b|senha|wachtwoord|losenord|adgangskode|kodeord|\bkode\b|salasana|haslo"
    r"|heslo|jelszo|sifre|parol|lozink|zapork|geslo|slaptazod|пароль|парола|κωδικ|συνθηματ|密码|密碼|口令|ハスワート|暗証|비밀번호"
    r"|암호|كلمة|סיסמ|secret"
)
BASE64 = re.compile(r"[A-Za-z0-9+/]*=*")


def asked(challenge: str) -> Asked | None:
    """What the text of a 334 asks for; None where it does not say, or names both. It may have several lines."""
    found = {_of_line(line) for line in challenge.split("\n")} - {None}
    return found.pop() if len(found) == 1 else None


def answer(challenge: str, given: Sequence[Asked]) -> Asked | None:
    """What to answer, after what was `given` in this exchange; None where nothing may be said, and the exchange ends.
    A server that says nothing of what it wants is answered in the usual order."""
    wanted = asked(challenge) or ("user" if not given else "password")
    if wanted == "password" and "password" not in given:
        return wanted
    # Some ask for the user name twice in a row: a second time is no harm, a third one has no end. Some ask for it last.
    most = 1 if "password" in given else 2
    return wanted if wanted == "user" and given.count("user") < most else None


def _of_line(line: str) -> Asked | None:
    """Base64 where it is that, and the text itself where what it would be is no text: servers forget to encode."""
    decoded = _decoded(line)
    found = _named(decoded)
    if found or (decoded and decoded.isascii()):
        return found
    return _named(line)


def _named(text: str) -> Asked | None:
    words = _words(text)
    user, password = USER.search(words) is not None, PASSWORD.search(words) is not None
    return None if user == password else "user" if user else "password"


def _decoded(line: str) -> str:
    """The text that it is in base64, padded or not; "" where it is none."""
    packed = "".join(line.split())
    bare = packed.rstrip("=")
    if not BASE64.fullmatch(packed) or len(bare) % 4 == 1:
        return ""
    octets = base64.b64decode(bare + "=" * (-len(bare) % 4))
    if base64.b64encode(octets).rstrip(b"=").decode() != bare:  # bits beyond the last octet
        return ""
    if octets.count(0) > 1:  # UTF-16, of which the ASCII is enough
        octets = octets.removeprefix(b"\xff\xfe").replace(b"\0", b"")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    text = text.strip("\0\r\n\t ")
    return text if text.isprintable() else ""


def _words(text: str) -> str:
    """In lower case, without accents and control characters."""
    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in apart if not unicodedata.combining(c) and unicodedata.category(c) != "Cc")
    whole = unicodedata.normalize("NFC", bare)  # Hangul was taken apart too
    return whole.lower().replace("ł", "l").replace("ı", "i").strip()
