"""Cases that cross systems: events go where the links say, and a change of links touches exactly the months it must."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.identity import Assignment, Record, Registry, assign, stitch
from orchestration.sources.protocol import Identity, ObjectTimes, PersonOf, Same
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.events import stage_events
from orchestration.stages.identity import identity_fingerprint, stage_identity
from orchestration.stages.link_statements import LinkPart
from orchestration.stages.process import stage_process
from orchestration.stages.tree import LocalTree
from orchestration.stages.workbench import IdentitySources, RawPart, Workbench
from tests.stages.local_bench import land_parts, local_bench, rows

LEADS = Identity(
    system="crm",
    record="Id",
    key=("Id",),
    same=(Same(column="ContactId", system="crm"), Same(column="MasterId", system="crm")),
    keys=("Email",),
    persons=(PersonOf(object="DealId", person="Id"),),
)
PROSPECTS = Identity(
    system="mail", record="id", key=("id",), same=(Same(column="lead", system="crm"),), keys=("email",)
)
DEALS = Identity(
    system="crm",
    record="Id",
    key=("Id",),
    same=(Same(column="Order", system="erp"),),
    object=ObjectTimes(opened="Opened", closed="Closed", before_days=30, after_days=5),
)
ROLES = Identity(
    system="crm", record="DealId", key=("Id",), persons=(PersonOf(object="DealId", person="ContactId"),)
)
STREAMS = {"Lead": LEADS, "prospects": PROSPECTS, "Deal": DEALS, "Role": ROLES}

ZERO = datetime.fromisoformat("2024-01-01T00:00:00Z")

Event = tuple[str, str, str, str]
"""System, native case id, activity, time."""
Row = Mapping[str, str | None]


@dataclass
class World:
    """A workspace on local files: events and statements arrive, a refresh brings its working tree up to date."""

    folder: Path
    registry: Registry = field(default_factory=Registry)
    parts: list[RawPart] = field(default_factory=list)
    said: list[LinkPart] = field(default_factory=list)
    tree: LocalTree | None = None
    _deliveries: int = 0

    def deliver(self, events: Sequence[Event]) -> None:
        by_system = defaultdict(list)
        for system, case, activity, at in events:
            by_system[system].append(f"{case},{activity},{at}")
        for system, lines in sorted(by_system.items()):
            self._deliveries += 1
            path = self.folder / f"{self._deliveries}.csv"
            path.write_text("\n".join(["case,activity,at", *lines]) + "\n")
            mapping = EventMapping(system=system, case_id="case", activity="activity", timestamp="at")
            self.parts += land_parts(path, mapping, self.folder / "landed", self._deliveries)

    def say(self, stream: str, *records: Row, tombstones: bool = False) -> None:
        path = self.folder / f"said-{len(self.said)}.parquet"
        names = list(dict.fromkeys(name for record in records for name in record))
        table = pa.table({name: pa.array([r.get(name) for r in records], pa.string()) for name in names})
        pq.write_table(table, path)
        self.said.append(LinkPart("c", "t", stream, tombstones, str(path), STREAMS[stream]))

    def bench(self) -> Workbench:
        fingerprint = identity_fingerprint([len(self.said)] if self.said else [], 0)
        sources = IdentitySources(fingerprint, lambda: self.said, self._stitch) if fingerprint else None
        bench = local_bench(self.folder, self.parts, tree=self.tree)
        self.tree = bench.tree  # type: ignore[assignment]
        return replace(bench, identity=sources)

    def refresh(self) -> dict[str, str]:
        """Refresh; what became of each month of the events."""
        bench = self.bench()
        stage_identity(bench)
        made = {o.month: o.state for o in stage_events(bench, sorted({p.month for p in self.parts}))}
        stage_case_index(bench)
        stage_process(bench, bench.tree.files("case_index").keys() | bench.tree.files("cases").keys())
        return made

    def cases(self) -> dict[tuple[str, str], set[str]]:
        """By (record, activity) the ids of the cases that its events are in."""
        found = defaultdict(set)
        for row in rows(self.bench(), "events"):
            record = f"{row['system']}:{row['native_case_id']}"
            found[record, str(row["activity"])].add(str(row["global_case_id"]))
        return dict(found)

    def paths(self) -> list[list[str]]:
        """The activities of each case in order, sorted."""
        events = rows(self.bench(), "events")
        events.sort(key=lambda row: (str(row["global_case_id"]), row["timestamp"], row["tie_order"]))
        found = defaultdict(list)
        for row in events:
            found[str(row["global_case_id"])].append(str(row["activity"]))
        return sorted(found.values())

    def contents(self) -> dict[str, str]:
        assert self.tree is not None
        return {
            f"{dataset} {month}": file.content_sha256
            for dataset in (
                "case_members",
                "case_objects",
                "events",
                "case_index",
                "cases",
                "variants",
            )
            for month, file in self.tree.files(dataset).items()
        }

    def rebuilt(self, folder: Path) -> "World":
        """All of it again in an empty tree, from the kept registry."""
        folder.mkdir()
        other = World(folder, self.registry, self.parts, self.said)
        other.refresh()
        return other

    def _stitch(self, links: pa.Table, keys: pa.Table, first_seen: Mapping[Record, int]) -> Assignment:
        found = assign(self.registry, stitch(links, keys), first_seen)
        self.registry = found.registry
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


JOURNEY: list[Event] = [
    ("mail", "7", "visit", "2024-01-05T10:00:00Z"),
    ("crm", "00Q1", "lead created", "2024-02-01T10:00:00Z"),
    ("crm", "0061", "quote", "2024-02-20T10:00:00Z"),
    ("erp", "K1", "ship", "2024-03-05T10:00:00Z"),
]


def test_a_case_crosses_systems(world: World) -> None:
    world.deliver([*JOURNEY, ("mail", "8", "visit", "2024-01-06T10:00:00Z")])
    world.say("prospects", {"id": "7", "lead": "00Q1"}, {"id": "8", "lead": None})
    world.say("Lead", {"Id": "00Q1", "DealId": "0061"})
    world.say("Deal", {"Id": "0061", "Order": "K1", "Opened": "2024-02-19T10:00:00Z", "Closed": "2024-03-01"})
    world.refresh()
    # The visit is more than 30 days before the deal, so that it stays with its person.
    assert world.paths() == [["lead created", "quote", "ship"], ["visit"], ["visit"]]
    assert world.tree is not None
    spanning = {m: file.stats["across_systems"] for m, file in world.tree.files("cases").items()}
    assert spanning == {"2024-01": 0, "2024-02": 1}


def test_a_person_is_one_case_where_there_are_no_objects(world: World) -> None:
    world.deliver(JOURNEY)
    world.say("prospects", {"id": "7", "lead": "00Q1", "email": "h1"})
    world.say("Lead", {"Id": "0061", "Email": "h1"})
    world.refresh()
    assert world.paths() == [["ship"], ["visit", "lead created", "quote"]]


def test_a_merge_makes_exactly_the_touched_months_again(world: World) -> None:
    others: list[Event] = [("crm", f"other {m}", "call", f"2024-{m:02}-01T00:00:00Z") for m in range(1, 7)]
    world.deliver([*JOURNEY, *others])
    world.say("Lead", {"Id": "00Q9", "ContactId": "0039"})
    assert set(world.refresh().values()) == {"made"}
    before = world.contents()
    world.say("Lead", {"Id": "00Q1", "ContactId": "0031"})
    world.say("prospects", {"id": "7", "lead": "00Q1"})
    made = world.refresh()
    # The lead came first, so that the prospect's events get its id, and its case moves to their month.
    assert [month for month, state in made.items() if state == "made"] == ["2024-01"]
    after = world.contents()
    changed = {name for name in after if after[name] != before.get(name)}
    assert {n for n in changed if n.startswith("cases ")} == {"cases 2024-01", "cases 2024-02"}
    assert {n for n in changed if n.startswith("events ")} == {"events 2024-01"}
    assert world.rebuilt(world.folder / "again").contents() == after


def test_a_second_refresh_with_nothing_new_makes_nothing(world: World) -> None:
    world.deliver(JOURNEY)
    world.say("prospects", {"id": "7", "lead": "00Q1"})
    world.refresh()
    before = world.contents()
    assert set(world.refresh().values()) == {"carried over"}
    assert world.contents() == before


def test_an_id_keeps_its_meaning_when_a_link_comes_and_goes(world: World) -> None:
    world.deliver(JOURNEY)
    world.say("prospects", {"id": "7", "lead": "00Q1"})
    world.refresh()
    (joined,) = world.cases()["crm:00Q1", "lead created"]
    world.say("prospects", {"id": "7", "lead": None})
    world.refresh()
    cases = world.cases()
    assert cases["mail:7", "visit"] == {joined}
    assert cases["crm:00Q1", "lead created"] != {joined}


def test_a_merged_record_names_its_survivor_in_its_tombstone(world: World) -> None:
    world.deliver([JOURNEY[1], ("crm", "00Q2", "call", "2024-02-03T00:00:00Z")])
    world.say("Lead", {"Id": "00Q1", "Email": "a"}, {"Id": "00Q2", "Email": "b"})
    world.say("Lead", {"Id": "00Q2", "MasterId": "00Q1"}, tombstones=True)
    world.refresh()
    assert world.paths() == [["lead created", "call"]]


def test_a_tombstone_with_nothing_but_an_id_takes_no_link_back_but_a_role(world: World) -> None:
    world.deliver(JOURNEY)
    world.say("prospects", {"id": "7", "lead": "00Q1"})
    world.say("Deal", {"Id": "0061", "Opened": "2024-02-02T00:00:00Z", "Closed": None})
    world.say("Role", {"Id": "r", "DealId": "0061", "ContactId": "00Q1"})
    world.refresh()
    assert world.paths() == [["ship"], ["visit", "lead created", "quote"]]
    world.say("prospects", {"id": "7"}, tombstones=True)
    world.refresh()
    assert world.paths() == [["ship"], ["visit", "lead created", "quote"]]
    world.say("Role", {"Id": "r"}, tombstones=True)
    world.refresh()
    assert world.paths() == [["quote"], ["ship"], ["visit", "lead created"]]


def test_a_deal_that_closes_lets_go_of_what_comes_after(world: World) -> None:
    world.deliver([*JOURNEY, ("crm", "00Q1", "call", "2024-06-01T00:00:00Z")])
    world.say("Lead", {"Id": "00Q1", "DealId": "0061"})
    world.say("Deal", {"Id": "0061", "Opened": "2024-02-02T00:00:00Z", "Closed": None})
    world.refresh()
    assert ["lead created", "quote", "call"] in world.paths()
    world.say("Deal", {"Id": "0061", "Opened": "2024-02-02T00:00:00Z", "Closed": "2024-05-01T00:00:00Z"})
    world.refresh()
    assert ["lead created", "quote"] in world.paths()
    assert ["call"] in world.paths()


def plain_entities(newest: Mapping[tuple[str, str], Row]) -> Callable[[Record], Record]:
    """Who is who by the newest record of each (stream, id): one statement after the other."""
    parent: dict[Record, Record] = {}
    hashes: dict[str, Record] = {}

    def root(record: Record) -> Record:
        while record in parent:
            record = parent[record]
        return record

    for (stream, name), record in newest.items():
        pairs: list[tuple[Record, Record]] = []
        if stream == "prospects" and record["lead"]:
            pairs = [(("mail", name), ("crm", record["lead"]))]
        elif stream == "Lead" and record["Email"]:
            pairs = [(("crm", name), hashes.setdefault(record["Email"], ("crm", name)))]
        for left, right in pairs:
            if root(left) != root(right):
                parent[root(left)] = root(right)
    return root


def plain_deal(moment: datetime, deals: Mapping[str, tuple[datetime, datetime | None]]) -> str | None:
    """The deal that an event goes to, of those of its person: one after the other."""
    ranks = []
    for name, (opened, closed) in deals.items():
        if moment < opened - timedelta(days=30) or (closed and moment > closed + timedelta(days=5)):
            continue
        if moment < opened:
            ranks.append((1, opened - ZERO, name))
        elif closed is None or moment <= closed:
            ranks.append((0, ZERO - opened, name))
        else:
            ranks.append((2, ZERO - closed, name))
    return min(ranks)[-1] if ranks else None


def plain_paths(events: Sequence[Event], said: Sequence[tuple[str, Row]]) -> list[list[str]]:
    """The activities of each case, sorted, by the plainest code."""
    newest = {
        (stream, str(record["id" if stream == "prospects" else "Id"])): record for stream, record in said
    }
    root = plain_entities(newest)
    times = {
        name: (
            datetime.fromisoformat(str(r["Opened"])),
            datetime.fromisoformat(r["Closed"]) if r["Closed"] else None,
        )
        for (stream, name), r in newest.items()
        if stream == "Deal"
    }
    roles = [(r["DealId"], root(("crm", name))) for (stream, name), r in newest.items() if stream == "Lead"]
    found = defaultdict(list)
    for system, case, activity, at in sorted(events, key=lambda event: event[3]):
        entity = root((system, case))
        theirs = {deal: times[deal] for deal, person in roles if deal in times and person == entity}
        deal = plain_deal(datetime.fromisoformat(at), theirs)
        found[("crm", deal) if deal else entity].append(activity)
    return sorted(found.values())


@pytest.mark.parametrize("seed", range(4))
def test_random_worlds_over_several_refreshes_are_those_of_the_plainest_code(
    tmp_path: Path, seed: int
) -> None:
    chance, world = random.Random(seed), World(tmp_path)
    events, said = list[Event](), list[tuple[str, Row]]()

    def moment() -> str:
        return (datetime(2024, 1, 1) + timedelta(minutes=chance.randrange(300_000))).isoformat() + "Z"

    for _refresh in range(3):
        fresh = [
            (system, f"{prefix}{chance.randrange(6)}", f"{len(events)}-{n}", moment())
            for n in range(25)
            for system, prefix in [chance.choice([("crm", "00Q"), ("crm", "006"), ("mail", "m")])]
        ]
        events += fresh
        world.deliver(fresh)
        for _ in range(8):
            stream = chance.choice(["Lead", "prospects", "Deal"])
            opened = moment()
            record: Row = {
                "Lead": {
                    "Id": f"00Q{chance.randrange(6)}",
                    "Email": chance.choice([None, "a", "b"]),
                    "DealId": chance.choice([None, f"006{chance.randrange(6)}"]),
                },
                "prospects": {
                    "id": f"m{chance.randrange(6)}",
                    "lead": chance.choice([None, f"00Q{chance.randrange(6)}"]),
                },
                "Deal": {
                    "Id": f"006{chance.randrange(6)}",
                    "Opened": opened,
                    "Closed": chance.choice([None, max(opened, moment())]),
                },
            }[stream]
            said.append((stream, record))
            world.say(stream, record)
        world.refresh()
        assert world.paths() == plain_paths(events, said)
    assert world.rebuilt(tmp_path / "again").contents() == world.contents()
