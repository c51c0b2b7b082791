"""The store in memory: for tests, and for a demonstration that leaves nothing behind.

Owns: keeping everything in dictionaries (`tables`), a module per subject as the engine over SQLite has. Leaves to others:
what every engine decides (`decisions`), being there tomorrow.
"""

from relay.store.memory.engine import Memory

__all__ = ["Memory"]
