"""A synthetic lead-to-cash log with planted causes of delay.

What belongs here: the generator and the truth that it planted. It serves the demo, the benchmarks and, as an
oracle, the tests of the explanations. What does not: reading or analysing the log.

Every wait is drawn independently of the attributes; then four causes add time. Some attributes ("decoys")
only correlate with a cause, so whoever compares plain group means blames them too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

Hours: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

REGIONS = ("Central", "East", "North", "South", "West")
REGION_SHARES = (0.25, 0.20, 0.20, 0.20, 0.15)
SOUTH = REGIONS.index("South")
OFFICES = ("S1", "S2", "S3", "S4", "S5", "S6")
CURRENCIES = ("EUR", "GBP", "USD")
PRIORITIES = ("high", "low", "normal")
CHANNELS = ("mail", "partner", "phone", "web")
MAIL = CHANNELS.index("mail")
PRODUCT_LINES = ("Hardware", "Licences", "Service", "Training")
APPROVERS = ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8")
A7 = APPROVERS.index("A7")
CUSTOMERS = 2_000

LOOP_CONTINUES = 0.24
MOST_LOOPS = 3
LOOP_HOURS = 30.0
SOUTH_HOURS = 48.0
REMINDER_HOURS = 24.0
APPROVAL_HOURS = 29.6
SHORTEST_GAP_SECONDS = 60

# activity -> (role, org_unit, prefix of its resources, how many)
PERFORMERS: dict[str, tuple[str, str, str, int]] = {
    "Lead created": ("Sales representative", "Sales", "R", 12),
    "Qualify lead": ("Sales representative", "Sales", "R", 12),
    "Send quote": ("Sales representative", "Sales", "R", 12),
    "Check credit": ("Credit analyst", "Finance", "C", 5),
    "Fix quote": ("Sales representative", "Sales", "R", 12),
    "Approve quote": ("Approver", "Finance", "A", len(APPROVERS)),
    "Ship order": ("Dispatcher", "Logistics", "D", 9),
    "Send invoice": ("Accountant", "Accounting", "B", 6),
    "Remind customer": ("Accountant", "Accounting", "B", 6),
    "Receive payment": ("Accountant", "Accounting", "B", 6),
}


@dataclass(frozen=True)
class PlantedCause:
    """One planted cause: an explanation's feature and value, the share of cases exposed, mean hours added."""

    feature: str
    value: str
    share: float
    hours: float


@dataclass(frozen=True)
class PlantedTruth:
    """What the log contains; `causes` are in the order in which a right explanation names them."""

    cases: int
    events: int
    open_cases: int
    causes: tuple[PlantedCause, ...]
    decoys: tuple[str, ...]


@dataclass(frozen=True)
class _Traits:
    """Codes per case of everything that is drawn once for a case."""

    region: Codes
    office: Codes
    currency: Codes
    priority: Codes
    channel: Codes
    product: Codes
    customer: Codes
    amount: Hours
    approver: Codes
    loops: Codes
    qualified: Flags
    reminded: Flags


@dataclass(frozen=True)
class _Slot:
    """One place of the path: its activity, which cases pass it, and the hours since the place before."""

    activity: str
    present: Flags
    gap: Hours


