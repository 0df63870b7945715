"""Twenty generated logs with known causes, decoys and none at all: the oracle of the explanations.

Every case registers, is checked (some twice), some ask the customer, is decided, is paid or rejected, and closes. All
waits are drawn apart from the attributes; each world then adds time, or changes a probability, for its causes alone.
Decoys are attributes that only go along with a cause, or with the calendar.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.mining.explain.question import (
    CYCLE_TIME,
    OutcomeTarget,
    ReworkTarget,
    Target,
    TransitionTarget,
)

CASES = 5_000
_YEAR_SECONDS = 366 * 86_400
_FIRST_SECOND = 1_704_067_200  # 2024-01-01
_REGIONS = ("Central", "East", "North", "South", "West")

Traits = dict[str, Any]
"""Arrays with a value per case: the attributes by their names, and what happens in the case."""

REGION_DECOYS = ("attribute:office", "attribute:currency")


@dataclass(frozen=True)
class World:
    """`plant` gets the traits and gives the hours that it adds before an activity; it may change traits too.

    `causes` are in order of their strength, unless they are one `tie`.
    """

    name: str
    causes: tuple[str, ...]
    plant: Callable[[Traits, np.random.Generator], Mapping[str, Any]]
    decoys: tuple[str, ...] = REGION_DECOYS
    target: Target = CYCLE_TIME
    tie: bool = False
    seed: int = field(default=1)


def _south(t: Traits) -> Any:
    return t["region"] == "South"


def _dear(t: Traits) -> Any:
    """-1 to 1, by the amount."""
    return np.clip(np.log(t["amount"]) - 8.0, -2, 2) / 2


def _several(t: Traits, _: np.random.Generator) -> Mapping[str, Any]:
    return {
        "Close": 60 * _south(t) + 25 * _dear(t),
        "Check again": 45.0,
        "Decide": 45 * (t["decider"] == "D3"),
    }


def _nothing(_t: Traits, _: np.random.Generator) -> Mapping[str, Any]:
    return {}


def _much_noise(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    for number in range(20):
        t[f"noise{number}"] = np.char.add("v", rng.integers(0, 3 + number, CASES).astype(str))
    return {}


def _heavy_tails(_t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    return {"Close": rng.lognormal(3.0, 2.0, CASES)}


def _campaigns(t: Traits, rng: np.random.Generator) -> None:
    """An attribute that is the calendar, more or less."""
    current = (t["when"] * 6).astype(int)
    t["campaign"] = np.char.add(
        "C", np.where(rng.random(CASES) < 0.8, current, rng.integers(0, 6, CASES)).astype(str)
    )


def _drift_alone(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    _campaigns(t, rng)
    return {"Close": 60 * t["when"]}


def _drift_beside(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    _campaigns(t, rng)
    return {"Close": 30 * t["when"] + 60 * _south(t)}


def _drift_of_mix(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    moved = rng.random(CASES) < 0.3 * t["when"]
    t["region"] = np.where(moved, "South", t["region"])
    _campaigns(t, rng)
    return {"Close": 48 * _south(t)}


def _asked_by_mail(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    t["asks"] = rng.random(CASES) < np.where(t["channel"] == "mail", 0.45, 0.15)
    return {"Ask customer": 40.0}


def _paid_less_in_the_south(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    t["pays"] = rng.random(CASES) < np.where(_south(t), 0.35, 0.75)
    return {}


def _repeated_by_mail(t: Traits, rng: np.random.Generator) -> Mapping[str, Any]:
    t["repeats"] = rng.random(CASES) < np.where(t["channel"] == "mail", 0.45, 0.12)
    return {"Check again": 40.0}


def _slow_decision(t: Traits, _: np.random.Generator) -> Mapping[str, Any]:
    # The product makes the case slow, but only after the decision.
    return {"Decide": 60 * _south(t) + 30 * (t["checker"] == "K2"), "Close": 80 * (t["product"] == "P4")}


_ASK, _AGAIN, _DECIDER = "activity:Ask customer", "activity:Check", "performer:Decide"
_REGION, _AMOUNT, _PRODUCT = "attribute:region", "attribute:amount", "attribute:product"

WORLDS = (
    World("one category", (_REGION,), lambda t, _: {"Close": 48 * _south(t)}),
    World("one number", (_AMOUNT,), lambda t, _: {"Close": 40 * _dear(t)}, ("attribute:weight",)),
    World("one activity", (_ASK,), _asked_by_mail, ("attribute:channel",)),
    World(
        "one performer",
        (_DECIDER,),
        lambda t, _: {"Decide": 48 * (t["decider"] == "D3")},
        ("attribute:priority",),
    ),
    World("a loop", (_AGAIN,), lambda t, _: {"Check again": 48.0}, ("attribute:channel",)),
    World(
        "two categories",
        (_REGION, _PRODUCT),
        lambda t, _: {"Close": 60 * _south(t), "Decide": 30 * (t["product"] == "P4")},
    ),
    World(
        "category, number and loop",
        (_REGION, _AMOUNT, _AGAIN),
        lambda t, _: {"Close": 90 * _south(t) + 35 * _dear(t), "Check again": 25.0},
        (*REGION_DECOYS, "attribute:weight"),
    ),
    World(
        "four causes",
        (_REGION, _AGAIN, _DECIDER, _AMOUNT),
        _several,
        (*REGION_DECOYS, "attribute:weight", "attribute:priority"),
    ),
    World(
        "only together",
        (_REGION, _PRODUCT),
        lambda t, _: {"Close": 150 * (_south(t) & (t["product"] == "P4"))},
        tie=True,
    ),
    World(
        "a number in one region",
        (_AMOUNT, _REGION),
        lambda t, _: {"Close": 90 * _south(t) * (1 + _dear(t))},
        (*REGION_DECOYS, "attribute:weight"),
        tie=True,
    ),
    World("a rare value", ("attribute:plan",), lambda t, _: {"Close": 150 * (t["plan"] == "trial")}),
    World("drift beside a cause", (_REGION,), _drift_beside, (*REGION_DECOYS, "attribute:campaign")),
    World("drift of the mix", (_REGION,), _drift_of_mix, ("attribute:campaign",)),
    World("no cause, much noise", (), _much_noise),
    World("no cause, heavy tails", (), _heavy_tails),
    World("no cause, drift", (), _drift_alone, ("attribute:campaign",)),
    World(
        "an outcome",
        (_REGION,),
        _paid_less_in_the_south,
        target=OutcomeTarget(kind="outcome", activity="Pay"),
    ),
    World("no cause of an outcome", (), _nothing, target=OutcomeTarget(kind="outcome", activity="Pay")),
    World(
        "rework",
        ("attribute:channel",),
        _repeated_by_mail,
        ("attribute:segment",),
        target=ReworkTarget(kind="rework", activity="Check"),
    ),
    World(
        "a transition",
        (_REGION, "performer:Check"),
        _slow_decision,
        (*REGION_DECOYS, _PRODUCT),
        target=TransitionTarget(kind="transition", source="Check", target="Decide"),
    ),
)


def write_world(world: World, path: Path) -> str:
    """Write the events to a Parquet file; the query that reads them, for a connection of these tests."""
    rng = np.random.default_rng(world.seed)
    traits = _draw(rng)
    hours = world.plant(traits, rng)
    attributes = [
        name for name in traits if name not in ("when", "decider", "checker", "asks", "repeats", "pays")
    ]
    pq.write_table(_events(traits, hours, rng), path)
    described = ", ".join(f"{name} := {name}::varchar" for name in attributes)
    return f"""
    select
        native_case_id, activity, make_timestamp(us) as timestamp, resource_id, null::varchar as role,
        null::varchar as org_unit, to_json(struct_pack({described}))::varchar as attributes
    from read_parquet('{path}') order by native_case_id, us
    """


def _draw(rng: np.random.Generator) -> Traits:
    def pick(names: tuple[str, ...], *shares: float) -> Any:
        return rng.choice(names, CASES, p=shares or None)

    def mostly(flag: Any, names: tuple[str, ...]) -> Any:
        """The first name goes along with the flag."""
        return np.where(rng.random(CASES) < np.where(flag, 0.7, 0.1), names[0], rng.choice(names[1:], CASES))

    region, channel = pick(_REGIONS), pick(("mail", "phone", "web"))
    amount = np.round(rng.lognormal(8.0, 1.0, CASES), 2)
    decider = pick(("D1", "D2", "D3", "D4", "D5"))
    return {
        "when": np.sort(rng.random(CASES)),
        "region": region,
        "office": mostly(region == "South", ("S1", "S2", "S3", "S4")),
        "currency": mostly(region == "South", ("EUR", "GBP", "USD")),
        "product": pick(("P1", "P2", "P3", "P4")),
        "channel": channel,
        "segment": mostly(channel == "mail", ("private", "small", "large")),
        "amount": amount,
        "weight": np.round(np.log(amount) + rng.normal(0, 0.7, CASES), 3),
        "plan": pick(("basic", "gold", "trial"), 0.6, 0.37, 0.03),
        "priority": mostly(decider == "D3", ("low", "normal", "high")),
        "customer": np.char.add("K", rng.integers(0, 700, CASES).astype(str)),
        "decider": decider,
        "checker": pick(("K1", "K2", "K3", "K4")),
        "asks": rng.random(CASES) < 0.25,
        "repeats": rng.random(CASES) < 0.25,
        "pays": rng.random(CASES) < 0.6,
    }


def _events(t: Traits, hours: Mapping[str, Any], rng: np.random.Generator) -> pa.Table:
    always = np.ones(CASES, dtype=bool)
    clerk = np.char.add("E", rng.integers(0, 9, CASES).astype(str))

    def wait(mean: float) -> Any:
        return rng.gamma(2.0, mean / 2.0, CASES)

    # (activity, its place in `hours`, which cases, hours since the step before, who)
    steps = [
        ("Register", "Register", always, np.zeros(CASES), clerk),
        ("Check", "Check", always, wait(12.0), t["checker"]),
        ("Check", "Check again", t["repeats"], np.zeros(CASES), t["checker"]),
        ("Ask customer", "Ask customer", t["asks"], np.zeros(CASES), clerk),
        ("Decide", "Decide", always, wait(24.0), t["decider"]),
        ("Pay", "Pay", t["pays"], np.zeros(CASES), clerk),
        ("Reject", "Reject", ~t["pays"], np.zeros(CASES), clerk),
        ("Close", "Close", always, wait(24.0), clerk),
    ]
    time = _FIRST_SECOND + t["when"] * _YEAR_SECONDS
    columns: list[pa.Table] = []
    attributes = {n: v for n, v in t.items() if n not in ("asks", "repeats", "pays", "when")}
    for activity, place, present, gap, who in steps:
        added = np.maximum(gap + np.broadcast_to(hours.get(place, 0.0), CASES), 1 / 60) * 3600
        time = np.where(present, time + added, time)
        columns.append(
            pa.table(
                {
                    "native_case_id": np.flatnonzero(present).astype(str),
                    "activity": np.full(int(present.sum()), activity),
                    "us": np.round(time[present]).astype(np.int64) * 1_000_000,
                    "resource_id": who[present],
                    **{name: values[present] for name, values in attributes.items()},
                }
            )
        )
    return pa.concat_tables(columns)
