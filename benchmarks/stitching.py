"""Times the joining of records into persons: `python -m benchmarks.stitching --edges 1000000`.

The links are synthetic and seeded: leads of a marketing system that carry the id of a CRM lead or contact, leads that
were converted, and addresses as keyed hashes, some of them shared by many. Every contender gets the same Parquet
files, runs in a process of its own on 2 threads, and must come to the same persons; reading is inside the clock.

Peers know no caps, so keys that too many share are taken out of the links before. Casetrail is timed with its caps on.
Not a peer: giving ids and finding evidence, which only casetrail does; they are told apart.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.identity import KEYS, LINKS, Caps, Registry, Stitching, assign, evidence_of, stitch

SEED = 20_261_128
CAPS = Caps(persons_per_key=5, records_per_person=1_000_000)


def write_links(folder: Path, edges: int) -> None:
    """Write `links.parquet` and `keys.parquet` with so many rows together, 6 in 10 of them links."""
    rng = np.random.default_rng(SEED)
    people, stated = edges * 7 // 10, edges * 6 // 10
    left = rng.integers(0, people, stated)
    right = np.minimum(people - 1, left + rng.integers(0, 3, stated))
    kinds = rng.integers(0, 2, stated)
    links = {
        "left_system": np.where(kinds == 0, "marketo", "salesforce"),
        "left_id": [f"{n}" if k == 0 else f"00Q{n:015d}" for n, k in zip(left, kinds, strict=True)],
        "right_system": ["salesforce"] * stated,
        "right_id": [f"{'00Q' if k == 0 else '003'}{n:015d}" for n, k in zip(right, kinds, strict=True)],
        "strength": ["strong"] * stated,
        "rule": np.where(kinds == 0, "marketo.sfdcLeadId", "salesforce.ConvertedContactId"),
        "evidence": [f"record {n}" for n in range(stated)],
    }
    shared = edges - stated
    owners = rng.integers(0, people, shared)
    # One address in a thousand is that of an office.
    addresses = np.where(rng.random(shared) < 0.001, rng.integers(0, 20, shared), owners // 2 + 20)
    keys = {
        "system": ["marketo"] * shared,
        "native_id": [f"{n}" for n in owners],
        "rule": ["email"] * shared,
        "key": [hashlib.sha256(f"{n}".encode()).hexdigest() for n in addresses],
        "evidence": [f"lead {n}" for n in owners],
    }
    pq.write_table(pa.table(links, LINKS), folder / "links.parquet")
    pq.write_table(pa.table(keys, KEYS), folder / "keys.parquet")
    write_plain(folder)


def write_plain(folder: Path) -> None:
    """Write `plain.parquet`: the edges as text for the peers, without the keys that the cap leaves out."""
    stitching = stitch(*read(folder), CAPS)
    pq.write_table(stitching.keys.filter(pa.array(stitching.usable_keys)), folder / "usable.parquet")
    duckdb.execute(
        f"""
        copy (
            select left_system || '/' || left_id as source, right_system || '/' || right_id as target
            from '{folder}/links.parquet'
            union all
            select system || '/' || native_id, 'key/' || key from '{folder}/usable.parquet'
        ) to '{folder}/plain.parquet'
        """
    )


def read(folder: Path) -> tuple[pa.Table, pa.Table]:
    """The links and the keys."""
    return pq.read_table(folder / "links.parquet"), pq.read_table(folder / "keys.parquet")


Persons = Callable[[], int]


def casetrail(folder: Path) -> Persons:
    """`stitch`: text in, a person for each record out."""
    stitching = stitch(*read(folder), CAPS)
    # Records that only an office's address names are in no edge of the peers.
    named = np.unique(np.concatenate((stitching.coded.left, stitching.coded.keyed[stitching.usable_keys])))
    named = np.unique(np.append(named, stitching.coded.right))
    return lambda: len(np.unique(stitching.person[named]))


def scipy_components(folder: Path) -> Persons:
    """`scipy.sparse.csgraph.connected_components`, its text coded by pyarrow."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = pq.read_table(folder / "plain.parquet")
    names = pa.concat_arrays([*edges["source"].chunks, *edges["target"].chunks]).dictionary_encode()
    left, right = np.split(names.indices.to_numpy(), 2)
    size = len(names.dictionary)
    found, _ = connected_components(coo_array((np.ones(len(left), bool), (left, right)), (size, size)), False)
    return lambda: int(found)