def write_lead_to_cash(
    path: Path,
    *,
    cases: int = 20_000,
    months: int = 24,
    seed: int = 7,
    first_month: str = "2024-01",
    causes: bool = True,
    cut_at_end: bool = False,
) -> PlantedTruth:
    """Write the log as CSV, sorted by time, and tell what was planted.

    Args:
        path: The CSV file to write.
        cases: How many cases; 20,000 make about 155,000 events.
        months: Cases start evenly over this many calendar months.
        seed: The same seed gives the same bytes.
        first_month: `YYYY-MM`, UTC.
        causes: False plants nothing: attributes and activities say nothing about the cycle time.
        cut_at_end: Drop the events after the last month, which leaves its late cases open.

    Raises:
        ValueError: If there is not at least one case and one month.
    """
    if cases < 1 or months < 1:
        raise ValueError(f"Ask for at least one case and one month, not {cases} cases in {months} months.")
    rng = np.random.default_rng(seed)
    traits = _draw_traits(rng, cases)
    slots = _path_of(rng, traits, planted=causes)
    start = np.datetime64(first_month, "M")
    first, end = (int(edge.astype("datetime64[s]").astype(np.int64)) for edge in (start, start + months))
    started = np.sort(rng.integers(first, end, cases))
    gaps = np.stack([_seconds(slot) for slot in slots], axis=1)
    times = started[:, None] + np.cumsum(gaps, axis=1)
    present = np.stack([slot.present for slot in slots], axis=1)
    open_cases = int((times[:, -1] >= end).sum()) if cut_at_end else 0
    if cut_at_end:
        present &= times < end
    case, slot = np.nonzero(present)
    order = np.lexsort((slot, case, times[case, slot]))
    case, slot = case[order], slot[order]
    table = _event_table(rng, traits, case, np.array([s.activity for s in slots])[slot], times[case, slot])
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))
    return PlantedTruth(cases, len(case), open_cases, _planted(traits) if causes else (), _DECOYS)


_DECOYS = ("attribute:sales_office", "attribute:currency", "attribute:priority", "attribute:channel")


def _draw_traits(rng: np.random.Generator, cases: int) -> _Traits:
    region = rng.choice(len(REGIONS), cases, p=REGION_SHARES)
    south = region == SOUTH
    approver = np.where(rng.random(cases) < 0.12, A7, rng.choice([0, 1, 2, 3, 4, 5, 7], cases))
    channel = rng.choice(len(CHANNELS), cases, p=(0.25, 0.20, 0.25, 0.30))
    # Mail orders are reworked more often: an indirect decoy, since the rework itself is seen.
    fixed = rng.random(cases) < np.where(channel == MAIL, 0.31, 0.15)
    further = np.minimum(rng.geometric(1 - LOOP_CONTINUES, cases), MOST_LOOPS)
    return _Traits(
        region=region,
        office=_either(
            rng, south, (0.25, 0.55, 0.08, 0.04, 0.04, 0.04), (0.08, 0.04, 0.22, 0.22, 0.22, 0.22)
        ),
        currency=_either(rng, south, (0.75, 0.15, 0.10), (0.35, 0.35, 0.30)),
        priority=_either(rng, approver == A7, (0.12, 0.70, 0.18), (0.25, 0.22, 0.53)),
        channel=channel,
        product=rng.choice(len(PRODUCT_LINES), cases),
        customer=rng.integers(0, CUSTOMERS, cases),
        amount=np.round(rng.lognormal(8.0, 1.0, cases), 2),
        approver=approver,
        loops=np.where(fixed, further, 0),
        qualified=rng.random(cases) < 0.30,
        reminded=rng.random(cases) < 0.20,
    )


def _either(
    rng: np.random.Generator, flag: Flags, if_true: tuple[float, ...], if_false: tuple[float, ...]
) -> Codes:
    """Draw a code per case from one of two distributions."""
    draw = rng.random(len(flag))
    codes = [np.searchsorted(np.cumsum(shares)[:-1], draw, side="right") for shares in (if_true, if_false)]
    return np.where(flag, codes[0], codes[1])


def _path_of(rng: np.random.Generator, traits: _Traits, *, planted: bool) -> list[_Slot]:
    """The places of the path in order. Waits are gamma distributed; only the four causes depend on traits."""
    cases = len(traits.region)
    strength = 1.0 if planted else 0.0

    def wait(shape: float, mean: float) -> Hours:
        return rng.gamma(shape, mean / shape, cases)

    always = np.ones(cases, dtype=np.bool_)
    lead = wait(1.5, 16.0)
    slots = [
        _Slot("Lead created", always, np.zeros(cases)),
        _Slot("Qualify lead", traits.qualified, 0.4 * lead),
        _Slot("Send quote", always, np.where(traits.qualified, 0.6, 1.0) * lead),
        _Slot("Check credit", always, wait(1.5, 10.0)),
    ]
    for loop in range(1, MOST_LOOPS + 1):
        again = traits.loops >= loop
        slots.append(_Slot("Fix quote", again, strength * wait(4.0, LOOP_HOURS / 2)))
        slots.append(_Slot("Check credit", again, strength * wait(4.0, LOOP_HOURS / 2)))
    approval = wait(3.0, APPROVAL_HOURS) * np.where(traits.approver == A7, 1.0 + strength, 1.0)
    invoice = wait(2.0, 12.0) + strength * SOUTH_HOURS * (traits.region == SOUTH)
    payment = wait(2.0, 24.0)
    reminder = 0.5 * payment + strength * REMINDER_HOURS
    return [
        *slots,
        _Slot("Approve quote", always, approval),
        _Slot("Ship order", always, wait(1.5, 24.0)),
        _Slot("Send invoice", always, invoice),
        _Slot("Remind customer", traits.reminded, reminder),
        _Slot("Receive payment", always, np.where(traits.reminded, 0.5, 1.0) * payment),
    ]


