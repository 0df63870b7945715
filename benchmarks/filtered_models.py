"""Compares a filtered analysis with other tools: select cases, then their variants and process map.

`python -m benchmarks.filtered_models --events 10000000` runs every contender in a process of its own, in turns, checks
that all agree, and prints a table. The logs and the peers' environment are those of `process_models.py`. At last it
tells how long contributions of an explanation take (`contributions.py`).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.process_models import Contender, peers_python, table, take_turns
from benchmarks.synthetic_log import write_log

FROM_THE_LOG = (("CASETRAIL_BENCH_RELEASE", "inside"),)
CONTENDERS = (
    Contender("casetrail, of a release", "casetrail_filtered"),
    Contender("casetrail, of a log", "casetrail_filtered", environment=FROM_THE_LOG),
    Contender("polars", "polars_filtered", is_peer=True),
    Contender("r4pm", "r4pm_filtered", is_peer=True, slow=True),
    Contender("pm4py", "pm4py_filtered", is_peer=True, slow=True),
)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Speed of a filtered analysis against other tools.")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument(
        "--layout", choices=["time", "stored"], default="stored", help="order of the log's rows"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each contender that is not slow")
    parser.add_argument("--only", nargs="*", help="names of the contenders to run")
    parser.add_argument(
        "--cases", type=int, default=20_000, help="cases whose contributions are timed; 0: none"
    )
    options = parser.parse_args()
    folder = Path(os.environ.get("CASETRAIL_BENCH_DIR", Path(tempfile.gettempdir()) / "casetrail-bench"))
    log = write_log(folder, events=options.events, microseconds=False, layout=options.layout)
    peers = peers_python(folder)
    contenders = [c for c in CONTENDERS if not options.only or c.name in options.only]
    sys.stdout.write(table(take_turns(contenders, options.runs, {"s": log}, peers, folder)))
    if options.cases:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.contributions", "--cases", str(options.cases)], check=True
        )


if __name__ == "__main__":
    main()
