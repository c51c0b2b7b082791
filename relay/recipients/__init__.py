"""What this installation has of one person: handed out, or erased, in all places.

    looking     the walk through the store: what names them, what of it is theirs
    files       the same in the spool and the journal
    exporting   as JSON lines
    erasing     in an order that a kill at any moment leaves to be gone through again

Leaves to others: what names a person (`core.persons`), what becomes of a row (`store`), who may ask (`commands`, the API).
"""
