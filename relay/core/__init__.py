"""The pure core: bytes and values in, bytes and values out.

Nothing here opens a socket or a file, reads a clock, rolls a die, logs, or knows of an event loop; the shells
around it hand all of that in as arguments. tests/test_architecture.py holds the rule.
"""
