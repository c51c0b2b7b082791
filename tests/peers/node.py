"""Programs of Node, with packages from npm. `.ci/run` installs these; NODE_PATH says where."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests import peers


def require(package: str) -> str:
    """The path of node. Where it or the package is missing the test skips and says so; with REQUIRE_SERVERS=1 it fails."""
    node = peers.require("node", package="nodejs")
    if subprocess.run([node, "-e", f"require('{package}')"], capture_output=True, timeout=60).returncode:
        words = f"{package} is not on this machine (npm package {package}, found through NODE_PATH)"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(words)
        pytest.skip(words)
    return node
