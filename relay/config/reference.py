"""Writes relay.toml and docs/config.md from the table: `python -m relay.config.reference toml` or `markdown`.

Owns: their form. A test compares the two files with it, so that an option is described once. Leaves to others: the
texts (`table`). In relay.toml `#key = value` is an option with its default, or with an example if it has none; `# text`
explains it, and `# or: key = value` is another way to say the same.
"""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import MISSING
from typing import Any

from relay.config import gaps, table
from relay.config.table import Option, Section

TOML_HEAD = """\
# relay.toml: every option of trackrelay, with its default. `trackrelay check` tells whether a file is right.
#
# Read from --config, else $TRACKRELAY_CONFIG, ./relay.toml, /etc/trackrelay/relay.toml. Relative paths are relative to
# this file. To set an option, remove the # in front of it. Every secret can be a file (password_file), an environment
# variable (password = "env:NAME"), or written here (password = "..."). SIGHUP reads certificates and token keys again;
# every other change needs a restart.
#
# A working file needs [upstream] url with its password, and [tracking] url.
"""

MARKDOWN_HEAD = """\
# Configuration

All settings are in one TOML file: the one named by `--config`, or the first of `$TRACKRELAY_CONFIG`, `./relay.toml` and
`/etc/trackrelay/relay.toml`. Relative paths in it are relative to the file. Unknown keys, wrong types and contradictions are
errors: all of them are reported at once, each as `FILE:LINE: key: sentence`, and the exit code is 2.
[`relay.toml`](../relay.toml) has every option, commented out, with its default; this page has the same in tables. Both are
generated from one list in the program.

The smallest useful file:

```toml
[upstream]
url = "smtp://user@smtp.example.com:587"
password = "env:SMTP_PASSWORD"

[tracking]
url = "https://t.example.com"
opens = true
links = true
```

`trackrelay check` validates the file and then tries what it says: the upstream's TLS and login, mailboxes, the
tracking host, DKIM records. `check` and every start also warn about settings that have no effect in this version.

## Kinds of values

- **Secrets** (`password`, `mailbox_password`, `secret`, `client_secret`, `refresh_token`) can be written in three ways:
  `password_file = "secrets/upstream"` (a file of one line, which only the service should be able to read),
  `password = "env:NAME"` (an environment variable), or the secret itself. `password_file =
  "$CREDENTIALS_DIRECTORY/upstream"` is a credential of the systemd unit (`LoadCredential=`), for keys and certificates
  too. `run --only` opens the files of its own roles alone.
- **Times**: `"4s"`, `"90m"`, `"1h30m"`, `"5d"`; the units are `ms s m h d w`.
- **Sizes**: `"50MB"` (million octets), `"50MiB"`, or a number of octets.
- **Patterns** for addresses: `*` stands for any text, `?` for any one character; case does not matter.
- **Domains and host names** can be written in any way. They are kept and compared as DNS has them: `bücher.example` is
  `xn--bcher-kva.example` (UTS 46, non-transitional: `faß.example` and `fass.example` are two domains). Neither case nor
  a final dot matters. In a pattern, a label with `*` or `?` must be ASCII: `*@*.bücher.example` works, `*@bü*.example`
  does not.
- **This machine** is `localhost` or a loopback address. DNS decides what any other name means, so no other name is ever
  taken for this machine.
- **Networks**: `"192.0.2.0/24"`, `"2001:db8::/32"`.
"""


def toml() -> str:
    return TOML_HEAD + "\n".join(_toml_section(section) for section in table.SECTIONS)


def markdown() -> str:
    out = [MARKDOWN_HEAD]
    for section in table.SECTIONS:
        out.append(_markdown_section(section))
        if section is table.UPSTREAMS:
            out.append(_markdown_section(table.OAUTH2))
    return "\n".join(out)


# -- relay.toml --------------------------------------------------------------------------------------------------------


def _toml_section(section: Section) -> str:
    lines = [""] if section.key else []
    if section.key:
        lines += _comment(section.help)
        # Arrays of tables stay commented: an empty one would be an entry.
        lines += [f"#[[{section.key}]]" if section.many else f"[{section.key}]"]
    for option in section.options:
        lines += ["", *_comment(_help(section, option) + _required(option))]
        if option.kind is table.LOGIN:
            lines += _comment(f"or: {option.key} = " + _oauth2_example(), indent="")
        elif option.secret:
            lines += [f"#{option.key}_file = {written(option.example)}"]
        else:
            lines += [f"#{option.key} = {default(section, option) or written(option.example)}"]
    if section is table.RULES:
        lines += ["", "# What is different for this mail, as in [tracking].", "#opens = true", "#links = true"]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str = "") -> list[str]:
    width = 120 if not text.startswith("or: ") else 10_000
    return ["# " + line for line in textwrap.wrap(text, width - 2, subsequent_indent=indent)] if text else []


def _help(section: Section, option: Option) -> str:
    """The table's text; if the setting has no effect yet, it says so first."""
    gap = gaps.find(section.key, option.key)
    return f"{gap.sentence[0].upper()}{gap.sentence[1:]}. {option.help}" if gap else option.help


def _required(option: Option) -> str:
    return " Required." if option.required else ""


def _oauth2_example() -> str:
    pairs = [(f"{o.key}_file" if o.secret else o.key, o.example or "mail") for o in table.OAUTH2.options]
    return "{ " + ", ".join(f"{key} = {written(value)}" for key, value in pairs) + " }"


# -- docs/config.md ----------------------------------------------------------------------------------------------------


def _markdown_section(section: Section) -> str:
    name = f"[[{section.key}]]" if section.many else f"[{section.key}]"
    heading = {"": "The top of the file", "oauth2": "`oauth2`, `mailbox_oauth2`"}.get(section.key, f"`{name}`")
    lines = [f"## {heading}", ""]
    if section.help:
        lines += [*textwrap.wrap(section.help, 120), ""]
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    for option in section.options:
        key = f"`{option.key}`, `{option.key}_file`" if option.secret else f"`{option.key}`"
        lines += [f"| {key} | {_cell(option.kind.words)} | {_cell(_default_words(section, option))} | "
                  f"{_cell(_help(section, option))} |"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _default_words(section: Section, option: Option) -> str:
    if option.required:
        return "required"
    if option.default:
        return option.default
    text = default(section, option)
    return f"`{text}`" if text else "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# -- values ------------------------------------------------------------------------------------------------------------


def default(section: Section, option: Option) -> str:
    """The default as TOML, "" where there is none to show."""
    if option.required or option.example is not None:
        return ""
    value = section.default(option)
    return "" if value is MISSING or value is None else written(option.kind.write(value))


def written(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {written(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write({"toml": toml, "markdown": markdown}[sys.argv[1]]())
