"""The one verb: a raw message and a plan become the same message with tracked links and a pixel.

Owns: which parts are entered, what is edited in them, and how one copy is rendered.
Leaves to others: where things are (`parts`, `links`), the URLs' text (`tokens`), the top-level header fields
(`instructions`, `dkim`, `threads`: their edits are merged in by `render`).

The work is done once per message (`prepare`); a copy (`render`) only joins what is laid out with its own URLs.
For any bytes: nothing raises, and outside the edits the bytes are equal.
"""

from relay.core.rewrite.copies import explain, render
from relay.core.rewrite.plan import Plan, Prepared
from relay.core.rewrite.survey import prepare

__all__ = ["Plan", "Prepared", "explain", "prepare", "render"]
