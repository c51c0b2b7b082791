"""trackrelay: an SMTP relay that adds open, click and reply tracking to the mail that passes through it."""

__version__ = "0.1.0"
