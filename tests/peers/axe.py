"""axe-core, which looks for what keeps people from a page who can't see it well, or have no mouse.

    found = axe.violations(page)     # of a playwright page: one line each, [] where there is none

It comes from npm (axe-core); NODE_PATH says where. A message's own document, in its sandbox, is not looked into.
"""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.peers import node

RUN = """async () => {
    const found = await axe.run(document, { iframes: false, resultTypes: ["violations"] });
    return found.violations.flatMap((rule) => rule.nodes.map((one) =>
        `${rule.id} (${rule.impact}): ${rule.help}: ${one.target.join(" ")}: ${one.html.slice(0, 160)}: ${one.failureSummary.replace(/\\s+/g, " ")}`));
}"""


@lru_cache(maxsize=1)
def program() -> str:
    """Its source."""
    path = node.require("axe-core")
    told = subprocess.run(
        [path, "-p", "require.resolve('axe-core/axe.min.js')"], capture_output=True, text=True, check=True, timeout=60
    )
    return Path(told.stdout.strip()).read_text()


def violations(page: Any) -> list[str]:
    """Moving things are brought to their end first: what fades in has less contrast on its way."""
    page.evaluate(
        "document.getAnimations().forEach((one) => one.effect.getTiming().iterations === Infinity ? one.cancel() : one.finish())"
    )
    page.evaluate(program())
    found: list[str] = page.evaluate(RUN)
    return found
