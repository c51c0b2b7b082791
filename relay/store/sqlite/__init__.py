"""The store in one SQLite file.

Owns: everything that is SQLite's. Leaves to others: what every engine does alike (`relay.store`).
"""

from relay.store.sqlite.engine import Sqlite

__all__ = ["Sqlite"]
