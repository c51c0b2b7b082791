"""Writes trackrelay(1), from the command line itself."""

from relay import __version__
from relay.__main__ import parser


def roff(text: str) -> str:
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in plain.splitlines())


top = parser()
(commands,) = (action for action in top._actions if action.dest == "command")
assert commands.choices is not None
helps = {choice.dest: choice.help or "" for choice in commands._get_subactions()}
print(f'.TH TRACKRELAY 1 "" "trackrelay {__version__}" "User Commands"')
print(f".SH NAME\ntrackrelay \\- {roff(top.description[0].lower() + top.description[1:].rstrip('.'))}")
print(".SH SYNOPSIS\n.B trackrelay\n[\\fB\\-\\-config\\fR \\fIFILE\\fR] \\fICOMMAND\\fR \\fI...\\fR")
print(".SH DESCRIPTION")
print("An SMTP relay that adds open, click and reply tracking to the mail that passes through it.")
print("\\fBtrackrelay\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR tells the options of a command.")
print(".SH COMMANDS")
for name in commands.choices:
    print(f".TP\n.B {roff(name)}\n{roff(helps[name])}")
print(".SH OPTIONS\n.TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR")
print("The settings; else $TRACKRELAY_CONFIG, ./relay.toml, /etc/trackrelay/relay.toml.")
print(".TP\n\\fB\\-\\-version\\fR\nPrint the version.")
print(".SH EXIT STATUS\n0 is done, 1 a check or an action that failed, 2 bad usage or configuration.")
print(".SH FILES\n.TP\n.I /etc/trackrelay/relay.toml\nThe settings.")
print(".TP\n.I /var/lib/trackrelay\nKeys, database, spool and journal.")
print(".TP\n.I /usr/share/doc/trackrelay/docs\nThe documents: install.md, config.md, operations.md and more.")
