"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# No example has a deadline: a slow machine is not a fault. In CI the same examples every time: what a random one finds
# is found by `make torture` and by those who develop, and then stands in a table.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("usual"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "usual")