def duckdb_using_key(folder: Path) -> Persons:
    """DuckDB's recursive CTE with USING KEY, as its documentation writes connected components."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(
        f"""
        create table edges as
        with named as (from '{folder}/plain.parquet'),
        nodes as (select name, row_number() over () as id from (select source as name from named union select target from named))
        select a.id as source, b.id as target
        from named join nodes a on a.name = source join nodes b on b.name = target;
        create table both_ways as select * from edges union select target, source from edges;
        create table labels as
        with recursive component(id, label) using key (id) as (
            select distinct source, source from both_ways
            union
            select e.target, min(c.label)
            from component c join both_ways e on e.source = c.id
            join recurring.component known on known.id = e.target
            where c.label < known.label group by e.target
        )
        from component
        """  # noqa: E501
    )
    return lambda: int(connection.execute("select count(distinct label) from labels").fetchall()[0][0])


def python_sets(folder: Path) -> Persons:
    """Union-find as one writes it: a dictionary of parents, path halving."""
    edges = pq.read_table(folder / "plain.parquet")
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for source, target in zip(edges["source"].to_pylist(), edges["target"].to_pylist(), strict=True):
        one, other = find(source), find(target)
        if one != other:
            parent[other] = one
    return lambda: len({find(node) for node in list(parent)})


CONTENDERS = {
    function.__name__: function for function in (casetrail, scipy_components, duckdb_using_key, python_sets)
}


def ids_and_evidence(folder: Path) -> None:
    """What comes after the persons, in one process: ids from an empty registry, the evidence, and a run again."""
    stitching = stitch(*read(folder), CAPS)
    for name, work in _after(stitching):
        began = time.process_time()
        count = work()
        print(f"{name}: {count:,} in {time.process_time() - began:.1f} s of CPU, {_peak_mb():,.0f} MB so far")


def _after(stitching: Stitching) -> Iterator[tuple[str, Callable[[], int]]]:
    first = assign(Registry(), stitching)
    yield "merges", lambda: len(first.merges)
    yield "ids given again, nothing new", lambda: len(assign(first.registry, stitching).registry.ids)
    yield "paths of evidence", lambda: len(list(evidence_of(first.merges, first.registry, stitching)))


def run(name: str, folder: Path) -> None:
    """One run of a contender, told as JSON."""
    cpu, wall = time.process_time(), time.perf_counter()
    persons = CONTENDERS[name](folder)
    figures = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak_mb": _peak_mb(),
    }
    print(json.dumps({**figures, "persons": persons()}))


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kib) * 1024 / 1e6


def compare(folder: Path, edges: int, runs: int) -> None:
    """All contenders in turns; one table."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(runs):
        for name in CONTENDERS:
            figures[name].append(json.loads(_child(folder, edges, "--contender", name)))
    persons = {result["persons"] for results in figures.values() for result in results}
    if len(persons) != 1:
        sys.exit(f"the contenders disagree on the number of persons: {figures}")
    own = statistics.median(result["cpu"] for result in figures["casetrail"])
    print(f"{edges:,} edges, {persons.pop():,.0f} persons and keys' groups\n")
    print(
        "| contender | runs | CPU s | wall s | peak MB | CPU / casetrail |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for name, results in figures.items():
        cpu, wall = (statistics.median(result[key] for result in results) for key in ("cpu", "wall"))
        peak = max(result["peak_mb"] for result in results)
        print(f"| {name} | {runs} | {cpu:.1f} | {wall:.1f} | {peak:.0f} | {cpu / own:.1f} |")
    print("\n" + _child(folder, edges, "--after"))


def _child(folder: Path, edges: int, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.stitching", "--edges", str(edges), "--folder", str(folder)]
    limits = {"OMP_NUM_THREADS": "2", "ARROW_NUM_THREADS": "2"}
    return subprocess.run(
        [*command, *arguments], check=True, text=True, stdout=subprocess.PIPE, env={**os.environ, **limits}
    ).stdout


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Time of joining records into persons.")
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--after", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run(options.contender, options.folder)
    elif options.after:
        ids_and_evidence(options.folder)
    else:
        with tempfile.TemporaryDirectory() as name:
            write_links(Path(name), options.edges)
            compare(Path(name), options.edges, options.runs)


if __name__ == "__main__":
    main()
