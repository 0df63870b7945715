import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestration.mining.packing import GENERAL, Packing
from orchestration.mining.working_calendar import WorkingCalendar
from tests.mining.process_log import Event, Parameters, built, expected, microseconds

LABELS = ["", "a", "b", "a,b", "1:a", "é", "Ω mega", "Approve"]
SECONDS_2024 = microseconds("2024-01-31T23:00:00") // 1_000_000

whole_seconds = st.integers(SECONDS_2024, SECONDS_2024 + 7_200).map(lambda s: s * 1_000_000)
microsecond_times = st.integers(SECONDS_2024 * 1_000_000, SECONDS_2024 * 1_000_000 + 40)
far_apart = st.integers(microseconds("0002-01-01"), microseconds("9999-01-01"))


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events with many equal timestamps; tie_order ranks them in no relation to the label."""
    times = draw(st.sampled_from([whole_seconds, microsecond_times, far_apart]))
    pool = draw(st.lists(times, min_size=1, max_size=6))
    drawn = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from(pool), st.sampled_from(LABELS)),
            min_size=1,
            max_size=40,
        )
    )
    stride = draw(st.sampled_from([1, 7, 2**25]))
    seen: dict[tuple[int, int], int] = {}
    events = []
    for case, time_us, activity in drawn:
        rank = seen[case, time_us] = seen.get((case, time_us), -1) + 1
        events.append(Event(case, time_us, rank * stride, activity))
    return draw(st.permutations(events))


parameter_sets = st.builds(
    Parameters,
    end_activities=st.lists(st.sampled_from(LABELS), max_size=2, unique=True).map(tuple),
    silence_us=st.none() | st.integers(0, 10_000_000),
    as_of_us=st.integers(SECONDS_2024 * 1_000_000, SECONDS_2024 * 1_000_000 + 10_000_000_000),
    left_edge_us=st.none() | whole_seconds,
    happy_path=st.none() | st.lists(st.sampled_from([*LABELS, "never"]), min_size=1, max_size=4).map(tuple),
)


# Each example is two builds: shrinking a failure would take minutes.
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(events=logs(), parameters=parameter_sets)
def test_both_packings_give_what_plain_python_gives(events: list[Event], parameters: Parameters) -> None:
    reference = expected(events, parameters)
    assert built(events, parameters) == reference
    assert built(events, parameters, GENERAL) == reference


# Three weeks around a change of the clock, with a holiday; hours from before midnight in UTC to after it.
working_times = st.integers(0, 21 * 86_400_000_000).map(lambda us: microseconds("2024-03-01") + us)
SHIFTS = {day: ["00:00-02:30", "20:00-24:00"] for day in ("monday", "tuesday", "sunday")}
CALENDAR = WorkingCalendar.model_validate(
    {"time_zone": "America/New_York", "hours": SHIFTS, "holidays": ["2024-03-12"]}
)
working_logs = st.lists(
    st.builds(Event, st.integers(0, 5), working_times, st.just(0), st.sampled_from(LABELS)),
    min_size=6,
    max_size=20,
    unique_by=lambda event: (event.case, event.time_us),
)


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(events=working_logs)
def test_with_a_calendar_all_durations_are_working_time(events: list[Event]) -> None:
    parameters = Parameters(end_activities=("a", "b"), calendar=CALENDAR)
    assert built(events, parameters) == expected(events, parameters)


def test_a_log_without_events_gives_empty_tables() -> None:
    assert built([], Parameters()) == {"cases": [], "variants": [], "process_map": []}


@pytest.mark.parametrize("packing", [None, GENERAL], ids=["fitting", "general"])
def test_sixty_five_thousand_activities(packing: Packing | None) -> None:
    count = 65_536
    events = [Event(n % 50, n * 1_000_000, 0, f"activity {n}") for n in range(count)]
    tables = built(events, Parameters(), packing)
    assert tables == expected(events, Parameters())
    assert len(tables["process_map"]) == count - 50


def test_a_case_keeps_its_home_month_and_its_later_events() -> None:
    events = [
        Event(1, microseconds("2023-12-31T23:59:59.999999"), 0, "a"),
        Event(1, microseconds("2024-02-01"), 0, "b"),
        Event(2, microseconds("2024-01-01"), 0, "a"),
    ]
    tables = built(events, Parameters())
    homes = [(case["home_month"], case["event_count"]) for case in tables["cases"]]
    assert homes == [("2023-12", 2), ("2024-01", 1)]
    assert [edge["home_month"] for edge in tables["process_map"]] == ["2023-12"]
