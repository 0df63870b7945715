"""Of twenty worlds the planted causes are named, in their order, and no decoy; empty worlds are refused."""

from pathlib import Path

import pytest

from orchestration.mining.explain import Explainer
from tests.mining.explain.worlds import WORLDS, World, write_world

QUICK = {
    "one category",
    "four causes",
    "no cause, drift",
    "an outcome",
    "no cause of an outcome",
    "rework",
    "a transition",
}


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(world, id=world.name, marks=() if world.name in QUICK else pytest.mark.slow)
        for world in WORLDS
    ],
)
def test_the_causes_of_a_world_are_found_and_nothing_else(world: World, connect, tmp_path: Path) -> None:
    conn = connect(write_world(world, tmp_path / "world.parquet"))
    with Explainer(conn, target=world.target) as explainer:
        told = explainer.explain_all()[0].features
    found = [cause["group"] for cause in told["causes"]]
    print(f"{world.name}: planted {list(world.causes)}, found {found}, fit {told['fit']}")
    assert set(world.decoys) <= told["considered"].keys()
    assert not set(found) & set(world.decoys)
    assert (sorted(found) if world.tie else found) == (
        sorted(world.causes) if world.tie else list(world.causes)
    )
    assert told["status"] == ("explained" if world.causes else "not_explained")
    assert told["target"]["kind"] == world.target.kind
