"""The SMTP logins of smtp.auth = "users"."""

from __future__ import annotations

import argparse

HELP = "add, list and remove SMTP logins"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|list|remove")
    add = verbs.add_parser("add", help="add a login, or set a new password")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--password-file", metavar="F", help="a file whose first line is the password; you are asked by default"
    )
    add.add_argument(
        "--senders", metavar="GLOB", nargs="+",
        help="patterns of the addresses that it may send as; a login that is there keeps its own without this",
    )  # fmt: skip
    verbs.add_parser("list", help="print the logins, one per line, each with its senders")
    verbs.add_parser("remove", help="remove a login").add_argument("name", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    import sys

    from relay import causes, config, log
    from relay.smtp import accounts, users

    settings = config.settings_of(args)
    file = users.path(settings)
    try:
        match args.verb:
            case "list":
                for name, login in sorted(users.read(file).items()):
                    print("\t".join([log.safe(name), *([log.safe(" ".join(login.senders))] if login.senders else [])]))
            case "remove":
                if not users.remove(file, args.name):
                    print(
                        f"trackrelay user remove: there is no login {log.safe(args.name)}; see: trackrelay user list",
                        file=sys.stderr,
                    )
                    return 1
                print(f"removed {args.name}", file=sys.stderr)
            case _:
                here = users.read(file).get(args.name)
                own = args.senders or (here.senders if here else ())
                unbound = accounts.unbound(settings, [(args.name, own)])
                if unbound:
                    raise users.InvalidLogin(unbound)
                new = users.add(file, args.name, password(args.password_file), args.senders)
                print(f"{'added' if new else 'changed the password of'} {args.name}", file=sys.stderr)
    except users.InvalidLogin as error:
        print(f"trackrelay user {args.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"trackrelay user {args.verb}: {causes.at(error, file)}", file=sys.stderr)
        return 1
    if args.verb != "list" and settings.smtp.auth != "users":
        print(f'{settings.file}: smtp.auth is "{settings.smtp.auth}": logins are used only with "users"',
              file=sys.stderr)  # fmt: skip
    return 0


def password(file: str | None) -> str:
    """The first line of the file, or what a person types twice, or without a terminal the first line of the input."""
    import sys

    from relay import causes
    from relay.smtp import users

    if file:
        try:
            with open(file, encoding="utf-8") as lines:
                return lines.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = causes.of(error) if isinstance(error, OSError) else "it is no text in UTF-8"
            raise users.InvalidLogin(f"{file}: {why}") from error
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        raise users.InvalidLogin("the two passwords differ")
    return first
