"""nodemailer, the SMTP client of Node programs, from npm. `.ci/run` installs it; NODE_PATH says where.

    done = nodemailer.run(SCRIPT, "argument", …)

`SCRIPT` may `require("nodemailer")`; its arguments begin at process.argv[1].
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests import peers


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Where node or nodemailer is missing the test skips and says so; with REQUIRE_SERVERS=1 it fails."""
    node = peers.require("node", package="nodejs")
    if subprocess.run([node, "-e", "require('nodemailer')"], capture_output=True, timeout=60).returncode:
        words = "nodemailer is not on this machine (npm package nodemailer, found through NODE_PATH)"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(words)
        pytest.skip(words)
    return subprocess.run([node, "-e", script, *arguments], capture_output=True, text=True, timeout=60)
