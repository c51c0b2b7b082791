"""nodemailer, the SMTP client of Node programs, from npm. `.ci/run` installs it; NODE_PATH says where.

    done = nodemailer.run(SCRIPT, "argument", …)

`SCRIPT` may `require("nodemailer")`; its arguments begin at process.argv[1].
"""

from __future__ import annotations

import subprocess

from tests.peers import node


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Where node or nodemailer is missing the test skips and says so; with REQUIRE_SERVERS=1 it fails."""
    found = node.require("nodemailer")
    return subprocess.run([found, "-e", script, *arguments], capture_output=True, text=True, timeout=60)
