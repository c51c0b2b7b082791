"""Kills, stops and long loads: the program as a process, with everything it keeps real.

The bounded form runs with the other tests. With TORTURE=1 (`make torture`) it is 200 kills of 50 messages each (as many
at random over PostgreSQL), a server of PostgreSQL that is killed, replaced by its standby and out of room 20 times each, 100 stops, 10,000 events to endpoints that fail and hang, 10,000 that two processes claim, and a soak of ten minutes.
"""

import os

FULL = os.environ.get("TORTURE") == "1"
