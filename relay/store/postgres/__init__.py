"""The store in a PostgreSQL database, 15 or newer, which several machines can share.

Owns: everything that is PostgreSQL's. Leaves to others: what is asked (`relay.store.sql`), what every engine does alike
(`relay.store`). asyncpg is imported here only, and this package only where a URL asks for it.
"""

from relay.store.postgres.engine import Postgres

__all__ = ["Postgres"]
