"""The live page: what becomes of each message, as people read it. Templates, styles and scripts need no build step.

`words` says things in plain words, `shape` makes of a message and its events what the page shows, `feed` carries it
there as it happens, `pages` has the routes.
"""
