"""The registry of case ids in PostgreSQL: what was kept is what a rebuild starts from, and an alias is for ever."""

import random
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from orchestration.control_plane import case_registry, database, workspaces
from orchestration.control_plane.case_registry import CaseIdRow, RegistryChanged, UnknownRecord
from orchestration.control_plane.errors import InvalidInput, NotAllowed
from orchestration.control_plane.workspaces import Workspace
from orchestration.identity import Assignment, Caps, ContradictingLinks, Registry, assign, born_id, stitch
from orchestration.settings import Settings
from orchestration.stages.stitching import load_registry, stitch_workspace
from tests.identity.worlds import (
    Key,
    Link,
    Record,
    arrivals,
    keys_table,
    links_table,
    partition,
    people,
    random_world,
)

A, B, C = ("crm", "a"), ("mail", "b"), ("shop", "c")
ID_A, ID_B, ID_C = (born_id(*record) for record in (A, B, C))
SEEN = {A: 1, B: 2, C: 3}
CAPS = Caps(persons_per_key=3, records_per_person=6)


@pytest.fixture
def tenant(control_plane: Settings) -> Workspace:
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        slug = f"tenant-{uuid4().hex[:8]}"
        return workspaces.create_workspace(connection, "Tenant", "EU", "pro", f"tina@{slug}.test", slug)


def tina_of(tenant: Workspace) -> str:
    return f"tina@{tenant.slug}.test"


@pytest.fixture
def tina(control_plane: Settings, tenant: Workspace) -> Iterator[database.Connection]:
    with database.as_user(control_plane.app_dsn, tina_of(tenant)) as connection:
        yield connection
        connection.rollback()


def stitched(
    settings: Settings, tenant: Workspace, links: list[Link], keys: list[Key] | None = None
) -> Assignment:
    return stitch_workspace(
        settings.system_dsn,
        tenant.id,
        links_table(links),
        keys_table(keys or []),
        caps=CAPS,
        first_seen=SEEN,
    )


def kept(settings: Settings, tenant: Workspace) -> Registry:
    with database.as_system(settings.system_dsn, tenant.id) as connection:
        return load_registry(connection, tenant.id)


def say(settings: Settings, tenant: Workspace, pair: tuple[Record, Record], verdict: str) -> None:
    with database.as_user(settings.app_dsn, tina_of(tenant)) as connection:
        case_registry.say(connection, tenant.id, pair, verdict, "I asked them")  # type: ignore[arg-type]


def test_what_was_given_is_kept_and_an_alias_is_followed_to_its_survivor(
    control_plane: Settings, tenant: Workspace, tina: database.Connection
) -> None:
    found = stitched(control_plane, tenant, [(B, C, "strong")])
    assert kept(control_plane, tenant) == found.registry
    found = stitched(control_plane, tenant, [(A, B, "strong"), (B, C, "strong")])
    assert kept(control_plane, tenant) == found.registry
    merges = case_registry.merges_from(tina, tenant.id, [ID_A, ID_B, ID_C, str(uuid4())])
    steps = {alias: [step.merged_into for step in path] for alias, path in merges.items()}
    assert steps == {ID_B: [ID_A], ID_C: [ID_B, ID_A]}
    assert [step.global_case_id for step in merges[ID_C]] == [ID_C, ID_B]


def test_each_merge_is_kept_with_the_links_that_made_it(
    control_plane: Settings, tenant: Workspace, tina: database.Connection
) -> None:
    stitched(control_plane, tenant, [(A, B, "strong")], [(B, "hash"), (C, "hash")])
    rows = tina.execute("select global_case_id, evidence from case_ids where merged_into = %s", (ID_A,))
    evidence = {row["global_case_id"]: row["evidence"] for row in rows}
    first = {"left": [*A], "right": [*B], "rule": "id", "evidence": ["a~b"], "key": None}
    second = {"left": [*B], "right": [*C], "rule": "email", "evidence": ["b", "c"], "key": "hash"}
    assert evidence == {ID_B: [first], ID_C: [first, second]}


@pytest.mark.parametrize("seed", range(6))
def test_portion_by_portion_the_kept_registry_is_that_of_the_pure_code(
    control_plane: Settings, tenant: Workspace, seed: int
) -> None:
    links, keys = random_world(seed)
    registry = Registry()
    for known_links, known_keys in arrivals(links, keys, random.Random(seed)):
        stitching = stitch(links_table(known_links), keys_table(known_keys), CAPS)
        registry = assign(registry, stitching, SEEN).registry
        stitched(control_plane, tenant, known_links, known_keys)
        assert kept(control_plane, tenant) == registry
    assert partition(registry.members) == people(links, keys, CAPS)
    rebuilt = stitched(control_plane, tenant, links, keys)
    assert (rebuilt.minted, rebuilt.merges, rebuilt.moves) == ((), (), ())


def test_an_alias_cannot_be_given_another_meaning(control_plane: Settings, tenant: Workspace) -> None:
    stitched(control_plane, tenant, [(A, B, "strong")])
    with database.as_system(control_plane.system_dsn, tenant.id) as connection:
        case_registry.mint(connection, tenant.id, [CaseIdRow(ID_C, *C, 0, None, None)])
        with pytest.raises(RegistryChanged, match="1 of 1 case ids"):
            case_registry.merge(connection, tenant.id, [(ID_B, ID_C, [])])
    with database.as_system(control_plane.system_dsn, tenant.id) as connection:
        reached = connection.execute("update case_ids set merged_at = merged_at returning global_case_id")
        assert {row["global_case_id"] for row in reached} == {ID_A, ID_C}


