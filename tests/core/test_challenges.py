"""What AUTH LOGIN's prompts ask for, as servers write them, and what may be answered."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import challenges


def packed(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


USER = [
    "Username:", "User Name\0", "User Name", "username", "USERNAME:", "Username", "User:", "user name: ", "Login:", "Log in name",
    "Logon name", "Login", "Name:", "Enter your name", "Account", "Account name:", "E-mail", "Email address:", "Mail address",
    "Identity", "User-ID", "Your ID?", "Benutzername:", "Benutzerkennung", "Anmeldename", "Nutzer", "Kennung:", "Nom d'utilisateur :",
    "Identifiant", "Usuario:", "Nombre de usuario", "Nome utente", "Nome de usuário", "Utilizador", "Gebruikersnaam", "Användarnamn",
    "Brugernavn", "Brukernavn", "Käyttäjätunnus", "Nazwa użytkownika", "Uživatelské jméno", "Felhasználónév", "Kullanıcı adı",
    "Имя пользователя:", "Логин", "Ім'я користувача", "Όνομα χρήστη", "用户名:", "用戶名稱", "使用者名稱", "帐号", "ユーザー名", "사용자 이름",
]  # fmt: skip
PASSWORD = [
    "Password:", "Password\0", "password", "PASSWORD:", "Pass:", "Passwd", "Passphrase?", "Enter password", "pwd:", "PIN", "Passwort:",
    "Kennwort:", "Mot de passe :", "Contraseña:", "Clave", "Senha:", "Palavra-passe", "Wachtwoord", "Lösenord", "Adgangskode", "Passord",
    "Salasana", "Hasło:", "Heslo", "Jelszó", "Şifre", "Parola", "Parole", "Пароль:", "Κωδικός", "密码:", "密碼", "パスワード", "비밀번호", "סיסמה",
]  # fmt: skip
NEITHER = [
    "", "?", ":", "...", "\0", "Continue", "go ahead", "Step 1", "Username and password", "Password for user ann:", "Login password:",
    "\x80\xff", "\r",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "asked"),
    [*((t, "user") for t in USER), *((t, "password") for t in PASSWORD), *((t, None) for t in NEITHER)],
)
def test_what_a_prompt_asks_for(text: str, asked: str | None) -> None:
    assert challenges.asked(packed(text)) == asked
    assert challenges.asked(text) == asked  # servers forget to encode it


@pytest.mark.parametrize(
    ("challenge", "asked"),
    [
        ("VXNlcm5hbWU6", "user"),
        ("UGFzc3dvcmQ6", "password"),
        ("VXNlcm5hbWU", "user"),  # without its padding, …
        ("VXNlciBOYW1lAA", "user"),
        ("UGFzc3dvcmQ6==", "password"),  # … with too much,
        ("VXNl cm5h bWU6", "user"),  # … with spaces,
        ("VXNlcm5hbWU6\n", "user"),  # … on lines
        ("\nVXNlcm5hbWU6", "user"),
        ("please\nUGFzc3dvcmQ6", "password"),
        ("VXNlcm5hbWU6\nUGFzc3dvcmQ6", None),  # both
        ("VXNlcm5hbW!6", None),  # broken: it says nothing
        ("V", None),
        ("=", None),
        ("====", None),
        (packed("Username:".encode("utf-16")), "user"),
        (packed("Password:".encode("utf-16-le")), "password"),
        (packed("Contraseña".encode("latin-1")), "password"),
        (packed(packed("Username:")), None),  # twice: nobody can know
        ("x" * 100_000, None),
    ],
)
def test_prompts_as_they_come(challenge: str, asked: str | None) -> None:
    assert challenges.asked(challenge) == asked


U, P = packed("Username:"), packed("Password:")


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [
        ([U, P], ["user", "password"]),
        ([P, U], ["password", "user"]),  # the other way round, and each by what it asks for
        ([P, U, U], ["password", "user", None]),  # whoever has both and asks for more gets nothing more
        ([P, U, P], ["password", "user", None]),
        ([P, ""], ["password", None]),
        ([P], ["password"]),
        (["", ""], ["user", "password"]),
        (["", "", ""], ["user", "password", None]),
        (["what?", "and?"], ["user", "password"]),
        ([U, U, P], ["user", "user", "password"]),  # what came with the command was not heard
        ([U, U, U], ["user", "user", None]),
        ([U, U, U, P], ["user", "user", None]),
        ([U, "", P], ["user", "password", None]),
        ([U, P, P], ["user", "password", None]),
        ([U, P, U], ["user", "password", None]),
        ([U, packed("Password for ann, user 7:")], ["user", "password"]),
        ([packed("Username (your mail address, no password yet):"), P], ["user", "password"]),
    ],
)
def test_answers_step_by_step(prompts: list[str], answers: list[str | None]) -> None:
    given: list[challenges.Asked] = []
    said: list[str | None] = []
    for prompt in prompts:
        answer = challenges.answer(prompt, given)
        said.append(answer)
        if answer is None:
            break
        given.append(answer)
    assert said == answers


@given(st.lists(st.one_of(st.text(), st.binary().map(packed), st.sampled_from([U, P, ""])), max_size=8))
def test_the_password_is_said_once_at_most_and_never_to_a_prompt_for_the_user(prompts: list[str]) -> None:
    given: list[challenges.Asked] = []
    for prompt in prompts:
        answer = challenges.answer(prompt, given)
        if answer is None:
            break
        assert not (answer == "password" and challenges.asked(prompt) == "user")
        given.append(answer)
    assert given.count("password") <= 1
    assert len(given) <= 3
