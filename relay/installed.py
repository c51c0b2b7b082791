"""Where this program is installed: the files that came with it, and the systemd units for this place.

The files stand at the top of a checkout (docs, systemd, relay.toml …); links in `relay/shipped` make them part of the
package, so that they are found in one way wherever it is. Leaves to others: writing units, and what is in them.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

SHIPPED = Path(__file__).parent / "shipped"
CONFIG = Path("/etc/trackrelay/relay.toml")
# What the shipped units name: an installation from a checkout.
PROGRAM = "/opt/trackrelay/.venv/bin/trackrelay"
DOCS = "file:///opt/trackrelay/docs/"
# What the units hide from the program: ProtectHome, PrivateTmp.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108
PLAIN = re.compile(r"[A-Za-z0-9/._+@:,=~-]+")  # what means itself everywhere in a unit
STARTABLE = re.compile(r"[^\x00-\x1f\x7f\"'\\]+")  # of what systemd lets a program's path have


def program() -> list[str]:
    """The words that start this program: its script, or where there is none the interpreter with `-m relay`."""
    for path in (Path(os.path.abspath(sys.argv[0])), Path(sysconfig.get_path("scripts")) / "trackrelay"):
        if path.name == "trackrelay" and os.access(path, os.X_OK):
            return [str(led(path))]
    return [sys.executable, "-m", "relay"]


def led(path: Path) -> Path:
    """Where a link to a program leads: pipx puts such links into a home folder. Links among its folders are kept, since
    a new version may come by changing one."""
    while path.is_symlink():
        path = Path(os.path.normpath(path.parent / path.readlink()))
    return path


def units(words: list[str], config: Path) -> dict[str, str]:
    """The systemd files by name, for a program that `words` start and settings in `config`, an absolute path of plain
    characters."""
    start = " ".join([quoted(words[0]), *(quoted(word).replace("$", "$$") for word in words[1:])])
    docs = f"file://{quote(str((SHIPPED / 'docs').resolve()))}/".replace("%", "%%")
    texts = {}
    for path in sorted((SHIPPED / "systemd").iterdir()):
        text = path.read_text(encoding="utf-8").replace(PROGRAM, start).replace(DOCS, docs)
        texts[path.name] = text.replace(str(CONFIG), str(config)).replace(f"{CONFIG.parent}/", f"{config.parent}/")
    return texts


def quoted(word: str) -> str:
    """One word of ExecStart=, see systemd.service(5), "Command lines"."""
    return word if PLAIN.fullmatch(word) else '"' + word.replace("%", "%%") + '"'


def out_of_reach(words: list[str], config: Path, hiding: Sequence[str] = HIDDEN) -> list[str]:
    """Why a service with these units could not start, a sentence each: what it needs is hidden from it, or its user may
    not go there. `hiding`: the folders that the units hide."""
    reasons: dict[str, str] = {}
    needed = (Path(words[0]), Path(sys.prefix), Path(os.path.realpath(sys.executable)), SHIPPED)
    for path in (*needed, config):
        hidden = next((folder for folder in hiding if path.is_relative_to(folder)), None)
        shut = next((p for p in reversed(path.parents) if p.exists() and not p.stat().st_mode & 0o001), None)
        if hidden:
            reasons.setdefault(
                hidden,
                f"the units hide {hidden} from the service, and {path} is there; another place is needed, such as /opt",
            )
        elif shut and path != config:  # whose folder may be for the service's group alone
            reasons.setdefault(
                str(shut), f"only some users may enter {shut}, and the service needs {path}; chmod a+x it"
            )
    return list(reasons.values())
