"""Times the contributions of an explanation: `python -m benchmarks.contributions --cases 20000`.

The log is that of the demo, with all cases in one month, so that they get their contributions in one go. The clock is
of CPU time, and holds features, the model's contributions and the table; learning the model is in the whole alone.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import duckdb
import pyarrow as pa

from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.mining.explain import Explainer, explainer
from orchestration.mining.explain.contributions import contributions_of_month

EVENTS = """
create table events as
select
    md5(case_id)::uuid as global_case_id, case_id as native_case_id, activity, timestamp::timestamp as timestamp,
    (row_number() over (partition by case_id, timestamp) - 1)::integer as tie_order,
    resource as resource_id, role, org_unit,
    json_object('region', region, 'priority', priority, 'channel', channel, 'amount', amount)::varchar as attributes
from read_csv('{path}', all_varchar = true)
"""

CASES = """
create table cases as
select
    global_case_id, min(timestamp) as start_ts, max(timestamp) as end_ts, '2024-01' as home_month,
    epoch_us(max(timestamp)) - epoch_us(min(timestamp)) as cycle_time_us, 'completed' as state
from events
group by global_case_id
"""


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Time of the contributions of an explanation.")
    parser.add_argument("--cases", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 2}) as connection:
        path = Path(folder) / "log.csv"
        write_lead_to_cash(path, cases=options.cases)
        connection.execute(EVENTS.format(path=path))
        connection.execute(CASES)
        spent: list[float] = []

        def timed(*arguments: object, **named: object) -> pa.Table:
            began = time.process_time()
            table = contributions_of_month(*arguments, **named)  # type: ignore[arg-type]
            spent.append(time.process_time() - began)
            return table

        with patch.object(explainer, "contributions_of_month", timed), Explainer(connection) as explaining:
            began = time.process_time()
            rows = explaining.explain_month("2024-01").contributions.num_rows
            whole = time.process_time() - began
    if not rows:
        sys.exit("the model was refused, so that there are no contributions: give more cases")
    sys.stdout.write(
        f"contributions of {rows:,} cases: {1e3 * sum(spent) / rows:.3f} ms a row"
        f" ({sum(spent):.2f} s of {whole:.2f} s of CPU)\n"
    )


if __name__ == "__main__":
    main()