def _seconds(slot: _Slot) -> Codes:
    """Whole seconds, never none: two events of a case do not share a timestamp."""
    seconds = np.maximum(np.rint(slot.gap * 3600).astype(np.int64), SHORTEST_GAP_SECONDS)
    return np.where(slot.present, seconds, 0)


def _event_table(
    rng: np.random.Generator, traits: _Traits, case: Codes, activity: npt.NDArray[np.str_], times: Codes
) -> pa.Table:
    role, org_unit, resource = _performers(rng, traits, case, activity)

    def named(names: tuple[str, ...], codes: Codes) -> pa.Array:
        return pa.array(names).take(pa.array(codes[case]))

    return pa.table(
        {
            "case_id": _numbered("L-", case + 1, 6),
            "activity": pa.array(activity),
            "timestamp": pc.strftime(pa.array(times).cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%SZ"),
            "resource": resource,
            "role": role,
            "org_unit": org_unit,
            "region": named(REGIONS, traits.region),
            "sales_office": named(OFFICES, traits.office),
            "currency": named(CURRENCIES, traits.currency),
            "priority": named(PRIORITIES, traits.priority),
            "channel": named(CHANNELS, traits.channel),
            "product_line": named(PRODUCT_LINES, traits.product),
            "amount": pa.array(traits.amount[case]),
            "customer_id": _numbered("K-", traits.customer[case] + 1, 4),
        }
    )


def _performers(
    rng: np.random.Generator, traits: _Traits, case: Codes, activity: npt.NDArray[np.str_]
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Role, department and resource per event; the approver belongs to the case, everybody else is drawn."""
    names, which = np.unique(activity, return_inverse=True)
    performers = [PERFORMERS[str(name)] for name in names]
    people = np.array([count for *_, count in performers])[which]
    number = (rng.random(len(case)) * people).astype(np.int64)
    number = np.where(activity == "Approve quote", traits.approver[case], number)
    rows = pa.array(which)
    prefix = pa.array([prefix for _, _, prefix, _ in performers]).take(rows)
    resource = pc.binary_join_element_wise(prefix, pa.array(number + 1).cast(pa.string()), "")
    role = pa.array([role for role, *_ in performers]).take(rows)
    org_unit = pa.array([unit for _, unit, *_ in performers]).take(rows)
    return role, org_unit, resource


def _numbered(prefix: str, numbers: Codes, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=width, padding="0")
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, "")


def _planted(traits: _Traits) -> tuple[PlantedCause, ...]:
    """The causes, by how much of the cycle time's spread they make: hours x share x (1 - share)."""
    reworked = traits.loops > 0
    mean_loops = float(traits.loops[reworked].mean()) if reworked.any() else 0.0
    causes = [
        PlantedCause("attribute:region", "South", float((traits.region == SOUTH).mean()), SOUTH_HOURS),
        PlantedCause("activity:Fix quote", "occurs", float(reworked.mean()), LOOP_HOURS * mean_loops),
        PlantedCause("activity:Remind customer", "occurs", float(traits.reminded.mean()), REMINDER_HOURS),
        PlantedCause("performer:Approve quote", "A7", float((traits.approver == A7).mean()), APPROVAL_HOURS),
    ]
    return tuple(sorted(causes, key=lambda cause: -cause.hours * cause.share * (1 - cause.share)))
