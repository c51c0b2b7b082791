"""When Python's garbage collector looks for cycles.

Owns: one setting of the process: it looks after 10,000 new objects, not after 700, which is several times per message. Cycles
are rare here, and what is large is let go of by hand. That was 3 to 7 % of the time that a message takes. While the program
loads almost nothing is let go of, and all that is there would be looked through again and again: a tenth of the start.

At this limit it does not look once in thousands of messages, so a higher one would save nothing, and neither would freezing
what is there at the start (`gc.freeze`): with that CPython 3.11 crashed at its end now and then, where threads had been at
work.
"""

from __future__ import annotations

import gc

OBJECTS = 10_000  # that were made and not let go of, before the youngest are looked through
LOADING = 1_000_000  # the same, until everything is up


def load() -> None:
    """To be called first; `settle` follows."""
    gc.set_threshold(LOADING, *gc.get_threshold()[1:])


def settle() -> None:
    """To be called once everything is up."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])
