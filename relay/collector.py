"""When Python's garbage collector looks for cycles.

Owns: two settings of the process. What is there once the service is up stays, so the collector need not walk over it again and
again; and it looks after 10,000 new objects, not after 700, which is several times per message. Cycles are rare here, and
what is large is let go of by hand. It is 3 to 7 % of the time that a message takes.
"""

from __future__ import annotations

import gc

OBJECTS = 10_000  # that were made and not let go of, before the youngest are looked through


def settle() -> None:
    """To be called once everything is up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])
