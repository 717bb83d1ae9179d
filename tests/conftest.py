"""Settings that hold for every test."""

import os

from hypothesis import settings

# The same examples on every machine: a failure seen once is seen again.
settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
# To search further: HYPOTHESIS_PROFILE=explore python3 run.py test
settings.register_profile("explore", deadline=None, max_examples=1000)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deterministic"))
