"""`trackrelay user`: the SMTP logins of auth = "users"."""

from __future__ import annotations

import argparse

HELP = "add, list and remove SMTP logins"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|list|remove")
    add = verbs.add_parser("add", help="add a login, or set its password anew")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--password-file", metavar="F", help="its first line is the password; without it you are asked")
    verbs.add_parser("list", help="print the logins, one a line")
    verbs.add_parser("remove", help="remove a login").add_argument("name", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    import sys

    from relay import config, users

    settings = config.load(config.find(args.config))
    file = users.path(settings)
    match args.verb:
        case "list":
            for name in sorted(users.read(file)):
                print(name)
        case "remove":
            if not users.remove(file, args.name):
                print(f"there is no login {args.name}", file=sys.stderr)
                return 1
        case _:
            try:
                new = users.add(file, args.name, password(args.password_file))
            except (users.Invalid, OSError) as error:
                print(f"trackrelay user add: {error}", file=sys.stderr)
                return 2
            print(f"{'added' if new else 'changed the password of'} {args.name}", file=sys.stderr)
    return 0


def password(file: str | None) -> str:
    """The first line of the file, or what a person types twice; without a terminal the first line of the input."""
    import sys

    from relay import users

    if file:
        with open(file, encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        raise users.Invalid("the two are not the same")
    return first
