"""Write a first relay.toml, with a folder for its secrets, and say what comes next.

Asks four questions at a terminal: which server delivers the mail, by which host recipients reach the tracking server,
whose mail is tracked, which URL is told. What an option answers is not asked. A password is asked for, or read from a
file or standard input; it never stands on the command line. Nothing that is there is overwritten. Ends in `trackrelay
check`, whose exit code it has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.init.answers import Answers, Server
    from relay.init.folders import Owner

HELP = "write a first relay.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", nargs="?", default=".", help="where relay.toml goes (this folder)")
    parser.add_argument(
        "--upstream", metavar="SERVER", help="HOST, HOST:PORT, a URL, or a provider: gmail, ses, local …"
    )
    parser.add_argument("--login", metavar="NAME", help="the login there; none where it takes mail without one")
    parser.add_argument(
        "--password-file", metavar="F", help="the login's password, a file of one line; - is standard input"
    )
    parser.add_argument("--tracking-host", metavar="HOST", help="by which recipients reach the tracking server")
    parser.add_argument(
        "--track", metavar="WHOM", help="all, none, or From addresses: '*@sales.example.com,jane@example.com'"
    )
    parser.add_argument("--webhook", metavar="URL", help="which is told of opens, clicks and replies; or none")
    parser.add_argument("--dkim", metavar="DOMAIN[:SELECTOR]", help="make a DKIM key too, and sign mail From DOMAIN")
    parser.add_argument(
        "--state-dir", metavar="DIR", help="keys, database, spool; /var/lib/trackrelay for /etc/trackrelay, else ./var"
    )
    parser.add_argument(
        "--user", metavar="NAME", help="who runs the service, where root writes; trackrelay, if there is one"
    )
    parser.add_argument("--no-check", action="store_true", help="don't try the settings at the end")


class Unanswered(Exception):
    """The text is for people: what is wrong, and with which option."""


def run(args: argparse.Namespace) -> int:
    from relay.init import asking, folders

    folder = Path(args.folder).expanduser().absolute()
    file = folder / "relay.toml"
    try:
        if folders.has_settings(file):
            raise folders.Taken(folders.taken(file))
        try:
            owner = folders.owner(folder, args.user or "")
        except KeyError:
            raise Unanswered(f"--user: there is no user {args.user!r} on this machine; make it first") from None
        given, password = _answers(args, file)
        _write(args, file, given, password, owner)
    except folders.Taken as reason:
        return _say(str(reason), 1)
    except Unanswered as reason:
        return _say(str(reason), 2)
    except asking.Ended:
        print(file=sys.stderr)
        return _say("ended before all was answered; nothing is written", 2)
    print(_report(file, given, owner), flush=True)
    code = 0 if args.no_check else _check(file, owner)
    print(f"\nWhat comes next\n\n{_steps(file, given)}", flush=True)
    return code


def _say(sentences: str, code: int) -> int:
    for sentence in sentences.splitlines():
        print(f"trackrelay init: {sentence}", file=sys.stderr)
    return code


# -- the answers -------------------------------------------------------------------------------------------------------


def _answers(args: argparse.Namespace, file: Path) -> tuple[Answers, str]:
    """All of them, and the password or "". Raises `Unanswered` with all that is wrong or missing at once."""
    from relay.config.kinds import Wrong
    from relay.init import answers as reading

    wrong: list[str] = []

    def of(option: str, read: Callable[[str], Any]) -> Any:
        given = getattr(args, option.replace("-", "_"))
        if given is None:
            return None
        try:
            return read(given)
        except Wrong as reason:
            wrong.append(f"--{option}: {'; '.join(words for _, words in reason.found)}")
            return None

    server, login = of("upstream", reading.server), of("login", reading.login)
    tracking, track = of("tracking-host", reading.tracking), of("track", reading.track)
    webhook, dkim = of("webhook", reading.webhook), of("dkim", reading.dkim)
    asked = sys.stdin.isatty() and not wrong
    if not asked:
        missing = [name for name in ("upstream", "tracking-host") if getattr(args, name.replace("-", "_")) is None]
        wrong += [f"--{name}: is needed where there is no terminal to ask at" for name in missing]
    if not wrong and not asked:
        login = _login_unasked(server, login, wrong)
    if wrong:
        raise Unanswered("\n".join(wrong))
    if asked:
        return _asked(args, file, server, login, tracking, track, webhook, dkim)
    found = reading.Answers(server.url(login), tracking, reading.ALL if track is None else track, webhook or "", dkim)
    mistakes = _mistakes(found, file, args)
    if mistakes:
        raise Unanswered("\n".join(mistakes))
    return found, _password(args, file, login) if login else _no_password(args)


def _login_unasked(server: Server, login: str | None, wrong: list[str]) -> str:
    found = server.login if login is None else login
    if server.login and login not in (None, server.login):
        wrong.append(f"--login: is {login!r}, and --upstream names {server.login!r}; leave one out")
    known = server.known
    if login is None and not found and known and (known.login or known.login_is):
        if not known.login:
            wrong.append(f"--login: {known.name} takes mail only with a login: {known.login_is}")
        return known.login
    return found


def _asked(
    args: argparse.Namespace, file: Path, server: Server | None, login: str | None, tracking: str | None,
    track: tuple[str, ...] | None, webhook: str | None, dkim: tuple[str, str] | None,
) -> tuple[Answers, str]:  # fmt: skip
    from relay.config.kinds import Wrong
    from relay.init import answers as reading
    from relay.init import asking

    asking.say(f"{file} is written once four questions are answered, and nothing before. Ctrl-C ends this.")
    example = "https://t.example.com"

    def fits(found: reading.Answers) -> None:
        if mistakes := _mistakes(found, file, args):
            raise Wrong("; ".join(mistakes))

    def fitting(given: str) -> Server:
        found = reading.server(given)
        fits(reading.Answers(found.url(found.login or login or ""), example, ()))
        return found

    if server is None:
        asking.say(asking.UPSTREAM)
        server = asking.ask("Server", fitting)
    if server.login and login not in (None, server.login):
        raise Unanswered(f"--login: is {login!r}, and the server's URL names {server.login!r}; leave one out")
    if login is None and not server.login:
        known = server.known
        hint = f" ({known.login_is})" if known and known.login_is else ""
        login = asking.ask(
            f"Login there{hint}", _login_at(server), (known.login if known else "") or ("" if hint else "none")
        )
    login = server.login or login or ""
    password = ""
    if login:
        known = server.known
        password = _password(args, file, login, f"{known.key_is if known else 'the password'} of {login}")
    else:
        _no_password(args)
    upstream = server.url(login)

    def reachable(given: str) -> str:
        found = reading.tracking(given)
        fits(reading.Answers(upstream, found, ()))
        return found

    if tracking is None:
        asking.say(asking.TRACKING)
        tracking = asking.ask("Host", reachable)
    if track is None:
        asking.say(asking.TRACK)
        track = asking.ask("Whose", reading.track, "all")

    def callable_(given: str) -> str:
        found = reading.webhook(given)
        fits(reading.Answers(upstream, tracking, track, found))
        return found

    if webhook is None:
        asking.say(asking.WEBHOOK)
        webhook = asking.ask("URL", callable_, "none")
    found = reading.Answers(upstream, tracking, track, webhook, dkim)
    if mistakes := _mistakes(found, file, args):  # of options that were not asked for
        raise Unanswered("\n".join(mistakes))
    asking.say("")
    return found, password


def _login_at(server: Server) -> Callable[[str], str]:
    from relay.config.kinds import Wrong
    from relay.init import answers as reading

    known = server.known

    def read(given: str) -> str:
        found = reading.login(given)
        if not found and known and known.login_is:
            raise Wrong(f"{known.name} takes mail only with a login: {known.login_is}")
        return found

    return read


def _mistakes(found: Answers, file: Path, args: argparse.Namespace) -> list[str]:
    """What is wrong with the whole of them, as the file would have it. No secret is read."""
    from relay import config
    from relay.init import writing

    try:
        config.read(writing.toml(found, _state_dir(args, file)).encode(), file, {}, frozenset())
    except config.InvalidSettings as reason:
        return [f"{mistake.key} {mistake.sentence}" for mistake in reason.mistakes]
    return []


def _state_dir(args: argparse.Namespace, file: Path) -> str:
    from relay.init import steps

    if args.state_dir:
        return str(Path(args.state_dir).expanduser().absolute())
    return "/var/lib/trackrelay" if file.parent == steps.SYSTEM else "./var"


# -- the password ------------------------------------------------------------------------------------------------------


def _password(args: argparse.Namespace, file: Path, login: str, prompt: str = "") -> str:
    """Of --password-file, else from `secrets/upstream` if that is there, else typed, else the first line of the input."""
    from relay.config import kinds, secrets
    from relay.init import answers as reading
    from relay.init import asking, writing

    here = file.parent / writing.UPSTREAM
    try:
        if args.password_file not in (None, "-"):
            return secrets.from_file(args.password_file, kinds.Use(Path.cwd()))[0]
        if args.password_file is None and here.is_file():
            return secrets.from_file(str(here), kinds.Use(file.parent))[0]
        if args.password_file is None and sys.stdin.isatty():
            return asking.ask_hidden(prompt[:1].upper() + prompt[1:], reading.password)
        line = sys.stdin.readline().rstrip("\r\n")
        if not line and args.password_file is None:
            raise Unanswered(f"--password-file: is needed for the login {login} where there is no terminal to ask at; - is "
                             "standard input")  # fmt: skip
        return reading.password(line)
    except UnicodeDecodeError:
        raise Unanswered("the password on standard input is not UTF-8") from None
    except kinds.Wrong as wrong:
        raise Unanswered(f"--password-file: {'; '.join(words for _, words in wrong.found)}") from None


def _no_password(args: argparse.Namespace) -> str:
    if args.password_file is not None:
        raise Unanswered("--password-file: there is no login that it belongs to; give one by --login")
    return ""


# -- the files ---------------------------------------------------------------------------------------------------------


def _write(args: argparse.Namespace, file: Path, given: Answers, password: str, owner: Owner | None) -> None:
    from relay.commands import dkim
    from relay.init import folders, writing
    from relay.webhooks import registration

    writer, folder = folders.Writer(owner), file.parent
    try:
        writer.folder(folder, private=False)
        writer.folder(folder / writing.SECRETS, private=True)
        if password:
            writer.secret(folder / writing.UPSTREAM, password, another="with another password; remove it, or leave --password-file "
                          "out to use it")  # fmt: skip
        if not (folder / writing.WEBHOOK).exists():
            writer.secret(folder / writing.WEBHOOK, registration.new_secret(), another="and stays as it is")
        if given.dkim and not (folder / writing.dkim_key(*given.dkim)).exists():
            pem = dkim.generated(edwards=False).decode().rstrip("\n")
            writer.secret(folder / writing.dkim_key(*given.dkim), pem, another="and stays as it is")
        if owner:
            writer.folder(folder / _state_dir(args, file), private=True)
        writer.settings(file, writing.toml(given, _state_dir(args, file)))
    except BaseException:
        writer.take_back()
        raise


def _report(file: Path, given: Answers, owner: Owner | None) -> str:
    from relay.init import folders, writing

    secrets = file.parent / writing.SECRETS
    lines = [f"{file} is written."]
    lines += [f"{file.parent / writing.UPSTREAM} has the password."] if given.server.login else []
    lines += [f"{file.parent / writing.WEBHOOK} has the secret that signs notifications: your program needs it too."]
    if folders.open_to_others(secrets):
        lines += [f"Others on this machine can look into {secrets}: chmod 700 it."]
    if owner:
        lines += [f"The service, as the user {owner.name}, can read them."]
    return "\n".join(lines)


# -- the end -----------------------------------------------------------------------------------------------------------


def _check(file: Path, owner: Owner | None) -> int:
    from relay.commands import check
    from relay.init import other_user

    print(f"\ntrackrelay check --config {file}", flush=True)

    def tried() -> int:
        return check.run(argparse.Namespace(config=str(file), send_test=False, json=False))

    return other_user.run(owner.uid, owner.gid, tried) if owner else tried()


def _steps(file: Path, given: Answers) -> str:
    from relay.core import dkim
    from relay.init import public_addresses, steps, writing

    record = ""
    if given.dkim:
        domain, selector = given.dkim
        pem = (file.parent / writing.dkim_key(domain, selector)).read_bytes()
        record = dkim.zone_line(dkim.load(pem, domain, selector))
    return steps.text(given, file, addresses=public_addresses.found(), record=record)