def test_the_last_word_on_a_pair_counts_until_it_is_withdrawn(
    control_plane: Settings, tenant: Workspace
) -> None:
    links: list[Link] = [(A, B, "strong")]
    say(control_plane, tenant, (B, A), "allow")
    say(control_plane, tenant, (A, B), "deny")
    assert len(set(stitched(control_plane, tenant, links).registry.members.values())) == 2
    say(control_plane, tenant, (A, B), "withdrawn")
    assert len(set(stitched(control_plane, tenant, links).registry.members.values())) == 1


def test_what_people_say_is_evidence_with_their_reason(
    control_plane: Settings, tenant: Workspace, tina: database.Connection
) -> None:
    say(control_plane, tenant, (A, B), "allow")
    stitched(control_plane, tenant, [])
    rows = tina.execute("select evidence from case_ids where merged_into is not null").fetchall()
    (step,) = rows[0]["evidence"]
    assert (step["rule"], step["evidence"][0].split(": ")[1]) == ("manual", "I asked them")


def test_contradicting_words_change_nothing(control_plane: Settings, tenant: Workspace) -> None:
    for pair, verdict in (((A, B), "allow"), ((B, C), "allow"), ((A, C), "deny")):
        say(control_plane, tenant, pair, verdict)
    with pytest.raises(ContradictingLinks):
        stitched(control_plane, tenant, [])
    assert kept(control_plane, tenant) == Registry()


def test_one_record_is_no_pair_and_a_word_needs_a_reason(
    tina: database.Connection, tenant: Workspace
) -> None:
    with pytest.raises(InvalidInput, match="is one record"):
        case_registry.say(tina, tenant.id, (A, A), "allow", "same")
    with pytest.raises(InvalidInput, match="reason"):
        case_registry.say(tina, tenant.id, (A, B), "allow", " ")


def test_only_who_brings_data_may_say_who_is_who(
    control_plane: Settings, tenant: Workspace, acme: Workspace
) -> None:
    assert acme.id != tenant.id
    with (
        pytest.raises(NotAllowed),
        database.as_user(control_plane.app_dsn, "ann@acme.test") as connection,
    ):
        case_registry.say(connection, tenant.id, (A, B), "allow", "I am curious")


def test_what_was_not_joined_is_that_of_the_last_stitching(
    control_plane: Settings, tenant: Workspace, tina: database.Connection
) -> None:
    keys = [(("mail", str(number)), "family") for number in range(5)]
    stitched(control_plane, tenant, [], keys)
    stitched(control_plane, tenant, [], keys)
    rows = tina.execute("select reason, key, persons, examples from refused_joins").fetchall()
    assert [(row["reason"], row["key"], row["persons"]) for row in rows] == [("key_shared", "family", 5)]
    assert rows[0]["examples"][0] == ["mail", "0"]
    stitched(control_plane, tenant, [], keys[:2])
    assert tina.execute("select from refused_joins").fetchall() == []


def test_two_tenants_with_the_same_records_have_registries_of_their_own(
    control_plane: Settings, tenant: Workspace, acme: Workspace
) -> None:
    stitched(control_plane, tenant, [(A, B, "strong")])
    assert kept(control_plane, acme) == Registry()
    stitched(control_plane, acme, [(A, C, "strong")])
    assert kept(control_plane, tenant).members.keys() == {A, B}


def test_an_alias_is_followed_through_the_merges_of_its_own_tenant_alone(
    control_plane: Settings, tenant: Workspace, acme: Workspace, operator: database.Connection
) -> None:
    older, newer, oldest = (("crm", tenant.slug), ("mail", tenant.slug), ("app", tenant.slug))
    survivor, alias = born_id(*older), born_id(*newer)
    stitched(control_plane, tenant, [(older, newer, "strong")])
    stitched(control_plane, acme, [(oldest, older, "strong")])
    # The operator may read both.
    (step,) = case_registry.merges_from(operator, tenant.id, [alias])[alias]
    assert step.merged_into == survivor
    assert case_registry.merges_from(operator, acme.id, [alias]) == {}
    with pytest.raises(UnknownRecord, match=f"No link names a record of case {survivor}"):
        case_registry.entity_of(operator, acme.id, survivor)


@pytest.mark.usefixtures("acme")
def test_an_alias_is_followed_for_no_stranger(control_plane: Settings, tenant: Workspace) -> None:
    stitched(control_plane, tenant, [(A, B, "strong")])
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        assert case_registry.merges_from(connection, tenant.id, [ID_B]) == {}
        with pytest.raises(UnknownRecord):
            case_registry.entity_of(connection, tenant.id, ID_A)


def test_a_failed_stitching_leaves_the_registry_as_it_was(
    control_plane: Settings, tenant: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stitched(control_plane, tenant, [(A, B, "strong")]).registry

    def fail(*_: object) -> None:
        raise psycopg.OperationalError("the server went away")

    monkeypatch.setattr(case_registry, "report_refused", fail)
    with pytest.raises(psycopg.OperationalError):
        stitched(control_plane, tenant, [(A, B, "strong"), (B, C, "strong")])
    assert kept(control_plane, tenant) == before
