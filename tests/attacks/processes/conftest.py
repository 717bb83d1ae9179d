"""Real processes, several for each attack: minutes, so they run when they are asked for.

SECAGG_SIEGE=1 python3 run.py test tests/attacks/processes
"""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("SECAGG_SIEGE") else ["test_*.py"]
