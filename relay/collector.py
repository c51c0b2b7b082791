"""When Python's garbage collector looks for cycles.

Owns: one setting of the process: it looks after 10,000 new objects, not after 700, which is several times per message. Cycles
are rare here, and what is large is let go of by hand. That was 3 to 7 % of the time that a message takes.

At this limit it does not look once in thousands of messages, so a higher one would save nothing, and neither would freezing
what is there at the start (`gc.freeze`): with that CPython 3.11 crashed at its end now and then, where threads had been at
work.
"""

from __future__ import annotations

import gc

OBJECTS = 10_000  # that were made and not let go of, before the youngest are looked through


def settle() -> None:
    """To be called once everything is up."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])
