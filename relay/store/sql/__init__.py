"""The store's questions to a SQL database: each written once, for every engine that speaks SQL.

Owns: the statements and what is done with their rows, a module per subject, as programs (`program`); the store put
together from them (`engine`). Leaves to others: connections, transactions, many rows at once, how a batch of events finds
what is known of their messages, tables (`sqlite`, `postgres`).
"""
