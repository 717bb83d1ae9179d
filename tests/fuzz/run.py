"""Fuzz one target for a while, guided by coverage.

    python -m tests.fuzz.run client --seconds 1800 [--corpus DIRECTORY]

Linux only (atheris). A line a minute says how many inputs were tried; the last one comes at the
end, with exit status 0. A finding ends it at once, with the input in the corpus directory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["secagg", "party"]):
    from tests.fuzz import targets

MEMORY_MB = 1024
SECONDS_PER_INPUT = 20
MINUTE = 60


def main() -> None:
    """Fuzz what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(targets.TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="CPU time, about")
    parser.add_argument("--corpus", type=Path, help="kept and gone on with; default: a new one")
    options = parser.parse_args()
    target, seeds = targets.TARGETS[options.target]
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix=f"secagg-fuzz-{options.target}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    tried, told = 0, 0.0

    def one_input(data: bytes) -> None:
        nonlocal tried, told
        tried += 1
        target(data)
        used = time.process_time()
        if used < told + MINUTE and used < options.seconds:
            return
        told = used
        found = {"target": options.target, "inputs": tried, "cpu_seconds": round(used)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        if used >= options.seconds:
            os._exit(0)  # the fuzzer's own loop has no end

    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-artifact_prefix={corpus}/finding-",
            f"-max_len={targets.MAX_BYTES}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={SECONDS_PER_INPUT}",
            "-print_final_stats=0",
            "-verbosity=0",
        ],
        one_input,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
