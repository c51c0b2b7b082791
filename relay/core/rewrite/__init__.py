"""The one verb: a raw message and a plan become the same message with tracked links and a pixel.

Owns: which parts are entered, what is edited in them, how one copy is rendered, and the two forms of a rendering.
Leaves to others: where things are (`parts`, `links`), the URLs' text (`tokens`), the top-level header fields
(`instructions`, `dkim`, `threads`: their edits are merged in by `render`).

The work is done once per message (`prepare`); a copy (`render`) only fills what is laid out with its own URLs, and is
bytes, or edits, when a door asks for them.
For any bytes: nothing raises, and outside the edits the bytes are equal.
"""

from relay.core.rewrite.copies import explain, render
from relay.core.rewrite.plan import LinkRow, Plan, Prepared
from relay.core.rewrite.rendering import Added, Edits, HeaderEdit, Removed, Rendering, Replaced
from relay.core.rewrite.survey import prepare

__all__ = [
    "Added", "Edits", "HeaderEdit", "LinkRow", "Plan", "Prepared", "Removed", "Rendering", "Replaced", "explain", "prepare",
    "render",
]  # fmt: skip
